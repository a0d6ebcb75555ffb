import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.lab.api import Refusal
from metallb_cli.lab.api.json_patch import apply_json_patch
from metallb_cli.lab.api.merge_patch import apply_merge_patch, apply_strategic_patch
from metallb_cli.lab.api.schemas import ANY, STRING, keyed, mapping, members, sequence, struct

scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~-", max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~$-", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_its_rfc_shows(target, patch, expected):
    assert apply_merge_patch(target, patch) == expected


@given(documents, documents)
def test_merge_patches_change_no_argument_and_are_idempotent(target, patch):
    before = copy.deepcopy((target, patch))
    once = apply_merge_patch(target, patch)
    assert (target, patch) == before
    assert apply_merge_patch(once, patch) == once


@given(documents, documents)
def test_a_strategic_patch_either_works_or_is_refused(target, patch):
    before = copy.deepcopy((target, patch))
    schema = struct(a=keyed(struct(b=members(STRING)), "a"), b=mapping(ANY))
    try:
        apply_strategic_patch(target, patch, schema)
    except Refusal as refusal:
        assert refusal.code == 400
    assert (target, patch) == before


SCHEMA = struct(ports=keyed(struct(), "port"), names=members(STRING), plain=sequence(STRING))


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"ports": [{"port": 1, "a": 1}]}, {"ports": [{"port": 1, "b": 2}]}, {"ports": [{"port": 1, "a": 1, "b": 2}]}),
        ({"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, {"ports": [{"port": 1}, {"port": 2}]}),
        ({"ports": [{"port": 1}, {"port": 2}]}, {"ports": [{"port": 1, "$patch": "delete"}]}, {"ports": [{"port": 2}]}),
        ({"ports": [{"port": 1}]}, {"ports": [{"$patch": "replace"}, {"port": 2}]}, {"ports": [{"port": 2}]}),
        ({"ports": [{"port": 1}]}, {"ports": None}, {}),
        ({"names": ["a"]}, {"names": ["b", "a"]}, {"names": ["a", "b"]}),
        ({"names": ["a", "b"]}, {"$deleteFromPrimitiveList/names": ["a"]}, {"names": ["b"]}),
        ({"names": ["a", "b", "c"]}, {"$setElementOrder/names": ["c", "a"]}, {"names": ["c", "a", "b"]}),
        ({"plain": ["a"]}, {"plain": ["b"]}, {"plain": ["b"]}),
        ({"x": {"a": 1, "b": 2}}, {"x": {"$patch": "replace", "c": 3}}, {"x": {"c": 3}}),
        ({"x": {"a": 1, "b": 2}}, {"x": {"$retainKeys": ["a", "c"], "c": 3}}, {"x": {"a": 1, "c": 3}}),
        ({"x": {"a": 1}}, {"x": {"$patch": "delete"}}, {"x": {}}),
    ],
)
def test_a_strategic_patch_knows_its_directives(target, patch, expected):
    assert apply_strategic_patch(target, patch, SCHEMA) == expected


@pytest.mark.parametrize(
    "patch", [{"$patch": "frobnicate"}, {"ports": [{"name": "no key"}]}, {"$retainKeys": 5}, {"ports": [5]}]
)
def test_a_strategic_patch_that_makes_no_sense_is_refused(patch):
    with pytest.raises(Refusal):
        apply_strategic_patch({"ports": []}, patch, SCHEMA)


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, [("add", "/baz", "qux")], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [("remove", "/baz")], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [("replace", "/baz", "boo")], {"baz": "boo"}),
        ({"foo": {"bar": 1}, "q": {}}, [("move", "/foo/bar", "/q/t")], {"foo": {}, "q": {"t": 1}}),
        ({"foo": ["all", "grass", "cows"]}, [("move", "/foo/0", "/foo/2")], {"foo": ["grass", "cows", "all"]}),
        ({"baz": "qux", "foo": ["a", 2]}, [("test", "/baz", "qux"), ("test", "/foo/1", 2)], None),
        ({"foo": "bar"}, [("add", "/child", {"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
        ({"/": 9, "~1": 10}, [("test", "/~01", 10)], None),
        ({"foo": ["bar"]}, [("add", "/foo/-", ["abc", "def"])], {"foo": ["bar", ["abc", "def"]]}),
        ({"a": 1}, [("replace", "", {"b": 2})], {"b": 2}),
        ({"a": {"b": 1}}, [("copy", "/a", "/c"), ("replace", "/c/b", 2)], {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_a_json_patch_does_what_its_rfc_shows(document, operations, expected):
    expected = copy.deepcopy(document) if expected is None else expected
    assert apply_json_patch(document, [written(*each) for each in operations]) == expected


def written(op, path, third=None):
    if op in ("move", "copy"):
        return {"op": op, "from": path, "path": third}
    return {"op": op, "path": path, "value": third}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": "/none/b", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/-1", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/b"},
        {"op": "remove", "path": ""},
        {"op": "move", "from": "/deep", "path": "/deep/x"},
        {"op": "replace", "path": "/none", "value": 1},
        {"path": "/a"},
    ],
)
def test_a_json_patch_that_cannot_be_done_is_refused(operation):
    with pytest.raises(Refusal) as refused:
        apply_json_patch({"a": 1, "list": [1], "deep": {}}, [operation])
    assert refused.value.code == 422


operations = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "other"]),
        "path": st.text("ab/~01-", max_size=6) | scalars,
        "from": st.text("ab/~01-", max_size=6),
        "value": documents,
    },
)


@given(documents, st.lists(operations, max_size=5) | documents)
def test_any_json_patch_either_works_or_is_refused(document, patch):
    try:
        apply_json_patch(copy.deepcopy(document), patch)
    except Refusal as refusal:
        assert refusal.code in (400, 422)

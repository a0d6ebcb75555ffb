from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.lab.api import field_ownership as ownership
from metallb_cli.lab.api.apply import apply, record_update
from metallb_cli.lab.api.schemas import STRINGS, TRANSPORT, keyed, members, sequence, struct

SCHEMA = struct(
    labels=STRINGS, ports=keyed(struct(protocol=TRANSPORT), "port", "protocol"), names=members({}), plain=sequence({})
)
OBJECT = {
    "labels": {"a": "1"},
    "ports": [{"port": 80, "name": "x"}],
    "names": ["n"],
    "plain": [{"deep": 1}],
    "spec": {"x": 1},
}
FIELDS = {
    "f:labels": {".": {}, "f:a": {}},
    "f:ports": {".": {}, 'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:name": {}}},
    "f:names": {".": {}, 'v:"n"': {}},
    "f:plain": {},
    "f:spec": {"f:x": {}},
}
words = st.sampled_from(["a", "b", "c"])
labels = st.dictionaries(words, words, max_size=3)


def test_fields_are_written_as_kubernetes_writes_them():
    assert ownership.fields_of(OBJECT, SCHEMA) == FIELDS


def test_a_path_is_shown_as_in_kubernetes_messages():
    paths = {ownership.written(path) for path in ownership.leaves(FIELDS)}
    assert paths == {
        ".labels.a",
        '.ports[port=80,protocol="TCP"].port',
        '.ports[port=80,protocol="TCP"].name',
        '.names[="n"]',
        ".plain",
        ".spec.x",
    }


def test_values_are_found_by_path():
    found = [ownership.value_at(OBJECT, path, SCHEMA) for path in ownership.leaves(FIELDS)]
    assert found == ["1", 80, "x", "n", [{"deep": 1}], 1]


def test_fields_can_be_removed_from_an_object():
    tree = {
        "f:labels": {"f:a": {}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:name": {}}},
        "f:names": {'v:"n"': {}},
        "f:spec": {},
    }
    left = {"labels": {}, "ports": [{"port": 80}], "names": [], "plain": [{"deep": 1}]}
    assert ownership.remove_at(OBJECT, tree, SCHEMA) == left


def test_what_changed_and_what_is_gone():
    new = {**OBJECT, "labels": {"b": "1"}, "ports": [{"port": 80, "name": "y"}, {"port": 81}]}
    del new["spec"]
    changed, gone = ownership.changed_fields(OBJECT, new, SCHEMA)
    assert changed == {
        "f:labels": {"f:b": {}},
        "f:ports": {
            'k:{"port":80,"protocol":"TCP"}': {"f:name": {}},
            'k:{"port":81,"protocol":"TCP"}': {".": {}, "f:port": {}},
        },
    }
    assert gone == {"f:labels": {"f:a": {}}, "f:spec": {}}


@given(st.lists(st.tuples(words, labels), max_size=8))
def test_every_label_has_one_owner_when_nobody_applies(writes):
    obj = {}
    for manager, content in writes:
        new = {"metadata": {"labels": content}} if content else {"metadata": {}}
        record_update(
            obj, new, struct(metadata=struct(labels=STRINGS)),
            manager=manager, api_version="v1", subresource="", now="t",
        )  # fmt: skip
        obj = new
    owned = [
        key
        for entry in obj.get("metadata", {}).get("managedFields", [])
        for key in entry["fieldsV1"].get("f:metadata", {}).get("f:labels", {})
        if key != "."
    ]
    assert sorted(owned) == sorted(f"f:{key}" for key in obj.get("metadata", {}).get("labels", {}))


@given(st.lists(st.tuples(words, labels), min_size=1, max_size=8))
def test_applying_leaves_exactly_what_some_manager_still_wants(writes):
    schema = struct(metadata=struct(labels=STRINGS))
    live, wanted = {}, {}
    for manager, content in writes:
        applied = {"metadata": {"labels": content}}
        live = apply(live, applied, schema, manager=manager, api_version="v1", subresource="", force=True, now="t")
        for other in wanted.values():
            for key in content:
                if other.get(key) != content[key]:
                    other.pop(key, None)
        wanted[manager] = dict(content)
    expected = {key: value for content in wanted.values() for key, value in content.items()}
    assert live["metadata"].get("labels", {}) == expected

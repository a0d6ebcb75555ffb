import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.lab.api import Refusal
from metallb_cli.lab.api.lists import read_page
from metallb_cli.lab.api.resources import CONFIG_MAPS
from metallb_cli.lab.api.selectors import Selection, parse_selection
from metallb_cli.lab.api.store import Store

names = st.sampled_from(["a", "b", "c", "a-b", "z"])
namespaces = st.sampled_from(["one", "one-more", "two"])
writes = st.lists(st.tuples(namespaces, names, st.booleans()), max_size=30)


def obj(namespace, name, labels=None):
    return {"metadata": {"namespace": namespace, "name": name, "uid": "u", "labels": labels or {}}}


def play(store, steps):
    """Do the writes; what was there after each version."""
    states, present = {store.version: {}}, {}
    for namespace, name, keep in steps:
        old = store.get(CONFIG_MAPS, namespace, name)
        if keep:
            present[namespace, name] = store.put(CONFIG_MAPS, obj(namespace, name)).version
        elif old:
            store.remove(CONFIG_MAPS, old, obj(namespace, name))
            del present[namespace, name]
        states[store.version] = dict(present)
    return states


@given(writes, namespaces | st.just(""))
def test_every_version_that_is_remembered_can_be_read(steps, namespace):
    store = Store(history=1000)
    table = store.table(CONFIG_MAPS)
    for version, state in play(store, steps).items():
        found = {(each.namespace, each.name): each.version for each in table.scan(namespace, at=version)}
        assert found == {key: value for key, value in state.items() if namespace in ("", key[0])}


@given(writes, st.integers(1, 4))
def test_pages_are_together_what_was_there_at_the_first(steps, limit):
    store = Store(history=1000)
    play(store, steps)
    table, selection = store.table(CONFIG_MAPS), Selection("")
    whole = [each.key for each in table.scan("")]
    query, found = {"limit": str(limit)}, []
    for number in range(40):
        page = read_page(store, table, selection, query)
        found += [each.key for each in page.items]
        if not page.token:
            break
        assert page.remaining == len(whole) - len(found)
        query["continue"] = page.token
        store.put(CONFIG_MAPS, obj("one", f"new{number}"))
        gone = store.get(CONFIG_MAPS, "two", "a")
        if gone:
            store.remove(CONFIG_MAPS, gone, obj("two", "a"))
    assert found == whole
    assert whole == sorted(whole)


@given(writes, st.integers(1, 10))
def test_a_short_history_is_either_whole_or_gone(steps, history):
    store = Store(history)
    table = store.table(CONFIG_MAPS)
    states = play(store, steps)
    for version in states:
        later = [each for each in states if each > version]
        try:
            changes = table.since(version)
        except Refusal as refusal:
            assert refusal.code == 410
            assert len(later) > history
        else:
            assert [change.version for change in changes] == later


def test_labels_of_a_stored_object_are_its_own():
    store = Store(10)
    given_labels = {"a": "1"}
    stored = store.put(CONFIG_MAPS, obj("one", "x", given_labels))
    given_labels["a"] = "2"
    stored.decode()["metadata"]["labels"]["a"] = "3"
    assert stored.labels == {"a": "1"}
    assert stored.decode()["metadata"]["labels"] == {"a": "1"}


@given(st.text("ab=!<>in(),. \\", max_size=20), st.sampled_from(["labelSelector", "fieldSelector"]))
def test_any_selector_is_either_understood_or_refused(text, kind):
    stored = Store(10).put(CONFIG_MAPS, obj("one", "x", {"a": "1", "b": "b"}))
    try:
        selection = parse_selection(CONFIG_MAPS, "", {kind: text})
    except Refusal as refusal:
        assert refusal.code == 400
    else:
        assert (stored in selection) in (True, False)


def test_a_long_selector_is_refused():
    with pytest.raises(Refusal, match="characters"):
        parse_selection(CONFIG_MAPS, "", {"labelSelector": "a," * 10_000})

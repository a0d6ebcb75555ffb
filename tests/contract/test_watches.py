import threading
import time

import pytest

from tests.contract.conftest import service


def seen(events):
    return [(kind, obj["metadata"]["name"]) for kind, obj in events]


def test_a_watch_tells_what_happens_after_a_version(api):
    api.service("before")
    with api.watch(api.path("services"), resourceVersion=api.version()) as watch:
        made = api.service("a")
        changed = api.patch(api.path("services", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
        api.delete(api.path("services", "a")).ok()
        events = watch.take(3)
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert events[0][1] == made
    assert events[1][1] == changed
    last = events[2][1]
    assert (last["kind"], last["apiVersion"]) == ("Service", "v1")
    assert last["metadata"]["labels"] == changed["metadata"]["labels"]
    assert int(last["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


def test_a_watch_can_resume_where_another_ended(api):
    version = api.version()
    api.service("a")
    api.delete(api.path("services", "a")).ok()
    with api.watch(api.path("services"), resourceVersion=version) as watch:
        events = watch.take(2)
    assert seen(events) == [("ADDED", "a"), ("DELETED", "a")]
    with api.watch(
        api.path("services"), resourceVersion=events[0][1]["metadata"]["resourceVersion"], timeoutSeconds=1
    ) as watch:
        assert seen(watch) == [("DELETED", "a")]


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
def test_a_watch_without_version_begins_with_what_there_is(api, query):
    api.service("a")
    api.service("b")
    with api.watch(api.path("services"), **query) as watch:
        assert sorted(seen(watch.take(2))) == [("ADDED", "a"), ("ADDED", "b")]
        api.service("c")
        assert seen(watch.take(1)) == [("ADDED", "c")]


def test_a_watch_sees_only_its_namespace(api):
    with api.watch(api.path("services"), resourceVersion=api.version()) as watch:
        api.post(api.path("services", ns="default"), service(api.unique)).ok()
        api.delete(api.path("services", api.unique, ns="default")).ok()
        api.service("mine")
        assert seen(watch.take(1)) == [("ADDED", "mine")]


def test_entering_and_leaving_a_selection_is_adding_and_deleting(api):
    path = api.path("services", "a")
    with api.watch(api.path("services"), resourceVersion=api.version(), labelSelector="on=yes") as watch:
        api.service("a", {})
        for value in ("yes", "yes", "no", "yes"):
            api.patch(path, {"metadata": {"labels": {"on": value}, "annotations": {"n": str(time.monotonic())}}}).ok()
        api.delete(path).ok()
        events = watch.take(5)
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    assert events[2][1]["metadata"]["labels"] == {"on": "yes"} or events[2][1]["metadata"]["labels"] == {"on": "no"}
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert versions == sorted(set(versions))


def test_a_watch_can_be_about_one_object(api):
    with api.watch(api.path("services"), resourceVersion=api.version(), fieldSelector="metadata.name=b") as watch:
        api.service("a")
        api.service("b")
        assert seen(watch.take(1)) == [("ADDED", "b")]


def test_a_field_that_changes_can_leave_the_selection(api):
    spec = {"containers": [{"name": "c", "image": "i"}]}
    version = api.version("pods")
    with api.watch(api.path("pods"), resourceVersion=version, fieldSelector="spec.nodeName=") as watch:
        api.create("pods", {"metadata": {"name": "p"}, "spec": spec})
        binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "one"}}
        assert (
            api.post(api.path("pods", "p", "binding"), {"kind": "Binding", "apiVersion": "v1", **binding}).status == 201
        )
        assert seen(watch.take(2)) == [("ADDED", "p"), ("DELETED", "p")]


@pytest.mark.parametrize("spelling", ["true", "1", "True"])
def test_a_watch_is_asked_for_in_several_spellings(api, spelling):
    api.service("a")
    with api.watch(api.path("services"), **{"watch": spelling, "timeoutSeconds": 1}) as watch:
        assert seen(watch.take(1)) == [("ADDED", "a")]


def test_the_server_ends_a_watch_in_time(api):
    started = time.monotonic()
    with api.watch(api.path("services"), resourceVersion=api.version(), timeoutSeconds=1) as watch:
        assert list(watch) == []
    assert time.monotonic() - started > 0.9


def test_bookmarks_come_before_the_end_and_only_with_news_and_when_asked_for(api):
    """So a bookmark is no sign of life: a watch that has seen everything gets none."""

    def open_watch(version, **query):
        query = {"resourceVersion": version, "labelSelector": "none", "timeoutSeconds": 3, **query}
        return api.watch(api.path("services"), **query)

    before = api.version()
    with open_watch(before, allowWatchBookmarks="true") as watch, open_watch(before) as unasked:
        version = api.service("a")["metadata"]["resourceVersion"]
        with open_watch(version, allowWatchBookmarks="true") as latest:
            events = list(watch)
            assert list(unasked) == []
            assert list(latest) == []
    assert {kind for kind, _ in events} == {"BOOKMARK"}
    bookmark = events[-1][1]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("Service", "v1")
    assert int(bookmark["metadata"]["resourceVersion"]) >= int(version)
    assert not bookmark["metadata"].get("name")


def test_a_version_that_is_forgotten_is_gone(api):
    """Secrets, because the real server watches them in etcd itself."""
    version = api.version("secrets")
    for name in ("a", "b"):
        api.create("secrets", {"metadata": {"name": name}})
    api.expire_history()
    with api.watch(api.path("secrets"), resourceVersion=version, timeoutSeconds=3) as watch:
        if watch.status == 410:
            return
        assert watch.status == 200
        ((kind, status),) = watch.take(1)
    assert kind == "ERROR"
    assert (status["kind"], status["code"]) == ("Status", 410)
    assert status["reason"] in ("Expired", "Gone")


def test_a_running_watch_survives_that_history_is_forgotten(api):
    with api.watch(api.path("secrets"), resourceVersion=api.version("secrets")) as watch:
        api.create("secrets", {"metadata": {"name": "a"}})
        assert seen(watch.take(1)) == [("ADDED", "a")]
        api.expire_history()
        api.create("secrets", {"metadata": {"name": "b"}})
        assert seen(watch.take(1)) == [("ADDED", "b")]


def test_a_watch_from_a_version_to_come_is_refused(api):
    with api.watch(api.path("services"), resourceVersion=99999999, timeoutSeconds=1) as watch:
        assert watch.status == 504


def test_a_watch_can_begin_with_all_objects_and_say_when_they_end(api):
    api.service("a")
    with api.watch(
        api.path("services"),
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        timeoutSeconds=5,
    ) as watch:
        events = watch.take(2)
    assert [kind for kind, _ in events] == ["ADDED", "BOOKMARK"]
    assert events[1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_many_changes_come_in_order_and_once(api):
    version = api.version("configmaps")

    def write():
        for number in range(50):
            api.create("configmaps", {"metadata": {"name": f"c{number}"}})

    with api.watch(api.path("configmaps"), resourceVersion=version) as watch:
        writer = threading.Thread(target=write)
        writer.start()
        events = watch.take(50)
        writer.join()
    assert seen(events) == [("ADDED", f"c{number}") for number in range(50)]


def test_a_bad_selector_is_refused_before_the_watch_begins(api):
    with api.watch(api.path("services"), labelSelector="a in", timeoutSeconds=1) as watch:
        assert watch.status == 400

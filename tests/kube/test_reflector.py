import dataclasses
import functools
import json
import logging
import queue
import socket
import threading
import time

import pytest

from metallb_cli.kube import objects, reflector
from metallb_cli.kube.backoff import Backoff
from metallb_cli.kube.client import Api
from metallb_cli.kube.reflector import Reflector
from metallb_cli.kube.resources import SERVICES
from tests.kube.scripted import Collection, listed, service

LONG = (60.0, 60.0)


class Following:
    """A reflector of Services and what it told: `(old, new)` as the addresses of the Service."""

    def __init__(self, api, **options):
        self.changes = queue.Queue()
        self.failures = queue.Queue()
        self.synced_calls = queue.Queue()
        options = {"watch_seconds": LONG, **options}
        self.reflector = Reflector(
            api,
            SERVICES,
            options.pop("decode", objects.service),
            options.pop("on_change", self._changed),
            lambda: self.synced_calls.put(self.told()),
            on_failure=self.failures.put,
            same=options.pop("same", objects.same_service),
            **options,
        )
        self.log = []

    def _changed(self, old, new):
        def shown(value):
            return None if value is None else f"{value.key.name}={','.join(map(str, value.ingress))}"

        self.log.append((shown(old), shown(new)))
        self.changes.put((shown(old), shown(new)))

    def told(self):
        return list(self.log)

    def next(self, count=1):
        got = [self.changes.get(timeout=5) for _ in range(count)]
        return got[0] if count == 1 else got

    @property
    def versions(self):
        return {name[1]: value.resource_version for name, value in dict(self.reflector.store).items()}


@pytest.fixture
def follow(serve, monkeypatch):
    """`following, server = follow(lists, watches)`: started, and stopped after the test."""
    monkeypatch.setattr(reflector, "TOO_SHORT", 0.0)
    monkeypatch.setattr(reflector, "Backoff", functools.partial(Backoff, first=0.02, limit=0.1))
    started = []

    def start(lists, watches, versions=("1000000",), **options):
        api, server = serve(Collection(lists, watches, versions))
        following = Following(api, **options)
        started.append(following)
        following.reflector.start()
        return following, server

    yield start
    for following in started:
        following.reflector.stop()
        assert not following.reflector.alive
        assert following.failures.empty()


def gives(items, version="1"):
    return lambda request, reply: reply.json(listed(items, version))


def hold(request, reply):
    reply.begin()
    reply.freeze()


def streams(*events, then="hold"):
    def watch(request, reply):
        reply.begin()
        for kind, item in events:
            reply.event(kind, item)
        {"hold": reply.freeze, "cut": reply.cut, "end": reply.end}[then]()

    return watch


def wait_for(condition, what):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def lists_of(server):
    return [request for request in server.requests if request.is_list]


def watches_of(server):
    return [request for request in server.requests if request.is_watch]


# -- the ordinary course


def test_what_is_there_is_told_before_synced(follow):
    following, _ = follow([gives([service("a", ingress=["10.0.0.1"]), service("b")])], [hold])
    assert following.synced_calls.get(timeout=5) == [(None, "a=10.0.0.1"), (None, "b=")]
    assert following.reflector.synced.is_set()
    assert set(following.reflector.store) == {("default", "a"), ("default", "b")}


def test_synced_is_told_once_although_the_list_is_read_again(follow):
    following, server = follow(
        [gives([service("a")])], [lambda request, reply: reply.status(410, "Expired", "too old"), hold]
    )
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert following.synced_calls.get(timeout=5)
    assert following.synced_calls.empty()


def test_events_become_old_and_new_values(follow):
    following, _ = follow(
        [gives([])],
        [
            streams(
                ("ADDED", service("a", "2")),
                ("MODIFIED", service("a", "3", ["10.0.0.1"])),
                ("DELETED", service("a", "4", ["10.0.0.1"])),
            )
        ],
    )
    assert following.next(3) == [(None, "a="), ("a=", "a=10.0.0.1"), ("a=10.0.0.1", None)]
    assert following.reflector.store == {}


def test_a_watch_asks_for_bookmarks_a_version_and_an_end(follow):
    _, server = follow([gives([], "17")], [hold])
    wait_for(lambda: watches_of(server), "the watch")
    query = watches_of(server)[0].query
    assert query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "17",
        "timeoutSeconds": "60",
    }


def test_an_event_that_changes_nothing_of_interest_is_not_told_but_kept(follow):
    following, _ = follow(
        [gives([service("a")])],
        [streams(("MODIFIED", service("a", "2", labels={"x": "y"})), ("ADDED", service("b", "3")))],
    )
    assert following.next(2) == [(None, "a="), (None, "b=")]
    assert following.versions == {"a": "2", "b": "3"}


def test_what_decodes_to_none_is_as_though_it_were_not_there(follow):
    def only_with_address(item):
        value = objects.service(item)
        return value if value.ingress else None

    following, _ = follow(
        [gives([service("a")])],
        [
            streams(
                ("MODIFIED", service("a", "2", ["10.0.0.1"])),
                ("MODIFIED", service("a", "3")),
                ("DELETED", service("a", "4")),
                ("ADDED", service("b", "5", ["10.0.0.2"])),
            )
        ],
        decode=only_with_address,
    )
    assert following.next(3) == [(None, "a=10.0.0.1"), ("a=10.0.0.1", None), (None, "b=10.0.0.2")]


def test_odd_events_are_left_out(follow):
    odd = [("UNKNOWN", service("x")), ("DELETED", service("never", "2")), ("ADDED", None), (None, service("y"))]
    following, _ = follow([gives([])], [streams(*odd, ("ADDED", service("a")))])
    assert following.next() == (None, "a=")
    assert following.changes.empty()


# -- resuming


def test_a_watch_that_ends_is_resumed_where_it_ended(follow):
    following, server = follow(
        [gives([], "1")],
        [
            streams(("ADDED", service("a", "5")), then="end"),
            streams(("ADDED", service("b", "6")), then="end"),
            hold,
        ],
    )
    assert following.next(2) == [(None, "a="), (None, "b=")]
    wait_for(lambda: len(watches_of(server)) == 3, "the third watch")
    assert [request.query["resourceVersion"] for request in watches_of(server)] == ["1", "5", "6"]
    assert following.changes.empty()
    assert following.reflector.last_error == ""


def test_a_cut_loses_nothing_and_replays_nothing(follow):
    following, server = follow(
        [gives([], "1")],
        [
            streams(("ADDED", service("a", "5")), ("ADDED", service("b", "6")), then="cut"),
            streams(("ADDED", service("c", "7")), then="cut"),
            hold,
        ],
    )
    wait_for(lambda: len(watches_of(server)) == 3, "the third watch")
    assert following.next(3) == [(None, "a="), (None, "b="), (None, "c=")]
    assert [request.query["resourceVersion"] for request in watches_of(server)] == ["1", "6", "7"]
    assert len(lists_of(server)) == 1
    assert following.changes.empty()


def test_half_an_event_is_read_again_whole(follow):
    def half(request, reply):
        reply.begin()
        reply.event("ADDED", service("a", "5"))
        reply.chunk(b'{"type":"ADDED","object":{"metadata":{"name":"b"')
        reply.cut()

    following, server = follow([gives([], "1")], [half, streams(("ADDED", service("b", "6")))])
    assert following.next(2) == [(None, "a="), (None, "b=")]
    assert watches_of(server)[1].query["resourceVersion"] == "5"


def test_a_bookmark_moves_the_version_and_nothing_else(follow):
    bookmark = ("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "99"}})
    following, server = follow([gives([], "1")], [streams(bookmark, then="end"), hold])
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert watches_of(server)[1].query["resourceVersion"] == "99"
    assert following.changes.empty()


# -- reading the list again


AFTER_THE_GAP = [service("changed", "20", ["10.0.0.9"]), service("same", "30"), service("new", "21")]
EXACT = [("gone=10.0.0.1", None), ("changed=10.0.0.2", "changed=10.0.0.9"), (None, "new=")]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda request, reply: reply.status(410, "Expired", "too old resource version: 1 (20)"), id="410"),
        pytest.param(lambda request, reply: reply.status(410, "Gone"), id="410-gone"),
        pytest.param(lambda request, reply: reply.status(400, "BadRequest", "invalid resource version"), id="400"),
        pytest.param(
            lambda request, reply: reply.status(504, "Timeout", "Too large resource version: 20, current: 7"),
            id="504-of-the-future",
        ),
        pytest.param(
            lambda request, reply: reply.status(500, "Internal", 'resourceVersion: Invalid value: "abc"'), id="500"
        ),
        pytest.param(streams(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})), id="error-event-410"),
        pytest.param(streams(("ERROR", {"kind": "Status", "code": 500})), id="error-event-500"),
        pytest.param(streams(("ERROR", "what?")), id="error-event-odd"),
    ],
)
def test_after_trouble_with_the_version_exactly_the_differences_are_told(follow, trouble):
    before = [service("gone", "1", ["10.0.0.1"]), service("changed", "2", ["10.0.0.2"]), service("same", "3")]
    following, server = follow([gives(before, "10"), gives(AFTER_THE_GAP, "40")], [trouble, hold])
    assert len(following.next(3)) == 3
    assert following.next(3) == EXACT
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert watches_of(server)[1].query["resourceVersion"] == "40"
    assert following.versions == {"changed": "20", "same": "30", "new": "21"}
    assert following.changes.empty()


@pytest.mark.parametrize("garbage", [b"garbage\n", b"\xff\xfe\n", b"[1]\n", b"[" * 200_000 + b"\n", b"null\n"])
def test_a_garbage_line_makes_it_read_the_list_again_because_an_event_may_be_lost(follow, garbage):
    def noisy(request, reply):
        reply.begin()
        reply.chunk(garbage)
        reply.freeze()

    following, _ = follow([gives([service("a")], "1"), gives([service("b")], "2")], [noisy, hold])
    assert following.next(3) == [(None, "a="), ("a=", None), (None, "b=")]
    assert following.failures.empty()


def test_a_service_deleted_and_made_anew_in_the_gap_is_told(follow):
    old = service("a", "1", uid="first")
    new = service("a", "9", uid="second")
    following, _ = follow(
        [gives([old]), gives([new], "9")], [lambda request, reply: reply.status(410, "Expired"), hold]
    )
    assert following.next(2) == [(None, "a="), ("a=", "a=")]
    assert following.reflector.store["default", "a"].uid == "second"


def test_an_answer_that_is_no_list_does_not_count_as_everything_deleted(follow):
    following, _ = follow(
        [gives([service("a")]), lambda request, reply: reply.json({}), gives([service("a"), service("b")], "9")],
        [lambda request, reply: reply.status(410, "Expired"), hold],
    )
    assert following.next(2) == [(None, "a="), (None, "b=")]
    assert following.changes.empty()


def test_an_etcd_restored_from_a_backup_is_noticed_although_the_watch_would_be_silent(follow):
    before = [service("gone", "90"), service("same", "5")]
    following, server = follow(
        [gives(before, "100"), gives([service("same", "5"), service("older", "6")], "50")],
        [streams(then="cut"), hold],
        versions=["50"],
    )
    assert following.next(2) == [(None, "gone="), (None, "same=")]
    assert following.next(2) == [("gone=", None), (None, "older=")]
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert watches_of(server)[1].query["resourceVersion"] == "50"


@pytest.mark.parametrize("version", ["100", "101", "opaque", "", 7, None])
def test_after_an_outage_a_version_that_has_not_gone_back_is_resumed(follow, version):
    following, server = follow([gives([service("a")], "100")], [streams(then="cut"), hold], versions=[version])
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert watches_of(server)[1].query["resourceVersion"] == "100"
    assert len(lists_of(server)) == 1
    assert following.told() == [(None, "a=")]


def test_a_watch_that_ended_as_agreed_is_resumed_without_asking_for_the_version(follow):
    _, server = follow([gives([])], [streams(then="end"), streams(then="end"), hold])
    wait_for(lambda: len(watches_of(server)) == 3, "the third watch")
    assert len(server.requests) == 4


# -- a server in trouble


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_watch_waits_as_long_as_asked_and_keeps_the_version(follow, status):
    times = []

    def refuse(request, reply):
        times.append(time.monotonic())
        reply.status(status, "Busy", "later", [("retry-after", "1")])

    def fine(request, reply):
        times.append(time.monotonic())
        hold(request, reply)

    following, server = follow([gives([service("a")], "7")], [refuse, fine])
    wait_for(lambda: len(times) == 2, "the second watch")
    assert 1.0 <= times[1] - times[0] < 3
    assert [request.query["resourceVersion"] for request in watches_of(server)] == ["7", "7"]
    assert following.told() == [(None, "a=")]


def test_a_storage_that_is_initializing_is_waited_for_without_a_new_list(follow):
    error = ("ERROR", {"code": 429, "message": "storage is (re)initializing"})
    following, server = follow([gives([service("a")], "7")], [streams(error), hold])
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert len(server.requests) == 3
    assert following.told() == [(None, "a=")]


def test_a_refused_list_is_tried_again(follow):
    refusals = [lambda request, reply: reply.status(403, "Forbidden", "may not list services")] * 2
    following, server = follow([*refusals, gives([service("a")])], [hold])
    assert following.next() == (None, "a=")
    wait_for(lambda: following.reflector.last_error == "", "contact")
    assert len(server.requests) >= 3


def test_a_proxys_gateway_timeout_does_not_read_the_list_again(follow):
    following, server = follow(
        [gives([service("a")], "7")], [lambda request, reply: reply.text("<html>Gateway Timeout", 504), hold]
    )
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert watches_of(server)[1].query["resourceVersion"] == "7"
    assert following.told() == [(None, "a=")]


def test_a_frozen_connection_is_noticed_by_the_clients_own_clock(follow):
    following, server = follow(
        [gives([service("a")], "7")],
        [hold, streams(("ADDED", service("b", "8")))],
        watch_seconds=(0.2, 0.2),
        grace=0.2,
    )
    began = time.monotonic()
    assert following.next(2) == [(None, "a="), (None, "b=")]
    assert time.monotonic() - began < 3
    assert watches_of(server)[1].query["resourceVersion"] == "7"


def test_a_server_that_accepts_and_never_answers_is_noticed(follow):
    following, _ = follow(
        [gives([service("a")], "7")],
        [lambda request, reply: reply.freeze(), streams(("ADDED", service("b", "8")))],
        watch_seconds=(0.2, 0.2),
        grace=0.2,
    )
    assert following.next(2) == [(None, "a="), (None, "b=")]


def test_the_store_is_kept_and_the_trouble_told_while_the_server_is_away(follow):
    following, server = follow([gives([service("a")])], [streams(then="cut")])
    wait_for(lambda: following.reflector.last_error, "the error")
    assert server.url in following.reflector.last_error
    assert set(following.reflector.store) == {("default", "a")}
    assert following.reflector.synced.is_set()


def test_contact_is_the_newest_sign_of_life(follow):
    go = threading.Event()

    def later(request, reply):
        reply.begin()
        go.wait(5)
        reply.event("ADDED", service("b", "8"))
        reply.freeze()

    began = time.monotonic()
    following, server = follow([gives([service("a")], "7")], [later])
    wait_for(lambda: watches_of(server), "the watch")
    assert following.next() == (None, "a=")
    middle = time.monotonic()
    go.set()
    assert following.next() == (None, "b=")
    wait_for(lambda: following.reflector.contact >= middle, "contact")
    assert began <= middle <= following.reflector.contact <= time.monotonic()


def test_a_server_that_is_down_costs_a_few_attempts_and_no_cpu(kubeconfig):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = Api.connect(kubeconfig(f"http://127.0.0.1:{port}"))
    attempts = []
    following = Following(api)
    original = following.reflector._api.request
    following.reflector._api.request = lambda *a, **k: (attempts.append(1), original(*a, **k))[1]
    began, cpu = time.monotonic(), time.process_time()
    following.reflector.start()
    threading.Event().wait(1.0)
    following.reflector.stop()
    seconds = time.monotonic() - began
    assert 2 <= len(attempts) <= 6 * max(seconds, 1.0)
    assert time.process_time() - cpu < seconds / 2
    assert "connection refused" in following.reflector.last_error


def test_a_server_that_ends_every_watch_at_once_does_not_make_it_spin(follow, monkeypatch):
    monkeypatch.setattr(reflector, "TOO_SHORT", 1.0)
    monkeypatch.setattr(reflector, "Backoff", Backoff)
    following, server = follow([gives([service("a")])], [streams(then="end")])
    wait_for(following.reflector.synced.is_set, "synced")
    threading.Event().wait(1.0)
    assert 2 <= len(watches_of(server)) <= 6
    assert "at once" in following.reflector.last_error


def test_an_outage_is_logged_once_and_its_end_as_well(follow, caplog):
    caplog.set_level(logging.INFO, "metallb_cli.kube.reflector")
    refuse = [lambda request, reply: reply.status(503, "Unavailable", "down")] * 3
    _, server = follow([gives([service("a")])], [*refuse, hold])
    wait_for(lambda: len(watches_of(server)) == 4, "the fourth watch")
    wait_for(lambda: "again" in caplog.text, "the end of the outage")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_forgotten_version_is_routine_and_no_warning(follow, caplog):
    caplog.set_level(logging.INFO, "metallb_cli.kube.reflector")
    following, server = follow([gives([])], [lambda request, reply: reply.status(410, "Expired", "too old"), hold])
    wait_for(lambda: len(watches_of(server)) == 2, "the second watch")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert following.reflector.last_error == ""


# -- the end


@pytest.mark.parametrize(
    ("lists", "watches"),
    [
        pytest.param([gives([])], [hold], id="silent-watch"),
        pytest.param([gives([])], [lambda request, reply: reply.freeze()], id="watch-not-answered"),
        pytest.param([lambda request, reply: reply.freeze()], [hold], id="list-not-answered"),
        pytest.param([lambda request, reply: reply.status(500)], [hold], id="pausing"),
        pytest.param([gives([])], [streams(then="cut")], id="cut"),
    ],
)
def test_stop_takes_less_than_a_second_whatever_the_server_does(follow, lists, watches):
    following, server = follow(lists, watches)
    server.seen.get(timeout=5)
    threading.Event().wait(0.05)
    began = time.monotonic()
    following.reflector.stop()
    assert time.monotonic() - began < 1
    assert not following.reflector.alive


def test_nothing_is_told_after_stop(follow):
    go = threading.Event()

    def later(request, reply):
        reply.begin()
        go.wait(5)
        reply.event("ADDED", service("late", "8"))
        reply.freeze()

    following, server = follow([gives([])], [later])
    wait_for(lambda: watches_of(server), "the watch")
    following.reflector.stop()
    go.set()
    assert following.told() == []


def test_stop_before_start_is_harmless(serve):
    api, _ = serve(Collection([gives([])], [hold]))
    Following(api).reflector.stop()


def test_a_callback_may_stop_the_reflector(serve):
    api, _ = serve(Collection([gives([service("a"), service("b")])], [hold]))
    calls = []

    def stop(old, new):
        calls.append(new.key.name)
        following.reflector.stop()

    following = Following(api, on_change=stop)
    following.reflector.start()
    wait_for(lambda: not following.reflector.alive, "the end")
    assert following.failures.empty()
    assert calls == ["a"]
    assert following.synced_calls.empty()


def test_a_callback_that_raises_ends_the_thread_and_says_so(serve, caplog):
    def fail(old, new):
        raise RuntimeError("a defect")

    api, server = serve(Collection([gives([service("a")])], [hold]))
    following = Following(api, on_change=fail)
    following.reflector.start()
    assert str(following.failures.get(timeout=5)) == "a defect"
    wait_for(lambda: not following.reflector.alive, "the end")
    assert len(server.requests) == 1
    assert "a defect" in caplog.text


# -- at scale


def test_a_thousand_changes_in_many_pieces_arrive_once_each_and_in_order(follow):
    chunks = b"".join(
        json.dumps({"type": "ADDED", "object": service(f"s{n}", str(n + 2))}).encode() + b"\n" for n in range(1000)
    )

    def pieces(request, reply):
        start = int(request.query["resourceVersion"]) - 1
        rest = b"\n".join(chunks.splitlines()[start:]) + b"\n"
        reply.begin()
        limit = 40_000 if start < 800 else len(rest)  # cut somewhere, most likely inside an event
        for index in range(0, min(limit, len(rest)), 997):
            reply.chunk(rest[index : min(index + 997, limit)])
        reply.reset() if start < 800 else reply.freeze()

    following, server = follow([gives([], "1")], [pieces])
    assert following.next(1000) == [(None, f"s{n}=") for n in range(1000)]
    assert len(server.requests) > 3
    assert following.changes.empty()


def test_values_are_compared_with_equality_unless_told_otherwise(follow):
    following, _ = follow(
        [gives([service("a", "1")])],
        [streams(("MODIFIED", service("a", "2")))],
        same=lambda one, other: one == other,
    )
    assert following.next(2) == [(None, "a="), ("a=", "a=")]
    assert dataclasses.is_dataclass(following.reflector.store["default", "a"])

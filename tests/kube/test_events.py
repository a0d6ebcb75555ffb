import functools
import queue
import re
import threading
import time
from datetime import UTC, datetime

import pytest

from metallb_cli.kube import events, objects
from metallb_cli.kube.backoff import Backoff
from metallb_cli.kube.events import EventRecorder
from metallb_cli.model import Notice, Reason, Severity
from tests.kube.scripted import service

WEB = objects.service(service("web"))
DNS = objects.service(service("dns"))
ASSIGNED = Notice(Reason.ALLOCATED, "assigned 10.0.0.1")


@pytest.fixture
def record(serve, monkeypatch):
    """`recorder, server, calls = record(handler)`: started; `calls` is a queue of (method, event body)."""
    monkeypatch.setattr(events, "PACE", 1000.0)
    monkeypatch.setattr(events, "Backoff", functools.partial(Backoff, first=0.02, limit=0.05))
    made = []

    def start(handler=None, begin=True):
        calls = queue.Queue()

        def handle(request, reply):
            if request.method == "GET":
                reply.json({"metadata": {"uid": "uid-of-the-config"}})
                return
            if handler is None or handler(request, reply) is None:
                reply.json({})
            calls.put((request.method, request.path, request.json))

        api, server = serve(handle)
        recorder = EventRecorder(api, component="metallb-controller", namespace="metal-system", config_name="config")
        made.append(recorder)
        if begin:
            recorder.start()
        return recorder, server, calls

    yield start
    for recorder in made:
        recorder.stop(0.1)


def refused(status, reason="No"):
    def handler(request, reply):
        reply.status(status, reason)
        return True

    return handler


def test_a_notice_about_a_service_becomes_an_event_beside_it(record):
    recorder, _, calls = record()
    recorder.about_service(WEB, Notice(Reason.POOL_EXHAUSTED, "no address left", Severity.WARNING))
    method, path, body = calls.get(timeout=5)
    assert (method, path) == ("POST", "/api/v1/namespaces/default/events")
    assert re.fullmatch(r"web\.[0-9a-f]{16}", body["metadata"]["name"])
    assert body["metadata"]["namespace"] == "default"
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "default",
        "name": "web",
        "uid": "uid-web",
    }
    assert (body["reason"], body["message"], body["type"]) == ("PoolExhausted", "no address left", "Warning")
    assert body["source"] == {"component": "metallb-controller"}
    assert body["count"] == 1
    assert body["firstTimestamp"] == body["lastTimestamp"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(body["lastTimestamp"])).total_seconds()) < 60


def test_a_notice_about_the_configuration_carries_the_uid_that_kubectl_describe_looks_for(record):
    recorder, server, calls = record()
    recorder.about_config(Notice(Reason.CONFIG_INVALID, "line 3", Severity.WARNING))
    _, path, body = calls.get(timeout=5)
    assert path == "/api/v1/namespaces/metal-system/events"
    assert server.requests[0].path == "/api/v1/namespaces/metal-system/configmaps/config"
    assert body["involvedObject"]["kind"] == "ConfigMap"
    assert body["involvedObject"]["uid"] == "uid-of-the-config"


def test_a_speaker_names_its_node_as_the_source(serve):
    bodies = queue.Queue()
    api, _ = serve(lambda request, reply: (bodies.put(request.json), reply.json({})))
    recorder = EventRecorder(api, component="metallb-speaker", namespace="n", config_name="c", host="node-1")
    recorder.start()
    recorder.about_service(WEB, ASSIGNED)
    assert bodies.get(timeout=5)["source"] == {"component": "metallb-speaker", "host": "node-1"}
    recorder.stop()


def test_a_repeated_notice_is_counted_up_instead_of_written_again(record):
    recorder, _, calls = record()
    recorder.about_service(WEB, ASSIGNED)
    _, _, first = calls.get(timeout=5)
    recorder.about_service(WEB, ASSIGNED)
    method, path, body = calls.get(timeout=5)
    assert (method, path) == ("PATCH", f"/api/v1/namespaces/default/events/{first['metadata']['name']}")
    assert body["count"] == 2
    recorder.about_service(WEB, ASSIGNED)
    assert calls.get(timeout=5)[2]["count"] == 3


def test_another_message_reason_or_object_is_another_event(record):
    recorder, _, calls = record()
    for subject, notice in [
        (WEB, ASSIGNED),
        (WEB, Notice(Reason.ALLOCATED, "assigned 10.0.0.2")),
        (WEB, Notice(Reason.ADOPTED, "assigned 10.0.0.1")),
        (DNS, ASSIGNED),
    ]:
        recorder.about_service(subject, notice)
    assert [calls.get(timeout=5)[0] for _ in range(4)] == ["POST"] * 4


def test_after_the_window_a_repeated_notice_is_a_new_event(record, monkeypatch):
    monkeypatch.setattr(events, "SAME_EVENT", 0.0)
    recorder, _, calls = record()
    for _ in range(2):
        recorder.about_service(WEB, ASSIGNED)
        assert calls.get(timeout=5)[0] == "POST"


def test_repetitions_that_wait_together_are_one_write(record):
    recorder, _, calls = record(begin=False)
    for _ in range(50):
        recorder.about_service(WEB, ASSIGNED)
    recorder.start()
    assert calls.get(timeout=5)[2]["count"] == 50
    recorder.stop()
    assert calls.empty()


def test_an_event_that_the_server_has_forgotten_is_made_again(record):
    def forget(request, reply):
        if request.method == "PATCH":
            reply.status(404, "NotFound")
            return True
        return None

    recorder, _, calls = record(forget)
    for expected in (["POST"], ["PATCH", "POST"]):
        recorder.about_service(WEB, ASSIGNED)
        assert [calls.get(timeout=5)[0] for _ in expected] == expected
    assert recorder.dropped == 0


def test_one_object_cannot_flood_and_what_is_dropped_is_counted(record):
    recorder, _, calls = record()
    for number in range(events.OBJECT_BURST + 10):
        recorder.about_service(WEB, Notice(Reason.ALLOCATED, f"assigned {number}"))
    recorder.about_service(DNS, ASSIGNED)
    bodies = [calls.get(timeout=5)[2] for _ in range(events.OBJECT_BURST + 1)]
    assert bodies[-1]["involvedObject"]["name"] == "dns"
    assert recorder.dropped == 10
    assert calls.empty()


def test_what_the_budget_refused_is_in_the_next_count(record, monkeypatch):
    monkeypatch.setattr(events, "OBJECT_BURST", 1)
    monkeypatch.setattr(events, "OBJECT_RATE", 0.0)
    recorder, _, calls = record()
    recorder.about_service(WEB, ASSIGNED)
    calls.get(timeout=5)
    recorder.about_service(WEB, ASSIGNED)
    deadline = time.monotonic() + 5
    while not recorder.dropped:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    monkeypatch.setattr(events, "OBJECT_RATE", 1e9)
    recorder.about_service(WEB, ASSIGNED)
    method, _, body = calls.get(timeout=5)
    assert (method, body["count"]) == ("PATCH", 3)


def test_writes_keep_a_pace(record, monkeypatch):
    monkeypatch.setattr(events, "PACE", 20.0)
    recorder, _, calls = record(begin=False)
    for number in range(7):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    began = time.monotonic()
    recorder.start()
    for _ in range(7):
        calls.get(timeout=5)
    assert time.monotonic() - began >= 6 / 20 - 0.01


def test_the_caller_never_waits_and_the_queue_has_an_end(record):
    release = threading.Event()
    recorder, server, _ = record(lambda request, reply: release.wait(100) and None)
    recorder.about_service(WEB, ASSIGNED)
    server.seen.get(timeout=5)
    for number in range(events.QUEUE + 100):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    assert recorder.dropped == 100
    release.set()


def test_a_notice_is_kept_while_the_server_is_away_and_written_once(record):
    answers = iter(["reset", "503", "429"])

    def recover(request, reply):
        trouble = next(answers, None)
        if trouble == "reset":
            reply.reset()
        if trouble:
            reply.status(int(trouble), "Busy")
        return trouble

    recorder, server, calls = record(recover)
    recorder.about_service(WEB, ASSIGNED)
    calls.get(timeout=5), calls.get(timeout=5)
    assert calls.get(timeout=5)[2]["count"] == 1
    assert len({request.json["metadata"]["name"] for request in server.requests}) == 1
    assert recorder.dropped == 0


def test_an_attempt_that_got_through_after_all_is_not_doubled(record):
    recorder, _, calls = record(refused(409, "AlreadyExists"))
    recorder.about_service(WEB, ASSIGNED)
    calls.get(timeout=5)
    recorder.stop()
    assert recorder.dropped == 0
    assert calls.empty()


def test_an_event_that_is_refused_is_dropped_counted_and_does_not_stop_the_next(record, caplog):
    answers = iter([403])

    def once(request, reply):
        status = next(answers, None)
        if status:
            reply.status(status, "Forbidden", "namespace is being terminated")
        return status

    recorder, _, calls = record(once)
    recorder.about_service(WEB, ASSIGNED)
    recorder.about_service(DNS, ASSIGNED)
    assert [calls.get(timeout=5)[2]["involvedObject"]["name"] for _ in range(2)] == ["web", "dns"]
    assert recorder.dropped == 1
    assert "namespace is being terminated" in caplog.text


def test_a_long_message_is_cut_to_what_the_api_takes(record):
    recorder, _, calls = record()
    recorder.about_service(WEB, Notice(Reason.ALLOCATED, "x" * 5000))
    assert calls.get(timeout=5)[2]["message"] == "x" * 1024


def test_stop_writes_what_waits(record, monkeypatch):
    monkeypatch.setattr(events, "PACE", 1.0)
    recorder, _, calls = record()
    for number in range(20):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    began = time.monotonic()
    recorder.stop(5.0)
    assert time.monotonic() - began < 3
    assert calls.qsize() == 20
    assert recorder.dropped == 0


def test_stop_is_bounded_when_the_server_is_frozen(record):
    recorder, server, _ = record(lambda request, reply: reply.freeze())
    for number in range(3):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    server.seen.get(timeout=5)
    began = time.monotonic()
    recorder.stop(0.2)
    assert time.monotonic() - began < 1.5
    assert recorder.dropped == 3


def test_stop_does_not_hammer_a_server_that_fails(record):
    recorder, server, _ = record(refused(503), begin=False)
    for number in range(3):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    recorder.start()
    server.seen.get(timeout=5)
    began = time.monotonic()
    recorder.stop(5.0)
    assert time.monotonic() - began < 1
    assert len(server.requests) < 10
    assert recorder.dropped == 3


def test_after_stop_notices_are_counted_as_dropped(record):
    recorder, _, calls = record()
    recorder.stop()
    recorder.about_service(WEB, ASSIGNED)
    assert recorder.dropped == 1
    assert calls.empty()


def test_what_is_remembered_has_an_end(record, monkeypatch):
    monkeypatch.setattr(events, "MEMORY", 10)
    recorder, _, calls = record()
    for number in range(50):
        recorder.about_service(objects.service(service(f"s{number}")), ASSIGNED)
    for _ in range(50):
        calls.get(timeout=5)
    recorder.stop()
    assert len(recorder._written) <= 10
    assert len(recorder._budgets) <= 10

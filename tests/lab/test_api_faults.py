import contextlib
import threading
import time

import pytest
import urllib3

from metallb_cli.lab.api import EmbeddedApi
from tests.support.raw_api import RawApi

SERVICES = "/api/v1/namespaces/default/services"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name):
    return {"metadata": {"name": name}}


@pytest.fixture
def raw(embedded_api):
    raw = RawApi(embedded_api.url)
    yield raw
    raw.close()


def test_only_the_requests_that_match_fail_and_only_so_many(embedded_api, raw):
    embedded_api.fail(2, 503, verb="create", resource="configmaps", retry_after=7)
    assert raw.get(CONFIG_MAPS).status == 200
    assert raw.get(SERVICES).status == 200
    for name in ("a", "b"):
        answer = raw.post(CONFIG_MAPS, config_map(name))
        assert (answer.status, answer.reason) == (503, "ServiceUnavailable")
        assert answer.headers["retry-after"] == "7"
    assert raw.post(CONFIG_MAPS, config_map("c")).status == 201
    assert [each["metadata"]["name"] for each in embedded_api.objects("configmaps")] == ["c"]
    assert [each.status for each in embedded_api.requests("create")] == [503, 503, 201]


@pytest.mark.parametrize(
    ("status", "reason"), [(409, "Conflict"), (410, "Expired"), (429, "TooManyRequests"), (500, "InternalError")]
)
def test_a_failure_looks_like_the_real_one(embedded_api, raw, status, reason):
    embedded_api.fail(1, status)
    answer = raw.get(SERVICES)
    assert (answer.status, answer.reason, answer.json["code"]) == (status, reason, status)


def test_a_subresource_is_a_resource_of_its_own(embedded_api, raw):
    raw.post(SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}).ok()
    embedded_api.fail(1, 500, resource="services/status")
    assert raw.patch(f"{SERVICES}/a", {}).status == 200
    assert raw.patch(f"{SERVICES}/a/status", {}).status == 500


def test_a_watch_can_be_refused(embedded_api, raw):
    embedded_api.fail(1, 429, verb="watch")
    with raw.watch(SERVICES) as watch:
        assert watch.status == 429


def test_requests_can_be_delayed(embedded_api, raw):
    embedded_api.delay(0.5, verb="get", count=1)
    started = time.monotonic()
    raw.get(SERVICES).ok()
    listed = time.monotonic()
    raw.get("/api/v1/namespaces/default").ok()
    assert time.monotonic() - listed > max(0.5, listed - started)


def test_a_delayed_request_holds_up_nobody_else(embedded_api, raw):
    embedded_api.delay(600, verb="list")

    def ask():
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            RawApi(embedded_api.url).get(SERVICES)

    slow = threading.Thread(target=ask)
    slow.start()
    raw.post(CONFIG_MAPS, config_map("a")).ok()
    embedded_api.stop()
    slow.join(15)


def test_a_lost_answer_leaves_the_write_done(embedded_api, raw):
    embedded_api.lose_answers(1, verb="create")
    with pytest.raises(urllib3.exceptions.HTTPError):
        raw.post(CONFIG_MAPS, config_map("a"))
    assert raw.post(CONFIG_MAPS, config_map("a")).status == 409


def test_a_frozen_server_accepts_and_says_nothing(embedded_api, raw):
    with raw.watch(CONFIG_MAPS, timeout=0.4) as watch:
        embedded_api.freeze()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            RawApi(embedded_api.url).get("/healthz", timeout=0.3)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            raw.post(CONFIG_MAPS, config_map("late"), timeout=0.3)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            watch.next()
        assert embedded_api.objects("configmaps") == []


def test_what_a_frozen_server_was_asked_it_does_when_it_thaws(embedded_api, raw):
    with raw.watch(CONFIG_MAPS) as watch:
        embedded_api.freeze()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            raw.post(CONFIG_MAPS, config_map("late"), timeout=0.3)
        embedded_api.thaw()
        ((kind, seen),) = watch.take(1)
    assert (kind, seen["metadata"]["name"]) == ("ADDED", "late")


def test_streams_can_be_cut(embedded_api, raw):
    with raw.watch(SERVICES) as one, raw.watch(CONFIG_MAPS) as two:
        deadline = time.monotonic() + 5
        while (cut := embedded_api.cut_streams()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cut == 2
        for watch in (one, two):
            with pytest.raises((urllib3.exceptions.ProtocolError, ConnectionError)):
                watch.next()
    assert raw.get(SERVICES).status == 200


def test_paused_watches_send_nothing_until_they_are_resumed(embedded_api, raw):
    with raw.watch(CONFIG_MAPS, timeout=0.4) as watch:
        embedded_api.pause_watches()
        raw.post(CONFIG_MAPS, config_map("a")).ok()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            watch.next()
    with raw.watch(CONFIG_MAPS, resourceVersion=embedded_api.version) as watch:
        raw.post(CONFIG_MAPS, config_map("b")).ok()
        embedded_api.resume_watches()
        assert [seen["metadata"]["name"] for _, seen in watch.take(1)] == ["b"]


def test_forgotten_history_is_gone_but_the_present_is_not(embedded_api, raw):
    version = embedded_api.version
    raw.post(CONFIG_MAPS, config_map("a")).ok()
    embedded_api.expire_history()
    with raw.watch(CONFIG_MAPS, resourceVersion=version) as watch:
        ((kind, status),) = watch.take(1)
        assert watch.next() is None
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    with raw.watch(CONFIG_MAPS, resourceVersion=embedded_api.version) as watch:
        raw.post(CONFIG_MAPS, config_map("b")).ok()
        assert [kind for kind, _ in watch.take(1)] == ["ADDED"]


def test_a_short_history_forgets_by_itself():
    with EmbeddedApi(history=5) as api:
        raw = RawApi(api.url)
        versions = []
        for number in range(12):
            raw.post(CONFIG_MAPS, config_map(f"c{number}")).ok()
            versions.append(api.version)
        with raw.watch(CONFIG_MAPS, resourceVersion=versions[2]) as watch:
            assert [kind for kind, _ in watch.take(1)] == ["ERROR"]
        with raw.watch(CONFIG_MAPS, resourceVersion=versions[-6]) as watch:
            assert [kind for kind, _ in watch.take(5)] == ["ADDED"] * 5
        raw.close()


def test_a_watcher_that_is_too_slow_is_told_to_begin_anew():
    with EmbeddedApi(history=5) as api:
        raw = RawApi(api.url)
        with raw.watch(CONFIG_MAPS) as watch:
            raw.post(CONFIG_MAPS, config_map("first")).ok()
            assert [kind for kind, _ in watch.take(1)] == ["ADDED"]
            api.pause_watches()
            for number in range(12):
                raw.post(CONFIG_MAPS, config_map(f"c{number}")).ok()
            api.resume_watches()
            events = watch.until(lambda kind, _: kind == "ERROR")
        assert events[-1][1]["code"] == 410
        raw.close()


def test_all_faults_can_be_cleared(embedded_api, raw):
    embedded_api.fail(100, 500)
    embedded_api.delay(60)
    embedded_api.freeze()
    embedded_api.pause_watches()
    embedded_api.clear_faults()
    with raw.watch(CONFIG_MAPS) as watch:
        raw.post(CONFIG_MAPS, config_map("a")).ok()
        assert [kind for kind, _ in watch.take(1)] == ["ADDED"]


def test_bookmarks_tell_a_watch_of_versions_that_are_none_of_its_business():
    with EmbeddedApi(bookmarks=0.2) as api:
        raw = RawApi(api.url)
        with raw.watch(SERVICES, resourceVersion=api.version, allowWatchBookmarks="true") as watch:
            raw.post(CONFIG_MAPS, config_map("a")).ok()
            ((kind, seen),) = watch.take(1)
        assert (kind, seen["metadata"]["resourceVersion"]) == ("BOOKMARK", str(api.version))
        raw.close()

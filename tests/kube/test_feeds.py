import queue
import threading
import time
from datetime import UTC, datetime

import pytest

from metallb_cli.kube import feeds, objects
from metallb_cli.kube.feeds import ControllerFeeds, SpeakerFeeds
from metallb_cli.model import Endpoints, Lease, Node, ServiceKey
from tests.kube.scripted import listed, service

WEB = ServiceKey("default", "web")
CONFIG_MAPS = "/api/v1/namespaces/metal-system/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/metal-system/leases"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


def endpoint_slice(name, node):
    labels = {"kubernetes.io/service-name": "web"}
    metadata = {"namespace": "default", "name": name, "labels": labels}
    return {"metadata": metadata, "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": node}]}


class Cluster:
    """Answers lists from `objects`; a watch gets the events put into `events[path]`."""

    def __init__(self, versions=("v1",)):
        lease = objects.lease_body(Lease("speaker-a", "me", duration=6.0), "metal-system", {}, datetime.now(UTC))
        subsets = [{"addresses": [{"ip": "10.1.0.1", "nodeName": "old"}]}]
        self.objects = {
            "/api/v1/services": [service("web", ingress=["10.0.0.1"])],
            "/api/v1/nodes": [{"metadata": {"name": "a"}}],
            CONFIG_MAPS: [{"metadata": {"namespace": "metal-system", "name": "config"}, "data": {"config": "first"}}],
            LEASES: [lease],
            SLICES: [endpoint_slice("1", "a"), endpoint_slice("2", "b")],
            "/api/v1/endpoints": [{"metadata": {"namespace": "default", "name": "web"}, "subsets": subsets}],
        }
        self.events = {path: queue.Queue() for path in self.objects}
        self.refusals = queue.Queue()
        self.versions = [{"version": version} for version in versions]

    def __call__(self, request, reply):
        if request.path == "/apis/discovery.k8s.io":
            if not self.refusals.empty():
                reply.status(self.refusals.get(), "Unavailable")
            else:
                reply.json({"versions": self.versions})
        elif request.is_watch:
            reply.begin()
            while (event := self.events[request.path].get(timeout=30)) is not None:
                reply.event(*event)
        else:
            reply.json(listed(self.objects[request.path]))

    def end(self):
        for events in self.events.values():
            for _ in range(3):
                events.put(None)


@pytest.fixture
def cluster():
    made = Cluster()
    yield made
    made.end()


class Told:
    def __init__(self):
        self.keys = queue.Queue()
        self.failures = queue.Queue()

    def expect(self, *wanted):
        """Wait until each of these was told at least once."""
        missing = set(wanted)
        while missing:
            missing.discard(self.keys.get(timeout=5))

    def controller(self, api):
        return ControllerFeeds(
            api,
            namespace="metal-system",
            config_name="config",
            on_service=self.keys.put,
            on_config=lambda: self.keys.put("config"),
            on_failure=self.failures.put,
        )

    def speaker(self, api):
        return SpeakerFeeds(
            api,
            namespace="metal-system",
            config_name="config",
            on_service=self.keys.put,
            on_config=lambda: self.keys.put("config"),
            on_nodes=lambda: self.keys.put("nodes"),
            on_lease=lambda old, new: self.keys.put((old and old.name, new and new.name)),
            on_failure=self.failures.put,
        )


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def told():
    yield (made := Told())
    assert made.failures.empty()


@pytest.fixture
def running():
    """Starts feeds and stops them after the test."""
    started = []

    def start(each):
        started.append(each)
        each.start()
        return each

    yield start
    for each in started:
        each.stop()


def test_a_controller_gets_services_and_the_configuration(serve, cluster, told, running):
    api, _ = serve(cluster)
    opened = running(told.controller(api))
    told.expect(WEB, "config")
    wait_for(opened.synced)
    assert [found.key for found in opened.services.all()] == [WEB]
    assert opened.services.get(WEB).resource_version == "1"
    assert opened.services.get(ServiceKey("default", "other")) is None
    assert opened.config_text() == "first"
    cluster.events["/api/v1/services"].put(("DELETED", service("web", "2")))
    cluster.events[CONFIG_MAPS].put(("DELETED", cluster.objects[CONFIG_MAPS][0]))
    told.expect(WEB, "config")
    assert opened.services.get(WEB) is None
    assert opened.config_text() is None


def test_a_speaker_gets_everything(serve, cluster, told, running):
    api, _ = serve(cluster)
    opened = running(told.speaker(api))
    told.expect(WEB, "config", "nodes", (None, "speaker-a"))
    wait_for(opened.synced)
    assert opened.endpoints() == {WEB: Endpoints(frozenset({"a", "b"}))}
    assert opened.nodes() == {"a": Node("a")}
    assert opened.config_text() == "first"
    for name, node in (("1", "a"), ("2", "b")):
        cluster.events[SLICES].put(("DELETED", endpoint_slice(name, node)))
    told.expect(WEB)
    wait_for(lambda: opened.endpoints() == {})


def test_a_speaker_reads_endpoints_where_there_are_no_slices_and_asks_until_it_knows(serve, told, running, monkeypatch):
    monkeypatch.setattr(feeds, "DISCOVERY_PAUSE", 0.02)
    cluster = Cluster(versions=["v1beta1"])
    for status in (503, 403):
        cluster.refusals.put(status)
    api, server = serve(cluster)
    opened = running(told.speaker(api))
    wait_for(opened.synced)
    assert opened.endpoints() == {WEB: Endpoints(frozenset({"old"}))}
    assert [request.path for request in server.requests].count("/apis/discovery.k8s.io") == 3
    cluster.end()


def test_silence_is_told_by_resource_while_the_watches_run(serve, cluster, told, running):
    api, _ = serve(cluster)
    opened = told.speaker(api)
    assert opened.silence() == {}
    running(opened)
    wait_for(opened.synced)
    silence = opened.silence()
    assert set(silence) == {"services", "endpoints", "nodes", "configmaps", "leases"}
    assert all(0 <= seconds < 5 for seconds in silence.values())
    opened.stop()
    assert opened.silence() == {}


def test_stopping_takes_about_a_second_and_ends_all_threads(serve, cluster, told, running):
    before = {thread for thread in threading.enumerate() if thread.name.startswith(("reflector", "discovery"))}
    api, _ = serve(cluster)
    opened = running(told.speaker(api))
    wait_for(opened.synced)
    began = time.monotonic()
    opened.stop()
    assert time.monotonic() - began < 1.5
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("reflector") and t not in before])


def test_stopping_before_the_endpoints_are_known_follows_nothing_afterwards(serve, cluster, told, monkeypatch):
    monkeypatch.setattr(feeds, "DISCOVERY_PAUSE", 0.02)
    for _ in range(1000):
        cluster.refusals.put(503)
    api, server = serve(cluster)
    opened = told.speaker(api)
    opened.start()
    wait_for(lambda: "/apis/discovery.k8s.io" in {request.path for request in server.requests})
    opened.stop()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "discovery"])
    assert not opened.synced()
    assert not {request.path for request in server.requests} & {SLICES, "/api/v1/endpoints"}

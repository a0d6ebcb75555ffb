"""The lab's kubelet, with real web servers in real namespaces."""

import os
import signal
from pathlib import Path

import pytest

from metallb_cli.lab.client import Client
from metallb_cli.lab.kubelet import Kubelet
from metallb_cli.lab.network import Lan
from tests.lab.waiting import until

pytestmark = pytest.mark.live


def pod(name, **metadata):
    return {
        "metadata": {"namespace": "t", "name": name, "uid": f"uid-{name}", **metadata},
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
    }


@pytest.fixture
def lan():
    made = Lan(1, name="mlbtest")
    made.client.namespace.add_route("10.244.1.0/24", via=str(made.nodes["node1"].address))
    yield made
    made.remove()


@pytest.fixture
def kubelet(lan, tmp_path):
    made = Kubelet(lan.nodes["node1"], tmp_path, lambda: None, {"METALLB_TEST": str(tmp_path)})
    yield made
    made.stop()
    assert web_servers(tmp_path) == []


def web_servers(mark):
    """Process ids of the web servers that were started with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"METALLB_TEST={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def ready(kubelet, name):
    return until(lambda: (state := kubelet.state(f"uid-{name}")) and state.ready and state, f"{name} being ready")


def test_each_pod_answers_with_its_name_on_its_own_address(lan, kubelet):
    kubelet.reconcile([pod("http-0"), pod("http-1")])
    client = Client(lan)
    for name, address in (("http-0", "10.244.1.2"), ("http-1", "10.244.1.3")):
        assert ready(kubelet, name).address == address
        assert client.get(f"http://{address}") == f"Hello from a container {name}"


def test_a_pod_that_is_gone_or_going_is_stopped_and_its_address_free_again(lan, kubelet):
    kubelet.reconcile([pod("http-0"), pod("http-1")])
    ready(kubelet, "http-0")
    kubelet.reconcile([pod("http-0", deletionTimestamp="2030-01-01T00:00:00Z"), pod("http-1")])
    assert kubelet.state("uid-http-0") is None
    with pytest.raises(OSError):
        Client(lan).get("http://10.244.1.2", timeout=0.3)
    kubelet.reconcile([pod("http-1"), pod("http-2")])
    assert ready(kubelet, "http-2").address == "10.244.1.2"


def test_a_web_server_that_dies_is_not_ready_and_is_started_again(kubelet, tmp_path):
    kubelet.reconcile([pod("http-0")])
    ready(kubelet, "http-0")
    [pid] = web_servers(tmp_path)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not kubelet.state("uid-http-0").ready, "the death being noticed")

    def again():
        kubelet.reconcile([pod("http-0")])
        return kubelet.state("uid-http-0").ready

    until(again, "the restart")
    assert kubelet.state("uid-http-0").restarts == 1


def test_without_power_nothing_runs_and_with_power_all_of_it_again(kubelet, tmp_path):
    kubelet.reconcile([pod("http-0")])
    ready(kubelet, "http-0")
    kubelet.power_off()
    assert web_servers(tmp_path) == []
    kubelet.reconcile([pod("http-0"), pod("http-1")])
    assert web_servers(tmp_path) == []
    assert not kubelet.state("uid-http-0").ready
    kubelet.power_on()

    def again():
        kubelet.reconcile([pod("http-0")])
        return kubelet.state("uid-http-0").ready

    until(again, "the restart")

"""The lab's service proxy and client, on a real LAN with real web servers."""

import socket

import pytest

from metallb_cli.errors import NetworkSetupError
from metallb_cli.lab import proxy as proxy_module
from metallb_cli.lab.client import Client, Prober
from metallb_cli.lab.kubelet import Kubelet
from metallb_cli.lab.network import Lan
from metallb_cli.lab.proxy import Proxy
from metallb_cli.lab.routing import Socket
from tests.lab.waiting import until

pytestmark = pytest.mark.live

VIP = "172.30.1.96"
URL = f"http://{VIP}"


def pod(name, uid=None, **metadata):
    return {
        "metadata": {"namespace": "t", "name": name, "uid": uid or f"uid-{name}", **metadata},
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
    }


@pytest.fixture
def lan():
    made = Lan(2, name="mlbtest")
    yield made
    made.remove()


@pytest.fixture
def kubelets(lan, tmp_path):
    made = {name: Kubelet(host, tmp_path, lambda: None, {}) for name, host in lan.nodes.items()}
    yield made
    for each in made.values():
        each.stop()


@pytest.fixture
def proxy(lan):
    made = Proxy({name: host.namespace for name, host in lan.nodes.items()})
    made.start()
    yield made
    made.stop()


@pytest.fixture
def client(lan):
    """Reaches the service address at node1, as if its speaker had answered."""
    lan.client.namespace.add_route(f"{VIP}/32", via=str(lan.nodes["node1"].address))
    return Client(lan)


@pytest.fixture
def backends(kubelets):
    """Two web servers, http-0 on node1 and http-1 on node2."""
    found = []
    for number, kubelet in enumerate(kubelets.values()):
        kubelet.reconcile([pod(f"http-{number}")])
    for number, kubelet in enumerate(kubelets.values()):
        uid = f"uid-http-{number}"
        until(lambda k=kubelet, u=uid: k.state(u).ready, f"http-{number} being ready")
        found.append(Socket(kubelet.state(uid).address, 80))
    return tuple(found)


def test_connections_go_to_the_endpoints_in_turn_also_on_another_node(proxy, client, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends})
    answers = [client.get(URL) for _ in range(4)]
    assert sorted(answers) == ["Hello from a container http-0"] * 2 + ["Hello from a container http-1"] * 2


def test_curl_gets_what_a_user_sees(proxy, client, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends[:1]})
    command, answer = client.curl(URL)
    assert command in (f"curl {URL}", f"GET {URL}")
    assert answer == "Hello from a container http-0"


def test_new_endpoints_are_used_from_the_next_connection_on(proxy, client, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends[:1]})
    assert client.get(URL).endswith("http-0")
    proxy.apply("node1", {Socket(VIP, 80): backends[1:]})
    assert client.get(URL).endswith("http-1")


def test_without_rule_the_address_is_gone(proxy, client, lan, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends})
    assert client.get(URL)
    proxy.apply("node1", {})
    with pytest.raises(OSError):
        client.get(URL, timeout=0.5)
    assert VIP not in lan.nodes["node1"].namespace.run(addresses_of_loopback)


def test_two_ports_of_one_address_come_and_go_independently(proxy, client, lan, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends, Socket(VIP, 81): backends[:1]})
    assert client.get(f"{URL}:81").endswith("http-0")
    proxy.apply("node1", {Socket(VIP, 80): backends})
    with pytest.raises(ConnectionRefusedError):
        client.get(f"{URL}:81")
    assert client.get(URL)


def test_a_dead_endpoint_ends_the_connection_and_not_the_proxy(proxy, client, kubelets, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends})
    kubelets["node2"].stop()
    answers = []
    for _ in range(4):
        try:
            answers.append(client.get(URL, timeout=4.0))
        except OSError:
            answers.append(None)
    assert answers.count(None) == 2
    assert answers.count("Hello from a container http-0") == 2


def test_more_connections_than_allowed_are_closed_at_once(proxy, client, lan, backends, monkeypatch):
    monkeypatch.setattr(proxy_module, "MAX_CONNECTIONS", 2)
    proxy.apply("node1", {Socket(VIP, 80): backends})
    held = [lan.client.namespace.run(socket.create_connection, (VIP, 80), 3) for _ in range(2)]
    try:
        with pytest.raises(OSError):
            client.get(URL)
    finally:
        for each in held:
            each.close()
    until(lambda: answer_or_none(client), "room for a new connection")


def answer_or_none(client):
    try:
        return client.get(URL)
    except OSError:
        return None


def test_a_port_that_cannot_be_listened_on_is_an_error_that_names_it(proxy, lan):
    rules = {Socket(VIP, 80): (Socket("10.244.1.2", 80),)}
    blocker = lan.nodes["node1"].namespace.run(socket.create_server, ("0.0.0.0", 80))
    try:
        with pytest.raises(NetworkSetupError, match=f"cannot listen on {VIP}:80"):
            proxy.apply("node1", rules)
    finally:
        blocker.close()
    proxy.apply("node1", rules)


def test_stopping_the_proxy_takes_the_addresses_back(proxy, lan, backends):
    proxy.apply("node2", {Socket(VIP, 80): backends})
    assert VIP in lan.nodes["node2"].namespace.run(addresses_of_loopback)
    proxy.stop()
    proxy.stop()
    assert VIP not in lan.nodes["node2"].namespace.run(addresses_of_loopback)


def addresses_of_loopback():
    """IPv4 addresses that the kernel takes for its own, in the calling thread's namespace."""
    with open("/proc/thread-self/net/fib_trie") as trie:
        lines = [line.strip() for line in trie]
    return {lines[i - 1].split()[-1] for i, line in enumerate(lines) if line.startswith("/32 host LOCAL")}


def test_the_prober_counts_answers_and_losses(proxy, client, backends):
    proxy.apply("node1", {Socket(VIP, 80): backends})
    prober = Prober(client, URL)
    prober.start()
    first = prober.wait_for_answer(0.0, 5.0)
    assert first is not None
    assert first.answer.startswith("Hello from a container http-")
    proxy.apply("node1", {})
    until(lambda: any(probe.answer is None for probe in prober.so_far()), "a lost probe")
    proxy.apply("node1", {Socket(VIP, 80): backends})
    lost = max(probe.started for probe in prober.so_far() if probe.answer is None)
    assert prober.wait_for_answer(lost, 5.0).started >= lost
    probes = prober.stop()
    assert [p.started for p in probes] == sorted(p.started for p in probes)
    assert {p.answer is None for p in probes} == {True, False}

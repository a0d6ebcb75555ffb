"""Speakers as processes on a LAN of network namespaces; the kernel of the client machine says who answers."""

import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from metallb_cli.election import ranking
from metallb_cli.lab.network import INTERFACE, Lan
from metallb_cli.model import parse_address
from tests.support.raw_api import MERGE
from tests.support.roles import until

pytestmark = [pytest.mark.slow, pytest.mark.live]

VIP = "172.30.1.96"
NODES = ("node1", "node2", "node3")
ORDER = ranking(parse_address(VIP), NODES)


@pytest.fixture
def lan():
    lan = Lan(3, name="mlbi")
    yield lan
    lan.remove()


@pytest.fixture
def speakers(site, lan):
    """Starts speakers on nodes that the API server knows.

    The one that the hash prefers comes first, so that it owns the address when the others come: they leave it there.
    """

    def start(*nodes, heartbeats=True):
        if heartbeats:
            site.give_key()
        for node in nodes:
            site.raw.post("/api/v1/nodes", {"metadata": {"name": node}})
        started = {}
        for node in sorted(nodes, key=ORDER.index):
            started[node] = site.start("speaker", "--node", node, "--netns", lan.nodes[node].namespace.reference)
            if len(started) == 1:
                started[node].ready()
        for role in started.values():
            role.ready()
        return started

    return start


def owner(lan, address=VIP):
    """The node whose MAC the client's kernel gets by asking now, or None when nobody answers within a second."""
    namespace = lan.client.namespace
    subprocess_flush(namespace)

    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (address, 9))

    namespace.run(ask)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        mac = namespace.neighbours(INTERFACE).get(address)
        if mac:
            return lan.node_of(mac)
        time.sleep(0.01)
    return None


def subprocess_flush(namespace):
    namespace.popen(["ip", "neigh", "flush", "dev", INTERFACE], stdout=subprocess.DEVNULL).wait(5)


def test_one_node_answers_and_it_is_the_one_that_the_hash_picks(site, lan, speakers):
    site.configure()
    running = speakers(*NODES)
    live = '{state="live"}'
    for role in running.values():
        until(
            lambda role=role: role.metric("metallb_speaker_peers").get(live) == 2, what="speakers that hear each other"
        )
    site.create("web", ip=VIP)
    site.serve("web", "node1", "node2")
    until(lambda: owner(lan) == ORDER[0], what="an answer from the elected node")
    winner = running[ORDER[0]]
    labels = f'{{ip="{VIP}",node="{ORDER[0]}",protocol="arp",service="{site.apps}/web"}}'
    until(lambda: normalised(winner.metric("metallb_speaker_announced")) == {labels: 1.0}, what="the gauge")
    until(lambda: winner.metric("metallb_layer2_responses_sent").get(f'{{ip="{VIP}"}}', 0) >= 1, what="a counted reply")
    until(lambda: any(reason == "nodeAssigned" for reason, _ in site.events("web")), what="nodeAssigned")


def normalised(samples):
    return {"{" + ",".join(sorted(re.findall(r'\w+="[^"]*"', labels))) + "}": v for labels, v in samples.items()}


@pytest.mark.parametrize("heartbeats", [True, False])
def test_a_killed_speaker_is_replaced_and_clients_learn_it(site, lan, speakers, heartbeats):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", *NODES)
    running = speakers(*NODES, heartbeats=heartbeats)
    until(lambda: owner(lan) == ORDER[0])
    running[ORDER[0]].kill()
    until(lambda: owner(lan) not in (ORDER[0], None), seconds=8, what="another node's answer")


def test_a_speaker_that_is_stopped_hands_over_at_once(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", *NODES)
    running = speakers(*NODES)
    until(lambda: owner(lan) == ORDER[0])
    started = time.monotonic()
    assert running[ORDER[0]].stop() == 0
    assert owner(lan) == ORDER[1]
    assert time.monotonic() - started < 2.0


def test_nobody_answers_without_a_ready_endpoint(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", "node1")
    speakers(*NODES)
    until(lambda: owner(lan) == ORDER[0])
    site.serve("web")
    until(lambda: owner(lan) is None, what="silence")


def test_local_traffic_policy_follows_the_endpoints(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP, externalTrafficPolicy="Local")
    site.serve("web", ORDER[2])
    speakers(*NODES)
    until(lambda: owner(lan) == ORDER[2], what="the node with the endpoint")
    site.serve("web", ORDER[1])
    until(lambda: owner(lan) == ORDER[1], what="the node that the endpoint moved to")


def test_a_node_without_network_or_excluded_by_label_is_passed_over(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", *NODES)
    speakers(*NODES)
    until(lambda: owner(lan) == ORDER[0])
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    site.raw.patch(f"/api/v1/nodes/{ORDER[0]}", {"metadata": {"labels": {label: ""}}}, MERGE).ok()
    until(lambda: owner(lan) == ORDER[1], what="the second node")
    condition = {"type": "NetworkUnavailable", "status": "True", "reason": "x", "message": "x"}
    site.raw.patch(f"/api/v1/nodes/{ORDER[1]}/status", {"status": {"conditions": [condition]}}, MERGE).ok()
    until(lambda: owner(lan) == ORDER[2], what="the third node")
    site.raw.patch(f"/api/v1/nodes/{ORDER[0]}", {"metadata": {"labels": {label: None}}}, MERGE).ok()
    # The address stays where it is: a node that may answer again takes nothing away.
    time.sleep(2.0)
    assert owner(lan) == ORDER[2]


def test_a_node_on_another_network_or_without_a_cable_is_passed_over(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", *NODES)
    speakers(*NODES)
    until(lambda: owner(lan) == ORDER[0])
    first, second = lan.nodes[ORDER[0]], lan.nodes[ORDER[1]]
    first.namespace.delete_address(INTERFACE, f"{first.address}/24")
    until(lambda: owner(lan) == ORDER[1], what="the second node, which is on the network")
    second.namespace.set_down(INTERFACE)
    until(lambda: owner(lan) == ORDER[2], what="the third node, which has an interface")
    time.sleep(2.0)  # what was taken over is strong now: after a shorter interruption the node has it back
    second.namespace.set_up(INTERFACE)
    time.sleep(2.0)
    assert owner(lan) == ORDER[2], "the address stays where it is"
    third = lan.nodes[ORDER[2]]
    third.namespace.delete_address(INTERFACE, f"{third.address}/24")
    until(lambda: owner(lan) == ORDER[1], what="the second node, the only one on the network now")
    second.namespace.delete_address(INTERFACE, f"{second.address}/24")
    time.sleep(2.0)
    assert owner(lan) == ORDER[1], "nobody is on the network any more, so that it makes no difference"


def test_deleting_or_changing_a_service_stops_the_answers(site, lan, speakers):
    site.configure()
    for name, address in (("web", VIP), ("api", "172.30.1.97"), ("moved", "172.30.1.98")):
        site.create(name, ip=address)
        site.serve(name, "node1")
    speakers("node1")
    until(lambda: owner(lan) == owner(lan, "172.30.1.97") == owner(lan, "172.30.1.98") == "node1")
    site.delete("web")
    site.patch("api", {"spec": {"type": "ClusterIP"}})
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.99"}]}}}
    site.raw.patch(site.service_path("moved") + "/status", status, MERGE).ok()
    until(lambda: owner(lan, "172.30.1.99") == "node1", what="the new address")
    assert [owner(lan, a) for a in (VIP, "172.30.1.97", "172.30.1.98")] == [None, None, None]


def test_a_link_process_that_dies_ends_the_speaker(site, lan, speakers):
    site.configure()
    running = speakers("node1")
    children = subprocess.run(
        ["pgrep", "-P", str(running["node1"].process.pid)], capture_output=True, text=True, timeout=5
    ).stdout.split()
    assert len(children) == 1
    subprocess.run(["kill", "-9", children[0]], check=True, timeout=5)
    assert running["node1"].process.wait(10) == 1
    assert "link process ended" in running["node1"].log


def test_the_process_with_the_token_has_no_capability_left(site, lan, speakers):
    site.configure()
    running = speakers("node1")
    pid = running["node1"].process.pid
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    assert len(threads) > 5
    for thread in threads:
        try:
            status = (thread / "status").read_text()
        except OSError:  # it has ended since
            continue
        assert int(re.search(r"CapEff:\s*(\S+)", status)[1], 16) == 0, status
        assert int(re.search(r"CapPrm:\s*(\S+)", status)[1], 16) == 0, status


def test_a_machine_that_claims_the_address_too_is_reported_with_its_mac(site, lan, speakers):
    site.configure()
    site.create("web", ip=VIP)
    site.serve("web", "node1")
    speakers("node1")
    until(lambda: owner(lan) == "node1")
    client = lan.client.namespace

    def claim():
        from scapy.layers.l2 import ARP, Ether

        mac = lan.client.mac.hex(":")
        frame = bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=mac, psrc=VIP, pdst=VIP))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((INTERFACE, 0x0806))
            s.send(frame)

    def reported():
        client.run(claim)
        return any(r == "AddressConflict" and lan.client.mac.hex(":") in m for r, m in site.events("web"))

    until(reported, 15, pause=0.3, what="AddressConflict")

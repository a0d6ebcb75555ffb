"""The NDP engine behind its packet socket, with the kernel of another namespace as the neighbour."""

import contextlib
import select
import socket
import subprocess
import threading
import time
from ipaddress import IPv6Address

import pytest

from metallb_cli.layer2.engine import Counts
from metallb_cli.layer2.ndp import UNSPECIFIED, Solicitation, encode_solicitation, group_mac, solicited_node
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.linux.driver import Driver
from metallb_cli.linux.ndp_groups import NeighbourGroups
from metallb_cli.linux.ndp_socket import NdpSocket
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange

pytestmark = pytest.mark.live

CLIENT_MAC, NODE_MAC, RIVAL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (9, 1, 7))
ADDRESS, OTHER, FOREIGN = (IPv6Address(f"fd00:9::{n}") for n in ("100", "200", "300"))
POOL = AddressRange(ADDRESS, IPv6Address("fd00:9::2ff"))


class Node:
    """Answers on one interface in a thread, as the link process does."""

    def __init__(self, name, mac):
        index = socket.if_nametoindex(name)
        self.groups = NeighbourGroups(index)
        self.groups.want([ADDRESS, OTHER])
        self.groups.advance()
        self.engine = NdpResponder(mac)
        self.engine.announce([ADDRESS, OTHER], time.monotonic())
        self.socket = NdpSocket(name, index, [POOL])
        self.driver = Driver(self.socket, self.engine)
        self._stop, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while True:
            deadline = self.engine.next_deadline()
            ready, *_ = select.select([self.socket, self._stop], [], [], max(0, deadline - time.monotonic()))
            if self._stop in ready:
                return
            now = time.monotonic()
            if ready:
                self.driver.receive(now)
            self.driver.tick(now)

    def close(self):
        self._wake.send(b"x")
        self._thread.join(5)
        for opened in (self._stop, self._wake, self.socket, self.groups):
            opened.close()


@pytest.fixture
def lan():
    with namespaces("mlbn", "client", "node") as (client, node):
        client.add_veth("c0", "n0", node, mac=CLIENT_MAC, peer_mac=NODE_MAC)
        client.set_sysctl("net/ipv6/neigh/c0/retrans_time_ms", 200)
        client.set_sysctl("net/ipv6/conf/c0/accept_dad", 0)
        client.set_up("c0")
        node.set_up("n0")
        client.add_address("c0", "fd00:9::1/64")
        yield client, node


@contextlib.contextmanager
def answering(node, name="n0", mac=NODE_MAC):
    made = node.run(Node, name, mac)
    try:
        yield made
    finally:
        made.close()
    assert made.driver.error is None


def knock(client, address):
    def send():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (str(address), 9))

    client.run(send)


def neighbour(client, address, *, becomes=None, wait=3.0):
    """The MAC in the client's cache, as soon as there is one (which is `becomes`); None when it never comes."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        mac = client.neighbours("c0").get(str(address))
        if mac is not None and becomes in (None, mac):
            return mac
        time.sleep(0.01)
    return None


def command(namespace, *argv):
    process = namespace.popen(list(argv), stdout=subprocess.PIPE, text=True)
    output = process.communicate(timeout=10)[0]
    assert process.returncode == 0
    return output


def test_the_kernel_of_a_neighbour_resolves_our_addresses_and_no_other(lan):
    client, node = lan
    with answering(node) as made:
        for address in (ADDRESS, OTHER, FOREIGN):
            knock(client, address)
        assert neighbour(client, ADDRESS) == NODE_MAC
        assert neighbour(client, OTHER) == NODE_MAC
        assert neighbour(client, FOREIGN, wait=0.5) is None
        assert sum(made.engine.drops.values()) == 0, "the filter let something foreign pass"


def test_a_unicast_reachability_probe_is_answered(lan):
    client, node = lan
    with answering(node):
        knock(client, ADDRESS)
        assert neighbour(client, ADDRESS) == NODE_MAC
        mac = NODE_MAC.hex(":")
        command(client, "ip", "neigh", "replace", str(ADDRESS), "lladdr", mac, "dev", "c0", "nud", "probe")
        for _ in range(200):
            state = command(client, "ip", "neigh", "show", str(ADDRESS), "dev", "c0")
            if "REACHABLE" in state:
                break
            time.sleep(0.01)
        assert "REACHABLE" in state


def test_a_host_that_wants_the_address_finds_it_taken(lan):
    client, node = lan
    with answering(node) as made:
        client.set_sysctl("net/ipv6/conf/c0/accept_dad", 1)
        command(client, "ip", "addr", "add", f"{ADDRESS}/64", "dev", "c0")
        for _ in range(300):
            state = command(client, "ip", "addr", "show", "dev", "c0", "to", str(ADDRESS))
            if "dadfailed" in state:
                break
            time.sleep(0.01)
        assert "dadfailed" in state
    assert made.engine.take_counts()[ADDRESS.packed].responses >= 1


def test_the_neighbours_learn_of_a_new_owner_at_once(lan):
    client, node = lan
    command(client, "ip", "neigh", "add", str(ADDRESS), "lladdr", RIVAL_MAC.hex(":"), "dev", "c0", "nud", "reachable")
    with answering(node):
        assert neighbour(client, ADDRESS, becomes=NODE_MAC, wait=1.0) == NODE_MAC


def test_on_a_bridge_and_on_a_macvlan_without_addresses(lan):
    client, node = lan
    node.add_bridge("br0")
    node.set_master("n0", "br0")
    node.set_up("br0")
    with answering(node, "br0", node.mac("br0")):
        knock(client, ADDRESS)
        assert neighbour(client, ADDRESS) == node.mac("br0")
    command(node, "ip", "link", "add", "mv0", "link", "br0", "type", "macvlan", "mode", "bridge")
    node.set_sysctl("net/ipv6/conf/mv0/addr_gen_mode", 1)
    node.set_up("mv0")
    with answering(node, "mv0", node.mac("mv0")):
        assert neighbour(client, ADDRESS, becomes=node.mac("mv0")) == node.mac("mv0")
        knock(client, OTHER)
        assert neighbour(client, OTHER) == node.mac("mv0")


def test_after_a_link_flap_solicitations_still_arrive(lan):
    client, node = lan
    with answering(node) as made:
        client.set_down("c0")
        client.set_up("c0")
        client.add_address("c0", "fd00:9::2/64")
        made.engine.take_counts()
        knock(client, ADDRESS)
        assert neighbour(client, ADDRESS) == NODE_MAC
        assert made.engine.take_counts()[ADDRESS.packed].responses >= 1


def test_a_frame_for_a_vlan_on_top_of_the_interface_is_not_ours(lan):
    client, node = lan
    group = solicited_node(ADDRESS.packed)
    probe = encode_solicitation(Solicitation(group_mac(group), CLIENT_MAC, UNSPECIFIED, group, ADDRESS.packed))
    with answering(node) as made:

        def send(*frames):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
                sock.bind(("c0", 0))
                for frame in frames:
                    sock.send(frame)

        client.run(send, probe[:12] + b"\x81\x00\x00\x05" + probe[12:], probe)
        for _ in range(200):
            counts = made.engine.take_counts().get(ADDRESS.packed, Counts(0, 0, 0))
            if counts.requests:
                break
            time.sleep(0.01)
        assert counts.requests == 1


def test_the_ranges_can_change_while_frames_come(lan):
    client, node = lan
    with answering(node) as made:
        made.engine.announce([ADDRESS, OTHER, FOREIGN], time.monotonic())
        node.run(made.groups.want, [ADDRESS, OTHER, FOREIGN])
        node.run(made.groups.advance)
        made.socket.set_ranges([AddressRange(FOREIGN, FOREIGN)])
        for address in (OTHER, FOREIGN):
            client.run(subprocess.run, ["ip", "neigh", "del", str(address), "dev", "c0"], stderr=subprocess.DEVNULL)
            knock(client, address)
        assert neighbour(client, FOREIGN) == NODE_MAC
        assert OTHER.packed not in {ip for ip, counts in made.engine.take_counts().items() if counts.responses}

"""The link process and the IPv6 neighbours that real kernels are, with both engines."""

import os
import signal
import socket
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.ndp import solicited_node
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange, Reason
from tests.support.wire import running_link

pytestmark = pytest.mark.live

VIP, OTHER = IPv6Address("2001:db8::10"), IPv6Address("2001:db8::11")
POOL = (AddressRange(IPv6Address("2001:db8::10"), IPv6Address("2001:db8::99")),)
MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:03"
HOST = "2001:db8::1"


class Wire:
    """The host's end of the cable: its kernel, and a packet socket beside it."""

    def __init__(self, node, host):
        self.node, self.host, self.generation = node, host, 0
        host.add_veth("lan0", "lan0", node, mac=bytes.fromhex("020000000003"), peer_mac=bytes.fromhex("020000000001"))
        for namespace in (host, node):
            namespace.set_sysctl("net.ipv6.conf.lan0.accept_dad", 0)
            namespace.set_sysctl("net.ipv6.conf.lan0.dad_transmits", 0)
        host.set_up("lan0")
        host.add_address("lan0", f"{HOST}/64")
        node.set_up("lan0")
        self.socket = host.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind(("lan0", 0x86DD))
        self.socket.settimeout(0.05)

    def announce(self, link, *addresses):
        self.generation += 1
        link.process.announce(AnnouncementSet(self.generation, addresses, POOL))
        link.wait(lambda link: link.state.generation == self.generation)

    def expect(self, wanted, timeout=3.0):
        """The next advertisement for which `wanted(frame)` holds, or None."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                frame = Ether(self.socket.recv(2048))
            except TimeoutError:
                continue
            if ICMPv6ND_NA in frame and wanted(frame):
                return frame
        return None

    def ask(self, target, *, destination=None, source=HOST, option=True, timeout=3.0):
        """Solicit, by multicast or to a MAC address; the answer that came to us, or None."""
        group = solicited_node(target.packed)
        mac = destination or "33:33:" + group[-4:].hex(":")
        to = str(target) if destination else str(IPv6Address(group))
        frame = Ether(src=HOST_MAC, dst=mac) / IPv6(src=source, dst=to, hlim=255) / ICMPv6ND_NS(tgt=str(target))
        if option:
            frame /= ICMPv6NDOptSrcLLAddr(lladdr=HOST_MAC)
        self.socket.send(bytes(frame))
        return self.expect(
            lambda f: f[ICMPv6ND_NA].tgt == str(target) and (source != "::") == f[ICMPv6ND_NA].S, timeout
        )


@pytest.fixture
def wire():
    with namespaces("mlb6", "node", "host") as (node, host):
        wire = Wire(node, host)
        yield wire
        wire.socket.close()


@pytest.fixture(params=["packet", "tc"])
def link(wire, request):
    with running_link(wire.node, l2_engine=request.param) as link:
        link.wait(lambda link: link.verdict("lan0") is Reason.USABLE)
        yield link


def test_a_neighbours_kernel_learns_our_mac(wire, link):
    wire.announce(link, VIP)

    def send():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", (str(VIP), 9))

    end = time.monotonic() + 5
    wire.host.run(send)
    while (found := wire.host.neighbours("lan0").get(str(VIP))) is None and time.monotonic() < end:
        time.sleep(0.02)
    assert found == bytes.fromhex("020000000001")


def test_a_new_address_is_told_to_everybody(wire, link):
    wire.announce(link, VIP)
    frame = wire.expect(lambda f: f.dst == "33:33:00:00:00:01")
    na = frame[ICMPv6ND_NA]
    assert (na.tgt, na.S, na.O, frame[IPv6].hlim) == (str(VIP), 0, 1, 255)


@pytest.mark.parametrize("option", [True, False])
def test_a_unicast_reachability_probe_is_answered(wire, link, option):
    wire.announce(link, VIP)
    answer = wire.ask(VIP, destination=MAC, option=option)
    assert (answer.src, answer.dst, answer[ICMPv6ND_NA].S) == (MAC, HOST_MAC, 1)


def test_duplicate_address_detection_is_told_that_the_address_is_taken(wire, link):
    wire.announce(link, VIP)
    answer = wire.ask(VIP, source="::", option=False)
    assert (answer.dst, answer[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")


def test_the_node_is_in_the_groups_of_what_it_answers_for_and_in_no_other(wire, link):
    group = solicited_node(VIP.packed).hex()

    def groups():
        return wire.node.run(Path("/proc/thread-self/net/igmp6").read_text).count(group)

    wire.announce(link, VIP)
    wait_until(lambda: groups() == 1)
    wire.announce(link, OTHER)
    wait_until(lambda: groups() == 0)


def wait_until(condition, timeout=3.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_withdrawn_address_is_silent_and_the_others_are_not(wire, link):
    wire.announce(link, VIP, OTHER)
    assert wire.ask(VIP) is not None
    wire.announce(link, OTHER)
    assert wire.ask(OTHER) is not None
    assert wire.ask(VIP, timeout=0.3) is None


def test_answers_are_counted_by_address(wire, link):
    wire.announce(link, VIP)
    for _ in range(3):
        assert wire.ask(VIP) is not None
    state = link.wait(lambda link: link.state.counters.get(VIP) and link.state.counters[VIP].responses >= 3)
    assert state.counters[VIP].gratuitous >= 1


def test_a_process_that_stands_still_answers_for_one_second_at_most(wire, link):
    wire.announce(link, VIP)
    assert wire.ask(VIP) is not None
    os.kill(link.process.pid, signal.SIGSTOP)
    try:
        time.sleep(1.1)
        assert wire.ask(VIP, timeout=0.3) is None
    finally:
        os.kill(link.process.pid, signal.SIGCONT)
    assert wire.ask(VIP) is not None

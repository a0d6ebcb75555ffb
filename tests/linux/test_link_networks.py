"""The link process on interfaces with different IP networks, with the kernels of other namespaces as neighbours."""

import contextlib
import socket
import subprocess
import time
from ipaddress import ip_address, ip_network

import pytest

from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange, Reason
from tests.support.wire import Tap, running_link, wait_for_neighbour

pytestmark = pytest.mark.live

VIPS = tuple(map(ip_address, ("10.1.0.100", "10.2.0.100", "2001:db8:1::100", "2001:db8:2::100")))
FIRST, SECOND, FIRST6, SECOND6 = VIPS
ROUTED = ip_address("192.0.2.100")
ENGINES = pytest.mark.parametrize("link", ["packet", "tc"], indirect=True)


class Lans:
    """A node with an interface on each of two LANs, `lan1` and `lan2`, and a host on each."""

    def __init__(self, node, *hosts):
        self.node, self.hosts = node, dict(enumerate(hosts, 1))
        self.generation = 0
        self.taps = {}
        for number, host in self.hosts.items():
            name = f"lan{number}"
            host.add_veth("lan", name, node)
            for namespace, interface in ((host, "lan"), (node, name)):
                namespace.set_sysctl(f"net.ipv6.conf.{interface}.accept_dad", 0)
            host.set_up("lan")
            host.add_address("lan", f"10.{number}.0.1/24")
            host.add_address("lan", f"2001:db8:{number}::1/64")
            node.set_up(name)
            self.taps[number] = Tap(host, "lan")

    def close(self):
        for tap in self.taps.values():
            tap.close()

    def address(self, number, name=None):
        """Give the node an address of each family on a LAN."""
        self.node.add_address(name or f"lan{number}", f"10.{number}.0.2/24")
        self.node.add_address(name or f"lan{number}", f"2001:db8:{number}::2/64")

    def announce(self, link, *addresses):
        self.generation += 1
        ranges = tuple(AddressRange(address, address) for address in addresses)
        link.process.announce(AnnouncementSet(self.generation, addresses, ranges))
        link.wait(lambda link: link.state.generation == self.generation)

    def resolves(self, number, address, mac, timeout=3.0):
        """Whether the kernel of a host, asked to send to the address, finds it at this MAC address."""
        host = self.hosts[number]

        def send():
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (str(address), 9))

        host.run(send)
        return wait_for_neighbour(host, "lan", str(address), mac, timeout) == mac

    def answers(self, number, address, timeout=3.0):
        """The MAC address in the answer to an ARP request on a LAN, or None."""
        frame = self.taps[number].ask(address, timeout=timeout)
        return None if frame is None else frame.sender_mac


@pytest.fixture
def lans():
    with namespaces("mlbn", "node", "one", "two") as (node, one, two):
        lans = Lans(node, one, two)
        with contextlib.closing(lans):
            yield lans


@pytest.fixture
def link(lans, request):
    with running_link(lans.node, l2_engine=getattr(request, "param", "packet")) as link:
        link.wait(lambda link: link.verdict("lan1") is link.verdict("lan2") is Reason.USABLE)
        yield link


def on(link, name, *networks):
    """Wait until the link process reports these networks of an interface."""
    wanted = tuple(map(ip_network, networks))
    link.wait(lambda link: any(i.name == name and i.networks == wanted for i in link.state.interfaces))


def both(number):
    return f"10.{number}.0.0/24", f"2001:db8:{number}::/64"


def add_link(namespace, *arguments):
    """Have iproute2 make an interface.

    A kernel without such interfaces is no missing right or program, so the test is expected to fail there, not skipped.
    """
    with namespace.popen(["ip", "link", "add", *arguments], stderr=subprocess.PIPE, text=True) as process:
        _, said = process.communicate(timeout=10)
    if "Unknown device type" in said or "not supported" in said:
        pytest.xfail(f"this kernel has no such interface: ip link add {' '.join(arguments)}")
    assert process.returncode == 0, said


@ENGINES
def test_an_address_is_answered_for_on_its_network_only(lans, link):
    for number in (1, 2):
        lans.address(number)
        on(link, f"lan{number}", *both(number))
    lans.announce(link, *VIPS)
    assert lans.resolves(1, FIRST, lans.node.mac("lan1"))
    assert lans.resolves(1, FIRST6, lans.node.mac("lan1"))
    assert lans.resolves(2, SECOND, lans.node.mac("lan2"))
    assert lans.resolves(2, SECOND6, lans.node.mac("lan2"))
    assert lans.answers(2, FIRST, timeout=0.3) is None
    assert lans.answers(1, SECOND, timeout=0.3) is None
    lans.hosts[2].add_route("2001:db8:1::/64", device="lan")
    assert not lans.resolves(2, FIRST6, lans.node.mac("lan2"), timeout=0.5)
    assert link.state.announced == VIPS


@ENGINES
def test_an_address_of_no_network_is_answered_for_everywhere(lans, link):
    lans.address(1)
    lans.address(2)
    on(link, "lan2", *both(2))
    lans.announce(link, ROUTED)
    assert lans.answers(1, ROUTED) == lans.node.mac("lan1")
    assert lans.answers(2, ROUTED) == lans.node.mac("lan2")


@ENGINES
def test_interfaces_without_an_ip_address_answer_for_everything(lans, link):
    lans.announce(link, *VIPS)
    for number, four, six in ((1, FIRST, FIRST6), (2, SECOND, SECOND6)):
        assert lans.resolves(number, four, lans.node.mac(f"lan{number}"))
        assert lans.resolves(number, six, lans.node.mac(f"lan{number}"))
    assert lans.answers(2, FIRST) == lans.node.mac("lan2")


@ENGINES
def test_an_ip_address_that_comes_later_brings_the_announcement_at_once(lans, link):
    lans.address(1)
    on(link, "lan1", *both(1))
    lans.announce(link, FIRST, FIRST6)
    assert lans.answers(2, FIRST, timeout=0.3) is None
    lans.taps[2].drain()
    lans.node.add_address("lan2", "10.1.0.3/16")
    began = time.monotonic()
    assert lans.taps[2].gratuitous(FIRST).sender_mac == lans.node.mac("lan2")
    assert time.monotonic() - began < 1.0
    assert lans.answers(2, FIRST) == lans.node.mac("lan2")
    assert lans.answers(1, FIRST) == lans.node.mac("lan1")
    lans.node.delete_address("lan2", "10.1.0.3/16")
    on(link, "lan2")
    assert lans.answers(2, FIRST, timeout=0.3) is None
    assert lans.answers(1, FIRST) == lans.node.mac("lan1")


@ENGINES
def test_the_last_ip_address_that_goes_gives_the_announcement_back_to_all(lans, link):
    lans.address(1)
    on(link, "lan1", *both(1))
    lans.announce(link, FIRST, FIRST6)
    assert lans.answers(2, FIRST, timeout=0.3) is None
    lans.node.delete_address("lan1", "10.1.0.2/24")
    assert lans.taps[2].gratuitous(FIRST) is not None
    assert lans.answers(2, FIRST) == lans.node.mac("lan2")
    assert lans.answers(1, FIRST) == lans.node.mac("lan1")


def test_after_a_link_flap_the_addresses_are_where_they_were(lans, link):
    lans.address(1)
    lans.address(2)
    on(link, "lan2", *both(2))
    lans.announce(link, *VIPS)
    for _ in range(3):
        lans.node.set_down("lan1")
        link.wait(lambda link: link.verdict("lan1") is Reason.INTERFACE_DOWN)
        lans.node.set_up("lan1")
        link.wait(lambda link: link.verdict("lan1") is Reason.USABLE)
    lans.node.add_address("lan1", "2001:db8:1::2/64")  # the kernel took it away with the link
    on(link, "lan1", *both(1))
    assert lans.resolves(1, FIRST, lans.node.mac("lan1"))
    assert lans.resolves(1, FIRST6, lans.node.mac("lan1"))
    lans.taps[2].drain()
    assert lans.answers(2, FIRST, timeout=0.3) is None
    assert lans.answers(2, SECOND) == lans.node.mac("lan2")


@ENGINES
@pytest.mark.parametrize("addressed", [True, False], ids=["with-address", "without-address"])
def test_a_bridge_answers_in_place_of_its_port(lans, link, addressed):
    lans.node.add_bridge("br0")
    lans.node.set_sysctl("net.ipv6.conf.br0.accept_dad", 0)
    lans.node.set_master("lan1", "br0")
    lans.node.set_up("br0")
    if addressed:
        lans.address(1, "br0")
        on(link, "br0", *both(1))
    link.wait(lambda link: link.verdict("br0") is Reason.USABLE)
    (port,) = [i for i in link.state.interfaces if i.name == "lan1"]
    assert (port.verdict, port.master) == (Reason.INTERFACE_ENSLAVED, "br0")
    lans.announce(link, FIRST, FIRST6)
    assert lans.resolves(1, FIRST, lans.node.mac("br0"))
    assert lans.resolves(1, FIRST6, lans.node.mac("br0"))
    assert (lans.answers(2, FIRST, timeout=0.3) is None) == addressed


@ENGINES
@pytest.mark.parametrize("addressed", [True, False], ids=["with-address", "without-address"])
def test_a_macvlan_answers_with_its_own_mac_address(lans, link, addressed):
    add_link(lans.node, "mv0", "link", "lan1", "type", "macvlan", "mode", "bridge")
    lans.node.set_sysctl("net.ipv6.conf.mv0.accept_dad", 0)
    lans.node.set_up("mv0")
    link.wait(lambda link: link.verdict("mv0") is Reason.USABLE)
    if addressed:
        lans.address(1, "mv0")
        on(link, "mv0", *both(1))
    lans.announce(link, FIRST, FIRST6)
    if addressed:
        assert lans.resolves(1, FIRST, lans.node.mac("mv0"))
        assert lans.resolves(1, FIRST6, lans.node.mac("mv0"))
    found = {lans.answers(1, FIRST)}
    while frame := lans.taps[1].expect(lambda f: f.destination == lans.taps[1].mac, timeout=0.3):
        found.add(frame.sender_mac)
    # With an IP address it is the macvlan's alone. Without, both may; the kernel's programs on lan1 come first.
    assert found <= {lans.node.mac("mv0")} | (set() if addressed else {lans.node.mac("lan1")})


@ENGINES
def test_a_vlan_without_an_ip_address_answers(lans, link):
    host = lans.hosts[1]
    add_link(lans.node, "link", "lan1", "name", "lan1.50", "type", "vlan", "id", "50")
    add_link(host, "link", "lan", "name", "lan.50", "type", "vlan", "id", "50")
    lans.node.set_up("lan1.50")
    host.set_up("lan.50")
    link.wait(lambda link: link.verdict("lan1.50") is Reason.USABLE)
    lans.announce(link, ROUTED)
    with contextlib.closing(Tap(host, "lan.50")) as tap:
        assert tap.ask(ROUTED).sender_mac == lans.node.mac("lan1.50")

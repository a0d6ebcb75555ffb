"""The lab's LAN, with real namespaces."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv4Network

import pytest

from metallb_cli.errors import UsageError
from metallb_cli.lab.network import LANS, Lan, choose_lan
from metallb_cli.model import AddressRange


def ranges(*texts):
    return [AddressRange.of_network(IPv4Network(text)) for text in texts]


def test_the_lan_is_the_network_of_the_example():
    assert choose_lan(ranges("172.30.1.96/28"), 20) == IPv4Network("172.30.1.0/24")


def test_the_lan_moves_where_a_pool_claims_an_address_of_its_machines():
    assert choose_lan(ranges("172.30.1.0/27"), 3) == LANS[1]
    assert choose_lan(ranges("172.30.1.200/32"), 3) == LANS[1]
    assert choose_lan(ranges("172.30.1.20/30"), 3) == LANS[0]
    assert choose_lan(ranges("172.30.0.0/16"), 3) == LANS[2]


def test_pools_that_leave_no_room_are_refused_with_the_addresses_the_lab_needs():
    with pytest.raises(UsageError, match=r"\.11 to \.13 and \.200"):
        choose_lan(ranges("172.0.0.0/8", "198.18.0.0/15"), 3)


@pytest.mark.parametrize("nodes", [0, 21, -1])
def test_an_impossible_number_of_nodes_is_refused(nodes):
    with pytest.raises(UsageError, match="1 to 20 nodes"):
        Lan(nodes)


@pytest.fixture
def lan():
    made = Lan(2, ranges=ranges("172.30.1.96/28", "10.99.0.0/30"), name="mlbtest")
    yield made
    made.remove()


def inside(host, *command):
    process = host.namespace.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out, _ = process.communicate(timeout=20)
    return process.returncode, out


@pytest.mark.live
def test_the_client_reaches_the_nodes_and_the_nodes_each_other(lan):
    two = lan.nodes["node2"]
    for host in (lan.client, lan.nodes["node1"]):
        connected = host.namespace.run(_connects, two)
        assert connected, f"{host.name} does not reach node2"


def _connects(target):
    """TCP from the calling thread's namespace to the target's address; refused is an answer too."""
    with socket.socket() as sock:
        sock.settimeout(3)
        try:
            sock.connect((str(target.address), 9))
        except ConnectionRefusedError:
            return True
    return False


@pytest.mark.live
def test_hosts_have_the_addresses_of_the_example_and_recognisable_macs(lan):
    assert lan.nodes["node1"].address == IPv4Address("172.30.1.11")
    assert lan.client.address == IPv4Address("172.30.1.200")
    assert lan.nodes["node2"].namespace.mac("eth0") == lan.nodes["node2"].mac
    assert lan.node_of(lan.nodes["node2"].mac) == "node2"
    assert lan.node_of(lan.client.mac) is None


@pytest.mark.live
def test_a_pod_address_is_reached_through_its_node(lan):
    one, two = lan.nodes.values()
    pod = two.pod_network[2]
    two.namespace.add_address("lo", f"{pod}/32")
    _, out = inside(one, "ip", "route", "get", str(pod))
    assert f"via {two.address} dev eth0" in out


@pytest.mark.live
def test_a_nodes_kernel_answers_arp_for_its_own_address_and_for_no_service_address(lan):
    one = lan.nodes["node1"]
    one.namespace.add_address("lo", "172.30.1.96/32")
    for address in ("172.30.1.96", str(one.address)):
        lan.client.namespace.run(_send_datagram, address)
    wait_for_neighbour(lan, str(one.address))
    assert "172.30.1.96" not in lan.client.namespace.neighbours("eth0")


def _send_datagram(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (address, 9))


def wait_for_neighbour(lan, address):
    deadline = time.monotonic() + 5
    while address not in lan.client.namespace.neighbours("eth0"):
        assert time.monotonic() < deadline, f"no ARP answer for {address}"
        time.sleep(0.02)


@pytest.mark.live
def test_the_client_has_addresses_of_a_pool_outside_the_lan_on_its_link(lan):
    _, out = inside(lan.client, "ip", "route", "get", "10.99.0.2")
    assert "dev eth0" in out
    assert "via" not in out


@pytest.mark.live
def test_an_unplugged_node_has_no_carrier_until_it_is_plugged_in(lan):
    def carrier():
        return lan.nodes["node1"].namespace.run(_read_carrier)

    assert carrier() == "1"
    lan.unplug("node1")
    assert carrier() == "0"
    lan.plug_in("node1")
    assert carrier() == "1"


def _read_carrier():
    """/sys shows the links of the namespace that mounted it, so ask the kernel of this thread's by ioctl."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14s", b"eth0", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(sock, 0x8913, request))[1]
    return "1" if flags & 0x40 else "0"  # IFF_RUNNING


def namespaces_of_this_process():
    """Network namespaces that a file descriptor of this process holds."""
    held = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith("net:"):
            held.add(target)
    return held


@pytest.mark.live
def test_removing_the_lan_leaves_nothing_and_can_be_done_twice():
    before = namespaces_of_this_process()
    links = os.listdir("/sys/class/net")
    lan = Lan(2, name="mlbtest")
    assert len(namespaces_of_this_process()) == len(before) + 4
    lan.remove()
    lan.remove()
    assert namespaces_of_this_process() == before
    assert os.listdir("/sys/class/net") == links


SHORT_OF_FILES = """
import os, resource
from metallb_cli.lab.network import Lan
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
Lan(1).remove()
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 12, limits[1]))
try:
    Lan(20)
    error = "none"
except OSError as caught:
    error = caught.strerror
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
links = []
for fd in os.listdir("/proc/self/fd"):
    if os.path.exists(f"/proc/self/fd/{fd}"):
        links.append(os.readlink(f"/proc/self/fd/{fd}"))
print(error, [link for link in links if link.startswith("net:")])
"""


@pytest.mark.live
def test_a_lan_that_fails_half_way_leaves_nothing():
    command = [sys.executable, "-W", "ignore", "-c", SHORT_OF_FILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "Too many open files []", done.stderr[-800:]

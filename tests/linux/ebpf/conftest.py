"""A LAN of two network namespaces for the tests of the tc engine."""

import contextlib
import ctypes
import os
import select
import socket
import struct
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from metallb_cli.layer2 import arp
from metallb_cli.layer2.ndp import Solicitation, encode_solicitation, group_mac, solicited_node
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.support import supported
from metallb_cli.linux.netns import namespaces

CLIENT_MAC = bytes.fromhex("020000000009")
NODE_MAC = bytes.fromhex("020000000001")
OURS = [ip_address(text) for text in ("10.9.1.1", "10.9.1.2", "fd00:9::100", "fd00:9::200")]


@pytest.fixture(autouse=True)
def _right_to_bpf(request):
    if request.node.get_closest_marker("live") and (reason := supported()):
        pytest.skip(f"bpf(2): {reason}")


class Lan:
    """`client` and `node`, joined by the links c0 and n0."""

    def __init__(self, client, node):
        self.client, self.node = client, node
        client.add_veth("c0", "n0", node, mac=CLIENT_MAC, peer_mac=NODE_MAC)
        for name in ("ipv4/neigh/c0/retrans_time_ms", "ipv6/neigh/c0/retrans_time_ms"):
            client.set_sysctl(f"net/{name}", 100)
        client.set_sysctl("net/ipv6/conf/c0/accept_dad", 0)  # its link-local address can be used at once
        client.set_up("c0")
        node.set_up("n0")
        client.add_address("c0", "10.9.0.1/16")
        client.add_address("c0", "fd00:9::1/64")

    def index(self, name="n0"):
        return self.node.run(socket.if_nametoindex, name)

    def resolve(self, address):
        """What the client's kernel finds as the MAC of an address, within 2 s; None when nobody answers."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def knock():
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", (address, 9))

        with contextlib.suppress(OSError):
            self.client.run(knock)
        for _ in range(200):
            mac = self.client.neighbours("c0").get(address)
            if mac is not None:
                return mac
            time.sleep(0.01)
        return None

    def ask(self, frame, wait=0.02):
        """Send a frame from the client; return the one answer, or nothing."""
        with self.socket() as sock:
            return exchange(sock, frame, wait)

    def socket(self):
        """A raw socket at the client's end."""

        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.bind(("c0", 3))
            return sock

        return self.client.run(make)


def exchange(sock, frame, wait):
    """Send; return the one answer. veth delivers it within the call of `send`, so that the wait is a formality."""
    sock.settimeout(wait)
    sock.send(frame)
    with contextlib.suppress(TimeoutError):
        while True:
            answer, (*_, packet_type, _, _) = sock.recvfrom(2048)
            if packet_type != socket.PACKET_OUTGOING and answer[:6] in (CLIENT_MAC, b"\x33\x33\0\0\0\1"):
                return [answer]
    return []


@pytest.fixture
def lan():
    with namespaces("mlbn", "client", "node") as (client, node):
        yield Lan(client, node)


def skb_context(index):
    """`struct __sk_buff` with only the interface set."""
    return struct.pack("=40xI", index)


def question(address):
    if isinstance(address, IPv4Address):
        return arp.request(CLIENT_MAC, IPv4Address("10.9.0.1").packed, address.packed)
    group, asker = solicited_node(address.packed), IPv6Address("fd00:9::1").packed
    return encode_solicitation(Solicitation(group_mac(group), CLIENT_MAC, asker, group, address.packed, CLIENT_MAC))


def answered(lan, *addresses):
    """Which of the addresses somebody answers for."""
    return [address for address in addresses or OURS if lan.ask(question(address))]


def asking(lan, address, seconds):
    """Ask as fast as possible; for each question when it was sent at the earliest and the latest, and if answered."""
    frame = question(address)
    log = []
    with lan.socket() as sock:
        sock.setblocking(False)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = time.monotonic()
            sock.send(frame)
            after = time.monotonic()
            replied = False
            for _ in range(10):
                if not select.select([sock], [], [], 0)[0]:
                    break
                replied |= sock.recv(2048)[:6] == CLIENT_MAC
            log.append((before, after, replied))
    return log


def check(log, deadline, slack=0.02):
    """Answered as long as the lease lasts, and never afterwards.

    veth hands a question over, and the answer back, within the call of `send`. `slack`: by how much the stored deadline
    may be early, should the process be interrupted while it compares the clocks.
    """
    assert log[0][0] < deadline - slack, "the machine is too slow to ask before the deadline"
    assert log[-1][0] > deadline
    assert all(replied for _, after, replied in log if after < deadline - slack)
    assert not any(replied for before, _, replied in log if before > deadline)


def attached_ids(lan):
    """Numbers of the tcx programs on the node's interface, first to last (BPF_PROG_QUERY)."""
    found = ctypes.create_string_buffer(4 * 16)
    query = struct.pack(
        "=4IQ2I5Q", lan.index(), syscalls.ATTACH_TCX_INGRESS, 0, 0, ctypes.addressof(found), 16, *[0] * 6
    )
    result, answer = lan.node.run(syscalls._call, 16, query)
    assert result == 0, os.strerror(-result)
    (count,) = struct.unpack_from("=I", answer, 24)
    return struct.unpack_from(f"={count}I", found)


def attached(lan):
    """The names of these programs (struct bpf_prog_info)."""
    names = []
    for program in attached_ids(lan):
        fd, _ = syscalls._call(13, struct.pack("=3I", program, 0, 0))  # BPF_PROG_GET_FD_BY_ID
        names.append(syscalls._info(fd, 80)[64:].rstrip(b"\0").decode())
        os.close(fd)
    return names


def wait_until_attached(lan, *names):
    """The kernel detaches in the background, when the last reference is gone."""
    for _ in range(300):
        if sorted(attached(lan)) == sorted(names):
            return
        time.sleep(0.01)
    assert sorted(attached(lan)) == sorted(names)

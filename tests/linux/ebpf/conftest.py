"""A LAN of two network namespaces for the tests of the tc engine."""

import contextlib
import socket
import struct
import time

import pytest

from metallb_cli.linux.ebpf.support import supported
from metallb_cli.linux.netns import namespaces

CLIENT_MAC = bytes.fromhex("020000000009")
NODE_MAC = bytes.fromhex("020000000001")


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

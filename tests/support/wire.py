"""Real cables between network namespaces, for live tests: see what is on the wire, ask, and wait for what must come."""

import contextlib
import select
import socket
import threading
import time
from ipaddress import IPv4Address

from metallb_cli.layer2 import arp
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.model import LinkState

ETHERTYPE_ARP = 0x0806
SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>: beyond net.core.rmem_max, which holds some 270 small frames
RTMGRP_NEIGH = 4


class Tap:
    """Sees the ARP frames that come to an interface, and sends frames from it."""

    def __init__(self, namespace, name):
        self.mac = namespace.mac(name)
        self._socket = namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
        with contextlib.suppress(PermissionError):  # root of a user namespace has to do with less
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self._socket.bind((name, ETHERTYPE_ARP))

    def close(self):
        self._socket.close()

    def send(self, frame):
        self._socket.send(frame)

    def expect(self, wanted, timeout=3.0):
        """The next frame for which `wanted` holds, or None when none comes in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                break
            frame = arp.parse(self._socket.recv(2048))
            if frame is not None and wanted(frame):
                return frame
        return None

    def ask(self, target, sender="192.0.2.250", timeout=3.0):
        """Ask who has an address: the answer, or None."""
        ip = IPv4Address(target).packed
        self.send(arp.request(self.mac, IPv4Address(sender).packed, ip))
        return self.expect(
            lambda f: f.operation == arp.REPLY and f.sender_ip == ip and f.destination == self.mac, timeout
        )

    def gratuitous(self, address, operation=arp.REQUEST, timeout=3.0):
        """The next gratuitous frame for an address, or None."""
        ip = IPv4Address(address).packed
        return self.expect(
            lambda f: (f.operation, f.sender_ip, f.target_ip, f.destination) == (operation, ip, ip, arp.BROADCAST),
            timeout,
        )

    def drain(self):
        """Forget the frames that came so far."""
        while self.expect(lambda frame: True, timeout=0.001):
            pass


def send_datagram(namespace, address):
    """Have the namespace's kernel send something to an address, for which it must find a neighbour."""

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (address, 9))

    namespace.run(send)


def wait_for_neighbour(namespace, name, address, mac, timeout=3.0):
    """Wait until the kernel believes that the address has this MAC. Returns what it believes at the end."""
    deadline = time.monotonic() + timeout
    with namespace.run(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
        events.bind((0, RTMGRP_NEIGH))
        while (found := namespace.neighbours(name).get(address)) != mac:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([events], [], [], left)[0]:
                break
            events.recv(1 << 16)
    return found


class Link:
    """A link process and what it reported."""

    def __init__(self, namespace, **options):
        self.state = LinkState()
        self.peers = {}
        self.claims = []
        self.exit_code = None
        self._changed = threading.Condition()
        self.process = LinkProcess(
            namespace.reference,
            on_state=self._on_state,
            on_exit=self._on_exit,
            on_peers=self._on_peers,
            on_claims=self._on_claims,
            log_level="error",
            **options,
        )

    def _on_state(self, state):
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _on_peers(self, report):
        with self._changed:
            self.peers = {peer.node: peer for peer in report.peers}
            self._changed.notify_all()

    def _on_claims(self, claims):
        with self._changed:
            self.claims.append(claims)
            self._changed.notify_all()

    def _on_exit(self, code):
        with self._changed:
            self.exit_code = code
            self._changed.notify_all()

    def wait(self, condition, timeout=5.0):
        """Wait until the condition holds of this object; fail when it never does."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout), f"{self.state}, exit {self.exit_code}"
        return self.state

    def verdict(self, name):
        return next((interface.verdict for interface in self.state.interfaces if interface.name == name), None)


@contextlib.contextmanager
def running_link(namespace, **options):
    """A started link process in the namespace, ended and reaped afterwards."""
    link = Link(namespace, **options)
    link.process.start()
    try:
        yield link
    finally:
        link.process.stop()

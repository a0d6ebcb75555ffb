"""Which network interfaces there are, and which of them we answer on; the kernel tells every change (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from metallb_cli.errors import UsageError
from metallb_cli.linux.networks import Networks, decode_addresses, read_addresses
from metallb_cli.linux.rtnetlink import attributes, dump, messages
from metallb_cli.model import IPNetwork, Reason

DEFAULT_EXCLUDE = (
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
)
"""MetalLB's list: interfaces that container networks make, whose neighbours are pods and not the LAN."""

MAX_PENDING = 1 << 14
"""Events that are thrown away at once: more than the kernel keeps in the 1 MiB that is asked for."""

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_EXT_MASK, _IFLA_CARRIER_CHANGES = 1, 3, 10, 29, 35
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_IFF_UP, _IFF_BROADCAST, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_NOARP = 0x1, 0x2, 0x8, 0x40, 0x80
_IFF_LOWER_UP, _IFF_DORMANT = 0x10000, 0x20000
_ARPHRD_ETHER = 1

_LINK_INFO = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel describes it.

    Attributes:
        kind: ARPHRD_*.
        flags: IFF_*.
        master: index of the bridge or bond that it is a port of, or 0.
        carrier_changes: grows when a cable is plugged or pulled. The kernel may tell of a short interruption only so.
        networks: of its IP addresses, sorted; without single hosts, loopback and link-local networks.
    """

    index: int
    name: str
    kind: int
    flags: int
    mac: bytes
    master: int = 0
    carrier_changes: int = 0
    networks: tuple[IPNetwork, ...] = ()

    def replugged(self, before: Link) -> bool:
        """Whether neighbours must be told again: the cable was out, or the link only now transmits.

        The kernel shows the carrier at once, but lets frames out up to a second later: when it sets IFF_RUNNING.
        """
        return self.carrier_changes != before.carrier_changes or bool(self.flags & ~before.flags & _IFF_RUNNING)


@dataclass(frozen=True, slots=True)
class Gone:
    """The interface of this index was deleted."""

    index: int


class Excluded:
    """Matches the names of interfaces to keep away from.

    Args:
        patterns: regular expressions; one that is found anywhere in the name excludes it.

    Raises:
        UsageError: one is no regular expression.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_EXCLUDE) -> None:
        self._patterns = []
        for pattern in patterns:
            try:
                self._patterns.append(re.compile(pattern))
            except re.error as error:
                raise UsageError(f"interface pattern {pattern!r} is no regular expression: {error}") from error

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(pattern.search(name) for pattern in self._patterns)


def judge(link: Link, excluded: Excluded) -> Reason:
    """Say whether we answer on an interface: Reason.USABLE, or the first reason why not. It needs no IP address."""
    if link.flags & _IFF_LOOPBACK:
        return Reason.INTERFACE_LOOPBACK
    if link.name in excluded:
        return Reason.INTERFACE_EXCLUDED
    if link.kind != _ARPHRD_ETHER or len(link.mac) != 6 or not link.flags & _IFF_BROADCAST:
        return Reason.INTERFACE_NOT_ETHERNET
    if link.flags & _IFF_NOARP:
        return Reason.INTERFACE_NO_ARP
    if link.master:  # a port of a bridge or bond: the bridge itself answers, once
        return Reason.INTERFACE_ENSLAVED
    if not link.flags & _IFF_UP:
        return Reason.INTERFACE_DOWN
    if not link.flags & _IFF_LOWER_UP or link.flags & _IFF_DORMANT:
        return Reason.INTERFACE_NO_CARRIER
    return Reason.USABLE


class LinkWatcher:
    """The interfaces of the network namespace that this was made in, with the networks of their IP addresses.

    Raises:
        NetworkSetupError: the kernel does not tell.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        self._links: dict[int, Link] = {}
        self._networks = Networks()

    def fileno(self) -> int:
        """The socket that becomes readable when an interface or an address changed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def all(self) -> list[Link | Gone]:
        """Every interface there is, after those that vanished since the last call of this or of `changes`."""
        links = [link for data in _dump() for link in decode(data) if isinstance(link, Link)]
        self._networks.replace(read_addresses())
        before, self._links = self._links, {}
        found: list[Link | Gone] = [self._take(link) for link in links]
        return [*(Gone(index) for index in sorted(before.keys() - self._links.keys())), *found]

    def changes(self) -> list[Link | Gone]:
        """What changed since the last call, in order. After more events than the kernel could keep: everything."""
        found: list[Link | Gone] = []
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._drop_pending()
                return [*found, *self.all()]  # what was lost is in here
            found += map(self._take, decode(data))
            found += self._address_changes(data)

    def _drop_pending(self) -> None:
        """Throw away the events from before a loss: taken in after a fresh look, they would bring back what is gone."""
        for _ in range(MAX_PENDING):
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _take(self, change: Link | Gone) -> Link | Gone:
        if isinstance(change, Gone):
            self._links.pop(change.index, None)
            self._networks.forget(change.index)
            return change
        link = self._links[change.index] = replace(change, networks=self._networks.of(change.index))
        return link

    def _address_changes(self, data: bytes) -> Iterator[Link]:
        """The interfaces whose networks are others than before."""
        for address in decode_addresses(data):
            self._networks.take(address)
            link = self._links.get(address.index)
            networks = self._networks.of(address.index)
            if link is not None and link.networks != networks:
                link = self._links[address.index] = replace(link, networks=networks)
                yield link


def decode(data: bytes) -> Iterator[Link | Gone]:
    """Read the link messages of a netlink datagram; others, and what is cut off, are left out."""
    for kind, _, body in messages(data):
        if kind in (_RTM_NEWLINK, _RTM_DELLINK) and len(body) >= _LINK_INFO.size:
            family, link_kind, index, flags, _ = _LINK_INFO.unpack_from(body)
            if family != socket.AF_UNSPEC:  # a bridge's note about its port, in the same group
                continue
            if kind == _RTM_DELLINK:
                yield Gone(index)
                continue
            found = dict(attributes(body[_LINK_INFO.size :]))
            name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            yield Link(
                index,
                name,
                link_kind,
                flags,
                mac=found.get(_IFLA_ADDRESS, b""),
                master=int.from_bytes(found.get(_IFLA_MASTER, b""), sys.byteorder),
                carrier_changes=int.from_bytes(found.get(_IFLA_CARRIER_CHANGES, b""), sys.byteorder),
            )


def _dump() -> list[bytes]:
    attribute = _ATTRIBUTE.pack(8, _IFLA_EXT_MASK) + struct.pack("=I", _SKIP_STATISTICS)
    return dump(_RTM_GETLINK, _LINK_INFO.pack(0, 0, 0, 0, 0) + attribute, "network interfaces")

"""The IP networks on each interface, from the kernel's messages about its addresses (rtnetlink(7), RTM_NEWADDR)."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from metallb_cli.linux.rtnetlink import attributes, dump, messages
from metallb_cli.model import IPNetwork
from metallb_cli.subnets import network_order

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_DADFAILED = 0x08
_ADDRESS_INFO = struct.Struct("=BBBBI")


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """What the kernel told about one address of an interface.

    Attributes:
        index: of the interface.
        key: tells apart the addresses of an interface.
        network: that the address is on; None when it was deleted, or neighbours in a network say nothing about it.
    """

    index: int
    key: tuple[bytes, bytes, int]
    network: IPNetwork | None


class Networks:
    """The networks of every interface, kept up to date message by message."""

    def __init__(self) -> None:
        self._by_index: dict[int, dict[tuple[bytes, bytes, int], IPNetwork]] = {}

    def replace(self, addresses: Iterable[InterfaceAddress]) -> None:
        """Forget everything and take in these."""
        self._by_index = {}
        for address in addresses:
            self.take(address)

    def take(self, address: InterfaceAddress) -> None:
        """Take in one address that came, changed or went."""
        own = self._by_index.setdefault(address.index, {})
        if address.network is not None:
            own[address.key] = address.network
        else:
            own.pop(address.key, None)
            if not own:
                del self._by_index[address.index]

    def forget(self, index: int) -> None:
        """Take in that an interface is gone."""
        self._by_index.pop(index, None)

    def of(self, index: int) -> tuple[IPNetwork, ...]:
        """The networks of an interface: IPv4 first, then by address."""
        own = self._by_index.get(index)
        return tuple(sorted(set(own.values()), key=network_order)) if own else ()


def read_addresses() -> list[InterfaceAddress]:
    """Every address of every interface.

    Raises:
        NetworkSetupError: the kernel does not tell.
    """
    answer = dump(_RTM_GETADDR, _ADDRESS_INFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "IP addresses of the interfaces")
    return [address for data in answer for address in decode_addresses(data)]


def decode_addresses(data: bytes) -> Iterator[InterfaceAddress]:
    """Read the address messages of a netlink datagram; others, and what is cut off, are left out."""
    for kind, _, body in messages(data):
        if kind in (_RTM_NEWADDR, _RTM_DELADDR) and len(body) >= _ADDRESS_INFO.size:
            family, length, short_flags, _, index = _ADDRESS_INFO.unpack_from(body)
            found = dict(attributes(body[_ADDRESS_INFO.size :]))
            flags = int.from_bytes(found.get(_IFA_FLAGS, b""), sys.byteorder) or short_flags
            # Of a point-to-point address, IFA_ADDRESS is the far end: that is who is on the network.
            address, local = found.get(_IFA_ADDRESS, b""), found.get(_IFA_LOCAL, b"")
            usable = kind == _RTM_NEWADDR and not flags & _IFA_F_DADFAILED
            yield InterfaceAddress(
                index, (address, local, length), _network(family, address or local, length) if usable else None
            )


def _network(family: int, address: bytes, length: int) -> IPNetwork | None:
    """The network, or None when it says nothing about neighbours: of one host, loopback, link-local, or no network."""
    network: IPNetwork
    if family == socket.AF_INET and len(address) == 4 and length < 32:
        network = IPv4Network((address, length), strict=False)
    elif family == socket.AF_INET6 and len(address) == 16 and length < 128:
        network = IPv6Network((address, length), strict=False)
    else:
        return None
    return None if network.is_loopback or network.is_link_local else network

"""Membership in the multicast groups that neighbour solicitations for our addresses are sent to.

Without it a network card filters the solicitations out, and a switch with MLD snooping may not forward them. Measured
on Linux 6.18: joining by interface index works on an interface without any IPv6 address, also with `disable_ipv6=1`;
the kernel keeps memberships, and reports them again, over link flaps. It drops them only with the interface's IPv6 as
a whole: interface removed, or MTU below 1280.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address

from metallb_cli.errors import NetworkSetupError
from metallb_cli.layer2.ndp import group_mac, solicited_node

REPORTED = 512
"""Groups that are joined with all that belongs to it. For the others only the card's filter is opened.

For every multicast IPv6 packet that arrives, whoever it is for, the kernel walks the list of joined groups
(`ipv6_chk_mcast_addr`). Measured: 1.3 µs for 500, 3 µs for 1000, 100 µs for 10 000, so that a busy LAN would bring the
node down. What the others miss is the report to switches with MLD snooping: one that forwards only reported groups must
be told to flood ff02::1:ff00:0/104.
"""

_PER_FILTER_SOCKET = 512  # the kernel walks the socket's list for each addition
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_DROP_MEMBERSHIP, _PACKET_MR_MULTICAST = 263, 1, 2, 0


class _Joined:
    """A socket that holds full memberships: some 2340 with the usual net.core.optmem_max, 365 before Linux 6.9."""

    def __init__(self, index: int) -> None:
        self.members = 0
        self.has_room = True
        self._index = index
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.close = self._socket.close

    def join(self, group: bytes) -> bool:
        """Join; False when the socket turns out to be full."""
        try:
            self._set(socket.IPV6_JOIN_GROUP, group)
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.ENOBUFS) or not self.members:
                raise
            self.has_room = False
            return False
        self.members += 1
        return True

    def leave(self, group: bytes) -> None:
        """Leave. Raises OSError when the interface is gone."""
        self.members -= 1
        self.has_room = True
        self._set(socket.IPV6_LEAVE_GROUP, group)

    def _set(self, option: int, group: bytes) -> None:
        self._socket.setsockopt(socket.IPPROTO_IPV6, option, group + struct.pack("=I", self._index))


class _Filtered:
    """A packet socket that receives nothing, and keeps the interface's filter open for groups. Used like _Joined."""

    def __init__(self, index: int) -> None:
        self.members = 0
        self._index = index
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.close = self._socket.close

    @property
    def has_room(self) -> bool:
        return self.members < _PER_FILTER_SOCKET

    def join(self, group: bytes) -> bool:
        self._set(_PACKET_ADD_MEMBERSHIP, group)
        self.members += 1
        return True

    def leave(self, group: bytes) -> None:
        self.members -= 1
        self._set(_PACKET_DROP_MEMBERSHIP, group)

    def _set(self, option: int, group: bytes) -> None:
        request = struct.pack("=iHH8s", self._index, _PACKET_MR_MULTICAST, 6, group_mac(group))
        self._socket.setsockopt(_SOL_PACKET, option, request)


class NeighbourGroups:
    """The solicited-node groups of one interface. Works towards a wanted set, a few groups at a time.

    The kernel walks lists for each group, so thousands take time in which nothing else is done. Closing the sockets, or
    the end of the process, leaves every group.

    Args:
        index: the interface, in the network namespace of the calling thread.
        reported: see REPORTED.
    """

    def __init__(self, index: int, *, reported: int = REPORTED) -> None:
        self._index = index
        self._reported = reported
        self._members: dict[bytes, _Joined | _Filtered] = {}
        self._sockets: list[_Joined | _Filtered] = []
        self._to_join: list[bytes] = []
        self._to_leave: list[bytes] = []

    def want(self, addresses: Iterable[IPv6Address]) -> None:
        """Replace the set of addresses to be reachable by. Addresses with the same last 24 bits share a group."""
        wanted = {solicited_node(address.packed) for address in addresses}
        self._to_join = sorted(wanted - self._members.keys(), reverse=True)
        self._to_leave = sorted(self._members.keys() - wanted, reverse=True)

    def advance(self, limit: int = 64) -> int:
        """Join or leave at most this many groups, joins first; 10 to 20 µs each.

        Returns:
            How many are still to do.

        Raises:
            NetworkSetupError: the kernel refuses; what is pending is given up until `want` is called again.
        """
        for _ in range(limit):
            if self._to_join:
                self._join(self._to_join.pop())
            elif self._to_leave:
                group = self._to_leave.pop()
                with contextlib.suppress(OSError):  # the interface, and the membership with it, may be gone
                    self._members.pop(group).leave(group)
            else:
                break
        return len(self._to_join) + len(self._to_leave)

    @property
    def joined(self) -> int:
        """How many groups frames now come in for through this object."""
        return len(self._members)

    def close(self) -> None:
        """Leave every group. Can be called twice."""
        for sock in self._sockets:
            sock.close()
        self._sockets, self._to_join, self._to_leave = [], [], []
        self._members = {}

    def _join(self, group: bytes) -> None:
        reported = sum(sock.members for sock in self._sockets if isinstance(sock, _Joined))
        kind = _Joined if reported < self._reported else _Filtered
        try:
            for sock in self._sockets:
                if isinstance(sock, kind) and sock.has_room and sock.join(group):
                    self._members[group] = sock
                    return
            self._sockets.append(kind(self._index))
            self._sockets[-1].join(group)
            self._members[group] = self._sockets[-1]
        except OSError as error:
            self._to_join, self._to_leave = [], []
            raise NetworkSetupError(
                f"cannot join {socket.inet_ntop(socket.AF_INET6, group)} on interface {self._index}: "
                f"{os.strerror(error.errno or 0)}. The interface must exist and have IPv6 (MTU of 1280 or more)"
            ) from error

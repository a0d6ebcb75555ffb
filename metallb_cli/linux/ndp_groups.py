"""Membership in the multicast groups that neighbour solicitations for our addresses are sent to.

Without it a network card filters the solicitations out, and a switch with MLD snooping does not forward them. Measured
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
from metallb_cli.layer2.ndp import solicited_node


class NeighbourGroups:
    """The solicited-node groups of one interface. Works towards a wanted set, a few groups at a time.

    The kernel walks a list for each join, so 10 000 take 0.4 s in all: too long for a process that must answer
    meanwhile. A socket holds about 2340 memberships with the usual net.core.optmem_max of 128 KiB (365 with the 20 KiB
    of kernels before 6.9), so more sockets are opened as they fill. Closing them, or the end of the process, leaves
    every group.

    Args:
        index: the interface, in the network namespace of the calling thread.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._wanted: frozenset[bytes] = frozenset()
        self._member: dict[bytes, socket.socket] = {}
        self._sockets: list[socket.socket] = []
        self._with_room: list[socket.socket] = []
        self._to_join: list[bytes] = []
        self._to_leave: list[bytes] = []

    def want(self, addresses: Iterable[IPv6Address]) -> None:
        """Replace the set of addresses to be reachable by. Addresses with the same last 24 bits share a group."""
        self._wanted = frozenset(solicited_node(address.packed) for address in addresses)
        self._to_join = sorted(self._wanted - self._member.keys(), reverse=True)
        self._to_leave = sorted(self._member.keys() - self._wanted, reverse=True)

    def advance(self, limit: int = 64) -> int:
        """Join or leave at most this many groups, joins first; about 40 µs each.

        Returns:
            How many are still to do.

        Raises:
            NetworkSetupError: the kernel refuses; what is pending is given up until `want` is called again.
        """
        for _ in range(limit):
            if self._to_join:
                self._join(self._to_join.pop())
            elif self._to_leave:
                self._leave(self._to_leave.pop())
            else:
                break
        return len(self._to_join) + len(self._to_leave)

    @property
    def joined(self) -> int:
        """How many groups the interface is a member of through this object."""
        return len(self._member)

    def close(self) -> None:
        """Leave every group. Can be called twice."""
        for sock in self._sockets:
            sock.close()
        self.__init__(self._index)  # type: ignore[misc]

    def _join(self, group: bytes) -> None:
        request = group + struct.pack("=I", self._index)
        while True:
            fresh = not self._with_room
            try:
                if fresh:
                    self._with_room.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                    self._sockets.append(self._with_room[-1])
                sock = self._with_room[-1]
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            except OSError as error:
                if not fresh and error.errno in (errno.ENOMEM, errno.ENOBUFS):
                    self._with_room.pop()
                    continue
                self._to_join, self._to_leave = [], []
                raise NetworkSetupError(
                    f"cannot join {socket.inet_ntop(socket.AF_INET6, group)} on interface {self._index}: "
                    f"{os.strerror(error.errno or 0)}. The interface must exist and have IPv6 (MTU of 1280 or more)"
                ) from error
            self._member[group] = sock
            return

    def _leave(self, group: bytes) -> None:
        sock = self._member.pop(group)
        with contextlib.suppress(OSError):  # the interface, and the membership with it, may be gone
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, group + struct.pack("=I", self._index))
        if sock not in self._with_room:
            self._with_room.append(sock)

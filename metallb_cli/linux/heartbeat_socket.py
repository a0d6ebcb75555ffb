"""The packet socket for heartbeats: the sibling of `ArpSocket`. Needs CAP_NET_RAW."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

from metallb_cli.layer2.heartbeat import ETHERTYPE, GROUP
from metallb_cli.layer2.heartbeat_filter import SNAP_LENGTH, heartbeat_filter
from metallb_cli.linux.frame_sender import PASSING
from metallb_cli.linux.packet_socket import PacketSocket

SLOTS = 256
"""Heartbeats that can wait: one of each of 256 peers, which is all that is needed to know that they live."""

_PRIORITY = 6
"""The highest that needs no more rights (socket(7)): heartbeats pass what waits in the interface's queue."""

_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 263, 1, 0


class HeartbeatSocket(PacketSocket):
    """Receives the heartbeats that come to an interface. Otherwise like PacketSocket."""

    def __init__(self, name: str, index: int) -> None:
        super().__init__(name, index, ETHERTYPE, heartbeat_filter(index), SNAP_LENGTH, SLOTS)
        try:
            membership = struct.pack("@iHH8s", index, _PACKET_MR_MULTICAST, len(GROUP), GROUP)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)
        except BaseException:
            self.close()
            raise

    def send(self, frames: Sequence[bytes]) -> int:
        """Send frames in order, each by itself: they are few and of many lengths. Returns how many were lost.

        An interface with an unusually small MTU loses those that do not fit, and is used all the same.
        """
        lost = 0
        for frame in frames:
            try:
                self._socket.send(frame)
            except OSError as error:
                if error.errno not in PASSING and error.errno != errno.EMSGSIZE:
                    raise
                lost += 1
        return lost

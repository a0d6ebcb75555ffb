"""Answers ARP for the announced addresses on one interface: bytes and a clock in, bytes out.

Whoever drives a Responder calls `announce` when the set of addresses changes, `receive_frame` for every frame, and
`handle_timer` at `next_deadline()`; after each it sends what `frames_to_send` returns. A Responder lives as long as the
interface is usable with one MAC address. After a link-up or a change of MAC a new one takes its place, to which every
address is new, so that all are told to the neighbours again. After a short interruption, `tell_again` does that.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from metallb_cli.layer2.arp import BROADCAST, FRAME_LENGTH, gratuitous_heads, reply_head
from metallb_cli.layer2.schedule import BATCH, Schedule

MAX_CONFLICTS = 256
"""Remembered pairs of address and foreign MAC. A hostile host can invent any number; the oldest is forgotten."""

_REQUEST_HEADER = bytes.fromhex("0806 0001 0800 06 04 0001")


class Drop(enum.Enum):
    """Why a frame was not answered. MetalLB's names where it has one."""

    ERROR = "Error"
    ARP_REPLY = "ARPReply"
    ETHERNET_DESTINATION = "EthernetDestination"
    ANNOUNCE_IP = "AnnounceIP"
    CONFLICT = "AddressConflict"
    OWN_FRAME = "OwnFrame"


class Counts(NamedTuple):
    """What happened for one address since it was last asked for."""

    requests: int
    responses: int
    gratuitous: int


class _Held:
    """One announced address. `middle`: the bytes of its replies that do not depend on who asks."""

    __slots__ = ("answered", "gratuitous", "middle")

    def __init__(self, middle: bytes) -> None:
        self.middle = middle
        self.answered = 0
        self.gratuitous = 0

    def take(self) -> Counts:
        counts = Counts(self.answered, self.answered, self.gratuitous)
        self.answered = self.gratuitous = 0
        return counts


class Responder:
    """The ARP engine of one interface.

    Args:
        mac: the interface's address, which every answer gives.
        own_macs: of every interface of this node, so that two of them on one LAN are not taken for a conflict.
    """

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = ()) -> None:
        self.own_macs = frozenset((mac, *own_macs))
        self.drops: Counter[Drop] = Counter()
        self._destinations = frozenset((mac, BROADCAST))
        self._reply_head = reply_head(mac)
        self._gratuitous_heads = gratuitous_heads(mac)
        self._held: dict[bytes, _Held] = {}
        self._schedule = Schedule()
        self._out: list[bytes] = []
        self._conflicts: dict[tuple[bytes, bytes], int] = {}
        self._withdrawn: dict[bytes, Counts] = {}

    def announce(self, addresses: Iterable[IPv4Address], now: float) -> None:
        """Answer for exactly these addresses from now on. Those that are new are told to everybody at once."""
        wanted = {address.packed for address in addresses}
        held = self._held
        gone = held.keys() - wanted
        for ip in gone:
            counts = held.pop(ip).take()
            if any(counts):
                add_counts(self._withdrawn, ip, counts)
        if gone:
            self._conflicts = {key: count for key, count in self._conflicts.items() if key[0] not in gone}
        head = self._reply_head
        new = sorted(wanted - held.keys())
        for ip in new:
            held[ip] = _Held(head + ip)
        self._schedule.remove(gone)
        self._schedule.add(new, now)

    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""
        # The one path that must be fast: it slices bytes, makes no objects and calls nothing.
        held = self._held
        record = held.get(frame[38:42])
        if (
            record is not None
            and frame[12:22] == _REQUEST_HEADER
            and frame[28:32] not in held
            and frame[:6] in self._destinations
            and not frame[22] & 1
        ):
            asker = frame[22:32]
            self._out.append(asker[:6] + record.middle + asker)
            record.answered += 1
            return None
        drop = self._why_not(frame)
        self.drops[drop] += 1
        return drop

    def _why_not(self, frame: bytes) -> Drop:
        """Explain a frame that is not answered, in MetalLB's order, with conflicts first."""
        if len(frame) < FRAME_LENGTH or frame[12:20] != _REQUEST_HEADER[:8]:
            return Drop.ERROR
        if frame[28:32] in self._held:
            return self._claimed(frame[28:32], frame[22:28])
        if frame[20:22] != _REQUEST_HEADER[8:]:
            return Drop.ARP_REPLY
        if frame[:6] not in self._destinations:
            return Drop.ETHERNET_DESTINATION
        if frame[38:42] not in self._held:
            return Drop.ANNOUNCE_IP
        return (
            Drop.ERROR
        )  # the sender's MAC is a group address: no host has one, and answering would reach the whole LAN

    def _claimed(self, ip: bytes, mac: bytes) -> Drop:
        """Somebody says in a request or a reply that it has one of our addresses."""
        if mac in self.own_macs:
            return Drop.OWN_FRAME
        key = (ip, mac)
        if key not in self._conflicts and len(self._conflicts) >= MAX_CONFLICTS:
            del self._conflicts[next(iter(self._conflicts))]
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        return Drop.CONFLICT

    def handle_timer(self, now: float) -> None:
        """Queue the gratuitous frames that are due, of at most BATCH addresses."""
        as_request, as_reply = self._gratuitous_heads
        for ip in self._schedule.take_due(now, BATCH):
            claim = ip + BROADCAST + ip
            self._out += (as_request + claim, as_reply + claim)
            self._held[ip].gratuitous += 2

    def tell_again(self, now: float) -> None:
        """Tell everybody about every address, as if it were new: the neighbours may have changed."""
        self._schedule.restart(now)

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do, on the clock of `now`; None for never."""
        return self._schedule.next_deadline()

    def frames_to_send(self) -> list[bytes]:
        """Take the queued frames, in order."""
        out = self._out
        self._out = []
        return out

    @property
    def conflicts(self) -> dict[tuple[bytes, bytes], int]:
        """How many frames claimed one of our addresses, by (address, foreign MAC). The newest pairs only."""
        return dict(self._conflicts)

    def take_counts(self, limit: int = sys.maxsize) -> dict[bytes, Counts]:
        """Take what was counted since the last call, of about `limit` addresses, also of those withdrawn since.

        An address with nothing new is left out. Call again when there are `limit` or more.
        """
        counts = self._withdrawn
        self._withdrawn = {}
        for ip, record in self._held.items():
            if len(counts) >= limit:
                break
            if record.answered or record.gratuitous:
                add_counts(counts, ip, record.take())
        return counts


def add_counts(totals: dict[bytes, Counts], ip: bytes, counts: Counts) -> None:
    """Add to an address's totals."""
    before = totals.get(ip)
    totals[ip] = counts if before is None else Counts(*map(int.__add__, before, counts))

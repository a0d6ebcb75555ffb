"""What the engines of ARP and NDP have in common: bytes and a clock in, bytes out, no socket.

Whoever drives an engine calls `announce` when the set of addresses changes, `receive_frame` for every frame, and
`handle_timer` at `next_deadline()`; after each it sends what `frames_to_send` returns. An engine lives as long as the
interface is usable with one MAC address. After a change of MAC a new one takes its place, to which every address is
new, so that all are told to the neighbours again.
"""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

from metallb_cli.layer2.schedule import Schedule
from metallb_cli.model import IPAddress

MAX_CONFLICTS = 256
"""Remembered pairs of address and foreign MAC. A hostile host can invent any number; the oldest is forgotten."""


class Drop(enum.Enum):
    """Why a frame was not answered. MetalLB's names where it has one."""

    ERROR = "Error"
    ARP_REPLY = "ARPReply"
    MESSAGE_TYPE = "MessageType"
    ETHERNET_DESTINATION = "EthernetDestination"
    ANNOUNCE_IP = "AnnounceIP"
    CONFLICT = "AddressConflict"
    OWN_FRAME = "OwnFrame"


class Counts(NamedTuple):
    """What happened for one address since it was last asked for."""

    requests: int
    responses: int
    gratuitous: int


class Held:
    """One announced address, and what was counted for it.

    Attributes:
        prepared: what an engine has worked out beforehand for its answers.
    """

    __slots__ = ("answered", "gratuitous", "prepared")

    def __init__(self, prepared: bytes) -> None:
        self.prepared = prepared
        self.answered = 0
        self.gratuitous = 0

    def take(self) -> Counts:
        """Return what was counted, and begin anew."""
        counts = Counts(self.answered, self.answered, self.gratuitous)
        self.answered = self.gratuitous = 0
        return counts


class Engine(ABC):
    """The engine of one protocol on one interface.

    Args:
        mac: the interface's address, which every answer gives.
        own_macs: of every interface of this node, so that two of them on one LAN are not taken for a conflict.

    Attributes:
        peer_macs: of the live speakers on this LAN, which say by heartbeats what they answer for.
    """

    peer_macs: frozenset[bytes] = frozenset()

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = ()) -> None:
        self.own_macs = frozenset((mac, *own_macs))
        self.drops: Counter[Drop] = Counter()
        self._held: dict[bytes, Held] = {}
        self._schedule = Schedule()
        self._out: list[bytes] = []
        self._conflicts: dict[tuple[bytes, bytes], int] = {}
        self._withdrawn: dict[bytes, Counts] = {}

    def announce(self, addresses: Iterable[IPAddress], now: float) -> None:
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
        new = sorted(wanted - held.keys())
        for ip in new:
            held[ip] = Held(self._prepare(ip))
        self._schedule.remove(gone)
        self._schedule.add(new, now)

    @abstractmethod
    def _prepare(self, ip: bytes) -> bytes:
        """Work out what the answers for an address have in common."""

    @abstractmethod
    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""

    @abstractmethod
    def handle_timer(self, now: float) -> None:
        """Queue the gratuitous frames that are due, of at most BATCH addresses."""

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

    def _claimed(self, ip: bytes, mac: bytes) -> Drop:
        """Take in that somebody says to have one of our addresses."""
        if mac in self.own_macs:
            return Drop.OWN_FRAME
        key = (ip, mac)
        if key not in self._conflicts and len(self._conflicts) >= MAX_CONFLICTS:
            del self._conflicts[next(iter(self._conflicts))]
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        return Drop.CONFLICT

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

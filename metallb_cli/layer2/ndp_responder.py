"""Answers neighbour solicitations for the announced addresses on one interface: bytes and a clock in, bytes out.

The IPv6 sibling of `responder`, driven in the same way. It answers more than MetalLB does: unicast reachability probes,
and solicitations without a link-layer address, are questions of a neighbour that is about to give the address up; and
duplicate address detection is a host about to take the address.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from ipaddress import IPv6Address

from metallb_cli.layer2.ndp import UNSPECIFIED, Advertisement, Advertiser, parse
from metallb_cli.layer2.responder import MAX_CONFLICTS, Counts, add_counts
from metallb_cli.layer2.schedule import BATCH, Schedule


class NdpDrop(enum.Enum):
    """Why a frame was not answered; the values of `responder.Drop` where it has the same reason."""

    ERROR = "Error"
    MESSAGE_TYPE = "MessageType"
    ETHERNET_DESTINATION = "EthernetDestination"
    ANNOUNCE_IP = "AnnounceIP"
    CONFLICT = "AddressConflict"
    OWN_FRAME = "OwnFrame"


class _Held:
    """Counts for one announced address."""

    __slots__ = ("answered", "unsolicited")

    def __init__(self) -> None:
        self.answered = 0
        self.unsolicited = 0

    def take(self) -> Counts:
        counts = Counts(self.answered, self.answered, self.unsolicited)
        self.answered = self.unsolicited = 0
        return counts


class NdpResponder:
    """The NDP engine of one interface.

    Args:
        mac: the interface's address, which every answer gives.
        own_macs: of every interface of this node, so that two of them on one LAN are not taken for a conflict.
    """

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = ()) -> None:
        self.own_macs = frozenset((mac, *own_macs))
        self.drops: Counter[NdpDrop] = Counter()
        self._mac = mac
        self._advertiser = Advertiser(mac)
        self._held: dict[bytes, _Held] = {}
        self._schedule = Schedule()
        self._out: list[bytes] = []
        self._conflicts: dict[tuple[bytes, bytes], int] = {}
        self._withdrawn: dict[bytes, Counts] = {}

    def announce(self, addresses: Iterable[IPv6Address], now: float) -> None:
        """Answer for exactly these addresses from now on. Those that are new are told to everybody at once."""
        wanted = {address.packed for address in addresses}
        gone = self._held.keys() - wanted
        for ip in gone:
            counts = self._held.pop(ip).take()
            if any(counts):
                add_counts(self._withdrawn, ip, counts)
        self._schedule.remove(gone)
        if gone:
            self._conflicts = {key: count for key, count in self._conflicts.items() if key[0] not in gone}
        new = sorted(wanted - self._held.keys())
        for ip in new:
            self._held[ip] = _Held()
        self._schedule.add(new, now)

    def receive_frame(self, frame: bytes, now: float) -> NdpDrop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""
        drop = self._answer(frame)
        if drop is not None:
            self.drops[drop] += 1
        return drop

    def _answer(self, frame: bytes) -> NdpDrop | None:
        packet = parse(frame)
        if packet is None:
            return NdpDrop.ERROR
        mac = packet.link_address or packet.ethernet_source
        if isinstance(packet, Advertisement):
            return self._claimed(packet.target, mac) if packet.target in self._held else NdpDrop.MESSAGE_TYPE
        if packet.source in self._held:
            return self._claimed(packet.source, mac)
        if packet.ethernet_destination != self._mac and not packet.ethernet_destination[0] & 1:
            return NdpDrop.ETHERNET_DESTINATION
        record = self._held.get(packet.target)
        if record is None:
            return NdpDrop.ANNOUNCE_IP
        if packet.source == UNSPECIFIED:
            answer = self._advertiser.unsolicited(packet.target)
        else:
            answer = self._advertiser.answer(packet.target, mac, packet.source)
        self._out.append(answer)
        record.answered += 1
        return None

    def _claimed(self, ip: bytes, mac: bytes) -> NdpDrop:
        """Somebody advertises one of our addresses, or asks from it."""
        if mac in self.own_macs:
            return NdpDrop.OWN_FRAME
        key = (ip, mac)
        if key not in self._conflicts and len(self._conflicts) >= MAX_CONFLICTS:
            del self._conflicts[next(iter(self._conflicts))]
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        return NdpDrop.CONFLICT

    def handle_timer(self, now: float) -> None:
        """Queue the unsolicited advertisements that are due, of at most BATCH addresses."""
        for ip in self._schedule.take_due(now, BATCH):
            self._out.append(self._advertiser.unsolicited(ip))
            self._held[ip].unsolicited += 1

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
            if record.answered or record.unsolicited:
                add_counts(counts, ip, record.take())
        return counts

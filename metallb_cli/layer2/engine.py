"""What the engines of ARP and NDP have in common: bytes and a clock in, bytes out, no socket.

Whoever drives an engine calls `announce` when the set of addresses changes, `receive_frame` for every frame, and
`handle_timer` at `next_deadline()`; after each it sends what `frames_to_send` returns. An engine lives as long as the
interface is usable with one MAC address. After a change of MAC a new one takes its place, to which every address is
new, so that all are told to the neighbours again.

An address is in one of these states:

- probing: silent, while the LAN is asked whether another host has it (`probing`);
- contested: silent, because another host has it; probed again from time to time;
- answering: answered for, and told to everybody (`schedule`);
- yielding: answered for, but not told, until the new owner is seen answering (`yielding`);
- released: silent, because it was.
"""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, KeysView, Mapping, Set
from typing import NamedTuple

from metallb_cli.layer2.probing import PROBE_INTERVAL, Contest, Probing
from metallb_cli.layer2.schedule import BATCH, Schedule
from metallb_cli.layer2.yielding import Yielding
from metallb_cli.model import IPAddress

MAX_CONFLICTS = 256
"""Remembered pairs of address and foreign MAC. A hostile host can invent any number; the oldest is forgotten."""

MAX_ASKED = 4096
"""Addresses of other nodes of which is counted how often they are asked for: in the order of that they are told when
this node takes them over. Those without a question come last, in the order of the set."""


class Drop(enum.Enum):
    """Why a frame was not answered. MetalLB's names where it has one."""

    ERROR = "Error"
    ARP_REPLY = "ARPReply"
    MESSAGE_TYPE = "MessageType"
    ETHERNET_DESTINATION = "EthernetDestination"
    ANNOUNCE_IP = "AnnounceIP"
    CONFLICT = "AddressConflict"
    PEER_CLAIM = "PeerClaim"
    OWN_FRAME = "OwnFrame"
    FENCED = "Fenced"


class Counts(NamedTuple):
    """What happened for one address since it was last asked for."""

    requests: int
    responses: int
    gratuitous: int


class Held:
    """One address that is answered for, and what was counted for it."""

    __slots__ = ("answered", "gratuitous")

    def __init__(self) -> None:
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
        probe_interval: seconds between the probes for an address that nobody had before; 0 for no probes.

    Attributes:
        fenced: see `fence`; heartbeats were late.
        peer_macs: see `follow_peers`; they say by heartbeats what they answer for.
        changed: an address changed its state since this was last set to False.
    """

    fenced = False
    peer_macs: frozenset[bytes] = frozenset()

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = (), probe_interval: float = PROBE_INTERVAL) -> None:
        self.own_macs = frozenset((mac, *own_macs))
        self.probe_interval = probe_interval
        self.changed = False
        self.drops: Counter[Drop] = Counter()
        self._held: dict[bytes, Held] = {}  # answering or yielding: all that a frame is looked up in
        self._schedule = Schedule()  # answering
        self._yielding = Yielding()
        self._probing = Probing(mac)  # or contested
        self._released: dict[bytes, bool] = {}  # whether it was answered for before
        self._asked: dict[bytes, int] = {}  # questions for addresses that are not answered for here
        self._out: list[bytes] = []
        self._conflicts: dict[tuple[bytes, bytes], int] = {}
        self._withdrawn: dict[bytes, Counts] = {}

    def announce(
        self,
        addresses: Iterable[IPAddress],
        now: float,
        probe: Iterable[IPAddress] = (),
        yielding: Iterable[IPAddress] = (),
    ) -> None:
        """Answer for exactly these addresses from now on. Those that are new are told to everybody at once.

        Args:
            addresses: the whole set.
            now: on the clock of `next_deadline`.
            probe: those of the set that are only answered for when no other host has them. It counts for new ones: what
                is answered for is not probed any more, and what is being probed is so to the end.
            yielding: those of the set that are answered for until the new owner does. One that is there no longer is
                answered for at once, and told, as if it were new.
        """
        wanted = dict.fromkeys([address.packed for address in addresses])
        handed_over = wanted.keys() & {address.packed for address in yielding}
        unproven = {address.packed for address in probe} if self.probe_interval > 0 else set()
        held, probing = self._held, self._probing
        self._forget({*held, *probing.addresses(), *self._released} - wanted.keys())
        self._hand_over(handed_over, now)
        back = [ip for ip in wanted if ip in self._yielding and ip not in handed_over] if self._yielding else []
        known = {*held, *probing.addresses(), *handed_over}
        new = [ip for ip in wanted if ip not in known]
        if not back and not new:
            return
        self.changed = True
        to_probe = {ip for ip in new if ip in unproven and not self._released.get(ip)} if unproven else unproven
        to_tell = [ip for ip in new if ip not in to_probe] if to_probe else new
        self._hold(to_tell)
        self._yielding.remove(back)
        probing.add([ip for ip in new if ip in to_probe] if to_probe else [], now)
        self._schedule.add(self._most_used_first(back + to_tell), now)
        for counted in (self._released, self._asked):
            for ip in counted.keys() & new if counted else ():
                del counted[ip]

    def follow_peers(self, peer_macs: frozenset[bytes], now: float) -> None:
        """Take in from which MAC addresses live speakers speak here.

        One that was taken for a foreign host, because it answered before its first heartbeat came, contests nothing:
        which of us has the address is settled by claims.
        """
        self.peer_macs = peer_macs
        settled = [ip for ip, contest in self._probing.contested.items() if contest.mac in peer_macs]
        if settled:
            self.changed = True
            self._probing.remove(settled)
            self._hold(settled)
            self._schedule.add(settled, now)

    def fence(self, *, closed: bool) -> None:
        """Answer and announce nothing while it is closed. Whoever drives the engine heeds it.

        What is to be handed over meanwhile is released: nobody has to wait for this node to see the new owner answer.
        """
        self.fenced = closed
        if closed and self._yielding:
            self._release([*self._yielding.addresses()])

    def _forget(self, gone: Set[bytes]) -> None:
        if gone:
            self.changed = True
            self._probing.remove(gone)
            self._fall_silent(gone & self._held.keys())
            self._conflicts = {key: count for key, count in self._conflicts.items() if key[0] not in gone}
            for ip in gone & self._released.keys():
                del self._released[ip]

    def _hand_over(self, addresses: Set[bytes], now: float) -> None:
        """Let a new owner have these. One that was not answered for yet is released at once."""
        unanswered = addresses & self._probing.addresses()
        self._probing.remove(unanswered)
        self._released.update(dict.fromkeys(unanswered, False))
        self._hold(addresses - self._held.keys() - self._released.keys())
        new = sorted(addresses & self._held.keys() - self._yielding.addresses())
        self._schedule.remove(new)
        self._yielding.add(new, now)
        if unanswered or new:
            self.changed = True
        if self.fenced:
            self._release(new)

    def _release(self, addresses: Collection[bytes]) -> None:
        self.changed = True
        self._fall_silent(addresses)
        self._released.update(dict.fromkeys(addresses, True))

    def _most_used_first(self, addresses: list[bytes]) -> list[bytes]:
        return sorted(addresses, key=lambda ip: -self._asked.get(ip, 0)) if self._asked else addresses

    def _not_held(self, ip: bytes) -> Drop:
        """Take in a question for an address that is not answered for here."""
        if ip in self._asked or len(self._asked) < MAX_ASKED:
            self._asked[ip] = self._asked.get(ip, 0) + 1
        return Drop.ANNOUNCE_IP

    def _hold(self, addresses: Iterable[bytes]) -> None:
        for ip in addresses:
            self._held[ip] = Held()

    def _fall_silent(self, addresses: Collection[bytes]) -> None:
        """Do not answer for these any more; what was counted can still be taken."""
        self._schedule.remove(addresses)
        self._yielding.remove(addresses)
        for ip in addresses:
            counts = self._held.pop(ip).take()
            if any(counts):
                add_counts(self._withdrawn, ip, counts)

    @property
    def held(self) -> KeysView[bytes]:
        """The addresses that are answered for now: those answering and those yielding."""
        return self._held.keys()

    @property
    def probing(self) -> Collection[bytes]:
        """The addresses that nobody is known to have, and that are not answered for yet."""
        return self._probing.addresses() - self._probing.contested.keys()

    @property
    def contested(self) -> Mapping[bytes, Contest]:
        """The addresses that are not answered for because another host has them."""
        return self._probing.contested

    @property
    def released(self) -> Collection[bytes]:
        """The yielding addresses that are not answered for any more."""
        return self._released.keys()

    @abstractmethod
    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes.

        Unless it sets `changed`, `next_deadline()` is no earlier than it was.
        """

    def handle_timer(self, now: float) -> None:
        """Queue the frames that are due, for about BATCH addresses, and do what waited for this moment."""
        due = self._schedule.take_due(now, BATCH)
        self._tell(due.new)
        self._tell(due.refreshed)
        self._ask(due.refreshed)  # a host that took an address meanwhile may answer, but not speak by itself
        if self._probing:
            ask, free = self._probing.take_due(now, BATCH, self.probe_interval)
            self._ask(ask)
            if free:
                self.changed = True
                self._hold(free)
                self._schedule.add(free, now)
        if self._yielding:
            ask, over = self._yielding.take_due(now)
            self._ask(ask)
            if over:
                self._release(over)

    @abstractmethod
    def _tell(self, addresses: Iterable[bytes]) -> None:
        """Queue the gratuitous frames for these."""

    @abstractmethod
    def _ask(self, addresses: Iterable[bytes]) -> None:
        """Queue a probe for each of these: a question that claims nothing."""

    def tell_again(self, now: float) -> None:
        """Tell everybody about every address, as if it were new: the neighbours may have changed."""
        self._schedule.restart(now)

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do, on the clock of `now`; None for never."""
        deadlines = (
            self._schedule.next_deadline(),
            self._probing.next_deadline(),
            self._yielding.next_deadline(),
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def frames_to_send(self) -> list[bytes]:
        """Take the queued frames, in order."""
        out = self._out
        self._out = []
        return out

    def _claimed(self, ip: bytes, mac: bytes, now: float) -> Drop:
        """Take in that somebody says to have an address that is held or probed for."""
        if mac in self.own_macs:
            return Drop.OWN_FRAME
        if ip in self._yielding:
            self._release([ip])
            return Drop.PEER_CLAIM
        if ip in self._probing:
            return self._taken(ip, mac, now)
        key = (ip, mac)
        if key not in self._conflicts and len(self._conflicts) >= MAX_CONFLICTS:
            del self._conflicts[next(iter(self._conflicts))]
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        return Drop.PEER_CLAIM if mac in self.peer_macs else Drop.CONFLICT

    def _taken(self, ip: bytes, mac: bytes, now: float) -> Drop:
        """Take in that somebody has an address that is probed for, or probes for it too (RFC 5227 §2.1.1)."""
        if mac in self.own_macs:
            return Drop.OWN_FRAME
        if mac in self.peer_macs:  # which of us has it is settled by claims
            return Drop.PEER_CLAIM
        if self._probing.taken(ip, mac, now):
            self.changed = True
        return Drop.CONFLICT

    @property
    def conflicts(self) -> dict[tuple[bytes, bytes], int]:
        """How many frames claimed an address that is held, by (address, foreign MAC). The newest pairs only.

        Also those of peers, which two nodes with the same address send until their claims have settled it.
        """
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

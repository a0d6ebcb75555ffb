"""What answers on one usable interface: an engine for each IP version, and the kernel itself where it may.

With the `tc` engine the kernel answers, and what it leaves alone still reaches the sockets here: duplicate address
detection, claims of other machines, and everything when its lease runs out. Gratuitous frames always come from here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from metallb_cli.errors import BpfError, NetworkSetupError
from metallb_cli.layer2.engine import Counts, Engine, add_counts
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.layer2.probing import PROBE_INTERVAL, Contest
from metallb_cli.layer2.responder import Responder
from metallb_cli.linux.driver import FRAMES_PER_TURN, Driver
from metallb_cli.linux.ebpf.engine import TcEngine
from metallb_cli.linux.links import Link
from metallb_cli.linux.ndp_groups import NeighbourGroups
from metallb_cli.linux.ndp_socket import NdpSocket
from metallb_cli.linux.packet_socket import SLOTS, ArpSocket
from metallb_cli.linux.poller import Poller
from metallb_cli.model import AddressRange

log = logging.getLogger(__name__)

VERSIONS = (4, 6)

KERNEL_REST = 0.05
"""Seconds without receiving after something was received, while the kernel answers. What still comes then is claims,
and questions for what other nodes answer for: they may be many, and nobody waits for this process."""


class L2Engine(Enum):
    """Who answers."""

    PACKET = "packet"
    """This process, over packet sockets; needs CAP_NET_RAW."""
    TC = "tc"
    """The kernel, by programs of ours; needs CAP_BPF and CAP_NET_ADMIN too."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What to answer for, in one IP version.

    Attributes:
        ranges: contain the addresses and those that may come.
        probe, yielding: contain those of the addresses of which `AnnouncementSet` says so.
    """

    addresses: tuple[Any, ...] = ()
    ranges: tuple[AddressRange, ...] = ()
    probe: tuple[Any, ...] = ()
    yielding: tuple[Any, ...] = ()


class Silent(NamedTuple):
    """The addresses of a port that it does not answer for, by their state (`layer2.engine`)."""

    probing: set[bytes]
    contested: dict[bytes, Contest]
    released: set[bytes]


class _Answerer:
    """The socket, the engine and its driver of one IP version."""

    def __init__(
        self,
        version: int,
        link: Link,
        ranges: Sequence[AddressRange],
        own_macs: frozenset[bytes],
        probe_interval: float,
    ) -> None:
        self.socket: ArpSocket | NdpSocket
        engine: Engine
        if version == 4:
            self.socket = ArpSocket(link.name, link.index, ranges)
            engine = Responder(link.mac, own_macs, probe_interval)
        else:
            self.socket = NdpSocket(link.name, link.index, ranges)
            engine = NdpResponder(link.mac, own_macs, probe_interval)
        self.ranges = tuple(ranges)
        self.driver = Driver(self.socket, engine)


class Port:
    """Everything on one interface, from the moment it is usable to the moment it is not.

    Args:
        link: the interface.
        own_macs: of every interface of this node.
        poller: calls the drivers when frames wait.
        l2_engine: who answers.
        pins: a directory in a bpf file system, in which what answers survives this process; None for none.
        probe_interval: seconds between the probes for an address that nobody had before; 0 for no probes.

    Attributes:
        error: what makes the port of no use any more; None while all is well.
        warning: a lesser trouble, in one sentence; empty when none.
        changed: an address changed its state since this was last set to False.

    Raises:
        OSError: the kernel refuses a socket.
    """

    def __init__(
        self,
        link: Link,
        own_macs: frozenset[bytes],
        poller: Poller,
        l2_engine: L2Engine,
        pins: Path | None = None,
        probe_interval: float = PROBE_INTERVAL,
    ) -> None:
        self.error: OSError | None = None
        self.warning = ""
        self.changed = False
        self._probe_interval = probe_interval
        self._link = link
        self._own_macs = own_macs
        self._peer_macs: frozenset[bytes] = frozenset()
        self._fenced = False
        self._poller = poller
        self._answerers: dict[int, _Answerer] = {}
        self._groups = NeighbourGroups(link.index)
        self._joining = False
        self._tc: TcEngine | None = None
        self._open(4, ())
        if l2_engine is L2Engine.TC:
            self._start_kernel_engine(pins)

    def announce(self, announced: Mapping[int, Announced], now: float) -> None:
        """Answer for exactly these addresses, by IP version."""
        try:
            for version in VERSIONS:
                self._announce(version, announced[version], now)
        except OSError as error:
            self.error = error
        self._groups.want(announced[6].addresses)
        self._joining = True
        self._follow_states()

    def _announce(self, version: int, announced: Announced, now: float) -> None:
        answerer = self._answerers.get(version)
        if answerer is None:
            if not announced.ranges:
                return
            answerer = self._open(version, announced.ranges)
        if answerer.ranges != announced.ranges:
            answerer.socket.set_ranges(announced.ranges)
            answerer.ranges = announced.ranges
        answerer.driver.engine.announce(announced.addresses, now, announced.probe, announced.yielding)

    def _open(self, version: int, ranges: Sequence[AddressRange]) -> _Answerer:
        answerer = self._answerers[version] = _Answerer(
            version, self._link, ranges, self._own_macs, self._probe_interval
        )
        engine = answerer.driver.engine
        engine.fence(closed=self._fenced)
        engine.peer_macs = self._peer_macs
        self._listen(answerer)
        return answerer

    def _listen(self, answerer: _Answerer) -> None:
        """Have the poller call the driver: at once, or from time to time for all that waits."""
        rest = KERNEL_REST if self._tc is not None else 0.0
        answerer.driver.limit = SLOTS if rest else FRAMES_PER_TURN
        self._poller.register(answerer.socket.fileno(), answerer.driver.receive, rest)

    def _listen_anew(self) -> None:
        for answerer in self._answerers.values():
            self._poller.unregister(answerer.socket.fileno())
            self._listen(answerer)

    # -- the kernel's part

    def _start_kernel_engine(self, pins: Path | None) -> None:
        try:
            self._tc = TcEngine(self._link.index, self._link.mac, pins=pins)
        except BpfError as error:
            self._without_kernel(error)
        else:
            self._listen_anew()

    def _follow_states(self) -> None:
        """Let the kernel answer for what the engines answer for, and no other address."""
        self.changed = True
        for engine in self._engines():
            engine.changed = False
        if self._tc is not None:
            try:
                self._tc.answer_for(self._held(4), self._held(6))
            except BpfError as error:
                self._tc.close()
                self._tc = None
                self._without_kernel(error)
                self._listen_anew()

    def _held(self, version: int) -> Set[bytes]:
        answerer = self._answerers.get(version)
        return answerer.driver.engine.held if answerer is not None else frozenset()

    def _without_kernel(self, error: BpfError) -> None:
        self.warning = f"on {self._link.name} this process answers instead of the kernel: {error}"
        log.warning("%s", self.warning, extra={"interface": self._link.name})

    def renew(self, deadline: float) -> None:
        """Let the kernel answer until then (CLOCK_MONOTONIC, seconds)."""
        if self._tc is not None:
            self._tc.renew(deadline)

    # -- for the loop

    def follow_macs(self, own_macs: frozenset[bytes]) -> None:
        """Take in which MAC addresses are this node's own."""
        self._own_macs = own_macs
        for engine in self._engines():
            engine.own_macs = own_macs

    def follow_peers(self, peer_macs: frozenset[bytes], now: float) -> None:
        """Take in from which MAC addresses live peers speak here."""
        if peer_macs is not self._peer_macs:
            self._peer_macs = peer_macs
            for engine in self._engines():
                engine.follow_peers(peer_macs, now)

    def fence(self, *, closed: bool) -> None:
        """Answer and announce nothing while the fence is closed; frames that have waited meanwhile are forgotten."""
        self._fenced = closed
        for engine in self._engines():
            engine.fence(closed=closed)
        if closed:
            self.renew(0)

    def tell_again(self, now: float) -> None:
        """Tell the neighbours about every address: they may be others than before."""
        for engine in self._engines():
            engine.tell_again(now)

    def tick(self, now: float) -> bool:
        """Do what is due. Returns whether frames came or went since the last `take_counts`."""
        worked = False
        for answerer in self._answerers.values():
            driver = answerer.driver
            driver.tick(now)
            worked |= driver.worked
            self.error = self.error or driver.error
        if any(engine.changed for engine in self._engines()):
            self._follow_states()
        if self._joining:
            try:
                self._joining = self._groups.advance() > 0
            except NetworkSetupError as error:
                self._joining = False
                self.warning = f"{error}. Neighbours may not find IPv6 addresses on {self._link.name}"
                log.warning("%s", self.warning, extra={"interface": self._link.name})
        return worked

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; 0 for at once."""
        if self._joining:
            return 0.0
        deadlines = (answerer.driver.next_deadline() for answerer in self._answerers.values())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def close(self) -> None:
        """Stop answering; what was counted can still be taken."""
        if self._tc is not None:
            self._tc.renew(0)
        for engine in self._engines():
            engine.announce((), 0.0)
        self._follow_states()
        for answerer in self._answerers.values():
            self._poller.unregister(answerer.socket.fileno())
            answerer.socket.close()
        self._groups.close()

    def finish(self) -> None:
        """Give the kernel everything back, after the last `take_counts`."""
        if self._tc is not None:
            self._tc.close()
            self._tc = None

    # -- for the report

    def take_counts(self, limit: int) -> dict[bytes, Counts]:
        """Take what was counted since the last call, of about `limit` addresses per engine."""
        for answerer in self._answerers.values():
            answerer.driver.worked = False
        counts: dict[bytes, Counts] = {}
        sources: list[Engine | TcEngine] = [*self._engines()]
        if self._tc is not None:
            sources.append(self._tc)
        for source in sources:
            for ip, new in source.take_counts(limit).items():
                add_counts(counts, ip, new)
        return counts

    def without_held(self, addresses: set[bytes]) -> set[bytes]:
        """Those of the addresses that are not answered for here."""
        return addresses.difference(*(engine.held for engine in self._engines())) if addresses else addresses

    def held(self) -> frozenset[bytes]:
        """The addresses that are answered for here."""
        return frozenset().union(*(engine.held for engine in self._engines()))

    def silent(self) -> Silent:
        """Which addresses are not answered for yet, or any more."""
        silent = Silent(set(), {}, set())
        for engine in self._engines():
            silent.probing.update(engine.probing)
            silent.contested.update(engine.contested)
            silent.released.update(engine.released)
        return silent

    def drops(self) -> Counter[str]:
        """Frames not answered and frames not sent, by reason, since the start."""
        total: Counter[str] = Counter()
        for answerer in self._answerers.values():
            total.update({drop.value: count for drop, count in answerer.driver.engine.drops.items()})
            if answerer.driver.send_errors:
                total["SendError"] += answerer.driver.send_errors
        return total

    def conflicts(self) -> dict[tuple[bytes, bytes], int]:
        """Frames of other machines that claimed an announced address, by address and MAC."""
        found: dict[tuple[bytes, bytes], int] = {}
        for engine in self._engines():
            found |= engine.conflicts
        return found

    def _engines(self) -> Iterator[Engine]:
        for answerer in self._answerers.values():
            yield answerer.driver.engine

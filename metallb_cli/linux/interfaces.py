"""The interfaces of this node and the engine on each that is usable.

An engine begins when its interface becomes usable and ends when it no longer is, or its MAC address changes. The next
one finds every address new and tells all of them to the neighbours; but it does not probe for what the one before it
answered for a moment ago. An error on one interface ends that engine only, and it is tried again after RETRY seconds or
at the interface's next change.
"""

from __future__ import annotations

import errno
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from metallb_cli.layer2.engine import MAX_CONFLICTS, Counts, add_counts
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.layer2.probing import PROBE_INTERVAL, Contest
from metallb_cli.linux.ebpf.engine import discard
from metallb_cli.linux.heartbeats import Heartbeats
from metallb_cli.linux.links import Excluded, Gone, Link, judge
from metallb_cli.linux.packet_socket import explain
from metallb_cli.linux.poller import Poller
from metallb_cli.linux.port import VERSIONS, Announced, L2Engine, Port
from metallb_cli.model import MAX_NETWORKS, AddressRange, Conflict, Interface, IPAddress, Reason, merge_ranges
from metallb_cli.subnets import place

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until an interface whose socket failed is tried again, should the kernel tell of no change before."""

MAX_REPORTED = 100
"""Interfaces in a report. A node with many pods has hundreds, all but a few excluded by name."""

PROOF_LASTS = 10.0
"""Seconds after the end of an engine for which the next one on the interface need not ask the LAN again whether another
host has what was answered for. RFC 5227 §2.1 wants a probe when a link becomes active; in a flap, a change of MAC and a
new try after RETRY seconds nobody else can have set the address up in good faith."""

_REPORT_ORDER = [Reason.USABLE, Reason.INTERFACE_FAILED]
_REPORT_LAST = Reason.INTERFACE_EXCLUDED


class _Known:
    """One interface, its verdict, and what answers on it while it is usable.

    Attributes:
        placed: what the port was told.
        proven: what the port before this one answered for, until `proven_until`.
    """

    def __init__(self, link: Link, verdict: Reason) -> None:
        self.link = link
        self.verdict = verdict
        self.port: Port | None = None
        self.placed: dict[int, Announced] | None = None
        self.proven: frozenset[bytes] = frozenset()
        self.proven_until = 0.0
        self.retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Addresses that no interface answers for; see `LinkReport`."""

    probing: tuple[IPAddress, ...]
    contested: tuple[Conflict, ...]
    released: tuple[IPAddress, ...]


class Interfaces:
    """Opens and closes engines as interfaces come and go.

    Args:
        excluded: interfaces to keep away from.
        poller: calls the drivers when frames wait.
        l2_engine: who answers.
        pins: a directory in a bpf file system for the kernel's part, which then goes on with what it answered for when
            the process before this one was killed, until `announce` is called for the first time.
        probe_interval: seconds between the probes for an address that nobody had before; 0 for no probes.

    Attributes:
        last_error: the newest problem in one sentence, empty when none.
        changed: something other than a counter changed since this was last set to False.
        worked: a counter changed since this was last set to False.
        heartbeats: of all usable interfaces.
        breathe: called now and then during long work, so that heartbeats leave in time.
    """

    def __init__(
        self,
        excluded: Excluded,
        poller: Poller,
        l2_engine: L2Engine = L2Engine.PACKET,
        pins: Path | None = None,
        probe_interval: float = PROBE_INTERVAL,
    ) -> None:
        self.last_error = ""
        self.changed = True
        self.worked = False
        self.heartbeats = Heartbeats(poller)
        self.breathe: Callable[[], None] = lambda: None
        self._excluded = excluded
        self._poller = poller
        self._l2_engine = l2_engine
        self._pins = pins
        self._probe_interval = probe_interval
        self._told = False  # whether anybody has said what to answer for
        self._known: dict[int, _Known] = {}
        self._announced = {version: Announced() for version in VERSIONS}
        self._moved = False  # which address belongs on which port may have changed
        self._own_macs: frozenset[bytes] = frozenset()
        # What ports that were closed have seen:
        self._counts: dict[bytes, Counts] = {}
        self._drops: Counter[str] = Counter()
        self._conflicts: Counter[tuple[bytes, bytes]] = Counter()

    def _ports(self) -> Iterator[Port]:
        for known in self._known.values():
            if known.port is not None:
                yield known.port

    def announce(self, announcements: AnnouncementSet, now: float) -> None:
        """Answer for these addresses, on the usable interfaces where their neighbours are."""
        self.changed = self._told = True
        for version in VERSIONS:
            addresses = tuple(a for a in announcements.addresses if a.version == version)
            ranges = _with_all([r for r in announcements.ranges if r.version == version], addresses)
            self._announced[version] = Announced(
                addresses,
                ranges,
                probe=tuple(a for a in announcements.probe if a.version == version),
                yielding=tuple(a for a in announcements.yielding if a.version == version),
            )
        proofs = [known for known in self._known.values() if known.proven]
        if self._conflicts or proofs:
            wanted = {address.packed for address in announcements.addresses}
            self._conflicts = Counter({key: count for key, count in self._conflicts.items() if key[0] in wanted})
            for known in proofs:
                known.proven &= wanted
        self.heartbeats.claim(announcements)
        self.breathe()
        self._place(now)

    def send_heartbeats(self, settings: HeartbeatSettings, now: float) -> None:
        """Send heartbeats on every usable interface from now on, and listen to those of others."""
        if self.heartbeats.follow(settings, now):
            for known in self._known.values():
                if known.port is not None:
                    self._open_heartbeats(known, now)

    def _place(self, now: float) -> None:
        """Tell each port its addresses: those of its networks, and those of nobody's."""
        self._moved = False
        if not self._told:
            return
        open_ports = {index: known for index, known in self._known.items() if known.port is not None}
        networks = {index: known.link.networks for index, known in open_ports.items()}
        addresses = {version: place(self._announced[version].addresses, networks) for version in VERSIONS}
        for index, known in open_ports.items():
            wanted = {
                version: replace(self._announced[version], addresses=tuple(addresses[version][index]))
                for version in VERSIONS
            }
            if known.placed is None and known.proven:
                if now < known.proven_until:
                    wanted = {version: _without_probes(a, known.proven) for version, a in wanted.items()}
                known.proven = frozenset()
            if known.port is not None and known.placed != wanted:
                known.placed = wanted
                known.port.announce(wanted, now)
                self.breathe()

    def apply(self, changes: Iterable[Link | Gone], now: float) -> None:
        """Follow what the kernel told, in its order."""
        for change in changes:
            if isinstance(change, Gone):
                self._remove(change.index, now)
            else:
                self._update(change, now)
        own_macs = frozenset(known.link.mac for known in self._known.values() if len(known.link.mac) == 6)
        if own_macs != self._own_macs:
            self._own_macs = own_macs
            for port in self._ports():
                port.follow_macs(own_macs)
        if self._moved:
            self._place(now)

    def _remove(self, index: int, now: float) -> None:
        known = self._known.pop(index, None)
        if known is not None:
            self.changed = True
            self._close(known, now)
            log.info("interface %s is gone", known.link.name, extra={"interface": known.link.name})

    def _update(self, link: Link, now: float) -> None:
        verdict = judge(link, self._excluded)
        known = self._known.get(link.index)
        if known is None:
            known = self._known[link.index] = _Known(link, verdict)
            self.changed = True
            _log_verdict(link, verdict)
        elif known.link == link and known.port is not None:
            return
        else:
            before = self._shown(known)
            if verdict is not Reason.USABLE or link.mac != known.link.mac:
                self._close(known, now)
            elif known.port is not None and link.replugged(known.link):
                known.port.tell_again(now)
            self._moved |= link.networks != known.link.networks
            known.link, known.verdict = link, verdict
            after = self._shown(known)
            self.changed |= before != after
            if replace(before, networks=after.networks) != after:
                _log_verdict(link, verdict)
        if verdict is Reason.USABLE and known.port is None:
            self._open(known, now)

    def _open(self, known: _Known, now: float) -> None:
        try:
            known.port = Port(
                known.link, self._own_macs, self._poller, self._l2_engine, self._pins, self._probe_interval
            )
        except OSError as error:
            self._fail(known, error, now)
            return
        known.verdict, known.retry_at, known.placed = Reason.USABLE, None, None
        known.port.fence(closed=self.heartbeats.fenced)
        self.changed = self._moved = True
        self._open_heartbeats(known, now)

    def _open_heartbeats(self, known: _Known, now: float) -> None:
        try:
            self.heartbeats.open(known.link, now)
        except OSError as error:
            self._fail(known, error, now)

    def _close(self, known: _Known, now: float) -> None:
        """End the engines; keep what they counted, and what need not be probed for if the next ones begin soon."""
        known.retry_at = None
        self.heartbeats.close(known.link.index)
        port, known.port = known.port, None
        if port is None:
            return
        self.changed = self._moved = True
        self._conflicts = _newest(self._conflicts + Counter(port.conflicts()))
        if known.placed is not None:
            known.proven, known.proven_until = port.held(), now + PROOF_LASTS
        port.close()
        for ip, counts in port.take_counts(sum(len(a.addresses) for a in self._announced.values()) + 1).items():
            add_counts(self._counts, ip, counts)
        port.finish()
        self._drops.update(port.drops())

    def _fail(self, known: _Known, error: OSError, now: float) -> None:
        self._close(known, now)
        known.retry_at = now + RETRY
        self.changed = True
        if error.errno == errno.ENETDOWN:  # the kernel's message about it is on its way
            known.verdict = Reason.INTERFACE_DOWN
            return
        known.verdict = Reason.INTERFACE_FAILED
        self.last_error = f"cannot answer on {known.link.name}: {explain(error)}; trying again in {RETRY:.0f} s"
        log.error(self.last_error, extra={"interface": known.link.name, "reason": known.verdict.value})

    def discard_leftovers(self) -> None:
        """Remove what an earlier process left pinned for interfaces that are not used now."""
        if self._pins is not None:
            discard(self._pins, {index for index, known in self._known.items() if known.port is not None})

    def renew(self, deadline: float) -> None:
        """Let the kernel answer until then, where it does (CLOCK_MONOTONIC, seconds)."""
        for port in self._ports():
            port.renew(deadline)

    def check_fence(self, now: float) -> None:
        """Fall silent when heartbeats were late, and speak again when that is over. Before anything else is done."""
        if self.heartbeats.check_fence(now):
            self.changed = True
            for port in self._ports():
                port.fence(closed=self.heartbeats.fenced)

    def tick(self, now: float) -> None:
        """Do what is due: let the engines speak, drop those that failed, try again those whose time has come."""
        self.worked |= self.heartbeats.ignored
        self.heartbeats.ignored = False
        for known in self._known.values():
            port = known.port
            if port is not None:
                port.follow_peers(self.heartbeats.peer_macs(known.link.index), now)
                self.worked |= port.tick(now)
                self.changed |= port.changed
                port.changed = False
                if port.warning and port.warning != self.last_error:
                    self.last_error, self.changed = port.warning, True
                    port.warning = ""
                error = port.error or self.heartbeats.error(known.link.index)
                if error is not None:
                    self._fail(known, error, now)
            elif known.retry_at is not None and known.retry_at <= now:
                self._open(known, now)
        if self._moved:
            self._place(now)

    def next_deadline(self) -> float | None:
        """When an engine, or an interface to try again, has something to do; of heartbeats see there."""
        deadlines = [port.next_deadline() for port in self._ports()]
        deadlines += [known.retry_at for known in self._known.values()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def close(self) -> None:
        """Stop answering."""
        for known in self._known.values():
            self._close(known, 0.0)

    # -- for the report

    def interfaces(self) -> tuple[Interface, ...]:
        """Every interface with its verdict, those that matter first, at most MAX_REPORTED."""
        ordered = sorted(self._known.values(), key=lambda known: (_importance(known.verdict), known.link.name))
        return tuple(self._shown(known) for known in ordered[:MAX_REPORTED])

    def _shown(self, known: _Known) -> Interface:
        link, master = known.link, self._known.get(known.link.master)
        return Interface(
            name=link.name,
            index=link.index,
            mac=link.mac,
            verdict=known.verdict,
            networks=link.networks[:MAX_NETWORKS],
            master="" if master is None else master.link.name,
        )

    def answering(self) -> tuple[int, ...]:
        """The IP versions that are answered for now: none as long as no interface is usable."""
        return VERSIONS if any(True for _ in self._ports()) else ()

    def unanswered(self) -> Unanswered:
        """The addresses that no interface answers for, and why."""
        silent = [port.silent() for port in self._ports()]
        probing = self._unheld(ip for port in silent for ip in port.probing)
        released = self._unheld(ip for port in silent for ip in port.released) - probing
        contested = {ip: contest for port in silent for ip, contest in port.contested.items()}
        nowhere = self._unheld(contested) - probing
        return Unanswered(
            probing=self._addresses(probing),
            contested=tuple(Conflict(ip_address(ip), *contested[ip]) for ip in sorted(nowhere)),
            released=self._addresses(released - nowhere),
        )

    def _unheld(self, addresses: Iterable[bytes]) -> set[bytes]:
        """Those of the addresses that no interface answers for."""
        unheld = set(addresses)
        for port in self._ports():
            unheld = port.without_held(unheld)
        return unheld

    def _addresses(self, wanted: set[bytes]) -> tuple[IPAddress, ...]:
        """The same addresses, as those of the set: to look through it is quicker than to make thousands of new ones."""
        if not wanted:
            return ()
        return tuple(a for version in VERSIONS for a in self._announced[version].addresses if a.packed in wanted)

    def take_counts(self, limit: int) -> dict[bytes, Counts]:
        """Take what was counted since the last call, of about `limit` addresses per engine."""
        counts, self._counts = self._counts, {}
        for port in self._ports():
            for ip, new in port.take_counts(limit).items():
                add_counts(counts, ip, new)
        return counts

    def drops(self) -> dict[str, int]:
        """Frames not answered and frames not sent, by reason, since the start."""
        total = self._drops.copy()
        for port in self._ports():
            total.update(port.drops())
        total.update(self.heartbeats.drops())
        return dict(total)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Foreign claims to addresses that are answered for on some interface, on all interfaces together."""
        total = self._conflicts.copy()
        contested: dict[bytes, Contest] = {}
        for port in self._ports():
            total.update(port.conflicts())
            contested |= port.silent().contested
        for ip in contested.keys() - self._unheld(contested):
            total[ip, contested[ip].mac] += contested[ip].frames
        return tuple(Conflict(ip_address(ip), mac, count) for (ip, mac), count in sorted(total.items()))


def _with_all(ranges: list[AddressRange], addresses: Iterable[IPAddress]) -> tuple[AddressRange, ...]:
    """The ranges, and the addresses that lie in none of them: the filter must let pass all that is answered for."""
    merged = merge_ranges(ranges)
    starts = [int(r.first) for r in merged]
    ends = [-1, *(int(r.last) for r in merged)]
    outside = [a for a in addresses if int(a) > ends[bisect_right(starts, int(a))]]
    return tuple(merge_ranges([*merged, *(AddressRange(a, a) for a in outside)]) if outside else merged)


def _without_probes(announced: Announced, proven: Collection[bytes]) -> Announced:
    """The same, without probes for what was answered for a moment ago."""
    return replace(announced, probe=tuple(a for a in announced.probe if a.packed not in proven))


def _newest(conflicts: Counter[tuple[bytes, bytes]]) -> Counter[tuple[bytes, bytes]]:
    return Counter(dict(list(conflicts.items())[-MAX_CONFLICTS:]))


def _importance(verdict: Reason) -> int:
    return 0 if verdict in _REPORT_ORDER else 2 if verdict is _REPORT_LAST else 1


def _log_verdict(link: Link, verdict: Reason) -> None:
    level = logging.DEBUG if verdict is Reason.INTERFACE_EXCLUDED else logging.INFO
    message = "answering" if verdict is Reason.USABLE else f"not answering: {verdict.value}"
    log.log(level, "interface %s: %s", link.name, message, extra={"interface": link.name, "reason": verdict.value})

"""What a speaker tells operators about its addresses: log, Events, metrics and the flight recorder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from metallb_cli.daemon.neighbours import Died
from metallb_cli.daemon.ports import Events, Recorder, ServiceStore, SpeakerMetrics
from metallb_cli.election import Change
from metallb_cli.model import Conflict, IPAddress, LinkState, Notice, Protocol, Reason, ServiceKey, Severity
from metallb_cli.reconcile.announce import Verdict
from metallb_cli.reconcile.history import NO_STAGES, Stages

log = logging.getLogger(__name__)

PASSING_CLAIM = 3.0
"""Seconds for which another machine may claim an address of ours without being reported: a handover looks the same."""

BECAUSE = {
    Reason.OWNER_DIED: "{before} is not heard any more",
    Reason.OWNER_LEAVING: "{before} is leaving",
    Reason.OWNER_NOT_ELIGIBLE: "{before} may not answer for it any more",
    Reason.MOVE_REQUESTED: "it was asked to move here from {before}",
    Reason.BETTER_CLAIM: "the claim of {before} was not as good",
    Reason.ELECTED: "the hash prefers this node to {before}",
}
"""Why an address came to this node, for people."""


@dataclass(slots=True)
class _Claimed:
    """Another machine that claims an address of ours: since when, how often at first, whether it was reported."""

    since: float
    count: int
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Awaited:
    """Addresses that this node took over, until the link process says that it answers for them.

    Attributes:
        generation: of the set that has them.
        at: when that set was sent.
        detect, decide: seconds that it took so far; None when nobody died.
    """

    generation: int
    at: float
    changes: tuple[Change, ...]
    detect: float | None
    decide: float | None


class Announcements:
    """Follows every address of this node from the decision to the moment it is answered for, and back.

    Args:
        node: this one.
        services_of: which Services have an address; the caller keeps it up to date.
        services: the watched Services.
    """

    def __init__(
        self,
        node: str,
        services_of: Mapping[IPAddress, Collection[ServiceKey]],
        services: ServiceStore,
        events: Events,
        metrics: SpeakerMetrics,
        recorder: Recorder,
    ) -> None:
        self._node = node
        self._services_of = services_of
        self._services = services
        self._events = events
        self._metrics = metrics
        self._recorder = recorder
        self._protocols: dict[IPAddress, str] = {}
        self._gained: dict[IPAddress, Change] = {}
        self._awaited: list[_Awaited] = []
        self._claimed: dict[tuple[IPAddress, bytes], _Claimed] = {}
        self._contested: frozenset[tuple[IPAddress, bytes]] = frozenset()
        self._state = LinkState()

    # -- what was decided

    def judged(self, key: ServiceKey, verdicts: tuple[Verdict, ...]) -> None:
        """Say why addresses of a Service, whose verdicts are new, may be announced by nobody."""
        for verdict in verdicts:
            self._protocols[verdict.address] = (verdict.protocol or Protocol.LAYER2).value
            if verdict.reason is not Reason.ANNOUNCED:
                _log(key, verdict.reason, f"not announcing {verdict.address}")

    def decided(self, changes: tuple[Change, ...], generation: int, now: float, died: Died) -> None:
        """Take in how addresses changed hands.

        Args:
            changes: all that are new.
            generation: of the set that was sent because of them.
            now: monotonic seconds.
            died: how long each node had been silent when it was reported dead, and when that was.
        """
        gained = [change for change in changes if change.after == self._node]
        lost = [change for change in changes if change.after != self._node]
        for change in gained:
            self._gained[change.address] = change
        taken_over = [change for change in gained if change.reason is Reason.OWNER_DIED]
        for before in {change.before for change in taken_over}:
            silence = died.silence.get(before or "")
            self._await(generation, now, [c for c in taken_over if c.before == before], silence, now - died.reported_at)
        self._await(generation, now, [change for change in gained if change not in taken_over], None, None)
        for change in lost:
            self._gained.pop(change.address, None)
            if not self._keys(change.address):
                self._protocols.pop(change.address, None)
            elsewhere = f"; {change.after} answers" if change.after else ""
            for key in self._keys(change.address):
                _log(key, change.reason, f"not announcing {change.address} from this node any more{elsewhere}")
        if lost:
            self._recorder.record(lost, NO_STAGES)
        self._metrics.ownership_changes(Counter(change.reason.value for change in changes))

    def _await(
        self, generation: int, now: float, changes: list[Change], detect: float | None, decide: float | None
    ) -> None:
        if changes:
            self._awaited.append(_Awaited(generation, now, tuple(changes), detect, decide))

    # -- what the link process made of it

    def reported(self, state: LinkState, now: float) -> None:
        """Take in what the link process answers for, and what it found on the LAN."""
        before, self._state = self._state, state
        for awaited in [each for each in self._awaited if each.generation <= state.generation]:
            self._awaited.remove(awaited)
            stages = Stages(awaited.detect, awaited.decide, now - awaited.at)
            self._recorder.record(awaited.changes, stages)
            if stages.gap is not None:
                self._metrics.failover(stages)
        if state.announced is not before.announced or self._gained:
            self._tell_gained(state)
        if state.announced is not before.announced:
            self._metrics.announced(
                {(key, a): self._protocols.get(a, "layer2") for a in state.announced for key in self._keys(a)}
            )
        if state.fenced and not before.fenced:
            log.warning(
                "heartbeats were late, so peers may have taken over: answering for nothing until they were heard",
                extra={"reason": Reason.FENCED.value},
            )
        self._tell_contested(state)
        self._tell_conflicts(state.conflicts, now)
        self._metrics.fenced(state.fenced)
        self._metrics.contested(len({conflict.address for conflict in state.contested}))
        self._metrics.address_counters(state.counters)
        self._metrics.frame_drops(state.drops)

    def _tell_gained(self, state: LinkState) -> None:
        """Make an Event of each address that this node now answers for."""
        if not self._gained:
            return
        for address in sorted(self._gained.keys() & frozenset(state.announced), key=str):
            change = self._gained.pop(address)
            protocol = self._protocols.get(address, Protocol.LAYER2.value)
            because = BECAUSE.get(change.reason, "").format(before=change.before)
            message = f'announcing {address} from node "{self._node}" with protocol "{protocol}"'
            self._tell(address, Reason.ANNOUNCED, f"{message}, because {because}" if because else message)

    def _tell_contested(self, state: LinkState) -> None:
        contested = {(conflict.address, conflict.mac) for conflict in state.contested}
        for address, mac in contested - self._contested:
            message = (
                f"{address} is not announced: the machine with MAC address {mac.hex(':')} has it already; take it off "
                "that machine, or the address out of the pool. It is tried again every 30 s"
            )
            self._tell(address, Reason.ADDRESS_CONFLICT, message, Severity.WARNING)
            self._recorder.record([Change(address, Reason.ADDRESS_CONFLICT, None, None, 0)], NO_STAGES)
        self._contested = frozenset(contested)

    def _tell_conflicts(self, conflicts: tuple[Conflict, ...], now: float) -> None:
        """Report machines that go on claiming addresses of ours."""
        found = {(c.address, c.mac): c for c in conflicts}
        self._claimed = {key: self._claimed.get(key) or _Claimed(now, found[key].count) for key in found}
        for (address, mac), claimed in self._claimed.items():
            lasting = now >= claimed.since + PASSING_CLAIM and found[address, mac].count > claimed.count
            if claimed.told or not lasting:
                continue
            claimed.told = True
            message = (
                f"{address} is also claimed by the machine with MAC address {mac.hex(':')}; "
                "find it on the LAN, or take the address out of the pool"
            )
            self._tell(address, Reason.ADDRESS_CONFLICT, message, Severity.WARNING)

    def _tell(self, address: IPAddress, reason: Reason, message: str, severity: Severity = Severity.NORMAL) -> None:
        for key in self._keys(address):
            service = self._services.get(key)
            if service is not None:
                self._events.about_service(service, Notice(reason, message, severity))
            _log(key, reason, message, logging.WARNING if severity is Severity.WARNING else logging.INFO)

    def _keys(self, address: IPAddress) -> list[ServiceKey]:
        return sorted(self._services_of.get(address, ()))


def _log(key: ServiceKey, reason: Reason, message: str, level: int = logging.INFO) -> None:
    log.log(level, "%s: %s", key, message, extra={"service": str(key), "reason": reason.value})

"""What a speaker tells operators about its addresses: log, Events, metrics and the flight recorder."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from metallb_cli.daemon.neighbours import Death
from metallb_cli.daemon.ports import Events, Recorder, ServiceStore, SpeakerMetrics
from metallb_cli.election import Change
from metallb_cli.election.heard import sort_key
from metallb_cli.model import Conflict, IPAddress, LinkState, Notice, Protocol, Reason, ServiceKey, Severity
from metallb_cli.reconcile.announce import Verdict
from metallb_cli.reconcile.history import NO_STAGES, Stages

log = logging.getLogger(__name__)

PASSING_CLAIM = 3.0
"""Seconds for which another machine may claim an address of ours without being reported: a handover looks the same."""

CLAIM_FORGOTTEN = 300.0
"""Seconds of silence after which such a claim begins anew: two handovers an hour apart are no lasting claim."""

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
    """Another machine that claims an address of ours.

    Attributes:
        since: when it began, without a long silence since then.
        newest: when it did so last.
        count: how often, by then.
        told: it was reported.
    """

    since: float
    newest: float
    count: int
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Gain:
    """An address that this node took over.

    Attributes:
        generation: of the set that has it.
        at: when that set was sent.
        detect, decide: seconds that it took so far; None when nobody was seen to die.
    """

    change: Change
    generation: int
    at: float
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
        self._unrecorded: dict[IPAddress, _Gain] = {}  # not in force yet
        self._untold: dict[IPAddress, _Gain] = {}  # not answered for yet
        self._held: set[IPAddress] = set()  # told, and not lost since
        self._claimed: dict[tuple[IPAddress, bytes], _Claimed] = {}
        self._contested: frozenset[IPAddress] = frozenset()
        self._state = LinkState()
        self._announced: frozenset[IPAddress] = frozenset()

    # -- what was decided

    def judged(self, key: ServiceKey, before: tuple[Verdict, ...], after: tuple[Verdict, ...]) -> None:
        """Take in new verdicts about a Service: say why its addresses may be announced by nobody, and what it has now.

        Call it when `services_of` is up to date.
        """
        known = {verdict.address: verdict.reason for verdict in before}
        now = {verdict.address: verdict for verdict in after}
        for address, verdict in now.items():
            self._protocols[address] = (verdict.protocol or Protocol.LAYER2).value
            if verdict.reason not in (Reason.ANNOUNCED, known.get(address)):
                _log(key, verdict.reason, f"not announcing {address}")
            if address in self._held and address not in known:  # it shares what another Service has
                self._tell_service(key, Reason.ANNOUNCED, self._announcing(address))
        for address in known.keys() - now.keys():
            if address in self._held:
                _log(key, self._why_gone(key, address), f"{address} is not announced for it any more")
            if not self._keys(address):
                self._protocols.pop(address, None)
        if not self._announced.isdisjoint(known.keys() ^ now.keys()):
            self._count_announced()

    def decided(
        self, changes: tuple[Change, ...], generation: int, now: float, deaths: Mapping[str | None, Death]
    ) -> None:
        """Take in how addresses changed hands.

        Args:
            changes: all that are new, in their order for each address.
            generation: of the set that was sent because of them.
            now: monotonic seconds.
            deaths: the nodes that are dead on the LAN, and how that was noticed.
        """
        unseen, lost = [], []
        for change in changes:
            address = change.address
            if change.after == self._node:
                death = deaths.get(change.before) if change.reason is Reason.OWNER_DIED else None
                detect, decide = (death.silence, now - death.at) if death is not None else (None, None)
                self._unrecorded[address] = self._untold[address] = _Gain(change, generation, now, detect, decide)
                continue
            lost.append(change)
            if address in self._unrecorded:
                unseen.append(self._unrecorded.pop(address))
            self._untold.pop(address, None)
            self._held.discard(address)
            elsewhere = f"; {change.after} answers" if change.after else ""
            for key in self._keys(address):
                _log(key, change.reason, f"not announcing {address} from this node any more{elsewhere}")
        self._record(unseen, None)
        if lost:
            self._recorder.record(lost, NO_STAGES)
        self._metrics.ownership_changes(Counter(change.reason.value for change in changes))

    def suspended(self, suspended: bool, outage: float) -> None:
        """Say that `--on-api-outage` begins or ends to keep this node from answering. `outage`: seconds so far."""
        self._metrics.suspended(suspended)
        extra = {"reason": Reason.API_OUTAGE.value}
        if suspended:
            log.warning(
                "the API server has not answered for %.1f s: answering for nothing, as --on-api-outage says",
                outage,
                extra=extra,
            )
        else:
            log.info("taking part in the election again, which --on-api-outage had forbidden", extra=extra)

    # -- what the link process made of it

    def reported(self, state: LinkState, now: float) -> None:
        """Take in what the link process answers for, and what it found on the LAN."""
        before, self._state = self._state, state
        in_force = [gain for gain in self._unrecorded.values() if gain.generation <= state.generation]
        for gain in in_force:
            del self._unrecorded[gain.change.address]
        self._record(in_force, now)
        if state.announced is not before.announced:
            self._announced = frozenset(state.announced)
            self._count_announced()
        if not state.fenced:
            self._tell_gained(state.generation)
        self._tell_contested(state.contested)
        self._tell_conflicts(state.conflicts, now)
        self._metrics.fenced(state.fenced)
        self._metrics.contested(len(self._contested))
        self._metrics.address_counters(state.counters)
        self._metrics.frame_drops(state.drops)

    def fenced(self) -> None:
        """Say that the link process answered for nothing for a while."""
        log.warning(
            "heartbeats were late, so peers may have taken over: answering for nothing until they were heard",
            extra={"reason": Reason.FENCED.value},
        )

    def _record(self, gains: Iterable[_Gain], in_force: float | None) -> None:
        """Record what was gained, once its set is in force; `in_force` is None for what was lost before that."""
        together: defaultdict[tuple[float, float | None, float | None], list[Change]] = defaultdict(list)
        for gain in gains:
            together[gain.at, gain.detect, gain.decide].append(gain.change)
        for (at, detect, decide), changes in together.items():
            stages = Stages(detect, decide, None if in_force is None else in_force - at)
            self._recorder.record(changes, stages)
            if stages.gap is not None:
                self._metrics.failover(stages)

    def _count_announced(self) -> None:
        self._metrics.announced(
            {(key, a): self._protocol(a) for a in self._state.announced for key in self._keys(a)},
        )

    def _tell_gained(self, generation: int) -> None:
        """Make an Event of each address that this node now answers for."""
        answered = [a for a, gain in self._untold.items() if gain.generation <= generation and a in self._announced]
        for address in sorted(answered, key=sort_key):
            change = self._untold.pop(address).change
            self._held.add(address)
            because = BECAUSE.get(change.reason, "").format(before=change.before)
            message = self._announcing(address)
            self._tell(address, Reason.ANNOUNCED, f"{message}, because {because}" if because else message)

    def _tell_contested(self, conflicts: tuple[Conflict, ...]) -> None:
        contested = {conflict.address: conflict.mac for conflict in conflicts}
        for address in sorted(contested.keys() - self._contested, key=sort_key):
            message = (
                f"{address} is not announced: the machine with MAC address {contested[address].hex(':')} has it "
                "already; take it off that machine, or the address out of the pool. It is tried again every 30 s"
            )
            self._tell(address, Reason.ADDRESS_CONFLICT, message, Severity.WARNING)
            self._recorder.record([Change(address, Reason.ADDRESS_CONFLICT, None, None, 0)], NO_STAGES)
        self._contested = frozenset(contested)

    def _tell_conflicts(self, conflicts: tuple[Conflict, ...], now: float) -> None:
        """Report machines that go on claiming addresses of ours."""
        counts = {(c.address, c.mac): c.count for c in conflicts}
        self._claimed = {key: self._claimed.get(key) or _Claimed(now, now, counts[key]) for key in counts}
        for (address, mac), claimed in self._claimed.items():
            count = counts[address, mac]
            if claimed.told or count <= claimed.count:
                continue
            if now >= claimed.newest + CLAIM_FORGOTTEN:
                claimed.since = now
            claimed.newest, claimed.count = now, count
            if now < claimed.since + PASSING_CLAIM:
                continue
            claimed.told = True
            message = (
                f"{address} is also claimed by the machine with MAC address {mac.hex(':')}; "
                "find it on the LAN, or take the address out of the pool"
            )
            self._tell(address, Reason.ADDRESS_CONFLICT, message, Severity.WARNING)

    def _tell(self, address: IPAddress, reason: Reason, message: str, severity: Severity = Severity.NORMAL) -> None:
        for key in self._keys(address):
            self._tell_service(key, reason, message, severity)

    def _tell_service(
        self, key: ServiceKey, reason: Reason, message: str, severity: Severity = Severity.NORMAL
    ) -> None:
        service = self._services.get(key)
        if service is not None:
            self._events.about_service(service, Notice(reason, message, severity))
        _log(key, reason, message, logging.WARNING if severity is Severity.WARNING else logging.INFO)

    def _announcing(self, address: IPAddress) -> str:
        return f'announcing {address} from node "{self._node}" with protocol "{self._protocol(address)}"'

    def _protocol(self, address: IPAddress) -> str:
        return self._protocols.get(address, Protocol.LAYER2.value)

    def _why_gone(self, key: ServiceKey, address: IPAddress) -> Reason:
        """Why a Service has an address no more, or is not ours any more."""
        service = self._services.get(key)
        if service is None:
            return Reason.SERVICE_DELETED
        if not service.is_load_balancer:
            return Reason.NOT_LOAD_BALANCER
        return Reason.OTHER_CLASS if address in service.ingress else Reason.ADDRESS_CHANGED

    def _keys(self, address: IPAddress) -> list[ServiceKey]:
        return sorted(self._services_of.get(address, ()))


def _log(key: ServiceKey, reason: Reason, message: str, level: int = logging.INFO) -> None:
    log.log(level, "%s: %s", key, message, extra={"service": str(key), "reason": reason.value})

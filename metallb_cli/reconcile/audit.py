"""The state of everything, explained: what `metallb status` shows. Pure.

Nothing is decided here. Why a Service has no address is asked of the controller's planner, who shall answer for one of
the speakers' judge; this module compares both with what the speakers' Leases say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from metallb_cli.allocator import Allocator, PoolUsage
from metallb_cli.election import Mode
from metallb_cli.election.claims import best
from metallb_cli.model import Claim, Endpoints, IPAddress, Lease, Node, Pool, Reason, Service, ServiceKey
from metallb_cli.reconcile.announce import ClusterState, Verdict, judge
from metallb_cli.reconcile.explain import explain, explain_conflict
from metallb_cli.reconcile.findings import find_problems
from metallb_cli.reconcile.interface_notes import INTERFACES, decode_interfaces, reach
from metallb_cli.reconcile.lease_notes import ANNOUNCING, decode_addresses, speaker_note
from metallb_cli.reconcile.liveness import node_of
from metallb_cli.reconcile.report import (
    ClaimReport,
    ConfigurationReport,
    ControllerReport,
    PoolReport,
    Report,
    ServiceReport,
    SpeakerReport,
)
from metallb_cli.reconcile.service import ServicePlan, Stranded, adopt, adoption_order, plan_service
from metallb_cli.reconcile.speaker_report import claim_reports, claims_on, speaker_report, with_expected_peers

OFF_NETWORK = "no node has an IP address on its network, so clients need a route to it"
"""Said of an announced address that may be meant so, or a mistake in a pool."""

DEFAULT_DURATION = 6.0
"""Seconds: how long a Lease without a duration counts."""


@dataclass(frozen=True, slots=True)
class ConfigurationState:
    """What parsing the ConfigMap gave.

    Attributes:
        pools: None when the ConfigMap is missing or invalid.
        problems: how many, warnings included.
        first_problem: the first error, or the first warning when there is no error; empty when there is none.
        found: whether the ConfigMap exists.
    """

    pools: tuple[Pool, ...] | None
    problems: int = 0
    first_problem: str = ""
    found: bool = True


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A Lease and the seconds since it was renewed; None when its time cannot be read.

    The age comes from comparing the holder's clock with the API server's, so it may be off by what they differ.
    """

    lease: Lease
    age: float | None

    @property
    def state(self) -> str:
        """`live`, `stopped` (given back) or `dead` (ran out)."""
        if not self.lease.holder:
            return "stopped"
        alive = self.age is not None and self.age < (self.lease.duration or DEFAULT_DURATION)
        return "live" if alive else "dead"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything read at one time.

    Attributes:
        namespace: where the product runs.
        now: seconds since the epoch.
        services: any; only LoadBalancer Services are reported.
        speakers: the Leases named `speaker-<node>`.
        controller: the Lease named `metallb-controller`; None when it was not read or does not exist.
        lb_class, ignore_exclude_lb: what the daemons were started with, as far as known.
    """

    namespace: str
    now: float
    configuration: ConfigurationState
    services: tuple[Service, ...] = ()
    endpoints: Mapping[ServiceKey, Endpoints] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    speakers: tuple[ObservedLease, ...] = ()
    controller: ObservedLease | None = None
    lb_class: str | None = None
    ignore_exclude_lb: bool = False


def audit(snapshot: Snapshot) -> Report:
    """Explain every address, pool and speaker, and list what is wrong."""
    leases = by_node(snapshot.speakers)
    speakers = with_expected_peers(_speaker(node, observed, snapshot.nodes) for node, observed in leases)
    services = [service for service in snapshot.services if service.is_load_balancer]
    usage, plans = _plan(services, snapshot)
    configuration = _configuration(snapshot.configuration)
    pools = tuple(_pool(pool, usage[pool.name]) for pool in snapshot.configuration.pools or ())
    rows = tuple(_services(services, plans, speakers, snapshot))
    controller = _controller(snapshot.controller)
    problems = find_problems(rows, pools, speakers, configuration, controller, snapshot.now)
    return Report(
        snapshot.namespace, snapshot.now, not problems, configuration, pools, rows, speakers, controller, problems
    )


def by_node(leases: Iterable[ObservedLease]) -> list[tuple[str, ObservedLease]]:
    """Return the Leases of speakers with their nodes, sorted by node."""
    named = ((node_of(observed.lease.name), observed) for observed in leases)
    return sorted(((node, observed) for node, observed in named if node is not None), key=lambda pair: pair[0])


def _speaker(node: str, observed: ObservedLease, nodes: Mapping[str, Node]) -> SpeakerReport:
    draining = observed.state == "live" and node in nodes and nodes[node].draining
    return speaker_report(node, observed.lease, "draining" if draining else observed.state, observed.age)


def _controller(observed: ObservedLease | None) -> ControllerReport | None:
    return None if observed is None else ControllerReport(observed.lease.holder, observed.state, observed.age)


def _plan(services: list[Service], snapshot: Snapshot) -> tuple[dict[str, PoolUsage], dict[ServiceKey, ServicePlan]]:
    """Do what a controller that starts now would do, without writing."""
    allocator = Allocator(snapshot.configuration.pools or ())
    adopt(services, allocator, lb_class=snapshot.lb_class)
    usage = allocator.usage()
    plans = {}
    for service in adoption_order(services):
        plan = plan_service(service, allocator, stranded=Stranded.KEEP, lb_class=snapshot.lb_class)
        plans[service.key] = plan
        if plan.allocation is not None:
            allocator.commit(plan.allocation)
        elif plan.release:
            allocator.release(service.key)
    return usage, plans


def _configuration(state: ConfigurationState) -> ConfigurationReport:
    word = "loaded" if state.pools is not None else "invalid" if state.found else "missing"
    return ConfigurationReport(word, state.problems, state.first_problem)


def _pool(pool: Pool, usage: PoolUsage) -> PoolReport:
    return PoolReport(
        name=pool.name,
        protocol=pool.protocol.value,
        ranges=tuple(map(str, pool.ranges)),
        auto_assign=pool.auto_assign,
        total_v4=usage.total_v4,
        used_v4=usage.used_v4,
        free_v4=usage.free_v4,
        total_v6=usage.total_v6,
        used_v6=usage.used_v6,
        free_v6=usage.free_v6,
    )


def _services(
    services: list[Service],
    plans: Mapping[ServiceKey, ServicePlan],
    speakers: tuple[SpeakerReport, ...],
    snapshot: Snapshot,
) -> Iterable[ServiceReport]:
    state = cluster_state(snapshot)
    holders: dict[str, list[str]] = defaultdict(list)
    for speaker in speakers:
        for address in speaker.addresses if speaker.live else ():
            holders[address].append(speaker.node)
    silent = frozenset(speaker.node for speaker in speakers if speaker.live and not speaker.complete)
    claims = {node: claim_reports(o.lease) for node, o in by_node(snapshot.speakers) if o.state == "live"}
    for service in sorted(services, key=lambda s: s.key):
        plan = plans[service.key]
        if plan.reason is Reason.OTHER_CLASS:
            yield _row(service, None, plan.reason.value, plan.message)
        elif not service.ingress:
            yield _without_address(service, plan, snapshot)
        else:
            for verdict in judge(as_daemons_see(service, snapshot.configuration), state):
                claim = claims[verdict.owner].get(verdict.address) if verdict.owner in claims else None
                row = _with_address(service, plan, verdict, claim, snapshot)
                if verdict.owner is not None and state.candidates.off_network(verdict.address):
                    row = replace(row, explanation=f"{row.explanation}; {OFF_NETWORK}")
                observed = tuple(holders.get(str(verdict.address), ()))
                yield replace(row, holders=observed, agrees=_agrees(row, observed, silent))


def cluster_state(snapshot: Snapshot) -> ClusterState:
    """Return what the speakers judge all Services by, as far as it can be seen from outside."""
    leases = by_node(snapshot.speakers)
    reached = {node: reach(decode_interfaces(observed.lease.annotation(INTERFACES) or "")) for node, observed in leases}
    return ClusterState(
        pools=snapshot.configuration.pools or (),
        nodes=snapshot.nodes,
        speakers=frozenset(node for node, observed in leases if observed.state == "live"),
        endpoints=snapshot.endpoints,
        ignore_exclude_lb=snapshot.ignore_exclude_lb,
        reach={node: known for node, known in reached.items() if known is not None},
        holders=_holders({node: observed.lease for node, observed in leases if observed.state == "live"}, snapshot),
    )


def _holders(live: Mapping[str, Lease], snapshot: Snapshot) -> Mapping[IPAddress, list[str]]:
    """Return who has each address: of those that claim it the one with the best claim, else all that announce it.

    Nobody has anything while a speaker lives that does not keep what it has, or is of an older version: it goes by the
    hash. The claim of a node that is leaving counts when no other node claims the address.
    """
    notes = {node: speaker_note(lease) for node, lease in live.items()}
    if any(note.election != Mode.STICKY.value for note in notes.values()):
        return {}
    holders: defaultdict[IPAddress, list[str]] = defaultdict(list)
    claims: defaultdict[IPAddress, dict[str, Claim]] = defaultdict(dict)
    for node, lease in live.items():
        for address in decode_addresses(lease.annotation(ANNOUNCING) or "").addresses:
            holders[address].append(node)
        for address, claim in claims_on(lease).items():
            claims[address][node] = claim
    leaving = {node for node, note in notes.items() if note.leaving}
    leaving |= {name for name, node in snapshot.nodes.items() if node.draining}
    for address, by in claims.items():
        found = best(address, [(node, claim) for node, claim in by.items() if node not in leaving] or by.items())
        if found is not None:
            holders[address] = [found[0]]
    return holders


def as_daemons_see(service: Service, configuration: ConfigurationState) -> Service:
    """Without a valid configuration the daemons go on with the last one, which cannot be seen here.

    So judge as though it allowed what the Services have.
    """
    if configuration.pools is None and service.allocated_pool is None:
        return replace(service, allocated_pool="")
    return service


def _agrees(row: ServiceReport, holders: tuple[str, ...], silent: frozenset[str]) -> bool | None:
    expected = () if row.owner is None or row.contested else (row.owner,)
    if holders == expected:
        return True
    return None if not holders and row.owner in silent else False


def _row(service: Service, address: IPAddress | None, reason: str, explanation: str, action: str = "") -> ServiceReport:
    return ServiceReport(
        namespace=service.key.namespace,
        name=service.key.name,
        address=None if address is None else str(address),
        reason=reason,
        explanation=explanation,
        action=action,
        since=service.created or None,
    )


def _without_address(service: Service, plan: ServicePlan, snapshot: Snapshot) -> ServiceReport:
    configuration = snapshot.configuration
    if configuration.pools is None:
        reason = Reason.CONFIG_INVALID if configuration.found else Reason.CONFIG_MISSING
        what = "is invalid" if configuration.found else "does not exist"
        return _row(
            service,
            None,
            reason.value,
            f"no address: the configuration {what}; a controller that has an earlier one goes on with it",
            "run `metallb validate-config` on the ConfigMap" if configuration.found else "create the ConfigMap",
        )
    if plan.allocation is None:
        return _row(service, None, plan.reason.value, f"no address: {plan.cause}", plan.remedy)
    return _row(
        service,
        None,
        Reason.NO_ADDRESS.value,
        f'no address yet; the controller would assign {plan.addresses[0]} from pool "{plan.pool}"',
        "wait a moment, then look at the controller: "
        f"kubectl -n {snapshot.namespace} get pods -l app=metallb,component=controller",
    )


def _with_address(
    service: Service, plan: ServicePlan, verdict: Verdict, claim: ClaimReport | None, snapshot: Snapshot
) -> ServiceReport:
    if claim is not None and claim.contested:
        announcement = Reason.ADDRESS_CONFLICT
        explanation, action = explain_conflict(str(verdict.address), claim.mac)
    else:
        announcement = verdict.reason
        explanation, action = explain(verdict, snapshot.namespace)
    reason = announcement
    if snapshot.configuration.pools is not None:
        if verdict.address not in plan.addresses:
            reason = Reason.CLEARED
            instead = plan.addresses[0] if plan.addresses else "none"
            because = f": {plan.cause}" if plan.cause else ""
            explanation = f"{explanation}; the controller would give the Service {instead} in its place{because}"
            action = action or plan.remedy
        elif plan.cause:
            # The planner knows more about an address that is not ours than the judge.
            judged = "" if verdict.reason is Reason.NOT_ALLOWED else f"{explanation}; "
            explanation = f"{judged}{plan.cause}"
            if announcement is not Reason.ADDRESS_CONFLICT:
                reason, action = plan.reason, plan.remedy
    return replace(
        _row(service, verdict.address, reason.value, explanation, action),
        announcement=announcement.value,
        pool=plan.pool or service.allocated_pool or None,
        protocol=verdict.protocol.value if verdict.protocol else None,
        owner=verdict.owner,
        claim=claim,
        candidates=verdict.candidates,
        excluded={node: why.value for node, why in verdict.excluded.items()},
    )

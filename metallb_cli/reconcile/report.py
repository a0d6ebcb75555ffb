"""What `metallb status` knows, as plain values: `dataclasses.asdict` of a Report is ready for JSON.

Addresses, reasons and protocols are text here. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool and how much of it is in use. Totals leave out addresses that are never given out."""

    name: str
    protocol: str
    ranges: tuple[str, ...]
    auto_assign: bool
    total_v4: int
    used_v4: int
    free_v4: int
    total_v6: int
    used_v6: int
    free_v6: int


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """The owner's claim to an address, as its speaker says (docs/ownership.md).

    Attributes:
        epoch: grows by one with every change of owner.
        strong: the owner was in touch with more than half of the speakers.
        contested: another host has the address, so it is not announced.
        mac: of that host; None when the address is not contested, or the speaker does not say.
    """

    epoch: int
    strong: bool
    contested: bool
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One address of a LoadBalancer Service, or the Service without an address.

    Attributes:
        reason: a Reason's value: what an operator should look at first, else that it is announced.
        explanation: the same in sentences.
        action: what to do about it; empty when all is well.
        announcement: the Reason's value about the announcement alone; None without an address.
        pool: the pool that the address came from.
        protocol: how it is announced; None when it is not ours to announce.
        owner: the node that shall answer, by the speakers' own rule.
        claim: how the owner claims the address; None when it does not say.
        holders: the nodes whose live speakers say that they answer, sorted.
        agrees: whether `holders` is as it should be: the owner, or nobody when the address is contested; None when a
            speaker that matters did not say what it holds.
        since: when the Service was created, in seconds since the epoch; None when not known.
        candidates: the nodes that may own the address.
        excluded: the nodes that may not, with the Reason's value.
    """

    namespace: str
    name: str
    address: str | None
    reason: str
    explanation: str
    action: str = ""
    announcement: str | None = None
    pool: str | None = None
    protocol: str | None = None
    owner: str | None = None
    claim: ClaimReport | None = None
    holders: tuple[str, ...] = ()
    agrees: bool | None = True
    since: float | None = None
    candidates: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)

    @property
    def contested(self) -> bool:
        """Whether another host has the address, so that its owner does not answer."""
        return self.claim is not None and self.claim.contested


@dataclass(frozen=True, slots=True)
class InterfaceReport:
    """A network interface of a speaker's node.

    Attributes:
        verdict: `usable` or why not: a Reason's value, or a word of another version.
        networks: its IP networks, when it is usable.
        explanation: the verdict in words.
    """

    name: str
    verdict: str
    networks: tuple[str, ...] = ()
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class SpeakerReport:
    """A speaker, as its Lease describes it.

    Attributes:
        state: `live`; `draining`, which is live on a node that is being drained; `stopped` when it gave its Lease
            back; `dead` when the Lease ran out.
        age: since the Lease was renewed; None when not known.
        addresses: what it says it answers for, sorted; not what it really does when it is dead.
        complete: whether `addresses` is all of it.
        lease_duration: how long its Lease lasts without being renewed; None when not known.
        renew: between two renewals; None when it does not say.
        heartbeat_interval: between two heartbeats; None when it sends none.
        heartbeat_misses: intervals without a heartbeat after which others take it for dead; None when it sends none.
        live_peers: how many other speakers it hears on the LAN, and they it; None when it sends no heartbeats.
        expected_peers: how many other live speakers send heartbeats; None when it sends none itself.
        peers: names of the live peers, sorted; of very many only the first.
        election: what its `--election` is; None when it does not say, as a speaker of an older version.
        api_outage: what its `--on-api-outage` is; None when it does not say.
        leaving: it asks others to take over what it has.
        unsteady: it gets nothing new while a steady node lives.
        fenced: it answers for nothing, because its heartbeats were late.
        started: when it started, in seconds since the epoch, by its own clock; None when it does not say.
    """

    node: str
    state: str
    age: float | None
    interfaces: tuple[InterfaceReport, ...]
    addresses: tuple[str, ...]
    complete: bool
    lease_duration: float | None = None
    renew: float | None = None
    heartbeat_interval: float | None = None
    heartbeat_misses: int | None = None
    live_peers: int | None = None
    expected_peers: int | None = None
    peers: tuple[str, ...] = ()
    election: str | None = None
    api_outage: str | None = None
    leaving: bool = False
    unsteady: bool = False
    fenced: bool = False
    started: float | None = None

    @property
    def live(self) -> bool:
        """Whether it takes part in elections."""
        return self.state in ("live", "draining")

    @property
    def cut_off(self) -> bool:
        """Whether it says that it has interfaces, and that it can answer on none of them."""
        return bool(self.interfaces) and all(interface.verdict != "usable" for interface in self.interfaces)


@dataclass(frozen=True, slots=True)
class ControllerReport:
    """The leading controller, as the Lease describes it. `state` as for speakers."""

    holder: str
    state: str
    age: float | None


@dataclass(frozen=True, slots=True)
class ConfigurationReport:
    """The ConfigMap. `state` is `loaded`, `invalid` or `missing`; `problems` counts warnings too."""

    state: str
    problems: int
    first_problem: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do. `subject` is what it is about, such as `namespace/name` or a node."""

    reason: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything, as of `taken` (seconds since the epoch). `healthy` means that there is no problem.

    Attributes:
        problems: the gravest first.
    """

    namespace: str
    taken: float
    healthy: bool
    configuration: ConfigurationReport
    pools: tuple[PoolReport, ...]
    services: tuple[ServiceReport, ...]
    speakers: tuple[SpeakerReport, ...]
    controller: ControllerReport | None
    problems: tuple[Finding, ...]

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
        holders: the nodes whose live speakers say that they answer, sorted.
        agrees: whether `holders` is exactly the owner; None when a speaker that matters did not say what it holds.
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
    holders: tuple[str, ...] = ()
    agrees: bool | None = True
    since: float | None = None
    candidates: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)


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
    """

    node: str
    state: str
    age: float | None
    interfaces: tuple[InterfaceReport, ...]
    addresses: tuple[str, ...]
    complete: bool

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

"""Which node answers for an address, and why no other does. Every speaker and `status` ask the same function.

An address has one owner of the nodes that may answer: the one that has it, else the one that the election picks. A node
may answer when

* its speaker is alive,
* its Node does not report NetworkUnavailable, and is not labelled
  `node.kubernetes.io/exclude-from-external-load-balancers` (unless that label shall be ignored),
* its speaker does not say that it has no usable interface,
* it is on the network of the address, if any such node is known: see `reconcile/candidates.py`,
* with `externalTrafficPolicy: Local`, a ready endpoint of the Service runs on it.

A node whose Node object is not known is given the benefit of the doubt. Without any ready endpoint nobody answers:
a client that gets no ARP reply sees the failure at once, and another path can take over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from metallb_cli.allocator import PoolIndex
from metallb_cli.election import owner_by_holders
from metallb_cli.model import (
    Endpoints,
    IPAddress,
    Node,
    Pool,
    Protocol,
    Reason,
    Service,
    ServiceKey,
    TrafficPolicy,
)
from metallb_cli.reconcile.candidates import Candidates
from metallb_cli.reconcile.interface_notes import Reach


@dataclass(frozen=True)
class ClusterState:
    """What all Services are judged by. What can be computed once for all of them, is.

    Attributes:
        pools: the configuration in force.
        nodes: Node objects by name.
        speakers: nodes with a live speaker.
        endpoints: ready endpoints by Service; a Service that is missing has none.
        ignore_exclude_lb: announce also from nodes labelled exclude-from-external-load-balancers.
        reach: what each node can answer on, in its speaker's words; a node that is missing did not say.
        holders: who says to answer for an address, for those who look on. The speakers themselves go by claims, and
            take only the candidates from a verdict.
    """

    pools: tuple[Pool, ...]
    nodes: Mapping[str, Node]
    speakers: frozenset[str]
    endpoints: Mapping[ServiceKey, Endpoints]
    ignore_exclude_lb: bool = False
    reach: Mapping[str, Reach] = field(default_factory=dict)
    holders: Mapping[IPAddress, Collection[str]] = field(default_factory=dict)

    @cached_property
    def pool_index(self) -> PoolIndex:
        """The pools, by address."""
        return PoolIndex(self.pools)

    @cached_property
    def eligible(self) -> tuple[str, ...]:
        """The nodes that may answer for any Service, sorted."""
        return tuple(sorted(self.speakers - self.excluded.keys()))

    @cached_property
    def candidates(self) -> Candidates:
        """Of these nodes, those on the network of an address."""
        return Candidates(self.eligible, self.excluded, self.reach)

    @cached_property
    def excluded(self) -> Mapping[str, Reason]:
        """The nodes that may answer for no Service, and why."""
        reasons = {name: self._why_excluded(name) for name in sorted(self.speakers | self.nodes.keys())}
        return MappingProxyType({name: reason for name, reason in reasons.items() if reason is not None})

    def _why_excluded(self, name: str) -> Reason | None:
        node = self.nodes.get(name)
        if name not in self.speakers:
            return Reason.NO_SPEAKER
        if node is not None and node.network_unavailable:
            return Reason.NODE_NETWORK_UNAVAILABLE
        if node is not None and node.excluded and not self.ignore_exclude_lb:
            return Reason.NODE_EXCLUDED
        reach = self.reach.get(name)
        if reach is not None and not reach.usable:
            return Reason.NODE_NO_INTERFACE
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who answers for one address of a Service.

    Attributes:
        owner: the node; None when nobody shall answer.
        reason: Reason.ANNOUNCED when there is an owner, else why there is none.
        candidates: the nodes that may own it, sorted. Empty when the question of the node did not come up.
        excluded: the nodes that may not, and why.
        protocol: None when the address is not ours to announce.
        stranded: no pool gives the address out any more; it is kept for the Service that has it.
    """

    service: ServiceKey
    address: IPAddress
    owner: str | None
    reason: Reason
    candidates: tuple[str, ...] = ()
    excluded: Mapping[str, Reason] = field(default_factory=dict)
    protocol: Protocol | None = None
    stranded: bool = False


def judge(service: Service, state: ClusterState) -> tuple[Verdict, ...]:
    """Return a verdict for each address in the Service's status; none for a Service that is no LoadBalancer."""
    if not service.is_load_balancer:
        return ()
    return tuple(_judge(service, address, state) for address in service.ingress)


def _judge(service: Service, address: IPAddress, state: ClusterState) -> Verdict:
    pool = state.pool_index.usable_pool_of(address)
    stranded = pool is None
    if pool is None and service.allocated_pool is None:
        return Verdict(service.key, address, None, Reason.NOT_ALLOWED)
    protocol = pool.protocol if pool is not None else Protocol.LAYER2
    if not protocol.is_layer2:
        return Verdict(service.key, address, None, Reason.BGP_NOT_ANNOUNCED, protocol=protocol)
    endpoints = state.endpoints.get(service.key, Endpoints())
    if not endpoints:
        return Verdict(service.key, address, None, Reason.NO_ENDPOINTS, protocol=protocol, stranded=stranded)
    candidates, excluded = state.candidates.of(address)
    if service.traffic_policy is TrafficPolicy.LOCAL:
        without = dict.fromkeys((n for n in candidates if n not in endpoints.nodes), Reason.NO_LOCAL_ENDPOINTS)
        candidates = tuple(node for node in candidates if node in endpoints.nodes)
        excluded = {**excluded, **without}
    owner = owner_by_holders(address, candidates, state.holders.get(address, ()))
    reason = Reason.ANNOUNCED if owner is not None else _why_nobody(excluded)
    return Verdict(service.key, address, owner, reason, candidates, excluded, protocol, stranded)


def _why_nobody(excluded: Mapping[str, Reason]) -> Reason:
    """Return what an operator should look at first: the most specific reason that stopped a live speaker."""
    reasons = set(excluded.values())
    for reason in (
        Reason.NO_LOCAL_ENDPOINTS,
        Reason.NODE_NETWORK_UNAVAILABLE,
        Reason.NODE_NO_INTERFACE,
        Reason.NODE_EXCLUDED,
    ):
        if reason in reasons:
            return reason
    return Reason.NO_SPEAKER

"""The vocabulary: frozen values that every other module speaks in.

Nothing here does input or output, reads a clock or knows the shape of a Kubernetes object.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class Reason(enum.Enum):
    """Why something is as it is. The value appears the same in log, Event, metric and `status`.

    Where MetalLB has a name for the same thing, the value is MetalLB's.
    """

    # -- a Service and its address (controller)
    ALLOCATED = "IPAllocated"
    ADOPTED = "IPAdopted"
    CLEARED = "ClearAssignment"
    STRANDED = "AddressStranded"
    NOT_LOAD_BALANCER = "notLoadBalancer"
    OTHER_CLASS = "OtherLoadBalancerClass"
    WAITING_FOR_CONFIG = "WaitingForConfig"
    NO_POOL = "NoPool"
    POOL_EXHAUSTED = "PoolExhausted"
    UNKNOWN_POOL = "UnknownPool"
    ADDRESS_NOT_IN_POOL = "AddressNotInPool"
    ADDRESS_RESERVED = "AddressReserved"
    ADDRESS_IN_USE = "AddressInUse"
    INVALID_REQUEST = "InvalidAddressRequest"
    FAMILY_MISMATCH = "AddressFamilyMismatch"
    # -- the configuration
    CONFIG_LOADED = "ConfigLoaded"
    CONFIG_INVALID = "InvalidConfig"
    CONFIG_MISSING = "ConfigMissing"
    # -- who answers for an address (speaker)
    ANNOUNCED = "nodeAssigned"
    NOT_OWNER = "notOwner"
    SERVICE_DELETED = "serviceDeleted"
    NO_ADDRESS = "noIPAllocated"
    ADDRESS_CHANGED = "loadBalancerIPChanged"
    NOT_ALLOWED = "ipNotAllowed"
    NO_ENDPOINTS = "noEndpoints"
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    NO_SPEAKER = "NoSpeaker"
    NODE_NETWORK_UNAVAILABLE = "nodeNetworkUnavailable"
    NODE_EXCLUDED = "nodeLabeledExcludeBalancers"
    NODE_NO_INTERFACE = "nodeNoInterface"
    NODE_NOT_ON_NETWORK = "nodeNotOnNetwork"
    BGP_NOT_ANNOUNCED = "BGPNotAnnounced"
    ADDRESS_CONFLICT = "AddressConflict"
    OWNER_NOT_HOLDING = "OwnerNotHolding"
    # -- how an address changes hands
    CLAIMED = "Claimed"
    OWNER_DIED = "OwnerDied"
    OWNER_LEAVING = "OwnerLeaving"
    OWNER_NOT_ELIGIBLE = "OwnerNotEligible"
    MOVE_REQUESTED = "MoveRequested"
    BETTER_CLAIM = "BetterClaim"
    ELECTED = "Elected"
    FENCED = "Fenced"
    API_OUTAGE = "ApiOutage"
    NODE_DRAINING = "nodeDraining"
    UNEXPECTED_HOLDER = "UnexpectedHolder"
    NO_CONTROLLER = "NoController"
    # -- how speakers hear each other
    ISOLATED = "Isolated"
    NO_HEARTBEATS = "NoHeartbeats"
    SETTINGS_DIFFER = "SettingsDiffer"
    # -- a network interface
    USABLE = "usable"
    INTERFACE_EXCLUDED = "excludedByName"
    INTERFACE_LOOPBACK = "loopback"
    INTERFACE_DOWN = "down"
    INTERFACE_NO_CARRIER = "noCarrier"
    INTERFACE_ENSLAVED = "enslaved"
    INTERFACE_NO_ARP = "noARP"
    INTERFACE_NOT_ETHERNET = "notEthernet"
    INTERFACE_FAILED = "socketFailed"


class Protocol(enum.Enum):
    """How a pool's addresses are made reachable. v0.4.6 wrote `arp` and `ndp` for what became `layer2`."""

    ARP = "arp"
    NDP = "ndp"
    LAYER2 = "layer2"
    BGP = "bgp"

    @property
    def is_layer2(self) -> bool:
        """Whether a speaker answers for the addresses on the LAN."""
        return self is not Protocol.BGP


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Consecutive addresses of one family, both ends included."""

    first: IPAddress
    last: IPAddress

    def __post_init__(self) -> None:
        if self.first.version != self.last.version:
            raise ValueError(f"{self.first} and {self.last} are of different families")
        if int(self.first) > int(self.last):
            raise ValueError(f"{self.first} is after {self.last}")

    @classmethod
    def of_network(cls, network: IPNetwork) -> AddressRange:
        """Every address of the network, its first and last included."""
        return cls(network.network_address, network.broadcast_address)

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.first.version

    @property
    def size(self) -> int:
        """How many addresses."""
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: object) -> bool:
        return (
            isinstance(address, IPv4Address | IPv6Address)
            and address.version == self.first.version
            and int(self.first) <= int(address) <= int(self.last)
        )

    def overlaps(self, other: AddressRange) -> bool:
        """Whether an address lies in both."""
        return (
            self.version == other.version and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)
        )

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


BUGGY_LAST_OCTETS = frozenset({0, 255})
"""Last octets that `avoid-buggy-ips` keeps away from: some old routers treat them as broadcast in any network."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A named set of addresses to give out.

    Attributes:
        ranges: in configuration order; they overlap with no other range of any pool.
        auto_assign: False means only for Services that ask for this pool or for one of its addresses.
        avoid_buggy_ips: leave out IPv4 addresses that end in .0 or .255.
        arp_network: the enclosing network of a v0.4.6 `arp` pool; its first and last address are never given out.
    """

    name: str
    protocol: Protocol
    ranges: tuple[AddressRange, ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    arp_network: IPv4Network | None = None

    def __contains__(self, address: object) -> bool:
        """Whether the address lies in a range, usable or not."""
        return any(address in r for r in self.ranges)

    def reserved(self, address: IPAddress) -> bool:
        """Whether the rules forbid giving out this address although a range contains it."""
        network = self.arp_network
        if network is not None and address in (network.network_address, network.broadcast_address):
            return True
        return self.avoid_buggy_ips and address.version == 4 and (int(address) & 0xFF) in BUGGY_LAST_OCTETS

    def usable(self, address: IPAddress) -> bool:
        """Whether a Service may hold the address."""
        return address in self and not self.reserved(address)

    def serves(self, version: int) -> bool:
        """Whether the pool has a range of this IP version."""
        return any(r.version == version for r in self.ranges)

    def size(self, version: int | None = None) -> int:
        """How many addresses can be given out, of one IP version or of both; arithmetic, so a /64 costs nothing."""
        return sum(self._usable_in(r) for r in self.ranges if version in (None, r.version))

    def _usable_in(self, r: AddressRange) -> int:
        count = r.size
        if self.avoid_buggy_ips and r.version == 4:
            before, last = int(r.first) - 1, int(r.last)
            count -= sum((last - octet) // 256 - (before - octet) // 256 for octet in BUGGY_LAST_OCTETS)
        if self.arp_network is not None:
            for end in {self.arp_network.network_address, self.arp_network.broadcast_address}:
                buggy = self.avoid_buggy_ips and (int(end) & 0xFF) in BUGGY_LAST_OCTETS
                count -= end in r and not buggy
        return count


class TrafficPolicy(enum.Enum):
    """`externalTrafficPolicy` of a Service."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """Names a Service; sorts and prints as `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port that the Service listens on: what two Services sharing an address may not both have."""

    protocol: str
    port: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What we need of a Kubernetes Service, read once at the edge.

    Attributes:
        is_load_balancer: `spec.type` is LoadBalancer.
        load_balancer_class: `spec.loadBalancerClass`, None when unset.
        versions: IP versions of the cluster addresses, primary first; empty when the API server did not say.
        requested: `spec.loadBalancerIP` or the loadBalancerIPs annotation as written, unparsed, in order.
        requested_twice: both ways of asking are used, which is an error.
        requested_pool: the address-pool annotation, None when unset.
        allocated_pool: the annotation that we write: the pool the address came from; None when unset.
        sharing_key: the allow-shared-ip annotation, empty when unset.
        backend_key: the pod selector in canonical form (`k=v,k=v`, sorted).
        ingress: addresses in `status.loadBalancer.ingress`, in order.
        foreign_ingress: an ingress entry is no IP address (somebody else's hostname, or garbage).
        created: creationTimestamp in seconds since the epoch.
        requires_dual_stack: `spec.ipFamilyPolicy` is RequireDualStack.
        move_to: the node that shall take its addresses over (the move-to annotation); None when nobody asks for that.
        move_epoch: the request counts while no claim to the address has a higher epoch; 0 without a request.
    """

    key: ServiceKey
    uid: str = ""
    resource_version: str = ""
    is_load_balancer: bool = True
    load_balancer_class: str | None = None
    versions: tuple[int, ...] = (4,)
    requested: tuple[str, ...] = ()
    requested_twice: bool = False
    requested_pool: str | None = None
    allocated_pool: str | None = None
    sharing_key: str = ""
    backend_key: str = ""
    traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    ports: tuple[ServicePort, ...] = ()
    ingress: tuple[IPAddress, ...] = ()
    foreign_ingress: bool = False
    created: float = 0.0
    requires_dual_stack: bool = False
    move_to: str | None = None
    move_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a Service has ready pods. `nodes` holds the node names; `elsewhere`: a ready endpoint names no node."""

    nodes: frozenset[str] = frozenset()
    elsewhere: bool = False

    def __bool__(self) -> bool:
        return bool(self.nodes) or self.elsewhere

    def __or__(self, other: Endpoints) -> Endpoints:
        return Endpoints(self.nodes | other.nodes, self.elsewhere or other.elsewhere)


@dataclass(frozen=True, slots=True)
class Node:
    """What we need of a Kubernetes Node.

    Attributes:
        network_unavailable: the condition NetworkUnavailable is True.
        excluded: the node carries `node.kubernetes.io/exclude-from-external-load-balancers`.
        draining: the drain annotation asks others to take over what the node answers for.
    """

    name: str
    network_unavailable: bool = False
    excluded: bool = False
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A `coordination.k8s.io/v1` Lease.

    Attributes:
        holder: `spec.holderIdentity`; empty means given back.
        renewed: `spec.renewTime` exactly as the holder wrote it. Compare it for change only: clocks differ.
        duration: `spec.leaseDurationSeconds`, in seconds.
        transitions: `spec.leaseTransitions`.
        annotations: what the holder says of itself.
    """

    name: str
    holder: str = ""
    renewed: str = ""
    duration: float = 0.0
    transitions: int = 0
    resource_version: str = ""
    annotations: tuple[tuple[str, str], ...] = ()

    def annotation(self, name: str) -> str | None:
        """Return the annotation's value, or None."""
        return next((value for key, value in self.annotations if key == name), None)


MAX_NETWORKS = 64
"""Networks of one interface that are told to others."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this node, and whether we answer on it.

    Attributes:
        mac: six bytes.
        verdict: Reason.USABLE, or why not.
        networks: of its IP addresses, sorted, at most MAX_NETWORKS; without single hosts, loopback and link-local ones.
        master: name of the bridge or bond that it is a port of, or empty.
    """

    name: str
    index: int
    mac: bytes = bytes(6)
    verdict: Reason = Reason.USABLE
    networks: tuple[IPNetwork, ...] = ()
    master: str = ""


@dataclass(frozen=True, slots=True)
class AddressCounters:
    """Totals since the link process started, for one address."""

    requests: int = 0
    responses: int = 0
    gratuitous: int = 0


class Severity(enum.Enum):
    """Kubernetes Event types."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the operator about an object: becomes a Kubernetes Event and a log line.

    Attributes:
        message: one sentence for a human, ending in what to do when something is wrong.
    """

    reason: Reason
    message: str
    severity: Severity = Severity.NORMAL


def parse_address(text: str) -> IPAddress | None:
    """Return the address, or None when the text is not exactly one IPv4 or IPv6 address without a zone."""
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def merge_ranges(ranges: Iterator[AddressRange] | list[AddressRange] | tuple[AddressRange, ...]) -> list[AddressRange]:
    """Return the fewest sorted ranges that cover the same addresses; IPv4 comes before IPv6. O(n log n)."""
    merged: list[AddressRange] = []
    for current in sorted(ranges, key=lambda r: (r.version, int(r.first))):
        if merged and merged[-1].version == current.version and int(current.first) <= int(merged[-1].last) + 1:
            if int(current.last) > int(merged[-1].last):
                merged[-1] = AddressRange(merged[-1].first, current.last)
        else:
            merged.append(current)
    return merged


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another machine claims an address that this node answers for.

    Attributes:
        mac: who claims it, six bytes.
        count: frames in which it did.
    """

    address: IPAddress
    mac: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A node's statement that it answers for an address (docs/ownership.md).

    Attributes:
        epoch: grows by one with every change of owner of the address; below 2**32.
        strong: the claimer was in touch with more than half of the speakers.
        contested: a host that is no speaker has the address, so it is not announced.
    """

    epoch: int
    strong: bool = True
    contested: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """All the claims of one node to the addresses from `first` to `last`, both of one family; sorted."""

    first: IPAddress
    last: IPAddress
    claims: tuple[tuple[IPAddress, Claim], ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's speaker, as its heartbeats show it on all interfaces together.

    Attributes:
        boot: which start of that speaker, in nanoseconds since the epoch.
        live: heard in time on some interface, and it hears us there.
        leaving: it asks others to take its addresses over.
        unsteady: it should get nothing new while a steady node lives.
        interfaces: of ours, on which it is live.
        silence: seconds since its last heartbeat, when this was reported.
    """

    node: str
    boot: int
    live: bool
    leaving: bool = False
    unsteady: bool = False
    interfaces: tuple[str, ...] = ()
    silence: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkState:
    """What the link process reports about itself: the whole state, never a difference.

    Attributes:
        generation: of the announcement set that is in force.
        announced: addresses it answers for now.
        counters: by address; kept for addresses no longer announced until the control process has read them once.
        drops: frames not answered, by the Drop's value.
        last_error: the newest problem an operator should know, empty when none.
        conflicts: over announced addresses, as far as remembered.
        probing: addresses of the set that are not answered for yet, because the LAN is still asked who has them.
        contested: addresses of the set that are not answered for, because another host has them; with its MAC address.
        released: yielding addresses of the set that are not answered for any more.
        fenced: nothing is answered, because heartbeats were late and peers may have taken over.
    """

    generation: int = 0
    interfaces: tuple[Interface, ...] = ()
    announced: tuple[IPAddress, ...] = ()
    counters: dict[IPAddress, AddressCounters] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    last_error: str = ""
    conflicts: tuple[Conflict, ...] = ()
    probing: tuple[IPAddress, ...] = ()
    contested: tuple[Conflict, ...] = ()
    released: tuple[IPAddress, ...] = ()
    fenced: bool = False

"""Kubernetes objects as JSON, and what we need of them.

Nothing here raises, whatever the JSON: the objects of a cluster are written by many hands, and one odd object must not
stop a daemon. What is missing or of the wrong type counts as not there.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from datetime import UTC, datetime
from typing import Any

from metallb_cli.election.claims import MAX_EPOCH
from metallb_cli.model import (
    Endpoints,
    IPAddress,
    Lease,
    Node,
    Service,
    ServiceKey,
    ServicePort,
    TrafficPolicy,
    parse_address,
)

PREFIX = "metallb.io/"
OLD_PREFIX = "metallb.universe.tf/"
"""Prefix of our annotations before MetalLB 0.14.9; read when the newer one is not there."""

ALLOCATED_FROM = f"{PREFIX}ip-allocated-from-pool"
"""The annotation that the controller writes: the pool of the Service's address."""

DRAIN = f"{PREFIX}drain"
"""The annotation on a Node that is being drained; any value but "false" counts."""

MOVE_TO = f"{PREFIX}move-to"
"""The annotation on a Service whose addresses shall move: `NODE EPOCH`."""

MAX_NODE_NAME = 253
"""Characters: the name of a Node is a DNS subdomain name."""

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""On an EndpointSlice: the Service it belongs to."""

FAMILIES = {"IPv4": 4, "IPv6": 6}


def service(data: object) -> Service:
    """Read a core/v1 Service."""
    root = _map(data)
    metadata = _map(root.get("metadata"))
    spec = _map(root.get("spec"))
    annotations = _map(metadata.get("annotations"))
    asked = tuple(part.strip() for part in _annotation(annotations, "loadBalancerIPs").split(",") if part.strip())
    field = _str(spec.get("loadBalancerIP"))
    addresses, foreign = _ingress(_map(_map(root.get("status")).get("loadBalancer")).get("ingress"))
    local = spec.get("externalTrafficPolicy") == TrafficPolicy.LOCAL.value
    move_to, move_epoch = _move_request(_str(annotations.get(MOVE_TO)))
    return Service(
        key=ServiceKey(_interned(metadata.get("namespace")), _str(metadata.get("name"))),
        uid=_str(metadata.get("uid")),
        resource_version=_str(metadata.get("resourceVersion")),
        is_load_balancer=spec.get("type") == "LoadBalancer",
        load_balancer_class=_str(spec.get("loadBalancerClass")) or None,
        versions=_versions(spec),
        requested=asked or ((field,) if field else ()),
        requested_twice=bool(asked and field),
        requested_pool=_annotation(annotations, "address-pool") or None,
        allocated_pool=_str(annotations.get(ALLOCATED_FROM)) or None,
        sharing_key=_annotation(annotations, "allow-shared-ip"),
        backend_key=_selector(spec.get("selector")),
        traffic_policy=TrafficPolicy.LOCAL if local else TrafficPolicy.CLUSTER,
        ports=_ports(spec.get("ports")),
        ingress=addresses,
        foreign_ingress=foreign,
        created=_epoch(metadata.get("creationTimestamp")),
        requires_dual_stack=spec.get("ipFamilyPolicy") == "RequireDualStack",
        move_to=move_to,
        move_epoch=move_epoch,
    )


def same_service(one: Service, other: Service) -> bool:
    """Whether nothing differs that we look at; every write by anybody gives a new resource_version."""
    return dataclasses.replace(one, resource_version=other.resource_version) == other


def node(data: object) -> Node:
    """Read a core/v1 Node. Heartbeats change nothing of what is read."""
    root = _map(data)
    metadata = _map(root.get("metadata"))
    unavailable = any(
        _map(condition).get("type") == "NetworkUnavailable" and _map(condition).get("status") == "True"
        for condition in _list(_map(root.get("status")).get("conditions"))
    )
    drain = _map(metadata.get("annotations")).get(DRAIN)
    return Node(
        name=_interned(metadata.get("name")),
        network_unavailable=unavailable,
        excluded=EXCLUDE_LABEL in _map(metadata.get("labels")),
        draining=isinstance(drain, str) and drain != "false",
    )


def endpoint_slice(data: object) -> tuple[ServiceKey, Endpoints] | None:
    """Read a discovery.k8s.io/v1 EndpointSlice: one part of a Service's endpoints.

    An endpoint counts when its condition `ready` is true or not given, or else `serving` is true, as in MetalLB: a
    pod that is ending keeps its address reachable while it still serves.

    Returns:
        None when the slice belongs to no Service or its addresses are host names.
    """
    root = _map(data)
    metadata = _map(root.get("metadata"))
    name = _str(_map(metadata.get("labels")).get(SERVICE_NAME_LABEL))
    if not name or root.get("addressType") == "FQDN":
        return None
    nodes = set()
    elsewhere = False
    for item in _list(root.get("endpoints")):
        endpoint = _map(item)
        conditions = _map(endpoint.get("conditions"))
        if not _list(endpoint.get("addresses")):
            continue
        if conditions.get("ready") in (None, True) or conditions.get("serving") is True:
            where = _interned(endpoint.get("nodeName"))
            nodes.add(where)
            elsewhere = elsewhere or not where
    key = ServiceKey(_interned(metadata.get("namespace")), name)
    return key, Endpoints(frozenset(nodes - {""}), elsewhere)


def endpoints(data: object) -> tuple[ServiceKey, Endpoints]:
    """Read a core/v1 Endpoints object: all endpoints of the Service of the same name.

    As in MetalLB 0.4.6, an address that any subset lists as not ready does not count.
    """
    root = _map(data)
    metadata = _map(root.get("metadata"))
    subsets = [_map(subset) for subset in _list(root.get("subsets"))]
    waiting = {_str(_map(item).get("ip")) for subset in subsets for item in _list(subset.get("notReadyAddresses"))}
    nodes = {
        _interned(_map(item).get("nodeName"))
        for subset in subsets
        for item in _list(subset.get("addresses"))
        if _str(_map(item).get("ip")) not in waiting
    }
    key = ServiceKey(_interned(metadata.get("namespace")), _str(metadata.get("name")))
    return key, Endpoints(frozenset(nodes - {""}), "" in nodes)


def lease(data: object) -> Lease:
    """Read a coordination.k8s.io/v1 Lease."""
    root = _map(data)
    metadata = _map(root.get("metadata"))
    spec = _map(root.get("spec"))
    return Lease(
        name=_str(metadata.get("name")),
        holder=_str(spec.get("holderIdentity")),
        renewed=_str(spec.get("renewTime")),
        duration=float(_int(spec.get("leaseDurationSeconds"))),
        transitions=_int(spec.get("leaseTransitions")),
        resource_version=_str(metadata.get("resourceVersion")),
        annotations=tuple(
            sorted((_str(k), _str(v)) for k, v in _map(metadata.get("annotations")).items() if isinstance(v, str))
        ),
    )


def lease_body(lease: Lease, namespace: str, labels: dict[str, str], now: datetime) -> dict[str, Any]:
    """Return the object to write. `renewTime` is `now` where the lease says none; an empty holder is left out."""
    metadata: dict[str, Any] = {"name": lease.name, "namespace": namespace, "labels": labels}
    if lease.annotations:
        metadata["annotations"] = dict(lease.annotations)
    if lease.resource_version:
        metadata["resourceVersion"] = lease.resource_version
    spec: dict[str, Any] = {"renewTime": lease.renewed or micro_time(now), "leaseTransitions": lease.transitions}
    if lease.holder:
        spec["holderIdentity"] = lease.holder
    if lease.duration > 0:
        spec["leaseDurationSeconds"] = math.ceil(lease.duration)  # the API takes whole seconds, at least one
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def config_text(data: object, key: str = "config") -> str:
    """Return the configuration in a ConfigMap; as in MetalLB, no such key is an empty, valid configuration."""
    return _str(_map(_map(data).get("data")).get(key))


def uid(data: object) -> str:
    """Return the object's uid, empty when it has none."""
    return _str(_map(_map(data).get("metadata")).get("uid"))


def micro_time(when: datetime) -> str:
    """Format as Kubernetes' MicroTime: RFC 3339 in UTC with six decimals."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _annotation(annotations: dict[str, Any], name: str) -> str:
    """Return the value under the newer prefix when it is there at all, even empty, else under the older one."""
    newer = annotations.get(PREFIX + name)
    return _str(newer) if isinstance(newer, str) else _str(annotations.get(OLD_PREFIX + name))


def move_request(node: str, epoch: int) -> str:
    """Return the value of the annotation MOVE_TO that asks for this."""
    return f"{node} {epoch}"


def _move_request(text: str) -> tuple[str | None, int]:
    node, _, epoch = text.strip().partition(" ")
    epoch = epoch.strip()
    if not 0 < len(node) <= MAX_NODE_NAME or not (epoch.isascii() and epoch.isdigit() and len(epoch) <= 10):
        return None, 0
    return (_interned(node), int(epoch)) if int(epoch) <= MAX_EPOCH else (None, 0)


def _ingress(value: object) -> tuple[tuple[IPAddress, ...], bool]:
    addresses = []
    foreign = value is not None and not isinstance(value, list)
    for entry in _list(value):
        address = parse_address(_str(_map(entry).get("ip")))
        if address is None:
            foreign = True
        else:
            addresses.append(address)
    return tuple(addresses), foreign


def _versions(spec: dict[str, Any]) -> tuple[int, ...]:
    families = [FAMILIES[name] for name in _list(spec.get("ipFamilies")) if isinstance(name, str) and name in FAMILIES]
    if not families:
        cluster = _list(spec.get("clusterIPs")) or [spec.get("clusterIP")]
        families = [address.version for item in cluster if (address := parse_address(_str(item))) is not None]
    return tuple(dict.fromkeys(families))


def _ports(value: object) -> tuple[ServicePort, ...]:
    ports = []
    for item in _list(value):
        entry = _map(item)
        number = _int(entry.get("port"))
        if 0 < number < 65536:
            ports.append(ServicePort(_interned(entry.get("protocol")) or "TCP", number, _interned(entry.get("name"))))
    return tuple(ports)


def _selector(value: object) -> str:
    return ",".join(f"{_str(k)}={_str(v)}" for k, v in sorted(_map(value).items()))


def _epoch(value: object) -> float:
    try:
        return datetime.fromisoformat(_str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else 0


def _str(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # JSON can spell half of a surrogate pair, which no log and no request could carry.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _interned(value: object) -> str:
    """Return names that many objects repeat as one string in memory."""
    return sys.intern(_str(value))

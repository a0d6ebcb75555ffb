"""What is in the columns of each kind."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from metallb_cli.lab.api import resources
from metallb_cli.lab.api.refusals import Json

NONE = "<none>"
UNKNOWN = "<unknown>"

Now = datetime.datetime
Cells = list[Any]


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is shown.

    Attributes:
        columns: behind the name; those that begin with `*` only with `-o wide`.
        cells: what is in them, for one object.
        name_first: the first column is the name.
    """

    columns: tuple[str, ...]
    cells: Callable[[Json, Now], Cells]
    name_first: bool = True


# -- times


def age(text: object, now: Now) -> str:
    """How long ago that was, as kubectl writes it."""
    try:
        moment = datetime.datetime.fromisoformat(str(text))
        return duration(int((now - moment).total_seconds()))
    except (ValueError, TypeError):
        return UNKNOWN


def duration(seconds: int) -> str:
    """Kubernetes' HumanDuration: the two units that say something."""
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d"


def _age(obj: Json, now: Now) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


# -- kinds


def _part(obj: Json, name: str) -> Json:
    value = obj.get(name)
    return value if isinstance(value, dict) else {}


def _joined(parts: Iterable[str]) -> str:
    return ",".join(parts) or NONE


def _pairs(labels: Json) -> str:
    return _joined(f"{key}={value}" for key, value in sorted(labels.items()))


def _service(obj: Json, now: Now) -> Cells:
    spec = _part(obj, "spec")
    kind = spec.get("type", UNKNOWN)
    return [
        kind,
        spec.get("clusterIP") or NONE,
        _external_ip(obj, kind, spec),
        _joined(map(_service_port, spec.get("ports") or ())),
        _age(obj, now),
        _pairs(spec.get("selector") or {}),
    ]


def _external_ip(obj: Json, kind: str, spec: Json) -> str:
    if kind == "ExternalName":
        return str(spec.get("externalName", NONE))
    ingress = _part(_part(obj, "status"), "loadBalancer").get("ingress") or ()
    addresses = [each.get("ip") or each.get("hostname") or "" for each in ingress] if kind == "LoadBalancer" else []
    external = list(spec.get("externalIPs") or ())
    if kind == "LoadBalancer" and not addresses and not external:
        return "<pending>"
    return _joined([*addresses, *external])


def _service_port(port: Json) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol')}"


def _pod(obj: Json, now: Now) -> Cells:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    states = status.get("containerStatuses") or ()
    return [
        f"{sum(bool(each.get('ready')) for each in states)}/{len(spec.get('containers') or ())}",
        "Terminating" if "deletionTimestamp" in obj["metadata"] else _pod_state(status, states),
        sum(each.get("restartCount") or 0 for each in states),
        _age(obj, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        NONE,
    ]


def _pod_state(status: Json, states: Sequence[Json]) -> str:
    for each in states:
        for part in ("waiting", "terminated"):
            reason = _part(_part(each, "state"), part).get("reason")
            if reason:
                return str(reason)
    return str(status.get("reason") or status.get("phase") or UNKNOWN)


def _node(obj: Json, now: Now) -> Cells:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    ready: Json = next((each for each in status.get("conditions") or () if each.get("type") == "Ready"), {})
    state = {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown")
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    addresses = {each.get("type"): each.get("address") for each in status.get("addresses") or ()}
    info = _part(status, "nodeInfo")
    return [
        state + (",SchedulingDisabled" if spec.get("unschedulable") else ""),
        _joined(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))),
        _age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _images(obj: Json) -> tuple[str, str]:
    containers = _part(_part(_part(obj, "spec"), "template"), "spec").get("containers") or ()
    return ",".join(each.get("name", "") for each in containers), ",".join(each.get("image", "") for each in containers)


def _selector(obj: Json) -> str:
    return _pairs(_part(_part(obj, "spec"), "selector").get("matchLabels") or {})


def _stateful_set(obj: Json, now: Now) -> Cells:
    ready, wanted = _part(obj, "status").get("readyReplicas", 0), _part(obj, "spec").get("replicas", 0)
    return [f"{ready}/{wanted}", _age(obj, now), *_images(obj)]


def _deployment(obj: Json, now: Now) -> Cells:
    status = _part(obj, "status")
    return [
        f"{status.get('readyReplicas', 0)}/{_part(obj, 'spec').get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(obj, now),
        *_images(obj),
        _selector(obj),
    ]


def _replica_set(obj: Json, now: Now) -> Cells:
    status = _part(obj, "status")
    numbers = [_part(obj, "spec").get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [*numbers, _age(obj, now), *_images(obj), _selector(obj)]


def _daemon_set(obj: Json, now: Now) -> Cells:
    status = _part(obj, "status")
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    nodes = _pairs(_part(_part(_part(obj, "spec"), "template"), "spec").get("nodeSelector") or {})
    return [*(status.get(field, 0) for field in fields), nodes, _age(obj, now), *_images(obj), _selector(obj)]


def _event(obj: Json, now: Now) -> Cells:
    involved, source = _part(obj, "involvedObject"), _part(obj, "source")
    last = obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    first = obj.get("firstTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{involved.get('kind', '').lower()}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        source.get("component") or obj.get("reportingComponent", ""),
        str(obj.get("message", "")).strip(),
        age(first, now),
        obj.get("count", 1),
        obj["metadata"]["name"],
    ]


def _endpoint_slice(obj: Json, now: Now) -> Cells:
    ports = [str(each.get("port", "*")) for each in obj.get("ports") or ()]
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    shown = addresses[:3]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return [
        obj.get("addressType", ""),
        ",".join(ports) or "<unset>",
        (",".join(shown) or "<unset>") + more,
        _age(obj, now),
    ]


def _endpoints(obj: Json, now: Now) -> Cells:
    shown = [
        f"{address.get('ip', '')}:{port.get('port', '')}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return [_joined(shown[:3]) + more, _age(obj, now)]


def _lease(obj: Json, now: Now) -> Cells:
    return [_part(obj, "spec").get("holderIdentity", ""), _age(obj, now)]


def _role_binding(obj: Json, now: Now) -> Cells:
    reference = _part(obj, "roleRef")
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for each in obj.get("subjects") or ():
        name = f"{each.get('namespace', '')}/{each.get('name')}" if each.get("namespace") else str(each.get("name"))
        subjects.setdefault(str(each.get("kind")), []).append(name)
    shown = [", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [f"{reference.get('kind', '')}/{reference.get('name', '')}", _age(obj, now), *shown]


def _created(obj: Json, _now: Now) -> Cells:
    return [obj["metadata"].get("creationTimestamp", "")]


def _count(*fields: str) -> Callable[[Json, Now], Cells]:
    return lambda obj, now: [sum(len(obj.get(field) or ()) for field in fields), _age(obj, now)]


AGE_ONLY = Printer(("Age",), lambda obj, now: [_age(obj, now)])
_IMAGES = ("*Containers", "*Images")
PRINTERS = {
    resources.SERVICES.storage: Printer(("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "*Selector"), _service),
    resources.PODS.storage: Printer(
        ("Ready", "Status", "Restarts", "Age", "*IP", "*Node", "*Nominated Node", "*Readiness Gates"), _pod
    ),
    resources.NODES.storage: Printer(
        (
            "Status",
            "Roles",
            "Age",
            "Version",
            "*Internal-IP",
            "*External-IP",
            "*OS-Image",
            "*Kernel-Version",
            "*Container-Runtime",
        ),
        _node,
    ),
    resources.NAMESPACES.storage: Printer(
        ("Status", "Age"), lambda obj, now: [_part(obj, "status").get("phase", ""), _age(obj, now)]
    ),
    resources.CONFIG_MAPS.storage: Printer(("Data", "Age"), _count("data", "binaryData")),
    resources.SECRETS.storage: Printer(
        ("Type", "Data", "Age"), lambda obj, now: [obj.get("type", ""), len(obj.get("data") or ()), _age(obj, now)]
    ),
    resources.SERVICE_ACCOUNTS.storage: Printer(("Secrets", "Age"), _count("secrets")),
    resources.STATEFUL_SETS.storage: Printer(("Ready", "Age", *_IMAGES), _stateful_set),
    resources.DEPLOYMENTS.storage: Printer(
        ("Ready", "Up-to-date", "Available", "Age", *_IMAGES, "*Selector"), _deployment
    ),
    resources.REPLICA_SETS.storage: Printer(
        ("Desired", "Current", "Ready", "Age", *_IMAGES, "*Selector"), _replica_set
    ),
    resources.DAEMON_SETS.storage: Printer(
        (
            "Desired",
            "Current",
            "Ready",
            "Up-to-date",
            "Available",
            "Node Selector",
            "Age",
            *_IMAGES,
            "*Selector",
        ),
        _daemon_set,
    ),
    resources.EVENTS.storage: Printer(
        (
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "*Subobject",
            "*Source",
            "Message",
            "*First Seen",
            "*Count",
            "*Name",
        ),
        _event,
        name_first=False,
    ),
    resources.ENDPOINT_SLICES.storage: Printer(("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice),
    resources.ENDPOINTS.storage: Printer(("Endpoints", "Age"), _endpoints),
    resources.LEASES.storage: Printer(("Holder", "Age"), _lease),
    resources.DEFINITIONS.storage: Printer(("Created At",), _created),
    **{(resources.RBAC, plural): Printer(("Created At",), _created) for plural in ("roles", "clusterroles")},
    **{
        (resources.RBAC, plural): Printer(("Role", "Age", "*Users", "*Groups", "*ServiceAccounts"), _role_binding)
        for plural in ("rolebindings", "clusterrolebindings")
    },
}

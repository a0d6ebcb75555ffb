"""Defaults and rules of the built-in kinds other than Service."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable

from metallb_cli.lab.api import resources
from metallb_cli.lab.api.refusals import Cause, Json, required, unsupported, wrong
from metallb_cli.lab.api.resources import Resource

NAMESPACE_FINALIZER = "kubernetes"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
GRACE_PERIOD = 30
"""Seconds a pod gets to end itself unless it says otherwise."""

Complete = Callable[[Json, Json | None], None]
Check = Callable[[Json, Json | None], list[Cause]]


def complete(resource: Resource, new: Json, old: Json | None) -> None:
    """Fill in the defaults of the kind, in place. `old` is the stored version, None for a new object."""
    function = _COMPLETE.get(resource.storage)
    if function is not None:
        function(new, old)


def check(resource: Resource, new: Json, old: Json | None) -> list[Cause]:
    """What is wrong with a complete object."""
    function = _CHECK.get(resource.storage)
    return function(new, old) if function is not None else []


def _complete_namespace(new: Json, old: Json | None) -> None:
    metadata = new["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata.get("name", "")}
    if old is None:
        new["spec"] = {**new.get("spec", {}), "finalizers": [NAMESPACE_FINALIZER]}
        new["status"] = {"phase": "Active"}
    else:
        new["spec"] = old["spec"]


def _complete_pod_spec(spec: Json) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", GRACE_PERIOD)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _complete_pod(new: Json, old: Json | None) -> None:
    spec = new.setdefault("spec", {})
    _complete_pod_spec(spec)
    spec.setdefault("serviceAccountName", "default")
    if old is None:
        new["status"] = {"phase": "Pending", "qosClass": "BestEffort", **new.get("status", {})}


def _complete_workload(new: Json, old: Json | None) -> None:
    spec = new.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    _complete_template(spec)
    new.setdefault("status", {} if old else {"replicas": 0})


def _complete_template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _complete_pod_spec(template.setdefault("spec", {}))


def _complete_stateful_set(new: Json, old: Json | None) -> None:
    _complete_workload(new, old)
    spec = new["spec"]
    spec.setdefault("serviceName", "")
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


def _complete_deployment(new: Json, old: Json | None) -> None:
    _complete_workload(new, old)
    surge = {"maxUnavailable": "25%", "maxSurge": "25%"}
    new["spec"].setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": surge})
    new["spec"].setdefault("progressDeadlineSeconds", 600)


def _complete_daemon_set(new: Json, _old: Json | None) -> None:
    spec = new.setdefault("spec", {})
    _complete_template(spec)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})
    new.setdefault("status", {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})


def _complete_secret(new: Json, _old: Json | None) -> None:
    new.setdefault("type", "Opaque")
    plain = new.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        new["data"] = {**(new.get("data") or {}), **encoded}


def _complete_node(new: Json, _old: Json | None) -> None:
    new.setdefault("spec", {})
    new.setdefault("status", {})


def _complete_binding_of_role(new: Json, _old: Json | None) -> None:
    for subject in new.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", resources.RBAC)
    if "roleRef" in new:
        new["roleRef"].setdefault("apiGroup", resources.RBAC)


def _check_pod(new: Json, old: Json | None) -> list[Cause]:
    spec, causes = new["spec"], []
    if not spec.get("containers"):
        causes.append(required("spec.containers"))
    for index, container in enumerate(spec.get("containers") or ()):
        causes.extend(
            required(f"spec.containers[{index}].{field}") for field in ("name", "image") if not container.get(field)
        )
    if old is not None:
        names = ("nodeName", "hostNetwork", "serviceAccountName", "restartPolicy")
        before = old["spec"]
        changed = [name for name in names if spec.get(name) != before.get(name)]
        causes.extend(
            Cause("FieldValueForbidden", f"spec.{name}", "Forbidden: pod updates may not change this field")
            for name in changed
        )
    return causes


def _check_workload(new: Json, old: Json | None) -> list[Cause]:
    spec, causes = new["spec"], []
    selector = spec.get("selector") or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(required("spec.selector"))
    labels = spec["template"]["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        causes.append(wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
    if not spec["template"]["spec"].get("containers"):
        causes.append(required("spec.template.spec.containers"))
    if isinstance(spec.get("replicas"), int) and spec["replicas"] < 0:
        causes.append(wrong("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        causes.append(wrong("spec.selector", spec.get("selector"), "field is immutable"))
    return causes


def _check_config_map(new: Json, old: Json | None) -> list[Cause]:
    both = set(new.get("data") or {}) & set(new.get("binaryData") or {})
    causes = [wrong("data", key, "duplicate of key present in binaryData") for key in sorted(both)]
    if old is not None and old.get("immutable") and (old.get("data") != new.get("data") or not new.get("immutable")):
        causes.append(Cause("FieldValueForbidden", "data", "Forbidden: field is immutable when `immutable` is set"))
    return causes


def _check_lease(new: Json, _old: Json | None) -> list[Cause]:
    spec, causes = new.get("spec") or {}, []
    if "leaseDurationSeconds" in spec and spec["leaseDurationSeconds"] <= 0:
        causes.append(wrong("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0"))
    if "leaseTransitions" in spec and spec["leaseTransitions"] < 0:
        causes.append(wrong("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"))
    return causes


def _check_event(new: Json, _old: Json | None) -> list[Cause]:
    involved = new.get("involvedObject") or {}
    if involved.get("namespace", "default") != new["metadata"].get("namespace"):
        return [wrong("involvedObject.namespace", involved.get("namespace", ""), "does not match event.namespace")]
    return []


def _check_endpoint_slice(new: Json, old: Json | None) -> list[Cause]:
    causes = []
    kind = new.get("addressType")
    if not kind:
        return [required("addressType")]
    if kind not in ADDRESS_TYPES:
        return [unsupported("addressType", kind, ADDRESS_TYPES)]
    if old is not None and old.get("addressType") != kind:
        causes.append(wrong("addressType", kind, "field is immutable"))
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            causes.append(required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
        causes.extend(
            wrong(f"endpoints[{index}].addresses[{place}]", address, f"must be a valid {kind} address")
            for place, address in enumerate(addresses)
            if kind != "FQDN" and _family(address) != kind
        )
    return causes


def _check_endpoints(new: Json, _old: Json | None) -> list[Cause]:
    return [
        wrong(f"subsets[{i}].{field}[{j}].ip", address.get("ip", ""), "must be a valid IP address")
        for i, subset in enumerate(new.get("subsets") or ())
        for field in ("addresses", "notReadyAddresses")
        for j, address in enumerate(subset.get(field) or ())
        if _family(address.get("ip", "")) is None
    ]


def _check_binding_of_role(new: Json, old: Json | None) -> list[Cause]:
    if old is not None and new.get("roleRef") != old.get("roleRef"):
        return [wrong("roleRef", new.get("roleRef"), "cannot change roleRef")]
    return [] if new.get("roleRef", {}).get("name") else [required("roleRef.name")]


def _family(address: str) -> str | None:
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return None


_BINDINGS = ((resources.RBAC, "rolebindings"), (resources.RBAC, "clusterrolebindings"))
_COMPLETE: dict[tuple[str, str], Complete] = {
    resources.NAMESPACES.storage: _complete_namespace,
    resources.PODS.storage: _complete_pod,
    resources.NODES.storage: _complete_node,
    resources.SECRETS.storage: _complete_secret,
    resources.STATEFUL_SETS.storage: _complete_stateful_set,
    resources.DEPLOYMENTS.storage: _complete_deployment,
    resources.REPLICA_SETS.storage: _complete_workload,
    resources.DAEMON_SETS.storage: _complete_daemon_set,
    **dict.fromkeys(_BINDINGS, _complete_binding_of_role),
}
_CHECK: dict[tuple[str, str], Check] = {
    resources.PODS.storage: _check_pod,
    resources.CONFIG_MAPS.storage: _check_config_map,
    resources.LEASES.storage: _check_lease,
    resources.EVENTS.storage: _check_event,
    resources.ENDPOINT_SLICES.storage: _check_endpoint_slice,
    resources.ENDPOINTS.storage: _check_endpoints,
    **dict.fromkeys(_BINDINGS, _check_binding_of_role),
    **{
        each.storage: _check_workload
        for each in (
            resources.STATEFUL_SETS,
            resources.DEPLOYMENTS,
            resources.REPLICA_SETS,
            resources.DAEMON_SETS,
        )
    },
}

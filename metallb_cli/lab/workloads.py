"""What the lab's scheduler, StatefulSet controller and EndpointSlice controller decide. Objects in, objects out.

Objects are Kubernetes objects as decoded JSON. Nothing here changes its arguments.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"
"""Names the Service that an EndpointSlice belongs to."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "metallb-lab"
DEFAULT_PORT = 80


def key_of(thing: Object) -> tuple[str, str]:
    """Namespace and name."""
    metadata = thing.get("metadata", {})
    return metadata.get("namespace", ""), metadata.get("name", "")


def is_ready(thing: Object) -> bool:
    """Whether a pod or node has the condition Ready."""
    conditions = thing.get("status", {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def is_terminating(thing: Object) -> bool:
    """Whether somebody has asked for its deletion."""
    return bool(thing.get("metadata", {}).get("deletionTimestamp"))


def selects(selector: Mapping[str, str] | None, thing: Object) -> bool:
    """Whether a selector by equality matches the object's labels. An empty one matches nothing, as in a Service."""
    labels = thing.get("metadata", {}).get("labels") or {}
    return bool(selector) and all(labels.get(name) == value for name, value in (selector or {}).items())


def owner_reference(owner: Object, api_version: str, kind: str) -> Object:
    """The reference by which a dependent names its controller. Objects from a list do not carry their own kind."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"].get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_by(owner: Object, thing: Object) -> bool:
    """Whether the object names this owner as its controller."""
    uid = owner["metadata"].get("uid", "")
    return any(
        r.get("controller") and r.get("uid") == uid for r in thing.get("metadata", {}).get("ownerReferences") or ()
    )


# -- StatefulSet


def pods_to_create(stateful_set: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods to create now: the next one, when all before it are ready; with podManagementPolicy Parallel, all."""
    namespace, name = key_of(stateful_set)
    existing = {key_of(pod)[1]: pod for pod in pods if key_of(pod)[0] == namespace}
    parallel = stateful_set["spec"].get("podManagementPolicy") == "Parallel"
    missing: list[Object] = []
    for ordinal in range(_replicas(stateful_set)):
        pod = existing.get(f"{name}-{ordinal}")
        if pod is None:
            missing.append(_pod(stateful_set, ordinal))
        if not parallel and (pod is None or not is_ready(pod) or is_terminating(pod)):
            break
    return missing


def pods_to_delete(stateful_set: Object, pods: Iterable[Object]) -> list[str]:
    """Names of the pods beyond the wanted number, highest first."""
    wanted = {f"{key_of(stateful_set)[1]}-{ordinal}" for ordinal in range(_replicas(stateful_set))}
    surplus = [
        key_of(pod)[1]
        for pod in pods
        if owned_by(stateful_set, pod) and not is_terminating(pod) and key_of(pod)[1] not in wanted
    ]
    return sorted(surplus, key=lambda pod: (len(pod), pod), reverse=True)


def stateful_set_status(stateful_set: Object, pods: Iterable[Object]) -> Object:
    """The status of a StatefulSet."""
    own = [pod for pod in pods if owned_by(stateful_set, pod)]
    return {
        "observedGeneration": stateful_set["metadata"].get("generation", 1),
        "replicas": len(own),
        "readyReplicas": sum(map(is_ready, own)),
        "currentReplicas": len(own),
        "updatedReplicas": len(own),
    }


def _replicas(stateful_set: Object) -> int:
    replicas = stateful_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _pod(stateful_set: Object, ordinal: int) -> Object:
    namespace, name = key_of(stateful_set)
    template = copy.deepcopy(stateful_set["spec"]["template"])
    metadata = template.get("metadata") or {}
    labels = {
        **(metadata.get("labels") or {}),
        "statefulset.kubernetes.io/pod-name": f"{name}-{ordinal}",
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{ordinal}",
            "namespace": namespace,
            "labels": labels,
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(stateful_set, "apps/v1", "StatefulSet")],
        },
        "spec": {
            **template["spec"],
            "hostname": f"{name}-{ordinal}",
            "subdomain": stateful_set["spec"].get("serviceName", ""),
        },
    }


# -- scheduler


def choose_node(pod: Object, pods: Iterable[Object], nodes: Sequence[Object]) -> str | None:
    """The ready node that the pod's nodeSelector allows with the fewest pods of its namespace; the first of equals."""
    selector = pod["spec"].get("nodeSelector")
    fit = [
        node["metadata"]["name"]
        for node in nodes
        if is_ready(node)
        and not node.get("spec", {}).get("unschedulable")
        and (not selector or selects(selector, node))
    ]
    load = dict.fromkeys(fit, 0)
    for other in pods:
        node = other["spec"].get("nodeName")
        if node in load and not is_terminating(other) and key_of(other)[0] == key_of(pod)[0]:
            load[node] += 1
    return min(fit, key=lambda node: load[node], default=None)


# -- kubelet


def node(name: str, labels: Mapping[str, str], address: str, pod_network: str, now: str) -> Object:
    """A Node object, ready."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}},
        "spec": {"podCIDR": pod_network, "podCIDRs": [pod_network]},
        "status": node_status(address, name, ready=True, now=now),
    }


def node_status(address: str, name: str, *, ready: bool, now: str) -> Object:
    """The status of a node that runs, or of one that no longer says anything."""
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "reason": "KubeletReady" if ready else "NodeStatusUnknown",
        "message": "the lab's kubelet runs" if ready else "the node was switched off",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "conditions": [condition],
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
    }


def container_port(pod: Object) -> int:
    """The port that the pod's web server listens on: the first one that a container declares."""
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return DEFAULT_PORT


def pod_status(pod: Object, *, ready: bool, address: str, host: str, restarts: int, now: str) -> Object:
    """The status of a pod whose web server was started, accepting connections or not."""
    conditions = {c["type"]: c for c in pod.get("status", {}).get("conditions") or ()}

    def condition(kind: str, value: bool) -> Object:
        text = str(value)
        old = conditions.get(kind, {})
        return {
            "type": kind,
            "status": text,
            "lastTransitionTime": old.get("lastTransitionTime", now) if old.get("status") == text else now,
        }

    started = pod.get("status", {}).get("startTime") or now
    return {
        "phase": "Running",
        "conditions": [
            condition("Initialized", True),
            condition("Ready", ready),
            condition("ContainersReady", ready),
            condition("PodScheduled", True),
        ],
        "hostIP": host,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": started,
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": restarts,
                "state": {"running": {"startedAt": started}},
                "lastState": {},
            }
            for container in pod["spec"]["containers"]
        ],
    }


# -- EndpointSlice


def endpoint_slice(service: Object, pods: Iterable[Object]) -> Object | None:
    """The EndpointSlice of a Service, without a resource version; None for a Service without selector."""
    selector = service.get("spec", {}).get("selector")
    if not selector:
        return None
    namespace, name = key_of(service)
    members = sorted(
        (
            pod
            for pod in pods
            if key_of(pod)[0] == namespace
            and selects(selector, pod)
            and pod.get("status", {}).get("podIP")
            and pod["spec"].get("nodeName")
        ),
        key=key_of,
    )
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-lab",
            "namespace": namespace,
            "labels": {SERVICE_LABEL: name, MANAGED_BY: MANAGER},
            "ownerReferences": [owner_reference(service, "v1", "Service")],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in members],
        "ports": [
            {
                "name": port.get("name", ""),
                "protocol": port.get("protocol", "TCP"),
                "port": _target_port(port, members),
            }
            for port in service["spec"].get("ports") or ()
        ],
    }


def _endpoint(pod: Object) -> Object:
    namespace, name = key_of(pod)
    alive = is_ready(pod)
    terminating = is_terminating(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": alive and not terminating, "serving": alive, "terminating": terminating},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": pod["metadata"].get("uid", "")},
    }


def _target_port(port: Object, pods: Collection[Object]) -> int:
    """A targetPort may be a number, the name of a container's port, or absent, which means the Service's own."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    for pod in pods:
        for container in pod["spec"].get("containers") or ():
            for declared in container.get("ports") or ():
                if declared.get("name") == target:
                    return int(declared["containerPort"])
    return int(port["port"])

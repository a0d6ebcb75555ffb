"""Stands in for the two controllers of kube-controller-manager that the lab needs: StatefulSet and EndpointSlice."""

from __future__ import annotations

from collections.abc import Sequence

from metallb_cli.lab.watched import Watched
from metallb_cli.lab.workloads import (
    MANAGED_BY,
    MANAGER,
    Object,
    endpoint_slice,
    is_terminating,
    key_of,
    pods_to_create,
    pods_to_delete,
    stateful_set_status,
)


class ControllerManager:
    """Looks at everything, and does what is missing."""

    def __init__(self, stateful_sets: Watched, pods: Watched, services: Watched, slices: Watched) -> None:
        self._stateful_sets = stateful_sets
        self._pods = pods
        self._services = services
        self._slices = slices

    def reconcile(self) -> None:
        """One look. Failed writes are found missing again the next time."""
        pods = self._pods.all()
        self._follow_stateful_sets(pods)
        self._write_slices(pods)

    def _follow_stateful_sets(self, pods: Sequence[Object]) -> None:
        owners = set()
        for each in self._stateful_sets.all():
            namespace, _ = key_of(each)
            if is_terminating(each):
                continue
            owners.add(each["metadata"]["uid"])
            for pod in pods_to_create(each, pods):
                self._pods.create(pod)
            for name in pods_to_delete(each, pods):
                self._pods.delete(namespace, name)
            status = stateful_set_status(each, pods)
            present = each.get("status") or {}
            if any(present.get(name) != value for name, value in status.items()):
                self._stateful_sets.set_status(each, status)
        for pod in pods:
            if not is_terminating(pod) and _orphaned(pod, owners):
                self._pods.delete(*key_of(pod), uid=pod["metadata"]["uid"])

    def _write_slices(self, pods: Sequence[Object]) -> None:
        ours = {key_of(each): each for each in self._slices.all() if _is_ours(each)}
        for service in self._services.all():
            wanted = None if is_terminating(service) else endpoint_slice(service, pods)
            if wanted is None:
                continue
            present = ours.pop(key_of(wanted), None)
            if present is None:
                self._slices.create(wanted)
            elif any(present.get(part) != wanted[part] for part in ("endpoints", "ports")):
                wanted["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
                self._slices.replace(wanted)
        for left in ours.values():
            self._slices.delete(*key_of(left))


def _is_ours(each: Object) -> bool:
    return bool((each["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER)


def _orphaned(pod: Object, stateful_sets: set[str]) -> bool:
    """Whether the pod belongs to a StatefulSet that is no more."""
    references = pod["metadata"].get("ownerReferences") or ()
    return any(r.get("kind") == "StatefulSet" and r.get("uid") not in stateful_sets for r in references)

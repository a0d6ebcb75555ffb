"""Where things live in the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

CORE = "/api/v1"
COORDINATION = "/apis/coordination.k8s.io/v1"
DISCOVERY = "/apis/discovery.k8s.io"


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection to list and watch.

    Attributes:
        path: of the collection, without a query.
        label_selector: only objects with these labels, as `kubectl -l`.
        field_selector: only objects with these fields, as `kubectl --field-selector`.
    """

    path: str
    label_selector: str = ""
    field_selector: str = ""

    def query(self) -> dict[str, str]:
        """Return the selectors as query parameters."""
        query = {}
        if self.label_selector:
            query["labelSelector"] = self.label_selector
        if self.field_selector:
            query["fieldSelector"] = self.field_selector
        return query

    def __str__(self) -> str:
        return self.path.rsplit("/", 1)[-1]


SPEAKER_LABELS = {"app": "metallb", "component": "speaker"}
"""Labels of a speaker's Lease: how `status` and the other speakers find it."""

CONTROLLER_LABELS = {"app": "metallb", "component": "controller"}

HISTORY_LABELS = {"app": "metallb", "metallb.io/kind": "history"}
"""Labels of the Lease with a node's history. It names no component, so that no speaker is shown those of all others."""

SERVICES = Resource(f"{CORE}/services")
NODES = Resource(f"{CORE}/nodes")
ENDPOINTS = Resource(f"{CORE}/endpoints")
ENDPOINT_SLICES = Resource(f"{DISCOVERY}/v1/endpointslices")


def config_map(namespace: str, name: str) -> Resource:
    """Return the collection that holds this one ConfigMap or nothing."""
    return Resource(namespaced(CORE, namespace, "configmaps"), field_selector=f"metadata.name={name}")


def node(name: str) -> str:
    """Return the path of a Node."""
    return f"{NODES.path}/{quote(name, safe='')}"


def speaker_leases(namespace: str) -> Resource:
    """Return the Leases of all speakers."""
    return _leases(namespace, SPEAKER_LABELS)


def history_leases(namespace: str) -> Resource:
    """Return the Leases with the histories of all nodes."""
    return _leases(namespace, HISTORY_LABELS)


def _leases(namespace: str, labels: dict[str, str]) -> Resource:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return Resource(namespaced(COORDINATION, namespace, "leases"), label_selector=selector)


def namespaced(group: str, namespace: str, kind: str, *names: str) -> str:
    """Return the path of a collection in a namespace or, with names, of an object and its subresource."""
    return "/".join((group, "namespaces", quote(namespace, safe=""), kind, *(quote(name, safe="") for name in names)))

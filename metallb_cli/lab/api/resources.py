"""Which resources are served, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from metallb_cli.lab.api import schemas
from metallb_cli.lab.api.schemas import Schema

Path = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Resource:
    """A kind of object, in one version of its group.

    Attributes:
        group: empty for the core group.
        subresources: of `status`, `scale` and `binding`.
        selectable: what a fieldSelector may name besides metadata.name and metadata.namespace, and where it is.
        label_name: names are DNS labels (RFC 1123), not subdomains; `dns1035` for those that must begin with a letter;
            `path` for anything that fits into a path.
        versioned_writes: a PUT must carry a resourceVersion.
        created_by_put: a PUT to a name that is free creates the object.
        counted: `metadata.generation` counts the changes of everything but metadata and status.
        definition: name of the CustomResourceDefinition; empty for a built-in resource.
        columns: the `additionalPrinterColumns` of a custom resource.
        stored_as: the resource in whose form the objects are stored, when this is another view of them.
    """

    group: str
    version: str
    plural: str
    kind: str
    schema: Schema
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    selectable: Mapping[str, Path] = field(default_factory=dict)
    names: str = "subdomain"
    versioned_writes: bool = False
    created_by_put: bool = False
    counted: bool = False
    definition: str = ""
    singular_name: str = ""
    list_kind_name: str = ""
    columns: tuple[Mapping[str, Any], ...] = ()
    stored_as: Resource | None = None

    @property
    def api_version(self) -> str:
        """As objects carry it: `v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        """Of its paths, without slashes around: `api/v1` or `apis/group/version`."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"

    @property
    def qualified(self) -> str:
        """As messages name it: `services`, `leases.coordination.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def shape(self) -> Schema:
        """The schema of the whole object."""
        return {**self.schema, "properties": {**self.schema.get("properties", {}), "metadata": schemas.METADATA}}

    @property
    def base(self) -> Resource:
        """The resource in whose form the objects are stored."""
        return self.stored_as or self

    @property
    def storage(self) -> tuple[str, str]:
        """What tells apart the stores of objects: versions of a resource, and views of it, share one."""
        return (self.base.group, self.base.plural)

    @property
    def singular(self) -> str:
        """As in `kubectl get service`."""
        return self.singular_name or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """`ServiceList`."""
        return self.list_kind_name or f"{self.kind}List"


STATUS = frozenset({"status"})
SCALED = frozenset({"status", "scale"})
ALL = ("all",)
EVENT_FIELDS: dict[str, Path] = {
    "involvedObject.kind": ("involvedObject", "kind"),
    "involvedObject.namespace": ("involvedObject", "namespace"),
    "involvedObject.name": ("involvedObject", "name"),
    "involvedObject.uid": ("involvedObject", "uid"),
    "involvedObject.apiVersion": ("involvedObject", "apiVersion"),
    "involvedObject.resourceVersion": ("involvedObject", "resourceVersion"),
    "involvedObject.fieldPath": ("involvedObject", "fieldPath"),
    "reason": ("reason",),
    "reportingComponent": ("reportingComponent",),
    "source": ("source", "component"),
    "type": ("type",),
}
POD_FIELDS: dict[str, Path] = {
    "spec.nodeName": ("spec", "nodeName"),
    "spec.restartPolicy": ("spec", "restartPolicy"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
    "status.phase": ("status", "phase"),
    "status.podIP": ("status", "podIP"),
}
RBAC = "rbac.authorization.k8s.io"


def _rbac(plural: str, kind: str, schema: Schema, *, namespaced: bool) -> Resource:
    return Resource(RBAC, "v1", plural, kind, schema, namespaced=namespaced, names="path")


def _workload(plural: str, kind: str, *short: str, subresources: frozenset[str] = SCALED) -> Resource:
    return Resource(
        "apps", "v1", plural, kind, schemas.WORKLOAD,
        short_names=short, categories=ALL, subresources=subresources, counted=True,
    )  # fmt: skip


SERVICES = Resource(
    "", "v1", "services", "Service", schemas.SERVICE,
    short_names=("svc",), categories=ALL, subresources=STATUS, names="dns1035", versioned_writes=True,
    selectable={"spec.clusterIP": ("spec", "clusterIP"), "spec.type": ("spec", "type")},
)  # fmt: skip
PODS = Resource(
    "", "v1", "pods", "Pod", schemas.POD,
    short_names=("po",), categories=ALL, subresources=frozenset({"status", "binding"}), selectable=POD_FIELDS,
)  # fmt: skip
NODES = Resource(
    "", "v1", "nodes", "Node", schemas.NODE,
    namespaced=False, short_names=("no",), subresources=STATUS,
    selectable={"spec.unschedulable": ("spec", "unschedulable")},
)  # fmt: skip
NAMESPACES = Resource(
    "", "v1", "namespaces", "Namespace", schemas.NAMESPACE,
    namespaced=False, short_names=("ns",), subresources=STATUS, names="label",
    selectable={"status.phase": ("status", "phase")},
)  # fmt: skip
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", schemas.CONFIG_MAP, short_names=("cm",))
SECRETS = Resource("", "v1", "secrets", "Secret", schemas.SECRET, selectable={"type": ("type",)})
ENDPOINTS = Resource(
    "", "v1", "endpoints", "Endpoints", schemas.ENDPOINTS, short_names=("ep",), created_by_put=True
)  # fmt: skip
EVENTS = Resource("", "v1", "events", "Event", schemas.EVENT, short_names=("ev",), selectable=EVENT_FIELDS)
NEW_EVENTS = Resource(
    "events.k8s.io", "v1", "events", "Event", schemas.ANY,
    short_names=("ev",), selectable=EVENT_FIELDS, stored_as=EVENTS,
)  # fmt: skip
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", schemas.SERVICE_ACCOUNT, short_names=("sa",))
STATEFUL_SETS = _workload("statefulsets", "StatefulSet", "sts")
DEPLOYMENTS = _workload("deployments", "Deployment", "deploy")
REPLICA_SETS = _workload("replicasets", "ReplicaSet", "rs")
DAEMON_SETS = _workload("daemonsets", "DaemonSet", "ds", subresources=STATUS)
ENDPOINT_SLICES = Resource(
    "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", schemas.ENDPOINT_SLICE, counted=True
)
LEASES = Resource(
    "coordination.k8s.io", "v1", "leases", "Lease", schemas.LEASE, versioned_writes=True, created_by_put=True
)
DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", schemas.DEFINITION,
    namespaced=False, short_names=("crd", "crds"), subresources=STATUS, versioned_writes=True, counted=True,
)  # fmt: skip
BUILT_IN = (
    CONFIG_MAPS,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    ENDPOINT_SLICES,
    LEASES,
    NEW_EVENTS,
    _rbac("roles", "Role", schemas.ROLE, namespaced=True),
    _rbac("rolebindings", "RoleBinding", schemas.ROLE_BINDING, namespaced=True),
    _rbac("clusterroles", "ClusterRole", schemas.ROLE, namespaced=False),
    _rbac("clusterrolebindings", "ClusterRoleBinding", schemas.ROLE_BINDING, namespaced=False),
    DEFINITIONS,
)


class Registry:
    """The resources served at present: the built-in ones and those that CustomResourceDefinitions add."""

    def __init__(self) -> None:
        self._resources = {(each.group, each.version, each.plural): each for each in BUILT_IN}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource that a path names, or None."""
        return self._resources.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an object, or None."""
        return next((each for each in self if each.api_version == api_version and each.kind == kind), None)

    def replace_custom(self, definition: str, resources: tuple[Resource, ...]) -> None:
        """Serve these resources for a CustomResourceDefinition, and none else."""
        kept = {key: each for key, each in self._resources.items() if each.definition != definition}
        for each in resources:
            kept.setdefault((each.group, each.version, each.plural), each)
        self._resources = kept

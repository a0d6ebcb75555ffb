"""Create, replace, patch and delete: every rule applied, then at most one write to the store."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass

from metallb_cli.lab.api import kinds, resources, views
from metallb_cli.lab.api.apply import apply, record_update
from metallb_cli.lab.api.definitions import check_definition, complete_definition, resources_of
from metallb_cli.lab.api.json_patch import Document, apply_json_patch
from metallb_cli.lab.api.merge_patch import apply_merge_patch, apply_strategic_patch
from metallb_cli.lab.api.object_rules import (
    begin_life,
    check_metadata,
    continue_life,
    only_what_may_change,
    split_changed,
)
from metallb_cli.lab.api.refusals import (
    Json,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    required,
    unprocessable,
    unsupported_media,
)
from metallb_cli.lab.api.resources import Registry, Resource
from metallb_cli.lab.api.services import ServiceRules, check_service, complete_service_status
from metallb_cli.lab.api.shapes import check_shape, fill_defaults, prune
from metallb_cli.lab.api.store import Store, Stored, as_stored

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PROTECTED_NAMESPACES = ("default", "kube-public", "kube-system")
FINISHED = ("Succeeded", "Failed")
MAX_EVENTS = 5000
"""Events are kept until there are as many newer ones; kube-apiserver keeps them for an hour."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and how.

    Attributes:
        manager: the name in managedFields.
        dry_run: do everything but store the result.
        force: in server-side apply, take over fields that others own.
    """

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False


class Operations:
    """The verbs on a store. Every method either raises Refusal and has changed nothing, or has done all of its work."""

    def __init__(
        self, store: Store, registry: Registry, services: ServiceRules, clock: Callable[[], datetime.datetime]
    ) -> None:
        """Bind the parts together. `clock` gives the time of day, in UTC.

        `later` is called with what is left to do of the deletion of a namespace, and does it when it likes.
        """
        self.store = store
        self.registry = registry
        self.later: Callable[[Callable[[], None]], object] = lambda function: function()
        self._services = services
        self._clock = clock

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        """One object."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def create(self, resource: Resource, namespace: str, sent: Json, writer: Writer) -> Stored:
        """POST to a collection."""
        base, new = resource.base, views.read(resource, sent)
        return self._create(base, namespace, self._shaped(base, new), writer)

    def replace(
        self, resource: Resource, namespace: str, name: str, subresource: str, sent: Json, writer: Writer
    ) -> tuple[Stored, bool]:
        """PUT; also whether the object is new."""
        base = resource.base
        old = self.store.get(base, namespace, name)
        if old is None and base.created_by_put and not subresource:
            new = self._shaped(base, views.read(resource, sent))
            if new["metadata"].setdefault("name", name) != name:
                raise bad_request("the name of the object does not match the name on the URL")
            return self._create(base, namespace, new, writer), True
        old = self.get(base, namespace, name)
        before = old.decode()
        new = self._shaped(base, views.read(resource, sent, old, subresource), before)
        return self._update(base, old, before, new, subresource, writer, versioned=base.versioned_writes), False

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str,
        media_type: str,
        patch: Document,
        writer: Writer,
    ) -> tuple[Stored, bool]:
        """PATCH; also whether the object is new."""
        base = resource.base
        if media_type == APPLY_PATCH:
            return self._apply(base, namespace, name, subresource, views.read(resource, patch), writer)
        old = self.get(base, namespace, name)
        shown = views.show(resource, old, subresource)
        if media_type == JSON_PATCH:
            patched = apply_json_patch(shown, patch)
        elif not isinstance(patch, dict):
            raise bad_request("the patch must be an object")
        elif media_type == MERGE_PATCH:
            patched = apply_merge_patch(shown, patch)
        elif media_type == STRATEGIC_PATCH and not resource.definition:
            patched = apply_strategic_patch(shown, patch, resource.shape)
        else:
            raise unsupported_media(
                "the body of the request was in an unknown format - accepted media types include: "
                f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY_PATCH}"
            )
        if not isinstance(patched, dict):
            raise unprocessable()
        before = old.decode()
        new = self._shaped(base, views.read(resource, patched, old, subresource), before, code=422)
        return self._update(base, old, before, new, subresource, writer), False

    def bind(self, namespace: str, name: str, binding: Json, writer: Writer) -> None:
        """POST to pods/NAME/binding: put a pod on a node."""
        target = binding.get("target")
        node = target.get("name") if isinstance(target, dict) else None
        if not isinstance(node, str) or not node:
            raise invalid("Binding", "", name, [required("target.name")])
        old = self.get(resources.PODS, namespace, name)
        pod = old.decode()
        present = pod["spec"].get("nodeName")
        if present:
            raise conflict(resources.PODS, name, f'pod {name} is already assigned to node "{present}"')
        pod["spec"]["nodeName"] = node
        conditions = [each for each in pod["status"].get("conditions") or () if each.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self._now()}
        pod["status"]["conditions"] = [*conditions, scheduled]
        self._update(resources.PODS, old, old.decode(), pod, "binding", writer)

    def delete(
        self, resource: Resource, namespace: str, name: str, options: Json, writer: Writer
    ) -> tuple[Stored, bool]:
        """DELETE; the object's last or present state, and whether it is gone."""
        base = resource.base
        old = self.get(base, namespace, name)
        self._check_preconditions(base, old, options)
        if base is resources.NAMESPACES:
            return self._delete_namespace(old, writer)
        obj = old.decode()
        grace = _grace_period(obj, options) if base is resources.PODS else 0
        return self._delete(base, old, obj, grace, writer)

    # -- creating and updating

    def _now(self) -> str:
        return timestamp(self._clock())

    def _shaped(self, resource: Resource, new: Json, before: Json | None = None, code: int = 400) -> Json:
        """The object without nulls, of the right shape. What is as in `before` needs no second look."""
        same, new = split_changed(new, {} if before is None or resource.definition else before)
        new.setdefault("metadata", {})
        causes = check_shape(new, resource.shape)
        if causes and not resource.definition and code == 400:
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                + "; ".join(map(str, causes))
            )
        if causes:
            name = new["metadata"].get("name") if isinstance(new["metadata"], dict) else ""
            raise invalid(resource.kind, resource.group, name if isinstance(name, str) else "", causes)
        if resource.definition:
            metadata = new.pop("metadata")
            new = {**prune(new, resource.schema), "metadata": metadata}
            fill_defaults(new, resource.schema)
        return {**same, **new, "metadata": {**same.get("metadata", {}), **new["metadata"]}}

    def _create(
        self, resource: Resource, namespace: str, new: Json, writer: Writer, *, applied: bool = False
    ) -> Stored:
        self._check_namespace_exists(resource, namespace)
        owned = new["metadata"].pop("managedFields", None)
        begin_life(resource, namespace, new, self._now())
        name = new["metadata"].get("name", "")
        if name and self.store.get(resource, namespace, name):
            raise already_exists(resource, name)
        if "status" in resource.subresources and resource is not resources.NODES:
            new.pop("status", None)
        self._complete_and_check(resource, new, None)
        if applied:
            new["metadata"]["managedFields"] = owned
        else:
            self._record(resource, {}, new, "", writer)
        stored = self._commit(resource, None, None, new, writer)
        events = self.store.table(resources.EVENTS).objects
        if resource is resources.EVENTS and len(events) > MAX_EVENTS:
            oldest = min(events.values(), key=lambda each: each.version)
            self._remove(resource, oldest, oldest.decode(), Writer())
        return stored

    def _update(
        self, resource: Resource, old: Stored,
        before: Json, new: Json, subresource: str, writer: Writer,
        *, versioned: bool = False, applied: bool = False,
    ) -> Stored:  # fmt: skip
        continue_life(resource, before, new, versioned=versioned)
        new = only_what_may_change(resource, before, new, subresource)
        self._complete_and_check(resource, new, before, transition=subresource != "binding")
        if resource.counted and _desired(before) != _desired(new):
            new["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        if not applied:
            self._record(resource, before, new, subresource if subresource in ("status", "scale") else "", writer)
        if before == new:
            return old
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            if resource is resources.NAMESPACES:
                return self._commit(resource, old, before, new, writer)
            if not metadata.get("deletionGracePeriodSeconds"):
                return self._remove(resource, old, new, writer)
        return self._commit(resource, old, before, new, writer)

    def _apply(
        self, resource: Resource, namespace: str, name: str, subresource: str, applied: Json, writer: Writer
    ) -> tuple[Stored, bool]:
        if subresource == "scale":
            raise unsupported_media("server-side apply is not available for scale")
        applied = self._shaped(resource, applied)
        if applied["metadata"].setdefault("name", name) != name:
            raise bad_request("the name of the object does not match the name on the URL")
        old = self.store.get(resource, namespace, name)
        if old is None and subresource:
            raise not_found(resource, name)
        live = old.decode() if old else {}
        claimed = {"apiVersion": resource.api_version, **applied}
        new = apply(
            live, claimed, resource.shape,
            manager=writer.manager, api_version=resource.api_version, subresource=subresource,
            force=writer.force, now=self._now(),
        )  # fmt: skip
        metadata = new.setdefault("metadata", {})
        metadata["name"] = name
        if applied["metadata"].get("namespace"):
            metadata["namespace"] = applied["metadata"]["namespace"]
        if old is None:
            return self._create(resource, namespace, new, writer, applied=True), True
        if applied["metadata"].get("resourceVersion"):
            metadata["resourceVersion"] = applied["metadata"]["resourceVersion"]
        return self._update(resource, old, old.decode(), new, subresource, writer, applied=True), False

    def _complete_and_check(self, resource: Resource, new: Json, old: Json | None, *, transition: bool = True) -> None:
        causes = check_metadata(resource, new["metadata"], old["metadata"] if old else None)
        before = old if transition else None
        if resource is resources.SERVICES:
            if old is None or new.get("spec") != old["spec"]:
                causes += self._services.complete(new, old)
                causes += check_service(new, before)
            causes += complete_service_status(new)
        elif resource is resources.DEFINITIONS:
            complete_definition(new, self._now())
            causes += check_definition(new)
        else:
            kinds.complete(resource, new, old)
            causes += kinds.check(resource, new, before)
        if causes:
            raise invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)

    def _record(self, resource: Resource, old: Json, new: Json, subresource: str, writer: Writer) -> None:
        record_update(
            old, new, resource.shape,
            manager=writer.manager, api_version=resource.api_version, subresource=subresource, now=self._now(),
        )  # fmt: skip

    def _commit(self, resource: Resource, old: Stored | None, before: Json | None, new: Json, writer: Writer) -> Stored:
        if writer.dry_run:
            return as_stored(resource, new, old.version if old else 0)
        if resource is resources.SERVICES:
            self._services.stored(before, new)
        stored = self.store.put(resource, new)
        if resource is resources.DEFINITIONS:
            self.registry.replace_custom(stored.name, resources_of(new))
        elif resource is resources.NAMESPACES and "deletionTimestamp" in new["metadata"]:
            self._finish_namespace(stored.name)
        return stored

    # -- deleting

    def _delete(self, resource: Resource, old: Stored, obj: Json, grace: int, writer: Writer) -> tuple[Stored, bool]:
        metadata = obj["metadata"]
        if not metadata.get("finalizers") and not grace:
            return self._remove(resource, old, obj, writer), True
        remaining = metadata.get("deletionGracePeriodSeconds")
        if remaining is not None and remaining <= grace:
            return old, False
        metadata["deletionTimestamp"] = timestamp(self._clock() + datetime.timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if resource.counted:
            metadata["generation"] = metadata.get("generation", 0) + 1
        return self._commit(resource, old, obj, obj, writer), False

    def _remove(self, resource: Resource, old: Stored, obj: Json, writer: Writer) -> Stored:
        if writer.dry_run:
            return as_stored(resource, obj, old.version)
        if resource is resources.SERVICES:
            self._services.stored(old.decode(), None)
        last = self.store.remove(resource, old, obj)
        if resource is resources.DEFINITIONS:
            for custom in resources_of(obj):
                for each in list(self.store.table(custom).scan("")):
                    self._remove(custom, each, each.decode(), Writer())
            self.registry.replace_custom(last.name, ())
        if old.namespace:
            self._finish_namespace(old.namespace)
        return last

    def _delete_namespace(self, old: Stored, writer: Writer) -> tuple[Stored, bool]:
        if old.name in PROTECTED_NAMESPACES:
            raise forbidden(resources.NAMESPACES, old.name, "this namespace may not be deleted")
        obj = old.decode()
        if "deletionTimestamp" in obj["metadata"]:
            return old, False
        obj["metadata"]["deletionTimestamp"] = self._now()
        obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        if writer.dry_run:
            return as_stored(resources.NAMESPACES, obj, old.version), False
        stored = self.store.put(resources.NAMESPACES, obj)
        self.later(functools.partial(self._empty_namespace, old.name))
        return stored, False

    def resume(self) -> None:
        """Go on with the deletion of the namespaces that are terminating."""
        for each in list(self.store.table(resources.NAMESPACES).scan("")):
            if _is_terminating(each):
                self.later(functools.partial(self._empty_namespace, each.name))

    def _empty_namespace(self, name: str) -> None:
        for resource, each in self.store.in_namespace(name):
            if self.store.get(resource, each.namespace, each.name) is each:
                self._delete(resource, each, each.decode(), 0, Writer())
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        """Remove a namespace that is being deleted, once it is empty."""
        stored = self.store.get(resources.NAMESPACES, "", name)
        if stored is None or not _is_terminating(stored):
            return
        obj = stored.decode()
        if not obj["metadata"].get("finalizers") and not self.store.in_namespace(name):
            self.store.remove(resources.NAMESPACES, stored, {**obj, "spec": {}})

    # -- checks

    def _check_namespace_exists(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        stored = self.store.get(resources.NAMESPACES, "", namespace)
        if stored is None:
            raise not_found(resources.NAMESPACES, namespace)
        if _is_terminating(stored):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource, "", why)

    def _check_preconditions(self, resource: Resource, old: Stored, options: Json) -> None:
        wanted = options.get("preconditions")
        wanted = wanted if isinstance(wanted, dict) else {}
        for field, present in (("uid", old.uid), ("resourceVersion", str(old.version))):
            if wanted.get(field) not in (None, present):
                why = f"the {field} in the precondition ({wanted[field]}) is not that of the object ({present})"
                raise conflict(resource, old.name, why)


def timestamp(moment: datetime.datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_terminating(stored: Stored) -> bool:
    # The search in the bytes spares decoding in the usual case: this is asked for every write.
    return b'"deletionTimestamp"' in stored.raw and "deletionTimestamp" in stored.decode()["metadata"]


def _desired(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _grace_period(pod: Json, options: Json) -> int:
    """Seconds from now until a pod is to be gone; 0 for one that runs nowhere."""
    if not pod["spec"].get("nodeName") or (pod.get("status") or {}).get("phase") in FINISHED:
        return 0
    wanted = options.get("gracePeriodSeconds")
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        wanted = pod["spec"].get("terminationGracePeriodSeconds", kinds.GRACE_PERIOD)
    return max(0, int(wanted))

"""A current copy of a collection of Kubernetes objects as JSON, and writes to it, for the lab's own controllers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import quote

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.kube.reflector import Reflector
from metallb_cli.kube.resources import Resource
from metallb_cli.lab.workloads import Object, key_of

log = logging.getLogger(__name__)

EXPECTED = (404, 409)
"""HTTP statuses of a write that was overtaken: the copy was old, and the next look finds what is still to do."""


class Watched:
    """One collection.

    A write that fails is logged and not repeated: whoever wrote sees from the copy that it is still to be done.
    """

    def __init__(
        self, api: Api, resource: Resource, changed: Callable[[], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Prepare.

        Args:
            api: where the collection is.
            resource: the whole collection, of all namespaces.
            changed: called, from another thread, whenever the copy differs.
            failed: called, from another thread, when the copy can no longer be kept.
        """
        self._api = api
        self._group, self._plural = resource.path.rsplit("/", 1)
        self._reflector: Reflector[Object] = Reflector(
            api, resource, _as_it_is, lambda old, new: changed(), changed, on_failure=failed
        )

    def start(self) -> None:
        """Begin to follow."""
        self._reflector.start()

    def stop(self) -> None:
        """End."""
        self._reflector.stop()

    @property
    def synced(self) -> bool:
        """Whether the copy is complete."""
        return self._reflector.synced.is_set()

    def all(self) -> list[Object]:
        """The objects, sorted by namespace and name."""
        return sorted(dict(self._reflector.store).values(), key=key_of)

    def get(self, namespace: str, name: str) -> Object | None:
        """One object, None when there is none."""
        return self._reflector.store.get((namespace, name))

    def create(self, body: Object, subresource: str = "") -> bool:
        """POST an object, or with a subresource such as `binding` to the object of that name. Whether it was done."""
        namespace, name = key_of(body)
        path = self._path(namespace, name, subresource) if subresource else self._path(namespace)
        return self._write("POST", path, body)

    def replace(self, body: Object) -> bool:
        """PUT an object on condition of its resource version. Whether it was done."""
        return self._write("PUT", self._path(*key_of(body)), body)

    def set_status(self, thing: Object, status: Object) -> bool:
        """PATCH an object's status. Whether it was done."""
        return self._write("PATCH", self._path(*key_of(thing), "status"), {"status": status}, MERGE_PATCH)

    def delete(self, namespace: str, name: str, *, uid: str = "", at_once: bool = False) -> bool:
        """DELETE an object. Whether it was done.

        Args:
            namespace: empty for a cluster-wide object.
            name: the object's.
            uid: delete only the object with this one.
            at_once: without a grace period.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if at_once:
            options["gracePeriodSeconds"] = 0
        return self._write("DELETE", self._path(namespace, name), options)

    def _path(self, namespace: str, *names: str) -> str:
        where = ("namespaces", quote(namespace, safe=""), self._plural) if namespace else (self._plural,)
        return "/".join((self._group, *where, *(quote(name, safe="") for name in names)))

    def _write(self, method: str, path: str, body: Object, content_type: str = "application/json") -> bool:
        try:
            self._api.request(method, path, body=body, content_type=content_type)
        except ApiError as error:
            log.log(logging.DEBUG if error.status in EXPECTED else logging.WARNING, "%s", error)
            return False
        except ApiUnavailableError as error:
            log.warning("%s", error)
            return False
        return True


def _as_it_is(item: object) -> Object | None:
    return item if isinstance(item, dict) else None

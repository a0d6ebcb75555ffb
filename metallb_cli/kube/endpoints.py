"""Where Services have ready pods, put together from EndpointSlices or from Endpoints objects."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_

from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.resources import DISCOVERY, ENDPOINT_SLICES, ENDPOINTS, Resource
from metallb_cli.model import Endpoints, ServiceKey

Part = tuple[ServiceKey, Endpoints]
"""What one object contributes to a Service."""

Decode = Callable[[object], Part | None]


def discover_endpoints(api: Api) -> tuple[Resource, Decode]:
    """Return what to watch and how to read it: EndpointSlice v1 where served (Kubernetes 1.21), else Endpoints v1.

    Raises:
        ApiError: the server refused to say, other than by 404.
        ApiUnavailableError: no answer.
    """
    try:
        group = api.request("GET", DISCOVERY)
    except ApiError as error:
        if error.status != 404:
            raise
        group = {}
    versions = group.get("versions")
    if isinstance(versions, list) and any(isinstance(item, dict) and item.get("version") == "v1" for item in versions):
        return ENDPOINT_SLICES, objects.endpoint_slice
    return ENDPOINTS, objects.endpoints


class EndpointsByService:
    """Joins the slices of each Service and tells when the result differs. One thread only: the reflector's.

    Give `changed` to a Reflector as its `on_change`.
    """

    def __init__(self, on_change: Callable[[ServiceKey, Endpoints], None]) -> None:
        self._on_change = on_change
        self._parts: dict[ServiceKey, list[Endpoints]] = {}

    def changed(self, old: Part | None, new: Part | None) -> None:
        """Replace what one object contributes. None: it was not there before, or is gone."""
        before = {part[0]: self._joined(part[0]) for part in (old, new) if part is not None}
        if old is not None:
            parts = self._parts.get(old[0], [])
            if old[1] in parts:
                parts.remove(old[1])
            if not parts:
                self._parts.pop(old[0], None)
        if new is not None:
            self._parts.setdefault(new[0], []).append(new[1])
        for key, joined in before.items():
            after = self._joined(key)
            if after != joined:
                self._on_change(key, after)

    def _joined(self, key: ServiceKey) -> Endpoints:
        return reduce(or_, self._parts.get(key, ()), Endpoints())

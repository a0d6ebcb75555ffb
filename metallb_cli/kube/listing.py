"""Reads a whole collection, in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.client import Api
from metallb_cli.kube.garbage import collector_paused
from metallb_cli.kube.resources import Resource

T = TypeVar("T")

ObjectName = tuple[str, str]
"""Namespace, empty for cluster-wide objects, and name."""

PAGE = 500
"""Objects per request, as client-go's pager."""

LIST_TIMEOUT = 30.0
"""Seconds for one page."""


def read_list(
    api: Api,
    resource: Resource,
    decode: Callable[[object], T | None],
    on_page: Callable[[], None] = lambda: None,
    *,
    timeout: float = LIST_TIMEOUT,
) -> tuple[dict[ObjectName, T], str]:
    """Read every object and keep what `decode` makes of it; None leaves it out.

    Each page is decoded before the next is asked for, so the JSON of a large cluster is never in memory as a whole.

    Args:
        api: where to read.
        resource: what to read.
        decode: makes the value to keep; may not raise.
        on_page: called whenever a page has arrived.
        timeout: seconds for each page.

    Returns:
        The values by name, and the resource version that they are of.

    Raises:
        ApiError: refused.
        ApiUnavailableError: no answer, or one that is no list.
    """
    found: dict[ObjectName, T] = {}
    query = {**resource.query(), "limit": str(PAGE)}
    while True:
        try:
            page = api.request("GET", resource.path, query=query, timeout=timeout)
        except ApiError as error:
            if error.status != 410 or "continue" not in query:
                raise
            # The snapshot that the pages come from was compacted away meanwhile: take all in one answer.
            found.clear()
            query = resource.query()
            continue
        metadata = mapping(page.get("metadata"))
        version = metadata.get("resourceVersion")
        if not isinstance(version, str) or not version:
            # Never mistake it for an empty list, which would mean that everything was deleted.
            raise ApiUnavailableError(f"{api.server} answered {resource.path} with something that is no list")
        on_page()
        items = page.get("items")
        with collector_paused():
            for item in items if isinstance(items, list) else ():
                name = object_name(item)
                value = decode(item) if name[1] else None
                if value is not None:
                    found[name] = value
        token = metadata.get("continue")
        if not isinstance(token, str) or not token:
            return found, version
        if token == query.get("continue"):
            raise ApiUnavailableError(f"{api.server} gives the same page of {resource} again and again")
        query["continue"] = token


def object_name(item: object) -> ObjectName:
    """Return the object's namespace and name, empty where it has none."""
    metadata = mapping(mapping(item).get("metadata"))
    namespace = metadata.get("namespace")
    name = metadata.get("name")
    return (namespace if isinstance(namespace, str) else "", name if isinstance(name, str) else "")


def mapping(value: object) -> dict[str, Any]:
    """Return the JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}

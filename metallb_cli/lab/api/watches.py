"""Watches: the changes of one resource as a stream, from any resourceVersion that is still remembered."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from metallb_cli.lab.api.faults import Faults
from metallb_cli.lab.api.lists import parse_version
from metallb_cli.lab.api.refusals import Json, Refusal, version_too_large
from metallb_cli.lab.api.resources import Resource
from metallb_cli.lab.api.selectors import Selection
from metallb_cli.lab.api.store import Change, Store, Stored, encode

TIMEOUTS = (1800.0, 3600.0)
"""Seconds after which a watch ends that asked for nothing else: drawn between them, as by --min-request-timeout."""
MAX_TIMEOUT = 86_400.0
LAST_BOOKMARK = 2.0
"""Seconds before the end of a watch at which it gets a bookmark anyway, as kube-apiserver does it."""
CHUNK = 256
"""Events in one write, so that a long backlog holds up nobody else."""
INITIAL_END = "k8s.io/initial-events-end"

Encode = Callable[[Resource, Stored], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants to watch.

    Attributes:
        start: the last version that it knows; None to begin with what exists now.
        announce_start: end the objects that exist with a bookmark that says so (sendInitialEvents).
        timeout: seconds.
    """

    resource: Resource
    selection: Selection
    start: int | None
    announce_start: bool
    bookmarks: bool
    timeout: float


def parse_request(resource: Resource, selection: Selection, query: Mapping[str, str], store: Store) -> Request:
    """Read the query of a watch.

    Raises:
        Refusal: 400 for one that makes no sense; 504 for a version to come: its sender knew another server. (A real
            kube-apiserver lets such a watch wait for ever, which hides the mistake.)
    """
    version = parse_version(query.get("resourceVersion", ""))
    if version > store.version:
        raise version_too_large(version, store.version)
    initial = is_true(query, "sendInitialEvents")
    try:
        timeout = float(int(query.get("timeoutSeconds", "")[:10] or 0))
    except ValueError:
        timeout = 0.0
    return Request(
        resource,
        selection,
        None if initial or not version else version,
        initial,
        is_true(query, "allowWatchBookmarks"),
        min(timeout, MAX_TIMEOUT) if timeout > 0 else random.uniform(*TIMEOUTS),  # noqa: S311 - no secret
    )


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query: every spelling that Go's ParseBool takes."""
    return query.get(name, "") in ("1", "t", "T", "true", "True", "TRUE")


async def stream(
    request: Request, store: Store, response: web.StreamResponse, faults: Faults, encode_object: Encode, interval: float
) -> None:
    """Send events until the time is up, or the watcher is so slow that changes it has not seen are forgotten.

    Args:
        request: what to send.
        store: where it is.
        response: prepared.
        faults: may hold events back.
        encode_object: makes the bytes of an object; called in the order of sending.
        interval: seconds between bookmarks. Without a version newer than the watcher's there is none.
    """
    table, loop = store.table(request.resource), asyncio.get_running_loop()
    end = loop.time() + request.timeout
    bookmark_due = _next_bookmark(loop.time(), end, interval)
    changed = asyncio.Event()
    table.listeners.add(changed.set)
    try:
        position = store.version if request.start is None else request.start
        if request.start is not None:
            table.check(position)
        else:
            await _send_present(
                request, list(table.scan(request.selection.namespace)), position, response, faults, encode_object
            )
        told = position
        while True:
            await faults.before_event()
            changed.clear()
            changes = table.since(position)
            for begin in range(0, len(changes), CHUNK):
                part = changes[begin : begin + CHUNK]
                events = [event for change in part if (event := _event(request, change, encode_object))]
                if events:
                    told = part[-1].version
                    await faults.before_event()
                    await response.write(b"".join(events))
                position = part[-1].version
            if table.changes and table.changes[-1].version > position:
                continue
            position = max(position, store.version)
            now = loop.time()
            if now >= end:
                return
            if now >= bookmark_due:
                bookmark_due = _next_bookmark(now, end, interval)
                if request.bookmarks and position > told:
                    told = position
                    await response.write(_bookmark(request, position))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(end, bookmark_due)):
                    await changed.wait()
    except Refusal as refusal:
        await response.write(_line(b"ERROR", encode(refusal.status())))
    finally:
        table.listeners.discard(changed.set)


def _next_bookmark(now: float, end: float, interval: float) -> float:
    """After the interval, and once more shortly before the end, so that the watcher resumes from a fresh version."""
    last = end - LAST_BOOKMARK
    return min(now + interval, last) if now < last else end


async def _send_present(
    request: Request,
    present: list[Stored],
    version: int,
    response: web.StreamResponse,
    faults: Faults,
    encode_object: Encode,
) -> None:
    selected = [each for each in present if each in request.selection]
    for begin in range(0, len(selected), CHUNK):
        await faults.before_event()
        part = selected[begin : begin + CHUNK]
        await response.write(b"".join(_line(b"ADDED", encode_object(request.resource, each)) for each in part))
    if request.announce_start:
        await response.write(_bookmark(request, version, {INITIAL_END: "true"}))


def _event(request: Request, change: Change, encode_object: Encode) -> bytes | None:
    """A change as the watcher sees it: what enters its selection is added, what leaves it is deleted."""
    before = change.old is not None and change.old in request.selection
    after = change.new is not None and change.new in request.selection
    if not before and not after:
        return None
    kind = (b"MODIFIED" if before else b"ADDED") if after else b"DELETED"
    return _line(kind, encode_object(request.resource, change.last))


def _line(kind: bytes, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind, obj)


def _bookmark(request: Request, version: int, annotations: Json | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    resource = request.resource
    return _line(b"BOOKMARK", encode({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}))

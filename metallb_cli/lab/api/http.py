"""HTTP: from a request to an operation, and from its outcome to an answer."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from metallb_cli.lab.api import bodies, discovery, lists, operations, requests, tables, views, watches
from metallb_cli.lab.api.faults import Faults
from metallb_cli.lab.api.operations import Operations, Writer
from metallb_cli.lab.api.refusals import (
    Json,
    Refusal,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_path,
    required,
    unsupported_media,
    version_too_large,
)
from metallb_cli.lab.api.resources import Resource
from metallb_cli.lab.api.selectors import Selection, parse_selection
from metallb_cli.lab.api.store import Stored, encode

log = logging.getLogger(__name__)

MAX_JOURNAL = 50_000
PATCH_TYPES = (
    operations.JSON_PATCH,
    operations.MERGE_PATCH,
    operations.STRATEGIC_PATCH,
    operations.APPLY_PATCH,
)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request that was answered, or is being answered if it is a watch.

    Attributes:
        verb: as in RBAC rules.
        resource: plural, with `/status` and the like.
        status: HTTP status.
        user_agent: what the client calls itself.
        at: monotonic seconds.
    """

    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    user_agent: str
    at: float


class Frontend:
    """Answers requests. Everything happens on one event loop, so that no two operations ever overlap."""

    def __init__(self, operations: Operations, faults: Faults, *, token: str | None, bookmarks: float) -> None:
        """Bind the parts together.

        Args:
            operations: does the work.
            faults: what is to go wrong.
            token: that every request must carry; None for no authentication.
            bookmarks: seconds between the bookmarks of a watch on which nothing happens.
        """
        self.journal: deque[RequestRecord] = deque(maxlen=MAX_JOURNAL)
        self.streams: set[asyncio.Transport] = set()
        self._operations = operations
        self._store = operations.store
        self._faults = faults
        self._token = token
        self._bookmarks = bookmarks

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return _refused(refusal)
        except RecursionError:
            return _refused(bad_request("the object is nested too deeply"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s", request.method, request.path_qs)
            return _refused(Refusal(500, "InternalError", f"Internal error occurred: {error!r}", {}))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._authenticate(request)
        path = [part for part in request.path.split("/") if part]
        target = self._target(path)
        if target is None:
            await self._faults.running.wait()
            if request.method != "GET":
                raise method_not_allowed()
            return self._discovery(path)
        verb = requests.read_verb(request, target)
        body = await requests.read_body(request)
        try:
            rule = await self._faults.before(verb, target.label)
            response = await self._do(request, target, verb, body)
        except Refusal as refusal:
            self._note(request, target, verb, refusal.code)
            raise
        if verb != "watch":
            self._note(request, target, verb, response.status)
        if rule is not None and rule.lose_answer and request.transport is not None:
            request.transport.abort()
        return response

    def _authenticate(self, request: web.BaseRequest) -> None:
        """Ask for the token. Without one let in every program, but no web page in a browser on this machine.

        A page's requests to another site have an Origin, and its own site is no loopback address even if its name
        resolves to one.
        """
        if self._token is not None:
            if request.headers.get("Authorization") != f"Bearer {self._token}":
                raise Refusal(401, "Unauthorized", "Unauthorized")
        elif "Origin" in request.headers or not _is_loopback(request.host):
            raise Refusal(403, "Forbidden", "requests of web pages are not answered", {})

    def _note(self, request: web.BaseRequest, target: requests.Target, verb: str, status: int) -> None:
        agent = request.headers.get("User-Agent", "")
        self.journal.append(
            RequestRecord(verb, target.label, target.namespace, target.name, status, agent, time.monotonic())
        )

    # -- paths

    def _discovery(self, path: list[str]) -> web.Response:
        registry = self._operations.registry
        match path:
            case ["healthz" | "livez" | "readyz", *_]:
                return web.Response(text="ok")
            case ["version"]:
                return _json(discovery.VERSION)
            case ["api"]:
                return _json(discovery.core_versions())
            case ["apis"]:
                return _json(discovery.groups(registry))
            case ["api", version]:
                return _json(discovery.group_version("", version, registry))
            case ["apis", group]:
                return _json(discovery.group(group, registry))
            case ["apis", group, version]:
                return _json(discovery.group_version(group, version, registry))
            case ["openapi", "v3"]:
                return _json(discovery.openapi_index(registry, self._store.version))
            case ["openapi", "v3", *rest]:
                return _json(discovery.openapi("/".join(rest), registry))
        raise no_such_path()

    def _target(self, path: list[str]) -> requests.Target | None:
        """The resource, namespace, name and subresource of a path; None when it is about none."""
        match path:
            case ["api", version, *rest] if rest:
                group = ""
            case ["apis", group, version, *rest] if rest:
                pass
            case _:
                return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] == "status"):
            namespace, rest = rest[1], rest[2:]
        if len(rest) > 3:
            raise no_such_path()
        plural, name, subresource = [*rest, "", ""][:3]
        resource = self._operations.registry.find(group, version, plural)
        if resource is None or (subresource and subresource not in resource.subresources):
            raise no_such_path()
        if bool(namespace) != resource.namespaced and (namespace or name):
            raise no_such_path()
        return requests.Target(resource, namespace, name, subresource)

    # -- verbs

    async def _do(
        self, request: web.BaseRequest, target: requests.Target, verb: str, body: bytes
    ) -> web.StreamResponse:
        query, media_type = request.query, request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        form = requests.read_form(request)
        if verb == "watch":
            return await self._watch(request, target, form)
        if verb == "list":
            return self._list(target, query, form)
        if verb == "get":
            version = lists.parse_version(query.get("resourceVersion", ""))
            if version > self._store.version:
                raise version_too_large(version, self._store.version)
            stored = self._operations.get(target.resource, target.namespace, target.name)
            return self._object(target, stored, query, form)
        writer = requests.read_writer(request)
        if verb == "deletecollection":
            return self._delete_collection(target, query, body, media_type, writer)
        if verb == "delete":
            options = bodies.parse_object(body, media_type) if body else {}
            with contextlib.suppress(ValueError):
                options = (
                    {"gracePeriodSeconds": int(query["gracePeriodSeconds"]), **options}
                    if ("gracePeriodSeconds" in query)
                    else options
                )
            writer = requests.read_writer(request, options)
            stored, gone = self._operations.delete(target.resource, target.namespace, target.name, options, writer)
            return _json(_deleted(target, stored)) if gone else self._object(target, stored, query, form)
        if verb == "create" and target.subresource == "binding":
            self._operations.bind(target.namespace, target.name, bodies.parse_object(body, media_type), writer)
            return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)
        if verb == "create":
            sent = requests.check_type(target, bodies.parse_object(body, media_type))
            stored = self._operations.create(target.resource, target.namespace, sent, writer)
            return self._object(target, stored, query, form, 201)
        if verb == "update":
            sent = requests.check_type(target, bodies.parse_object(body, media_type))
            stored, new = self._operations.replace(
                target.resource, target.namespace, target.name, target.subresource, sent, writer
            )
            return self._object(target, stored, query, form, 201 if new else 200)
        return self._patch(request, target, media_type, body, writer, form)

    def _patch(
        self, request: web.BaseRequest, target: requests.Target, media_type: str, body: bytes, writer: Writer, form: str
    ) -> web.Response:
        if media_type not in PATCH_TYPES:
            raise unsupported_media(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join(PATCH_TYPES)
            )
        patch = bodies.parse_body(body, media_type)
        if media_type == operations.APPLY_PATCH:
            if not request.query.get("fieldManager"):
                cause = required("fieldManager", "is required for apply patch")
                raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
            if not isinstance(patch, dict):
                raise bad_request("the object provided is unrecognized: it is no object")
            requests.check_type(target, patch)
        stored, new = self._operations.patch(
            target.resource, target.namespace, target.name, target.subresource, media_type, patch, writer
        )
        return self._object(target, stored, request.query, form, 201 if new else 200)

    def _list(self, target: requests.Target, query: Mapping[str, str], form: str) -> web.Response:
        resource = target.resource
        selection = parse_selection(resource, target.namespace, query)
        page = lists.read_page(self._store, self._store.table(resource), selection, query)
        if form == "json":
            head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": page.metadata()})
            items = b",".join(views.item_raw(resource, each) for each in page.items)
            return _raw(b'%s,"items":[%s]}' % (head[:-1], items))
        objects = [views.show(resource, each) for each in page.items]
        if form == "table":
            return _json(
                tables.as_table(resource, objects, page.metadata(), _now(), include=query.get("includeObject", ""))
            )
        partial = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": page.metadata()}
        return _json({**partial, "items": [tables.partial(each) for each in objects]})

    def _delete_collection(
        self, target: requests.Target, query: Mapping[str, str], body: bytes, media_type: str, writer: Writer
    ) -> web.Response:
        options = bodies.parse_object(body, media_type) if body else {}
        resource = target.resource
        selection = parse_selection(resource, target.namespace, query)
        selected = [each for each in self._store.table(resource).scan(target.namespace) if each in selection]
        for each in selected:
            self._operations.delete(resource, each.namespace, each.name, options, writer)
        metadata = {"resourceVersion": str(self._store.version)}
        head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata})
        return _raw(b'%s,"items":[%s]}' % (head[:-1], b",".join(views.item_raw(resource, each) for each in selected)))

    async def _watch(self, request: web.BaseRequest, target: requests.Target, form: str) -> web.StreamResponse:
        resource = target.resource
        selection = parse_selection(resource, target.namespace, request.query)
        if target.name:
            selection = Selection(selection.namespace, (*selection.tests, lambda each: each.name == target.name))
        wanted = watches.parse_request(resource, selection, request.query, self._store)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        await response.prepare(request)
        self._note(request, target, "watch", 200)
        transport = request.transport
        if transport is None:
            return response
        self.streams.add(transport)
        try:
            encode_object = _event_encoder(form, request.query.get("includeObject", ""))
            await watches.stream(wanted, self._store, response, self._faults, encode_object, self._bookmarks)
        except ConnectionError:
            pass  # the watcher has gone
        finally:
            self.streams.discard(transport)
        return response

    def _object(
        self, target: requests.Target, stored: Stored, query: Mapping[str, str], form: str, status: int = 200
    ) -> web.Response:
        resource, subresource = target.resource, target.subresource
        if form == "json" or subresource == "scale":
            return _raw(views.show_raw(resource, stored, subresource), status)
        obj = views.show(resource, stored)
        if form == "partial":
            return _json(tables.partial(obj), status)
        metadata = {"resourceVersion": str(stored.version)}
        return _json(tables.as_table(resource, [obj], metadata, _now(), include=query.get("includeObject", "")), status)


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine by an address, or as localhost."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _deleted(target: requests.Target, stored: Stored) -> Json:
    group = {"group": target.resource.group} if target.resource.group else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": stored.name, **group, "kind": target.resource.plural, "uid": stored.uid},
    }


def _event_encoder(form: str, include: str) -> watches.Encode:
    if form == "json":
        return views.show_raw
    headers = True

    def encode_object(resource: Resource, stored: Stored) -> bytes:
        nonlocal headers
        obj = views.show(resource, stored)
        if form == "partial":
            return encode(tables.partial(obj))
        metadata = {"resourceVersion": str(stored.version)}
        table = tables.as_table(resource, [obj], metadata, _now(), include=include, headers=headers)
        headers = False
        return encode(table)

    return encode_object


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _json(value: Json, status: int = 200) -> web.Response:
    return _raw(encode(value), status)


def _raw(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    response = _json(refusal.status(), refusal.code)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response

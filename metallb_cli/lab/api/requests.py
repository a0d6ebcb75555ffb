"""What a request says: its target, its verb, its body, and the form of answer that it would like."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from metallb_cli.lab.api import bodies, views, watches
from metallb_cli.lab.api.operations import Writer
from metallb_cli.lab.api.refusals import Json, bad_request, method_not_allowed, not_acceptable, too_large
from metallb_cli.lab.api.resources import Resource

MAX_MANAGER = 128
"""Characters of a name in managedFields."""
FORMS = {"as=Table": "table", "as=PartialObjectMetadata": "partial", "as=PartialObjectMetadataList": "partial"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; an empty name means the whole collection."""

    resource: Resource
    namespace: str
    name: str
    subresource: str

    @property
    def label(self) -> str:
        """As in RBAC rules: `services`, `services/status`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413, it is too long.
    """
    if not request.can_read_body:
        return b""
    body = bytearray()
    too_long = (request.content_length or 0) > bodies.MAX_BODY
    while not too_long and (chunk := await request.content.readany()):
        body += chunk
        too_long = len(body) > bodies.MAX_BODY
    if too_long:
        raise too_large(bodies.MAX_BODY)
    return bytes(body)


def read_verb(request: web.BaseRequest, target: Target) -> str:
    """What the request is about to do, as RBAC names it.

    Raises:
        Refusal: 405.
    """
    method, name, subresource = request.method, target.name, target.subresource
    if method == "GET" and watches.is_true(request.query, "watch") and not subresource:
        return "watch"
    if method == "POST" and subresource == "binding":
        return "create"
    if not name:
        verb = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}.get(method)
        if verb == "create" and target.resource.namespaced and not target.namespace:
            verb = None
    else:
        verb = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
        if subresource == "binding" or (subresource and verb == "delete"):
            verb = None
    if verb is None:
        raise method_not_allowed()
    return verb


def read_form(request: web.BaseRequest) -> str:
    """What the client would like best of what we have: `json`, `table` or `partial`.

    Raises:
        Refusal: 406.
    """
    accept = request.headers.get("Accept", "")
    if accept in ("", "*/*", "application/json"):
        return "json"
    for entry in accept.split(","):
        media_type, *parameters = [part.strip() for part in entry.split(";")]
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        form = next((FORMS[each] for each in parameters if each in FORMS), None)
        if form is not None and "g=meta.k8s.io" in parameters:
            return form
        if not any(each.startswith("as=") for each in parameters):
            return "json"
    raise not_acceptable()


def read_writer(request: web.BaseRequest, options: Json | None = None) -> Writer:
    """Who writes, and whether only for show. `options` is the body of a DELETE.

    Raises:
        Refusal: 400, an unknown kind of dry run.
    """
    query = request.query
    dry_run = query.getall("dryRun", []) or (options or {}).get("dryRun") or []
    if dry_run not in ([], ["All"], "All"):
        raise bad_request(f'dryRun: Unsupported value: {dry_run!r}: supported values: "All"')
    manager = query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0] or "unknown"
    return Writer(manager[:MAX_MANAGER], bool(dry_run), watches.is_true(query, "force"))


def check_type(target: Target, sent: Json) -> Json:
    """The object, if it is of the kind that belongs to the path, or says nothing about its kind.

    Raises:
        Refusal: 400.
    """
    resource = target.resource
    expected = (resource.api_version, resource.kind)
    if target.subresource == "scale":
        expected = (views.SCALE, "Scale")
    found = (sent.get("apiVersion") or expected[0], sent.get("kind") or expected[1])
    if found != expected:
        raise bad_request(
            f"{found[1]} in version {found[0]} cannot be handled as a {expected[1]} in version {expected[0]}"
        )
    return sent

"""What the API server says when it refuses: an HTTP status and a `Status` object, worded as Kubernetes words them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metallb_cli.lab.api.resources import Resource

Json = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong. `field` is a path such as `spec.ports[0].port`."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def wrong(field: str, value: object, detail: str) -> Cause:
    """A field has a value that it may not have."""
    return Cause("FieldValueInvalid", field, f"Invalid value: {json.dumps(value)}: {detail}")


def required(field: str, detail: str = "") -> Cause:
    """A field is missing."""
    return Cause("FieldValueRequired", field, f"Required value{': ' if detail else ''}{detail}")


def unsupported(field: str, value: object, supported: Sequence[str]) -> Cause:
    """A field has none of the values that are known."""
    known = ", ".join(json.dumps(each) for each in supported)
    return Cause("FieldValueNotSupported", field, f"Unsupported value: {json.dumps(value)}: supported values: {known}")


class Refusal(Exception):
    """Ends a request.

    Attributes:
        code: HTTP status.
        reason: machine-readable, such as `NotFound`; may be empty.
        details: of the Status object; None leaves them out.
        retry_after: seconds for the Retry-After header, or None.
    """

    def __init__(
        self, code: int, reason: str, message: str, details: Json | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details
        self.retry_after = retry_after

    def status(self) -> Json:
        """The Status object."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


def _about(resource: Resource, name: str) -> Json:
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": resource.plural}


def bad_request(message: str) -> Refusal:
    """400: the request makes no sense, whatever is stored."""
    return Refusal(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> Refusal:
    """403: understood, and not allowed."""
    return Refusal(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {why}', _about(resource, name))


def not_found(resource: Resource, name: str) -> Refusal:
    """404: no such object."""
    return Refusal(404, "NotFound", f'{resource.qualified} "{name}" not found', _about(resource, name))


def no_such_path() -> Refusal:
    """404: no such resource."""
    return Refusal(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> Refusal:
    """405."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_acceptable() -> Refusal:
    """406: none of the media types in the Accept header is served."""
    message = "only the following media types are accepted: application/json"
    return Refusal(406, "NotAcceptable", message)


def already_exists(resource: Resource, name: str) -> Refusal:
    """409: the name is taken."""
    return Refusal(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _about(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> Refusal:
    """409: the caller's resourceVersion, or precondition, is not that of the stored object."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refusal(409, "Conflict", message, _about(resource, name))


def expired(message: str) -> Refusal:
    """410: a resourceVersion or continue token from before the oldest change that is remembered."""
    return Refusal(410, "Expired", message)


def too_large(limit: int) -> Refusal:
    """413."""
    return Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media(message: str) -> Refusal:
    """415."""
    return Refusal(415, "UnsupportedMediaType", message)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refusal:
    """422: fields of the object are wrong."""
    qualified = f"{kind}.{group}" if group else kind
    listed = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
    details = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes],
    }
    return Refusal(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def unprocessable() -> Refusal:
    """422: a JSON patch whose test fails, or whose path leads nowhere."""
    return Refusal(422, "Invalid", "the server rejected our request due to an error in our request", {})


def version_too_large(version: int, current: int) -> Refusal:
    """504: a resourceVersion that has not happened. The caller knew another server, or another life of this one."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    return Refusal(504, "Timeout", message, details, retry_after=1)

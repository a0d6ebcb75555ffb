"""From the bytes of a request to JSON values."""

from __future__ import annotations

import json
from typing import Any

import yaml

from metallb_cli.lab.api.refusals import bad_request, too_large, unsupported_media

MAX_BODY = 3 << 20
"""Bytes, kube-apiserver's limit."""
MAX_YAML = 512 << 10
"""Bytes of YAML that is not JSON; reading it takes long, and kubectl sends JSON."""
JSON_TYPES = ("", "application/json", "application/octet-stream")
YAML_TYPES = ("application/yaml", "application/apply-patch+yaml")
PROTOBUF_HINT = (
    ". Protobuf, in which `kubectl create TYPE` sends, is not among them: "
    "use `kubectl create TYPE ... --dry-run=client -o yaml | kubectl apply -f -`"
)

Value = Any


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes takes it: dates stay strings. No aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: Value, index: Value) -> Value:
        if self.check_event(yaml.AliasEvent):
            raise bad_request("YAML aliases are not accepted")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_body(raw: bytes, media_type: str) -> Value:
    """Decode a body.

    Raises:
        Refusal: 400 for what cannot be decoded, 413 for what is too large, 415 for an unknown type.
    """
    if len(raw) > MAX_BODY:
        raise too_large(MAX_BODY)
    try:
        if media_type in YAML_TYPES and raw.lstrip()[:1] not in (b"{", b"["):
            if len(raw) > MAX_YAML:
                raise too_large(MAX_YAML)
            # Through JSON, so that keys are strings and nothing else than JSON comes out.
            raw = json.dumps(yaml.load(raw, _Loader), allow_nan=False).encode()  # noqa: S506 - a safe loader
        elif media_type not in (*JSON_TYPES, *YAML_TYPES) and not media_type.endswith("patch+json"):
            hint = PROTOBUF_HINT if "protobuf" in media_type else ""
            raise unsupported_media(
                "the body of the request was in an unknown format - accepted media types include: "
                f"application/json, application/yaml{hint}"
            )
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise bad_request(f"the body of the request cannot be decoded: {error}") from error


def parse_object(raw: bytes, media_type: str) -> dict[str, Any]:
    """Decode a body that must be an object.

    Raises:
        Refusal: as `parse_body`, and 400 when it is something else.
    """
    value = parse_body(raw, media_type)
    if not isinstance(value, dict):
        raise bad_request("the object provided is unrecognized: it is no JSON object")
    return value


def _refuse_constant(name: str) -> Value:
    raise ValueError(f"{name} is not JSON")

"""CustomResourceDefinitions: what they add to the resources that are served."""

from __future__ import annotations

from typing import Any

from metallb_cli.lab.api import schemas
from metallb_cli.lab.api.refusals import Cause, Json, required, unsupported, wrong
from metallb_cli.lab.api.resources import Resource
from metallb_cli.lab.api.schemas import Schema

SCOPES = ("Cluster", "Namespaced")
SUB_SCHEMAS = ("items", "additionalProperties")
CHECKED = {
    "type": str,
    "enum": list,
    "required": list,
    "minimum": int | float,
    "maximum": int | float,
    "minLength": int,
    "maxLength": int,
    "minItems": int,
    "maxItems": int,
    "pattern": str,
}


def complete_definition(new: Json, now: str) -> None:
    """Fill in defaults and the status, in place: a definition is established at once."""
    spec = new.setdefault("spec", {})
    names = spec.setdefault("names", {})
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"})
    status = new.setdefault("status", {})
    if not status.get("conditions"):
        status["conditions"] = [
            {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}
            for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
        ]
    status["acceptedNames"] = names
    status["storedVersions"] = [each.get("name") for each in spec.get("versions") or () if each.get("storage")]


def check_definition(new: Json) -> list[Cause]:
    """What is wrong with a complete definition."""
    spec, names = new["spec"], new["spec"]["names"]
    causes: list[Cause] = []
    causes.extend(required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field))
    causes.extend(required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field))
    if causes:
        return causes
    if spec["scope"] not in SCOPES:
        causes.append(unsupported("spec.scope", spec["scope"], SCOPES))
    wanted = f"{names['plural']}.{spec['group']}"
    if new["metadata"].get("name") != wanted:
        causes.append(
            wrong("metadata.name", new["metadata"].get("name"), f'must be spec.names.plural+"."+spec.group: {wanted}')
        )
    versions = spec.get("versions") or ()
    if sum(bool(each.get("storage")) for each in versions) != 1:
        causes.append(wrong("spec.versions", len(versions), "must have exactly one version marked as storage version"))
    for index, each in enumerate(versions):
        if not each.get("name"):
            causes.append(required(f"spec.versions[{index}].name"))
        if not (each.get("schema") or {}).get("openAPIV3Schema"):
            causes.append(required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"))
    return causes


def resources_of(definition: Json) -> tuple[Resource, ...]:
    """What a stored definition serves. All versions share their objects, unconverted, as with strategy `None`."""
    spec, names = definition["spec"], definition["spec"]["names"]
    return tuple(
        Resource(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            schema=_clean(version["schema"]["openAPIV3Schema"]),
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=frozenset({"status"} if "status" in (version.get("subresources") or {}) else ()),
            versioned_writes=True,
            counted=True,
            definition=definition["metadata"]["name"],
            singular_name=names["singular"],
            list_kind_name=names["listKind"],
            columns=tuple(version.get("additionalPrinterColumns") or ()),
        )
        for version in spec["versions"]
        if version.get("served")
    )


def _clean(schema: object) -> Schema:
    """The parts of a schema that we use, those of a wrong type left out: then the rest of the server need not look."""
    if not isinstance(schema, dict):
        return schemas.ANY
    result: dict[str, Any] = {
        key: value
        for key, value in schema.items()
        if key not in ("properties", *SUB_SCHEMAS) and isinstance(value, CHECKED.get(key, object))
    }
    if isinstance(schema.get("properties"), dict):
        result["properties"] = {key: _clean(child) for key, child in schema["properties"].items()}
    for key in SUB_SCHEMAS:
        if isinstance(schema.get(key), dict):
            result[key] = _clean(schema[key])
    if schema.get("additionalProperties") is True:
        result["additionalProperties"] = schemas.ANY
    return result

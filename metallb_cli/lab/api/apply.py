"""Who owns which field after a write, and server-side apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metallb_cli.lab.api import field_ownership as ownership
from metallb_cli.lab.api.field_ownership import Fields
from metallb_cli.lab.api.refusals import Json, Refusal, bad_request
from metallb_cli.lab.api.schemas import Schema

MAX_MANAGERS = 100
"""Entries of managedFields; the oldest go first. (kube-apiserver merges the oldest at 10 updates.)"""


def record_update(
    old: Json, new: Json, schema: Schema, *, manager: str, api_version: str, subresource: str, now: str
) -> None:
    """Make `manager` the owner of what a create, PUT or PATCH has changed, in place in `new`. `old` may be empty."""
    entries = _entries(old)
    before, after = ownership.owned_part(old), ownership.owned_part(new)
    changed, gone = ownership.changed_fields(before, after, schema)
    if changed or gone:
        taken = ownership.joined(changed, gone)
        mine = _find(entries, manager, "Update", api_version, subresource)
        kept = []
        for entry in entries:
            if entry is mine:
                continue
            fields = ownership.without(entry["fieldsV1"], taken)
            if fields:
                kept.append({**entry, "fieldsV1": fields})
        fields = ownership.joined(ownership.without(mine["fieldsV1"], gone) if mine else {}, changed)
        if fields:
            kept.append(_entry(manager, "Update", api_version, subresource, fields, now))
        entries = kept
    _store(new, entries)


def apply(
    live: Json, applied: Json, schema: Schema,
    *, manager: str, api_version: str, subresource: str, force: bool, now: str,
) -> Json:  # fmt: skip
    """Server-side apply: the object after `manager` has said what it wants. `live` is empty for a new object.

    Raises:
        Refusal: 400 when `applied` carries managedFields, 409 when somebody else owns a field and wants another value.
    """
    if applied.get("metadata", {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    wanted = ownership.owned_part(applied)
    mine = ownership.fields_of(wanted, schema)
    entries = _entries(live)
    previous = _find(entries, manager, "Apply", api_version, subresource)
    kept, conflicts = [], []
    others: Fields = {}
    for entry in entries:
        if entry is previous:
            continue
        fields = entry["fieldsV1"]
        for path in sorted(ownership.leaves(ownership.common(fields, mine))):
            if ownership.value_at(live, path, schema) != ownership.value_at(applied, path, schema):
                conflicts.append((entry["manager"], path))
                fields = ownership.difference(fields, _tree(path))
        if fields:
            kept.append({**entry, "fieldsV1": fields})
            others = ownership.joined(others, fields)
    if conflicts and not force:
        raise _conflict(conflicts)
    result: Json = ownership.merged(live, wanted, schema)
    if previous:
        given_up = ownership.difference(ownership.difference(previous["fieldsV1"], mine), others)
        result = ownership.remove_at(result, given_up, schema)
    if previous and previous["fieldsV1"] == mine:
        kept.append(previous)
    elif mine:
        kept.append(_entry(manager, "Apply", api_version, subresource, mine, now))
    _store(result, kept)
    return result


def _entries(obj: Json) -> list[Json]:
    """The entries that make sense; clients may have written anything."""
    entries = obj.get("metadata", {}).get("managedFields")
    return [
        entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("fieldsV1"), dict) and isinstance(entry.get("manager"), str)
    ]


def _find(entries: Sequence[Json], manager: str, operation: str, api_version: str, subresource: str) -> Json | None:
    wanted = (manager, operation, api_version, subresource)
    for entry in entries:
        found = (entry["manager"], entry.get("operation"), entry.get("apiVersion"), entry.get("subresource", ""))
        if found == wanted:
            return entry
    return None


def _entry(manager: str, operation: str, api_version: str, subresource: str, fields: Fields, now: str) -> Json:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **({"subresource": subresource} if subresource else {}),
    }


def _store(obj: Json, entries: list[Json]) -> None:
    metadata: dict[str, Any] = obj.setdefault("metadata", {})
    if entries:
        metadata["managedFields"] = entries[-MAX_MANAGERS:]
    else:
        metadata.pop("managedFields", None)


def _tree(path: tuple[str, ...]) -> Fields:
    tree: Fields = {}
    for step in reversed(path):
        tree = {step: tree}
    return tree


def _conflict(conflicts: Sequence[tuple[str, tuple[str, ...]]]) -> Refusal:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": ownership.written(path)}
        for manager, path in conflicts
    ]
    listed = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    plural = "" if len(causes) == 1 else "s"
    return Refusal(409, "Conflict", f"Apply failed with {len(causes)} conflict{plural}: {listed}", {"causes": causes})

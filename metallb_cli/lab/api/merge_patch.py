"""The two patches that look like the object: JSON Merge Patch (RFC 7396) and Kubernetes' strategic merge patch."""

from __future__ import annotations

from typing import Any

from metallb_cli.lab.api.refusals import bad_request
from metallb_cli.lab.api.schemas import ANY, Schema, child_of, item_of, merge_key

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
ELEMENT_ORDER = "$setElementOrder/"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"

Value = Any
"""Any JSON value."""


def apply_merge_patch(target: Value, patch: Value) -> Value:
    """RFC 7396: null deletes a key, an object is merged, everything else replaces. Changes neither argument."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


def apply_strategic_patch(target: Value, patch: Value, schema: Schema = ANY) -> Value:
    """A merge patch in which lists of objects are merged by a key, where the schema names one. Changes no argument.

    Raises:
        Refusal: 400 when a directive is malformed.
    """
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type found: {directive}")
    result = dict(target) if isinstance(target, dict) else {}
    if RETAIN_KEYS in patch:
        kept = _list(patch, RETAIN_KEYS)
        result = {key: value for key, value in result.items() if key in kept}
    for key in patch:
        if key.startswith(DELETE_PRIMITIVES):
            field = key.removeprefix(DELETE_PRIMITIVES)
            gone = _list(patch, key)
            if isinstance(result.get(field), list):
                result[field] = [item for item in result[field] if item not in gone]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
            continue
        child = child_of(schema, key)
        if isinstance(value, list):
            result[key] = _merge_list(result.get(key), value, child)
        else:
            result[key] = apply_strategic_patch(result.get(key), value, child)
    for key in patch:
        if key.startswith(ELEMENT_ORDER):
            field = key.removeprefix(ELEMENT_ORDER)
            if isinstance(result.get(field), list):
                result[field] = _ordered(result[field], _list(patch, key), merge_key(child_of(schema, field)))
    return result


def _list(patch: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(patch[key], list):
        raise bad_request(f"{key} must be a list")
    return list(patch[key])


def _merge_list(target: Value, patch: list[Any], schema: Schema) -> list[Any]:
    key = merge_key(schema)
    present = list(target) if isinstance(target, list) else []
    if key is None:
        return patch
    if key == "":  # a set of plain values
        return present + [item for item in patch if item not in present]
    if any(isinstance(item, dict) and item.get(DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get(DIRECTIVE) == "replace")]
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        places = [i for i, each in enumerate(present) if isinstance(each, dict) and each.get(key) == item[key]]
        if item.get(DIRECTIVE) == "delete":
            present = [each for i, each in enumerate(present) if i not in places]
        elif places:
            present[places[0]] = apply_strategic_patch(present[places[0]], item, item_of(schema))
        else:
            present.append(apply_strategic_patch({}, item, item_of(schema)))
    return present


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """The items that `order` names come in its order; each other one stays behind the one that it came after."""

    def name(item: Value) -> Value:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in order]
    named = [item for item in items if name(item) in wanted]
    named.sort(key=lambda item: wanted.index(name(item)))
    result = named
    for place, item in enumerate(items):
        if name(item) not in wanted:
            after = next((each for each in reversed(items[:place]) if each in result), None)
            result = [*result, item] if after is None else _insert_after(result, after, item)
    return result


def _insert_after(items: list[Any], after: Value, item: Value) -> list[Any]:
    place = items.index(after) + 1
    return [*items[:place], item, *items[place:]]

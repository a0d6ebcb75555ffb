"""`metadata.managedFields`: which client set which field.

A set of fields is a tree in the FieldsV1 format itself: `f:name` for a field, `k:{"port":80}` for an item of a keyed
list, `v:"x"` for a member of a set, `.` for a map or an item as such. A leaf is an empty object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from metallb_cli.lab.api.refusals import Json
from metallb_cli.lab.api.schemas import LIST_KEYS, LIST_TYPE, Schema, child_of, item_of

UNOWNED_METADATA = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "selfLink",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "managedFields",
    }
)
"""What the server keeps itself: no client owns it."""

Fields = dict[str, Any]
Value = Any


def owned_part(obj: Json) -> Json:
    """The object without what nobody owns."""
    content = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion", "metadata")}
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in UNOWNED_METADATA}
    return {**content, "metadata": metadata} if metadata else content


def fields_of(value: Value, schema: Schema) -> Fields:
    """Every field that a value sets."""
    if isinstance(value, dict):
        tree = {f"f:{key}": fields_of(child, child_of(schema, key)) for key, child in value.items()}
        return {".": {}, **tree} if tree and _is_map(schema) else tree
    items = _items(value, schema)
    if items is None:
        return {}
    tree = {key: {".": {}, **fields_of(item, item_of(schema))} if key[0] == "k" else {} for key, item in items.items()}
    return {".": {}, **tree} if tree else tree


def changed_fields(old: Value, new: Value, schema: Schema) -> tuple[Fields, Fields]:
    """The fields that `new` sets to something else than `old`, and those that only `old` has."""
    if old == new and type(old) is type(new):
        return {}, {}
    if isinstance(old, dict) and isinstance(new, dict):
        prefixed_old = {f"f:{key}": (value, child_of(schema, key)) for key, value in old.items()}
        prefixed_new = {f"f:{key}": (value, child_of(schema, key)) for key, value in new.items()}
    else:
        items_old, items_new = _items(old, schema), _items(new, schema)
        if items_old is None or items_new is None or not items_old or not items_new:
            return fields_of(new, schema), {}
        prefixed_old = {key: (value, item_of(schema)) for key, value in items_old.items()}
        prefixed_new = {key: (value, item_of(schema)) for key, value in items_new.items()}
    set_, gone = {}, {}
    for key, (value, child) in prefixed_new.items():
        if key not in prefixed_old:
            set_[key] = {".": {}, **fields_of(value, child)} if key[0] == "k" else fields_of(value, child)
            continue
        before = prefixed_old[key][0]
        if before == value and type(before) is type(value):
            continue
        below_set, below_gone = changed_fields(before, value, child)
        if below_set or not below_gone:
            set_[key] = below_set
        if below_gone:
            gone[key] = below_gone
    gone.update({key: {} for key in prefixed_old.keys() - prefixed_new.keys()})
    return set_, gone


def without(tree: Fields, other: Fields) -> Fields:
    """The fields of `tree` that are not in `other`; a leaf of `other` takes everything below it along."""
    result = {}
    for key, below in tree.items():
        if key not in other:
            result[key] = below
        elif other[key] and below:
            rest = without(below, other[key])
            if rest and rest.keys() != {"."}:
                result[key] = rest
    return result


def difference(tree: Fields, other: Fields) -> Fields:
    """The fields of `tree` that are not in `other`, where a leaf stands for itself only: an empty map owns no key."""
    result = {}
    for key, below in tree.items():
        if key not in other:
            result[key] = below
        elif below:
            rest = difference(below, other[key] or {".": {}})
            if rest and rest.keys() != {"."}:
                result[key] = rest
    return result


def joined(tree: Fields, other: Fields) -> Fields:
    """The fields of both."""
    result = dict(tree)
    for key, below in other.items():
        result[key] = joined(result[key], below) if key in result else below
    return result


def common(tree: Fields, other: Fields) -> Fields:
    """The fields in both."""
    result = {}
    for key in tree.keys() & other.keys() - {"."}:
        below = common(tree[key], other[key])
        if below or not (tree[key] or other[key]):
            result[key] = below
    return result


def leaves(tree: Fields, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each leaf."""
    for key, below in tree.items():
        if below:
            yield from leaves(below, (*path, key))
        elif key != ".":
            yield (*path, key)


def written(path: tuple[str, ...]) -> str:
    """A path as messages show it: `.spec.ports[port=80,protocol="TCP"].name`."""
    text = ""
    for step in path:
        kind, rest = step[0], step[2:]
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            pairs = json.loads(rest).items()
            text += f"[{','.join(f'{key}={json.dumps(value)}' for key, value in pairs)}]"
        else:
            text += f"[={rest}]"
    return text


def value_at(value: Value, path: tuple[str, ...], schema: Schema) -> Value:
    """What an object has at a path; None when it has nothing there."""
    for step in path:
        if step[0] == "f":
            value = value.get(step[2:]) if isinstance(value, dict) else None
            schema = child_of(schema, step[2:])
        else:
            value = (_items(value, schema) or {}).get(step)
            schema = item_of(schema)
    return value


def remove_at(value: Value, tree: Fields, schema: Schema) -> Value:
    """The value without the fields of a tree; objects and items that this leaves empty stay. Changes nothing given."""
    if isinstance(value, dict):
        result = {}
        for key, child in value.items():
            below = tree.get(f"f:{key}")
            if below is None:
                result[key] = child
            elif below:
                result[key] = remove_at(child, below, child_of(schema, key))
        return result
    items = _items(value, schema)
    if items is None:
        return value
    kept = []
    for key, item in items.items():
        below = tree.get(key)
        if below is None:
            kept.append(item)
        elif below and "." not in below:
            kept.append(remove_at(item, below, item_of(schema)))
    return kept


def merged(live: Value, applied: Value, schema: Schema) -> Value:
    """`live` with everything that `applied` sets; keyed lists and sets are merged. Changes neither."""
    if isinstance(live, dict) and isinstance(applied, dict):
        result = dict(live)
        for key, value in applied.items():
            result[key] = merged(live.get(key), value, child_of(schema, key))
        return result
    items, wanted = _items(live, schema), _items(applied, schema)
    if items is None or wanted is None:
        return applied
    for key, item in wanted.items():
        items[key] = merged(items[key], item, item_of(schema)) if key in items else item
    return list(items.values())


def _is_map(schema: Schema) -> bool:
    return "additionalProperties" in schema


def _items(value: Value, schema: Schema) -> dict[str, Value] | None:
    """The items of a keyed list or a set by their path element; None for anything else, an atomic list included."""
    if not isinstance(value, list):
        return None
    kind = schema.get(LIST_TYPE)
    if kind == "set":
        return {f"v:{json.dumps(item, separators=(',', ':'))}": item for item in value}
    if kind != "map" or not all(isinstance(item, dict) for item in value):
        return None
    keys = sorted(schema.get(LIST_KEYS) or ())
    defaults = {key: child_of(item_of(schema), key).get("default") for key in keys}
    return {
        "k:" + json.dumps({key: item.get(key, defaults[key]) for key in keys}, separators=(",", ":")): item
        for item in value
    }

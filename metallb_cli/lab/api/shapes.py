"""Whether an object has the shape that its schema says: types for the built-in kinds, more for custom resources."""

from __future__ import annotations

import copy
import datetime
import re
from typing import Any

from metallb_cli.lab.api.refusals import Cause, required, unsupported, wrong
from metallb_cli.lab.api.schemas import INT_OR_STRING_MARK, PRESERVE, Schema

MAX_CAUSES = 20
MICRO_TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
"""Go's `2006-01-02T15:04:05.000000Z07:00`: exactly six decimals, or kube-apiserver refuses the object."""
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

Value = Any
"""Any JSON value."""


def check_shape(value: Value, schema: Schema, path: str = "") -> list[Cause]:
    """What is wrong with a value; at most MAX_CAUSES causes. null is allowed everywhere: it means absent."""
    causes: list[Cause] = []
    _check(value, schema, path, causes)
    return causes


def _check(value: Value, schema: Schema, path: str, causes: list[Cause]) -> None:
    if value is None or len(causes) >= MAX_CAUSES:
        return
    if schema.get(INT_OR_STRING_MARK):
        if isinstance(value, bool) or not isinstance(value, int | str):
            causes.append(wrong(path, value, "must be an integer or a string"))
        return
    kind = schema.get("type")
    expected = TYPES.get(kind) if isinstance(kind, str) else None
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean")):
        causes.append(wrong(path, value, f"must be of type {kind}"))
        return
    if "enum" in schema and value not in schema["enum"]:
        causes.append(unsupported(path, value, schema["enum"]))
    if isinstance(value, dict):
        _check_object(value, schema, path, causes)
    elif isinstance(value, list):
        _check_list(value, schema, path, causes)
    elif isinstance(value, str):
        _check_string(value, schema, path, causes)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(schema.get("minimum"), int | float) and value < schema["minimum"]:
            causes.append(wrong(path, value, f"should be greater than or equal to {schema['minimum']}"))
        if isinstance(schema.get("maximum"), int | float) and value > schema["maximum"]:
            causes.append(wrong(path, value, f"should be less than or equal to {schema['maximum']}"))


def _check_object(value: dict[str, Any], schema: Schema, path: str, causes: list[Cause]) -> None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    causes.extend(required(_join(path, field)) for field in schema.get("required") or () if value.get(field) is None)
    for field, child in value.items():
        if field in properties:
            _check(child, properties[field], _join(path, field), causes)
        elif isinstance(additional, dict):
            _check(child, additional, _join(path, field), causes)


def _check_list(value: list[Any], schema: Schema, path: str, causes: list[Cause]) -> None:
    if isinstance(schema.get("minItems"), int) and len(value) < schema["minItems"]:
        causes.append(wrong(path, len(value), f"should have at least {schema['minItems']} items"))
    if isinstance(schema.get("maxItems"), int) and len(value) > schema["maxItems"]:
        causes.append(wrong(path, len(value), f"must have at most {schema['maxItems']} items"))
    items = schema.get("items")
    if items:
        for index, item in enumerate(value):
            if item is None and "type" in items and not items.get("nullable"):
                causes.append(wrong(f"{path}[{index}]", item, f"must be of type {items['type']}"))
            _check(item, items, f"{path}[{index}]", causes)


def _check_string(value: str, schema: Schema, path: str, causes: list[Cause]) -> None:
    kind = schema.get("format")
    if kind == "micro-time" and not MICRO_TIME_PATTERN.fullmatch(value):
        causes.append(wrong(path, value, 'cannot be parsed as "2006-01-02T15:04:05.000000Z07:00"'))
    elif kind == "date-time" and not _is_time(value):
        causes.append(wrong(path, value, 'cannot be parsed as "2006-01-02T15:04:05Z07:00"'))
    if isinstance(schema.get("minLength"), int) and len(value) < schema["minLength"]:
        causes.append(wrong(path, value, f"should be at least {schema['minLength']} chars long"))
    if isinstance(schema.get("maxLength"), int) and len(value) > schema["maxLength"]:
        causes.append(wrong(path, value, f"may not be longer than {schema['maxLength']}"))
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and len(value) <= MAX_MATCHED and not _matches(pattern, value):
        causes.append(wrong(path, value, f"should match '{pattern}'"))


MAX_MATCHED = 4096
"""Longer strings are not matched against the pattern of a custom resource, which may take exponential time."""


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # Go's syntax is not quite Python's
        return True


def _is_time(value: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None and "T" in value
    except ValueError:
        return False


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def prune(value: Value, schema: Schema) -> Value:
    """A custom resource without the fields that its schema does not know."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [prune(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or schema.get(PRESERVE) or schema.get("x-kubernetes-embedded-resource"):
        return value
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    result = {}
    for field, child in value.items():
        if field in properties:
            result[field] = prune(child, properties[field])
        elif isinstance(additional, dict):
            result[field] = prune(child, additional)
    return result


def fill_defaults(value: Value, schema: Schema) -> None:
    """Give a custom resource the defaults of its schema, in place."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            fill_defaults(item, schema["items"])
    if isinstance(value, dict):
        for field, child in (schema.get("properties") or {}).items():
            if field not in value and "default" in child:
                value[field] = copy.deepcopy(child["default"])
            if field in value:
                fill_defaults(value[field], child)

"""The columns that `kubectl get` shows: kubectl asks the server for them, as a Table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from metallb_cli.lab.api.columns import AGE_ONLY, PRINTERS, UNKNOWN, Cells, Now, Printer, age
from metallb_cli.lab.api.refusals import Json
from metallb_cli.lab.api.resources import Resource

JSON_PATH_STEP = re.compile(r"\.?([A-Za-z_][-\w]*)|\['([^']+)'\]|\[(\d+)\]")
JSON_PATH_FILTER = re.compile(r"\[\?\(@\.(\w+)\s*==\s*[\"']([^\"']*)[\"']\)\]")

Value = Any


def as_table(
    resource: Resource, objects: Iterable[Json], metadata: Json, now: Now, *, include: str, headers: bool = True
) -> Json:
    """Build a Table.

    Args:
        resource: of the objects.
        objects: with kind and apiVersion.
        metadata: of the list.
        now: for the column AGE.
        include: what goes with each row: `None`, `Metadata` or `Object`.
        headers: with the columns' definitions; a watch sends them once.
    """
    printer = printer_of(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": _definitions(printer) if headers else None,
        "rows": [
            {
                "cells": ([obj["metadata"]["name"]] if printer.name_first else []) + printer.cells(obj, now),
                **_included(obj, include),
            }
            for obj in objects
        ],
    }


def printer_of(resource: Resource) -> Printer:
    """How a resource is shown; a custom one by its own columns."""
    if resource.columns:
        return _custom_printer(resource.columns)
    if resource.stored_as:
        return AGE_ONLY
    return PRINTERS.get(resource.storage, AGE_ONLY)


def _definitions(printer: Printer) -> list[Json]:
    names = ("Name", *printer.columns) if printer.name_first else printer.columns
    return [
        {
            "name": name.lstrip("*"),
            "type": "string",
            "format": "name" if name.lstrip("*") == "Name" else "",
            "description": "",
            "priority": int(name.startswith("*")),
        }
        for name in names
    ]


def _included(obj: Json, include: str) -> Json:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    return {"object": partial(obj)}


def partial(obj: Json) -> Json:
    """Only the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


# -- custom resources


def _custom_printer(columns: Sequence[Any]) -> Printer:
    known = [each for each in columns if isinstance(each, dict) and isinstance(each.get("jsonPath"), str)]
    names = tuple(("*" if each.get("priority") else "") + str(each.get("name", "")) for each in known)

    def cells(obj: Json, now: Now) -> Cells:
        return [_custom_cell(obj, each, now) for each in known]

    return Printer(names, cells)


def _custom_cell(obj: Json, column: Json, now: Now) -> object:
    value = json_path(obj, column["jsonPath"])
    if column.get("type") == "date":
        return age(value, now) if value is not None else UNKNOWN
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else value


def json_path(value: Value, path: str) -> Value:
    """The first value at a simple JSONPath: fields, indexes and `[?(@.field=="value")]`. None when there is none."""
    position = 0
    while position < len(path):
        match = JSON_PATH_FILTER.match(path, position) or JSON_PATH_STEP.match(path, position)
        if match is None:
            return None
        if match.re is JSON_PATH_FILTER:
            items = value if isinstance(value, list) else ()
            value = next((x for x in items if isinstance(x, dict) and str(x.get(match[1])) == match[2]), None)
        elif match[3] is not None:
            value = value[int(match[3])] if isinstance(value, list) and int(match[3]) < len(value) else None
        else:
            value = value.get(match[1] or match[2]) if isinstance(value, dict) else None
        position = match.end()
    return value

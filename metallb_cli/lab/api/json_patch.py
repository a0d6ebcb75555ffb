"""JSON Patch, RFC 6902, on documents that the caller owns. JSON Pointers are RFC 6901."""

from __future__ import annotations

import copy
import json
from typing import Any

from metallb_cli.lab.api.refusals import bad_request, unprocessable

MAX_OPERATIONS = 10_000
"""As kube-apiserver's limit: each operation may cost as much as the document is large."""
MAX_COPIED = 30 << 20
"""Bytes of JSON that all `copy` operations together may copy, or a short patch could double a document for ever."""

Document = Any
"""Any JSON value."""


def apply_json_patch(document: Document, operations: Document) -> Document:
    """Apply all operations to `document`, which is changed in place; the result is the return value.

    Raises:
        Refusal: 400 when the patch is no list of operations, 422 when one of them cannot be done.
    """
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise bad_request(f"a JSON patch has at most {MAX_OPERATIONS} operations")
    copied = 0
    for operation in operations:
        try:
            if operation["op"] == "copy":
                copied += len(json.dumps(_get(document, _tokens(operation["from"]))))
            if copied > MAX_COPIED:
                raise bad_request(f"the copy operations of a JSON patch may copy {MAX_COPIED} bytes")
            document = _apply(document, operation)
        except (LookupError, TypeError, ValueError) as error:
            raise unprocessable() from error
    return document


def _apply(document: Document, operation: dict[str, Any]) -> Document:
    name = operation["op"]
    path = _tokens(operation["path"])
    if name == "test":
        if not _same(_get(document, path), operation["value"]):
            raise ValueError("the test failed")
        return document
    if name == "remove":
        return _remove(document, path)
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name == "replace":
        _get(document, path)
        return _replace(document, path, copy.deepcopy(operation["value"]))
    source = _tokens(operation["from"])
    if name == "copy":
        return _add(document, path, copy.deepcopy(_get(document, source)))
    if name == "move":
        if path[: len(source)] == source and path != source:
            raise ValueError("a value cannot move into itself")
        value = _get(document, source)
        return _add(_remove(document, source), path, value)
    raise ValueError(f"unknown operation {name!r}")


def _tokens(pointer: object) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise ValueError("not a JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _index(token: str, length: int) -> int:
    if not token.isascii() or not token.isdigit() or (token[0] == "0" and len(token) > 1) or len(token) > 9:
        raise ValueError("not an array index")
    if int(token) >= length:
        raise IndexError(token)
    return int(token)


def _child(parent: Document, token: str) -> Document:
    if isinstance(parent, list):
        return parent[_index(token, len(parent))]
    if isinstance(parent, dict):
        return parent[token]
    raise TypeError("neither an object nor an array")


def _get(document: Document, path: list[str]) -> Document:
    for token in path:
        document = _child(document, token)
    return document


def _add(document: Document, path: list[str], value: Document) -> Document:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        index = len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1)
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError("neither an object nor an array")
    return document


def _replace(document: Document, path: list[str], value: Document) -> Document:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent[_index(path[-1], len(parent))] = value
    else:
        parent[path[-1]] = value
    return document


def _remove(document: Document, path: list[str]) -> Document:
    if not path:
        raise ValueError("the whole document cannot be removed")
    parent = _get(document, path[:-1])
    _child(parent, path[-1])
    if isinstance(parent, list):
        del parent[_index(path[-1], len(parent))]
    else:
        del parent[path[-1]]
    return document


def _same(one: Document, other: Document) -> bool:
    """Equality of JSON values: unlike in Python, true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)

"""The objects, as the bytes that are sent to clients, and the changes that led to them.

Every write gets the next number of one counter, its resourceVersion. Nothing stored is ever changed: an object is
bytes, a new version is new bytes, so that no request can reach into what another one stored.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from metallb_cli.lab.api.refusals import Json, expired
from metallb_cli.lab.api.resources import Resource

AFTER_NAMESPACE = chr(ord("/") + 1)


_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_decoder = json.JSONDecoder()


def encode(value: object) -> bytes:
    """JSON without blanks, in ASCII."""
    return _encoder.encode(value).encode("ascii")


def key_of(namespace: str, name: str) -> str:
    """What objects are sorted by: as etcd does, by the bytes of the path."""
    return f"{namespace}/{name}"


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object.

    Attributes:
        raw: the object in JSON without `kind` and `apiVersion`, which differ between views of it.
        fields: what a fieldSelector may ask for.
    """

    namespace: str
    name: str
    uid: str
    version: int
    raw: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    @property
    def key(self) -> str:
        """See `key_of`."""
        return key_of(self.namespace, self.name)

    def decode(self) -> Json:
        """The object without kind and apiVersion, a copy of the caller's own."""
        decoded: Json = _decoder.decode(self.raw.decode("ascii"))
        return decoded


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `old` is None for a creation, `new` for a deletion; `last` is what a watcher is told of.

    For a deletion that is the last state with the resourceVersion of the deletion.
    """

    version: int
    old: Stored | None
    new: Stored | None
    last: Stored


@dataclass(slots=True)
class Table:
    """The objects of one resource.

    Attributes:
        resource: the one whose form the objects have.
        changes: the latest ones, oldest first.
        forgotten: a request may not begin before this resourceVersion.
        dropped: resourceVersion of the latest change that is no longer in `changes`.
        listeners: called after each change.
    """

    resource: Resource
    forgotten: int
    dropped: int = 0
    objects: dict[str, Stored] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    listeners: set[Callable[[], None]] = field(default_factory=set)

    def since(self, version: int) -> list[Change]:
        """The changes after a version.

        Raises:
            Refusal: 410, they are no longer all remembered.
        """
        if version < self.dropped:
            raise expired(f"too old resource version: {version} ({self.dropped})")
        return self.changes[bisect.bisect_right(self.changes, version, key=attrgetter("version")) :]

    def check(self, version: int) -> None:
        """May a request begin at a version?

        Raises:
            Refusal: 410, it is too old.
        """
        if version < self.forgotten:
            raise expired(f"too old resource version: {version} ({self.forgotten})")

    def scan(self, namespace: str, after: str = "", at: int | None = None) -> Iterator[Stored]:
        """The objects of a namespace (all for an empty one), sorted by key.

        Args:
            namespace: its name.
            after: begin with the first key that is greater.
            at: as they were at that version; None for now.

        Raises:
            Refusal: 410, that version is forgotten.
        """
        keys, past = self.keys, self._undone(at)
        if past:
            keys = sorted({*keys, *past})
        begin = bisect.bisect_left(keys, namespace + "/") if namespace else 0
        end = bisect.bisect_left(keys, namespace + AFTER_NAMESPACE) if namespace else len(keys)
        if after:
            begin = max(begin, bisect.bisect_right(keys, after))
        for index in range(begin, end):
            key = keys[index]
            found = past[key] if key in past else self.objects.get(key)
            if found is not None:
                yield found

    def _undone(self, at: int | None) -> dict[str, Stored | None]:
        """The objects that have changed since a version, as they were at that version."""
        if at is None:
            return {}
        self.check(at)
        return {change.last.key: change.old for change in reversed(self.since(at))}


class Store:
    """All tables, and the one counter."""

    def __init__(self, history: int) -> None:
        """Start empty.

        Args:
            history: how many changes each table remembers, at least.
        """
        self.version = 1
        self._history = history
        self._slack = history // 10  # dropping many at once costs next to nothing for each
        self._tables: dict[tuple[str, str], Table] = {}

    def table(self, resource: Resource) -> Table:
        """The objects of a resource."""
        found = self._tables.get(resource.storage)
        if found is None:
            found = self._tables[resource.storage] = Table(resource.base, self.version)
        return found

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        """One object, or None."""
        return self.table(resource).objects.get(key_of(namespace, name))

    def put(self, resource: Resource, obj: Json) -> Stored:
        """Store a new object, or a new version. Sets `metadata.resourceVersion` in `obj`."""
        new = self._next(resource, obj)
        table = self.table(resource)
        old = table.objects.get(new.key)
        if old is None:
            bisect.insort(table.keys, new.key)
        table.objects[new.key] = new
        self._record(table, Change(new.version, old, new, new))
        return new

    def remove(self, resource: Resource, old: Stored, obj: Json) -> Stored:
        """Remove an object; `obj` is its last state, as watchers will see it."""
        last = self._next(resource, obj)
        table = self.table(resource)
        del table.objects[old.key]
        del table.keys[bisect.bisect_left(table.keys, old.key)]
        self._record(table, Change(last.version, old, None, last))
        return last

    def forget(self) -> None:
        """Remember no change: every resourceVersion but the present one is too old from now on."""
        for table in self._tables.values():
            if table.changes:
                table.dropped = table.changes[-1].version
                table.changes.clear()
            table.forgotten = self.version

    def in_namespace(self, namespace: str) -> list[tuple[Resource, Stored]]:
        """Every object in a namespace."""
        return [(table.resource, each) for table in self._tables.values() for each in table.scan(namespace)]

    def _next(self, resource: Resource, obj: Json) -> Stored:
        self.version += 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(self.version)
        return as_stored(resource, obj, self.version)

    def _record(self, table: Table, change: Change) -> None:
        table.changes.append(change)
        surplus = len(table.changes) - self._history
        if surplus > self._slack:
            table.dropped = table.changes[surplus - 1].version
            table.forgotten = max(table.forgotten, table.dropped)
            del table.changes[:surplus]
        for listener in tuple(table.listeners):
            listener()


def as_stored(resource: Resource, obj: Json, version: int) -> Stored:
    """An object, checked before, in the form in which it is kept."""
    metadata = obj["metadata"]
    content = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    return Stored(
        metadata.get("namespace", ""),
        metadata["name"],
        metadata["uid"],
        version,
        encode(content),
        dict(metadata.get("labels") or {}),
        {name: _text(obj, path) for name, path in resource.selectable.items()},
    )


def _text(obj: Json, path: tuple[str, ...]) -> str:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""

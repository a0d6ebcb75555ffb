"""Files that operators have: ConfigMap manifests among other objects, Lists of them, or the bare configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from metallb_cli.config.document import (
    NO_DOCUMENT,
    Document,
    Fault,
    Mapping,
    Node,
    Scalar,
    Sequence,
    is_null,
)
from metallb_cli.config.fields import sort_of
from metallb_cli.config.loader import decode, lines_of, load
from metallb_cli.config.parser import parse, read_document
from metallb_cli.config.problem import MAX_PROBLEMS, Code, Level, Place, Position, Problem, Problems, quoted
from metallb_cli.config.settings import Parsed

DATA_KEY = "config"
"""The key of the ConfigMap's data that holds the configuration."""

_RESOURCES = frozenset(
    {"AddressPool", "IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"}
)


@dataclass(frozen=True, slots=True)
class Part:
    """One configuration of a file. `name` is its ConfigMap as `namespace/name`, empty for a bare configuration."""

    name: str
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file holds.

    Attributes:
        source: what the caller named the file.
        text: the file as text, for showing lines of it; not in the repr, because it may hold passwords.
        parts: each configuration found, in order.
        problems: of the file and of every configuration in it, by line.
    """

    source: str
    text: str = field(repr=False)
    parts: tuple[Part, ...]
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether no problem is an error."""
        return not any(problem.severity is Level.ERROR for problem in self.problems)


def parse_manifest(text: str | bytes, source: str) -> Manifest:
    """Read a file and every configuration in it. Never raises, whatever the text is.

    Other objects than ConfigMaps are ignored. Several configurations are independent of each other: they may overlap.

    Args:
        text: the file; bytes are taken for UTF-8.
        source: what problems call it.
    """
    problems = Problems(source)
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    decoded = decode(text) if isinstance(text, bytes) else text
    if isinstance(decoded, Fault):
        decoded.report(problems)
        return Manifest(source, shown, (), problems.result())
    stream = load(decoded)
    if stream.fault is not None:
        stream.fault.report(problems)
    reader = _Reader(source, lines_of(decoded.removeprefix("\ufeff")), problems)
    documents = [document for document in stream.documents if not is_null(document.root)]
    for document in documents:
        if not reader.read(document):
            break
    if not documents and stream.fault is None:
        reader.read(NO_DOCUMENT)
    reader.finish()
    found = [*problems.result(), *(problem for part in reader.parts for problem in part.parsed.problems)]
    return Manifest(source, shown, tuple(reader.parts), tuple(sorted(found, key=lambda p: (p.line, p.column))))


class _Reader:
    """Finds the configurations among the documents of one file."""

    def __init__(self, source: str, lines: list[str], problems: Problems) -> None:
        self.parts: list[Part] = []
        self._found = 0
        self._source = source
        self._lines = lines
        self._problems = problems
        self._without: list[tuple[Mapping, str]] = []
        self._ignored: list[tuple[Place, str]] = []

    def read(self, document: Document) -> bool:
        """Read one document. Returns False when there are so many problems that it was left out, which is reported."""
        root = document.root
        if not isinstance(root, Mapping) or (root.get("kind") is None and root.get("apiVersion") is None):
            if self._too_many(root):
                return False
            self._add(Part("", read_document(document, Problems(self._source))))
            return True
        objects = list(_objects(root))
        if any(_kind(found) == "ConfigMap" for found in objects):
            document.report(self._problems)
        for found in objects:
            if self._too_many(found):
                return False
            if _kind(found) == "ConfigMap":
                self._config_map(found)
            else:
                self._ignored.append((found, _kind(found)))
        return True

    def finish(self) -> None:
        """Explain why nothing was found, when that is so."""
        if self.parts or self._problems.errors:
            return
        for config_map, name in self._without:
            message = f"ConfigMap {quoted(name)} has no data key {DATA_KEY!r}, which MetalLB takes for no configuration"
            hint = f'Put the configuration under data: as a text block, "{DATA_KEY}: |".'
            self._problems.warning(Code.CONFIGMAP_NO_CONFIG, config_map, message, hint, name)
        if not self._without:
            kinds = sorted({kind for _, kind in self._ignored if kind})
            message = f"no ConfigMap here, only {', '.join(kinds[:8]) or 'objects without a kind'}"
            hint = "Give the manifest of the ConfigMap, or the bare configuration."
            if _RESOURCES.intersection(kinds):
                hint = "MetalLB's custom resources are not read yet; give the ConfigMap."
            place = self._ignored[0][0] if self._ignored else Position(1, 1)
            self._problems.warning(Code.MANIFEST_NO_CONFIG, place, message, hint)

    def _config_map(self, config_map: Mapping) -> None:
        name = _full_name(config_map)
        data, binary = config_map.get("data"), config_map.get("binaryData")
        if isinstance(binary, Mapping) and (encoded := _entry(binary, DATA_KEY)) is not None:
            message = f"ConfigMap {quoted(name)} has {DATA_KEY!r} under binaryData, where MetalLB does not look"
            hint = f'Move it to data: as a text block, "{DATA_KEY}: |".'
            self._problems.error(Code.CONFIGMAP_BINARY_DATA, encoded, message, hint)
        if data is not None and not is_null(data) and not isinstance(data, Mapping):
            message = f"ConfigMap {quoted(name)}: data must be a mapping, not {sort_of(data)}"
            hint = f'Write data: and under it, indented, "{DATA_KEY}: |".'
            self._problems.error(Code.WRONG_TYPE, data, message, hint)
            return
        entry = _entry(data, DATA_KEY) if isinstance(data, Mapping) else None
        value = data.get(DATA_KEY) if isinstance(data, Mapping) else None
        if entry is None or value is None:
            self._without.append((config_map, name))
        elif isinstance(value, Scalar) and not is_null(value):
            self._add(Part(name, self._parse_text(value)))
        elif isinstance(value, Scalar):
            self._add(Part(name, parse("", source=self._source, first_line=value.line)))
        else:
            message = f"ConfigMap {quoted(name)}: {DATA_KEY!r} must be text, not {sort_of(value)}"
            hint = f'Write "{DATA_KEY}: |", with a vertical bar at the end of the line.'
            self._problems.error(Code.CONFIGMAP_CONFIG_NOT_TEXT, entry, message, hint)

    def _add(self, part: Part) -> None:
        self.parts.append(part)
        self._found += len(part.parsed.problems)

    def _too_many(self, place: Place) -> bool:
        if self._found <= MAX_PROBLEMS:
            return False
        message = f"more than {MAX_PROBLEMS} problems so far; the file is not checked from here on"
        self._problems.error(Code.TOO_MANY_PROBLEMS, place, message, "Fix the ones shown, then check again.")
        return True

    def _parse_text(self, value: Scalar) -> Parsed:
        """Parse the text of a scalar with the positions of the file, where its lines are lines of the file."""
        inner = lines_of(value.text)
        if value.literal:
            first = next((i for i, line in enumerate(inner) if line.strip()), None)
            outer_index = None if first is None else value.line + first
            if first is not None and outer_index is not None and outer_index < len(self._lines):
                outer = self._lines[outer_index]
                if outer.endswith(inner[first]):
                    column = len(outer) - len(inner[first]) + 1
                    return parse(value.text, source=self._source, first_line=value.line + 1, first_column=column)
        return parse(value.text, source=self._source, first_line=value.line, first_column=value.column, inline=True)


def _objects(root: Mapping) -> Iterator[Mapping]:
    """Yield the object, or the elements of a List. No recursion beyond the depth that the loader allows."""
    items = root.get("items")
    if _kind(root).endswith("List") and isinstance(items, Sequence):
        for item in items.items:
            if isinstance(item, Mapping):
                yield from _objects(item)
        return
    yield root


def _kind(found: Mapping) -> str:
    kind = found.get("kind")
    if isinstance(kind, Scalar) and kind.text:
        return kind.text
    return ""


def _entry(mapping: Mapping, key: str) -> Scalar | None:
    return next((name for name, _ in mapping.entries if name.text == key), None)


def _full_name(config_map: Mapping) -> str:
    metadata = config_map.get("metadata")
    parts = [_text(metadata, key) for key in ("namespace", "name")]
    return "/".join(part for part in parts if part) or "without a name"


def _text(node: Node | None, key: str) -> str:
    value = node.get(key) if isinstance(node, Mapping) else None
    return value.text if isinstance(value, Scalar) and not is_null(value) else ""

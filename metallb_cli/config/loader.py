"""YAML text to nodes, on PyYAML's event stream.

Every limit holds while the text is being read: size, nesting, what aliases expand to, recursion. Scalars stay the text
that was written; what `yes` or `012` means is decided where the key is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import yaml

from metallb_cli.config.document import NO_DOCUMENT, Document, Fault, Mapping, Node, Scalar, Sequence, Stream
from metallb_cli.config.problem import Code, Position, quoted

MAX_BYTES = 1 << 20
"""Longest text: 1 MiB, which is also the most that Kubernetes stores in one ConfigMap."""

MAX_DEPTH = 50
"""Deepest nesting. A configuration needs seven levels, a List of ConfigMaps four more."""

MAX_ALIASED_NODES = 100_000
"""How many nodes all aliases of a text may stand for together. Without a limit, ten lines can stand for billions."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster; not every build has it
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML 1.1 section 5.1
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TAGS = frozenset({None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_BARE_COLONS = re.compile(r"::(?=[\s,\]}]|$)")
_TAG_MESSAGE = "YAML tags have no meaning here"
_TAG_HINT = "Remove the tag, or put text that begins with an exclamation mark in quotes."


def lines_of(text: str) -> list[str]:
    """Split the text where YAML 1.1 sees line breaks."""
    return _LINE_BREAK.split(text)


def load(text: str) -> Stream:
    """Read every document of the text; never raises, whatever the text is."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return Stream((), _too_large())
    text = text.removeprefix("\ufeff")
    if found := _FORBIDDEN.search(text):
        return Stream((), _forbidden_character(text, found.start()))
    documents: list[Document] = []
    try:
        for document in _documents(text):
            documents.append(document)
    except _Stop as stop:
        return Stream(tuple(documents), stop.fault)
    except yaml.MarkedYAMLError as error:
        return Stream(tuple(documents), _syntax_fault(error, lines_of(text)))
    except yaml.YAMLError as error:
        message = f"cannot be read as YAML: {type(error).__name__}"
        return Stream(
            tuple(documents), Fault(Code.YAML_SYNTAX, Position(1, 1), message, "Check that this is a YAML file.")
        )
    return Stream(tuple(documents))


def decode(data: bytes) -> str | Fault:
    """Return the UTF-8 text of a file, or what keeps it from being one."""
    if len(data) > MAX_BYTES:
        return _too_large()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = lines_of(data[: error.start].decode("utf-8"))
        byte = f"0x{data[error.start]:02x}"
        return Fault(
            Code.TEXT_NOT_UTF8,
            Position(len(before), len(before[-1]) + 1),
            f"byte {byte} is not valid UTF-8",
            "Save the file in the UTF-8 encoding.",
            byte,
        )


class _Stop(Exception):
    """The text cannot be read any further."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(slots=True)
class _Open:
    """A list or mapping that has begun and not ended."""

    is_mapping: bool
    place: Position
    anchor: str | None
    children: list[Node] = field(default_factory=list)
    size: int = 1


def _documents(text: str) -> Iterator[Document]:
    composer = _Composer()
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            composer.begin()
        elif isinstance(event, yaml.DocumentEndEvent):
            yield composer.end()
        else:
            composer.take(event)


class _Composer:
    """Builds the nodes of one document after the other. Keeps its own stack, so that depth is bounded by us."""

    def __init__(self) -> None:
        self._aliased = 0
        self.begin()

    def begin(self) -> None:
        self._root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}  # None while the anchored node is still open
        self._faults: list[Fault] = []

    def end(self) -> Document:
        return Document(self._root or NO_DOCUMENT.root, tuple(self._faults))

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        place = Position(1, 1) if mark is None else Position(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            self._check_tag(event.tag, place)
            plain = not event.style and event.tag is None
            scalar = Scalar(event.value, place.line, place.column, plain=plain, literal=event.style == "|")
            self._place(scalar, 1, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", place)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._check_tag(event.tag, place)
            if len(self._stack) >= MAX_DEPTH:
                message = f"nested more than {MAX_DEPTH} levels deep"
                raise _Stop(
                    Fault(Code.YAML_TOO_DEEP, place, message, "A configuration needs seven levels; flatten this.")
                )
            if event.anchor:
                self._anchors[event.anchor] = None
            self._stack.append(_Open(isinstance(event, yaml.MappingStartEvent), place, event.anchor))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self._stack.pop()
            node: Node
            if done.is_mapping:
                node = self._mapping(done)
            else:
                node = Sequence(tuple(done.children), done.place.line, done.place.column)
            self._place(node, done.size, done.anchor)

    def _place(self, node: Node, size: int, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = (node, size)
        if self._stack:
            self._stack[-1].children.append(node)
            self._stack[-1].size += size
        else:
            self._root = node

    def _alias(self, name: str, place: Position) -> None:
        # Messages do not repeat the name: an unquoted password may begin with an asterisk.
        target = self._anchors.get(name)
        if target is None:
            code = Code.YAML_ALIAS_RECURSIVE if name in self._anchors else Code.YAML_ALIAS_UNKNOWN
            message = "contains itself" if name in self._anchors else "refers to no anchor before it"
            hint = "Write out what is meant, or put text that begins with an asterisk in quotes."
            self._faults.append(Fault(code, place, f"this alias {message}", hint))
            self._place(Scalar("", place.line, place.column, plain=True), 1, None)
            return
        node, size = target
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            message = f"aliases stand for more than {MAX_ALIASED_NODES} values altogether"
            raise _Stop(Fault(Code.YAML_ALIAS_EXPANSION, place, message, "Write out what is meant, without aliases."))
        node = replace(node, line=place.line, column=place.column)
        # The lines of an aliased block stand elsewhere, so they no longer follow this position.
        self._place(replace(node, literal=False) if isinstance(node, Scalar) else node, size, None)

    def _check_tag(self, tag: str | None, place: Position) -> None:
        if tag not in _TAGS:
            self._faults.append(Fault(Code.YAML_TAG, place, _TAG_MESSAGE, _TAG_HINT))

    def _mapping(self, done: _Open) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Node] = []
        for key, value in zip(done.children[::2], done.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                hint = "Put the key in quotes, or render the template first if this is one."
                self._faults.append(
                    Fault(Code.YAML_KEY, key, "a key must be a single text, not a list or mapping", hint)
                )
            elif key.plain and key.text == "<<":
                merged.extend(value.items if isinstance(value, Sequence) else (value,))
            elif key.text in entries:
                first = entries[key.text][0]
                self._faults.append(_duplicate_key(key, first))
            else:
                entries[key.text] = (key, value)
        for source in merged:
            if not isinstance(source, Mapping):
                message, hint = "only a mapping can be merged with <<", "Name the anchor of a mapping here."
                self._faults.append(Fault(Code.YAML_MERGE, source, message, hint))
                continue
            for name, value in source.entries:
                entries.setdefault(name.text, (name, value))
        return Mapping(tuple(entries.values()), done.place.line, done.place.column)


def _duplicate_key(key: Scalar, first: Scalar) -> Fault:
    message = f"the key {quoted(key.text)} occurs twice in this mapping"
    hint = "Keep one of them; many YAML readers silently take the last."
    return Fault(Code.DUPLICATE_KEY, key, message, hint, key.text, first)


def _too_large() -> Fault:
    return Fault(
        Code.TEXT_TOO_LARGE,
        Position(1, 1),
        "the text is larger than 1 MiB",
        "Check only the ConfigMap of MetalLB; Kubernetes stores no more than 1 MiB in one.",
    )


def _forbidden_character(text: str, index: int) -> Fault:
    before = lines_of(text[:index])
    name = f"U+{ord(text[index]):04X}"
    return Fault(
        Code.TEXT_CONTROL_CHARACTER,
        Position(len(before), len(before[-1]) + 1),
        f"the character {name} is not allowed in YAML",
        "Delete it; it is invisible in most editors.",
        name,
    )


def _syntax_fault(error: yaml.MarkedYAMLError, lines: list[str]) -> Fault:
    """Say where the mistake is rather than where the parser noticed it, and guess at the usual causes."""
    place = _place_of(error, lines)
    line = lines[place.line - 1]
    if "\t" in line[: len(line) - len(line.lstrip())] or line[place.column - 1 : place.column] == "\t":
        message, hint = "a tab cannot be used for indentation in YAML", "Use spaces instead of the tab."
        return Fault(Code.YAML_TAB, Position(place.line, line.index("\t") + 1), message, hint, "\t")
    if "tag handle" in (error.problem or ""):
        return Fault(Code.YAML_TAG, place, _TAG_MESSAGE, _TAG_HINT)
    message = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "Check the indentation, colons and quotes of this line and of the one before."
    if _BARE_COLONS.search(line):
        hint = "Put an IPv6 address that ends in a colon in quotes."
    elif "::" in line and "flow" in message:
        hint = "Put IPv6 addresses inside [ ] in quotes."
    elif "{{" in line:
        hint = "This looks like a template: render it first, for example with helm template."
    return Fault(Code.YAML_SYNTAX, place, f"not valid YAML: {message}", hint)


def _place_of(error: yaml.MarkedYAMLError, lines: list[str]) -> Position:
    mark, opened, context = error.problem_mark, error.context_mark, error.context or ""
    if opened is not None and (
        mark is None
        or any(what in context for what in ("quoted scalar", "simple key"))
        or ("flow" in context and opened.line != mark.line)
    ):
        mark = opened  # something was never closed: the beginning says more than the end of the file
    if mark is None:
        return Position(1, 1)
    line = min(mark.line, len(lines) - 1)
    return Position(line + 1, min(mark.column, len(lines[line])) + 1)

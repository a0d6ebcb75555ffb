"""YAML as nodes that know their line and column, and the faults met while reading them."""

from __future__ import annotations

from dataclasses import dataclass

from metallb_cli.config.problem import Code, Place, Problems

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, as text.

    Attributes:
        plain: written without quotes, so that YAML might take it for a number, a boolean or nothing.
        literal: written as a block after `|`, so that its lines are lines of the file.
    """

    text: str
    line: int
    column: int
    plain: bool = False
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the text, merge keys resolved; no key occurs twice."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int

    def get(self, key: str) -> Node | None:
        """Return the value of the key, None when it is absent."""
        return next((value for name, value in self.entries if name.text == key), None)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect of the YAML itself, not yet reported. `earlier` is another place that it has to do with."""

    code: Code
    place: Place
    message: str
    hint: str
    value: str = ""
    earlier: Place | None = None

    def report(self, problems: Problems) -> None:
        """Record the fault as an error."""
        message = self.message if self.earlier is None else f"{self.message} (first on {problems.where(self.earlier)})"
        problems.error(self.code, self.place, message, self.hint, self.value)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, and the faults inside it that do not keep the rest from being read."""

    root: Node
    faults: tuple[Fault, ...] = ()

    def report(self, problems: Problems) -> None:
        """Record the faults as errors."""
        for fault in self.faults:
            fault.report(problems)


NO_DOCUMENT = Document(Scalar("", 1, 1, plain=True))
"""What an empty text holds."""


@dataclass(frozen=True, slots=True)
class Stream:
    """All documents that could be read, and the fault that ended the reading early, if one did."""

    documents: tuple[Document, ...]
    fault: Fault | None = None


def is_null(node: Node) -> bool:
    """Whether the node is YAML's null: nothing, `~` or `null` without quotes."""
    return isinstance(node, Scalar) and node.plain and node.text in _NULLS

"""Reads one mapping key by key, checking the type of each value where its key gives it a meaning."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from itertools import islice

from metallb_cli.config.document import Mapping, Node, Scalar, Sequence, is_null
from metallb_cli.config.problem import Code, Level, Place, Problems, quoted, visible

_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_YES = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
_NO = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER_LIKE = re.compile(r"[-+.]?[0-9][0-9a-fA-FxXoO_.:,+-]*", re.ASCII)
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_WORD = 40
_MOST_KNOWN = 200


def suggestion(word: str, known: Collection[str], problems: Problems, level: Level = Level.ERROR) -> str:
    """Return `Did you mean X?` for the known word that looks most alike, or an empty string.

    Comparing words is slow, so none is compared for a problem of a level that is not recorded any more.
    """
    if len(word) > _LONGEST_WORD or problems.full(level):
        return ""
    normal = _CAMEL_HUMP.sub("-", word).replace("_", "-").lower()
    close = difflib.get_close_matches(normal, islice(known, _MOST_KNOWN), n=1)
    return f"Did you mean {visible(close[0])}?" if close else ""


def name_of(node: Node) -> str:
    """Return the text of a mapping's `name`, empty when it has none."""
    name = node.get("name") if isinstance(node, Mapping) else None
    return name.text if isinstance(name, Scalar) and not is_null(name) else ""


def sort_of(node: Node) -> str:
    """Return what a message calls the node: a list, a mapping, nothing or text."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    return "nothing" if is_null(node) else "text"


def as_text(node: Node, what: str, problems: Problems) -> Scalar | None:
    """Return the scalar as written, whatever YAML would make of it; None and an error for a list or mapping."""
    if isinstance(node, Scalar):
        return node
    hint = "Write a single value here."
    if isinstance(node, Mapping) and len(node.entries) == 1:
        key, value = node.entries[0]
        if is_null(value) and key.text.endswith(":"):
            hint = "Put an IPv6 address that ends in a colon in quotes."
    problems.error(Code.WRONG_TYPE, node, f"{what} must be text, not {sort_of(node)}", hint)
    return None


def warn_of_unquoted_name(name: Scalar, what: str, problems: Problems) -> None:
    """Warn of a name that other YAML readers take for a number, a boolean or a date."""
    if name.plain and (_NUMBER_LIKE.fullmatch(name.text) or name.text in _TRUE | _FALSE | _YES | _NO):
        message = f"{what} {quoted(name.text)} is not text to every YAML reader"
        hint = "Put the name in quotes, here and in annotations that refer to it."
        problems.warning(Code.UNQUOTED_NAME, name, message, hint, name.text)


class Section:
    """One mapping, such as a pool. Null and absent are the same, as in MetalLB: the key has its default.

    Args:
        node: what stands where the mapping should; anything else than a mapping or null is reported.
        subject: what messages call it, such as `pool "a"`.
        keys: every key that has a meaning; others are reported as unknown.
        problems: where to report.

    Attributes:
        node: where to report that something is missing.
        broken: the node is no mapping, so nothing about its keys is worth reporting.
    """

    def __init__(self, node: Node, subject: str, keys: tuple[str, ...], problems: Problems) -> None:
        self.node: Place = node
        self.subject = subject
        self.broken = not isinstance(node, Mapping) and not is_null(node)
        self._problems = problems
        self._keys: dict[str, Scalar] = {}
        self._values: dict[str, Node] = {}
        if isinstance(node, Mapping):
            for key, value in node.entries:
                if key.text in keys:
                    self._keys[key.text], self._values[key.text] = key, value
                else:
                    hint = suggestion(key.text, keys, problems, Level.WARNING) or f"Known here: {', '.join(keys)}."
                    message = f"{subject}: unknown key {quoted(key.text)} is ignored"
                    problems.warning(Code.UNKNOWN_KEY, key, message, hint, key.text)
        elif self.broken:
            message = f"{subject} must be a mapping, not {sort_of(node)}"
            problems.error(Code.WRONG_TYPE, node, message, f"Write key: value lines, such as {keys[0]}.")

    def place(self, *keys: str) -> Place:
        """Return where the first of the keys that is there stands, else the whole mapping."""
        return next((self._keys[key] for key in keys if key in self._keys), self.node)

    def get(self, key: str) -> Node | None:
        """Return the value of the key; None when it is absent or null."""
        node = self._values.get(key)
        return None if node is None or is_null(node) else node

    def text(self, key: str) -> Scalar | None:
        """Return the value as written; None when it is absent, null, or of a wrong type, which is reported."""
        node = self.get(key)
        return None if node is None else as_text(node, f"{self.subject}: {key}", self._problems)

    def number(self, key: str, low: int, high: int, *, unit: str = "") -> int | None:
        """Return a decimal number of low to high; None when absent, null, or not such a number, which is reported."""
        scalar = self.text(key)
        if scalar is None:
            return None
        if not scalar.plain or not _DECIMAL.fullmatch(scalar.text):
            hint = "Write a decimal number without leading zeros, signs or separators."
            if not scalar.plain and _DECIMAL.fullmatch(scalar.text):
                hint = "Remove the quotes."
            elif re.fullmatch("0[0-7]+", scalar.text):
                hint = f"YAML 1.1 reads this as the octal number {int(scalar.text, 8)}; write what you mean in decimal."
            message = f"{self.subject}: {key} must be a whole number, not {quoted(scalar.text)}"
            self._problems.error(Code.WRONG_TYPE, scalar, message, hint, scalar.text)
            return None
        number = int(scalar.text)
        if not low <= number <= high:
            message = f"{self.subject}: {key} {number} is out of range"
            hint = f"Use a number from {low} to {high}{unit}."
            self._problems.error(Code.NUMBER_OUT_OF_RANGE, scalar, message, hint, scalar.text)
            return None
        return number

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean; the default when absent, null, or not a boolean, which is reported."""
        scalar = self.text(key)
        if scalar is None:
            return default
        if scalar.plain and scalar.text in _TRUE | _FALSE:
            return scalar.text in _TRUE
        if scalar.plain and scalar.text in _YES | _NO:
            meant = scalar.text in _YES
            message = f"{self.subject}: {key}: {scalar.text} is a boolean only in YAML 1.1"
            hint = f"Write {str(meant).lower()}."
            self._problems.warning(Code.YAML_BOOLEAN, scalar, message, hint, scalar.text)
            return meant
        hint = "Write true or false"
        hint += ", without quotes." if scalar.text in _TRUE | _FALSE | _YES | _NO else "."
        message = f"{self.subject}: {key} must be true or false, not {quoted(scalar.text)}"
        self._problems.error(Code.WRONG_TYPE, scalar, message, hint, scalar.text)
        return default

    def items(self, key: str, *, mappings: bool = False) -> tuple[Node, ...]:
        """Return the elements of a list; none when absent or null.

        Anything but a list is reported. If it is what an element should be, it is then taken for the only one.

        Args:
            key: of the list.
            mappings: the elements should be mappings, else text.
        """
        node = self.get(key)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            return node.items
        message = f"{self.subject}: {key} must be a list, not {sort_of(node)}"
        self._problems.error(Code.WRONG_TYPE, node, message, f'Begin each element of {key} with "- ".')
        return (node,) if isinstance(node, Mapping) == mappings else ()

    def pairs(self, key: str) -> tuple[tuple[Scalar, Scalar], ...]:
        """Return a mapping of free keys to text; null values are empty text, wrong types are reported and left out."""
        node = self.get(key)
        if node is None:
            return ()
        if not isinstance(node, Mapping):
            message = f"{self.subject}: {key} must be a mapping, not {sort_of(node)}"
            self._problems.error(Code.WRONG_TYPE, node, message, "Write one name: value line for each.")
            return ()
        pairs = []
        for name, value in node.entries:
            text = as_text(value, f"{self.subject}: {key} {quoted(name.text)}", self._problems)
            if text is not None:
                pairs.append((name, Scalar("", text.line, text.column) if is_null(text) else text))
        return tuple(pairs)

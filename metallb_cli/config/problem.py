"""What can be wrong with a configuration: stable codes, and one place where problems are collected."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

MAX_PROBLEMS = 500
"""Of one text, for errors and for warnings each. More do not help anybody, and the limit bounds time and memory."""

SHOWN_LENGTH = 80
"""Longest excerpt of a value that a message quotes, in characters."""


class Level(enum.StrEnum):
    """An error makes the configuration unusable; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Code(enum.StrEnum):
    """Names a kind of problem; docs/config.md explains each. A code never changes its meaning: scripts rely on it."""

    # -- the text
    TEXT_TOO_LARGE = "text-too-large"
    TEXT_NOT_UTF8 = "text-not-utf8"
    TEXT_CONTROL_CHARACTER = "text-control-character"
    YAML_SYNTAX = "yaml-syntax"
    YAML_TAB = "yaml-tab"
    YAML_TOO_DEEP = "yaml-too-deep"
    YAML_ALIAS_UNKNOWN = "yaml-alias-unknown"
    YAML_ALIAS_RECURSIVE = "yaml-alias-recursive"
    YAML_ALIAS_EXPANSION = "yaml-alias-expansion"
    YAML_TAG = "yaml-tag"
    YAML_KEY = "yaml-key"
    YAML_MERGE = "yaml-merge"
    DUPLICATE_KEY = "duplicate-key"
    EXTRA_DOCUMENT = "extra-document"
    TOO_MANY_PROBLEMS = "too-many-problems"
    # -- any key
    UNKNOWN_KEY = "unknown-key"
    WRONG_TYPE = "wrong-type"
    NUMBER_OUT_OF_RANGE = "number-out-of-range"
    YAML_BOOLEAN = "yaml-boolean"
    UNQUOTED_NAME = "unquoted-name"
    # -- address-pools
    NO_POOLS = "no-pools"
    POOL_NAME_MISSING = "pool-name-missing"
    POOL_DUPLICATE = "pool-duplicate"
    POOL_PROTOCOL_MISSING = "pool-protocol-missing"
    POOL_PROTOCOL_UNKNOWN = "pool-protocol-unknown"
    POOL_NO_ADDRESSES = "pool-no-addresses"
    POOL_OVERLAP = "pool-overlap"
    POOL_EMPTY = "pool-empty"
    INVALID_CIDR = "invalid-cidr"
    INVALID_RANGE = "invalid-range"
    RANGE_BACKWARDS = "range-backwards"
    RANGE_MIXED_FAMILIES = "range-mixed-families"
    CIDR_HOST_BITS = "cidr-host-bits"
    SPECIAL_ADDRESSES = "special-addresses"
    WRONG_FAMILY = "wrong-family"
    ARP_NETWORK_INVALID = "arp-network-invalid"
    ARP_NETWORK_OUTSIDE = "arp-network-outside"
    ARP_NETWORK_NEEDED = "arp-network-needed"
    ARP_NETWORK_IN_BGP = "arp-network-in-bgp"
    ARP_NETWORK_IGNORED = "arp-network-ignored"
    # -- bgp
    BGP_NOT_ANNOUNCED = "bgp-not-announced"
    ADVERTISEMENTS_NOT_BGP = "advertisements-not-bgp"
    AGGREGATION_LENGTH_INVALID = "aggregation-length-invalid"
    COMMUNITY_INVALID = "community-invalid"
    PEER_MY_ASN_MISSING = "peer-my-asn-missing"
    PEER_ASN_MISSING = "peer-asn-missing"
    PEER_ADDRESS_INVALID = "peer-address-invalid"
    PEER_SOURCE_ADDRESS_INVALID = "peer-source-address-invalid"
    PEER_ROUTER_ID_INVALID = "peer-router-id-invalid"
    PEER_HOLD_TIME_INVALID = "peer-hold-time-invalid"
    PEER_KEEPALIVE_TIME_INVALID = "peer-keepalive-time-invalid"
    PEER_MULTIHOP_INVALID = "peer-multihop-invalid"
    PEER_BFD_PROFILE_UNKNOWN = "peer-bfd-profile-unknown"
    PEER_SELECTOR_INVALID = "peer-selector-invalid"
    PEER_DUPLICATE = "peer-duplicate"
    BFD_NAME_MISSING = "bfd-name-missing"
    BFD_DUPLICATE = "bfd-duplicate"
    BFD_ECHO_IPV6 = "bfd-echo-ipv6"
    # -- manifests
    MANIFEST_NO_CONFIG = "manifest-no-config"
    CONFIGMAP_NO_CONFIG = "configmap-no-config"
    CONFIGMAP_BINARY_DATA = "configmap-binary-data"
    CONFIGMAP_CONFIG_NOT_TEXT = "configmap-config-not-text"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it.

    Attributes:
        code: a value of `Code`.
        hint: what to do, one sentence.
        source: the file or object, as the caller named it.
        line: first line is 1.
        column: in characters, first column is 1.
        value: the offending text, empty when something is missing or must not be shown.
    """

    code: str
    severity: Level
    message: str
    hint: str
    source: str
    line: int
    column: int
    value: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.code}]"


class Place(Protocol):
    """Anything with a position in the text being read: a node, or a bare `Position`."""

    @property
    def line(self) -> int:
        """Counted from 1."""

    @property
    def column(self) -> int:
        """Counted from 1."""


@dataclass(frozen=True, slots=True)
class Position:
    """A line and a column, both counted from 1."""

    line: int
    column: int


def visible(text: str, limit: int = SHOWN_LENGTH) -> str:
    """Return the text with control and formatting characters escaped, cut to `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def quoted(text: str) -> str:
    """Return the visible text in double quotes, for a message."""
    return f'"{visible(text)}"'


class Problems:
    """Collects the problems of one text and moves them to where the text stands in its source.

    Args:
        source: what to call the file or object.
        first_line: where line 1 of the text stands in the source.
        first_column: where column 1 of every line of the text stands in the source.
        inline: the text has no line structure of its own in the source (a quoted or folded YAML scalar): every problem
            is put at first_line and first_column, and its message says where inside.
    """

    def __init__(self, source: str, *, first_line: int = 1, first_column: int = 1, inline: bool = False) -> None:
        self._source = source
        self._first = Position(first_line, first_column)
        self._inline = inline
        self._found: dict[Level, dict[Problem, None]] = {Level.ERROR: {}, Level.WARNING: {}}
        self._full: set[Level] = set()

    def error(self, code: Code, place: Place, message: str, hint: str, value: str = "") -> None:
        """Record something that makes the configuration unusable."""
        self._add(Level.ERROR, code, place, message, hint, value)

    def warning(self, code: Code, place: Place, message: str, hint: str, value: str = "") -> None:
        """Record something an operator should know although the configuration can be used."""
        self._add(Level.WARNING, code, place, message, hint, value)

    @property
    def errors(self) -> bool:
        """Whether an error was recorded."""
        return bool(self._found[Level.ERROR])

    def full(self, level: Level) -> bool:
        """Whether no more problems of the level are being recorded, so that looking for more is of no use."""
        return level in self._full

    def where(self, place: Place) -> str:
        """Return how a message names another place of the same text: `line 7`."""
        if self._inline:
            return f"line {place.line} of the text inside"
        return f"line {self._first.line + place.line - 1}"

    def result(self) -> tuple[Problem, ...]:
        """Return what was recorded, in the order of the text."""
        everything = [*self._found[Level.ERROR], *self._found[Level.WARNING]]
        return tuple(sorted(everything, key=lambda p: (p.line, p.column)))

    def _add(self, level: Level, code: Code, place: Place, message: str, hint: str, value: str) -> None:
        if level in self._full:
            return
        found = self._found[level]
        if len(found) >= MAX_PROBLEMS:
            self._full.add(level)
            code, value = Code.TOO_MANY_PROBLEMS, ""
            message = f"more than {MAX_PROBLEMS} {level}s; the rest is not shown"
            hint = "Fix the ones shown, then check again."
        line, column = self._first.line, self._first.column
        if self._inline:
            message = f"{message} (line {place.line}, column {place.column} of the text inside)"
        else:
            line, column = line + place.line - 1, column + place.column - 1
        found[Problem(str(code), level, message, hint, self._source, line, column, visible(value, 200))] = None

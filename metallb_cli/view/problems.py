"""The problems of configuration files as text: position, message, the line with a caret, what to do."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metallb_cli.config import Level, Manifest, Part, Problem
from metallb_cli.config.loader import lines_of
from metallb_cli.config.problem import visible
from metallb_cli.config.report import range_text
from metallb_cli.model import Pool

_STYLES = {Level.ERROR: "bold red", Level.WARNING: "bold yellow"}
_KEY = re.compile(r"""([\w-]{1,40})["']?[ \t]{0,40}:""")
_SECRET = re.compile("pass(?!ive-mode$)|pwd|secret|token", re.IGNORECASE)
_HIDDEN = "(this line is not shown, because it may hold a password)"
_LONGEST_SOURCE = 4096
_EXACT = 10**9
_INDENT = "    "


def print_manifests(manifests: Sequence[Manifest], out: TextIO, *, width: int | None = None) -> None:
    """Print every problem, then a table of the pools of each valid configuration and one line for each file.

    Args:
        manifests: in the order to print.
        out: where to; colour only when it is a terminal.
        width: columns; None for those of the terminal, or 80.
    """
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    for manifest in manifests:
        if not manifest.problems:
            continue
        lines = lines_of(manifest.text.removeprefix("\ufeff"))
        hidden = secret_lines(lines)
        for problem in manifest.problems:
            _print_problem(console, problem, lines, hidden)
    for manifest in manifests:
        for part in manifest.parts:
            _print_pools(console, manifest, part)
    for manifest in manifests:
        _print(console, _summary(manifest))


def secret_lines(lines: Sequence[str]) -> frozenset[int]:
    """Return the indexes of lines that may hold a password: the key's own line and those nested below it."""
    hidden = set()
    column: int | None = None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if column is not None and line.strip() and indent <= column:
            column = None
        if column is None:
            column = next((key.start() for key in _KEY.finditer(line) if _is_secret(key[1])), None)
        if column is not None:
            hidden.add(index)
    return frozenset(hidden)


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return bool(_SECRET.search(key) or get_close_matches(key.lower(), ["password"], cutoff=0.7))


def _print_problem(console: Console, problem: Problem, lines: Sequence[str], hidden: frozenset[int]) -> None:
    place = f"{visible(problem.source, _LONGEST_SOURCE)}:{problem.line}:{problem.column}:"
    level = f"{problem.severity.value}:"
    text = Text(_wrapped(f"{place} {level} {problem.message} [{problem.code}]", console.width))
    text.stylize("bold", 0, len(place))
    text.stylize(_STYLES[problem.severity], len(place) + 1, len(place) + 1 + len(level))
    _print(console, text)
    index = problem.line - 1
    if index in hidden:
        _print(console, Text(f"{problem.line:>6} | {_HIDDEN}"))
    elif index < len(lines) and lines[index].strip():
        _print_excerpt(console, problem, lines[index])
    _print(console, Text(_wrapped(f"{_INDENT}help: {problem.hint}", console.width)))
    console.print()


def _print_excerpt(console: Console, problem: Problem, line: str) -> None:
    """Print the line with a caret under the value, cut on both sides when it is longer than the screen."""
    gutter = f"{problem.line:>6} | "
    room = max(console.width - len(gutter), 20)
    start = problem.column - 1
    length = len(problem.value) if problem.value and line.startswith(problem.value, start) else 1
    begin = 0 if cell_len(line) <= room else max(0, min(start - room // 3, len(line) - room))
    shown = "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in line[begin : begin + room])
    while cell_len(shown) > room:
        shown = shown[:-1]
    before = cell_len(shown[: start - begin])
    carets = min(max(cell_len(shown[start - begin : start - begin + length]), 1), max(room - before, 1))
    _print(console, Text(gutter + shown.rstrip()))
    _print(console, Text(" " * 6 + " | " + " " * before + "^" * carets, style=_STYLES[problem.severity]))


def _print_pools(console: Console, manifest: Manifest, part: Part) -> None:
    config = part.parsed.config
    if config is None or not config.pools:
        return
    name = visible(manifest.source, _LONGEST_SOURCE)
    _print(console, Text(f"Pools of {name}" + (f", ConfigMap {visible(part.name)}" if part.name else ""), style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("  NAME", overflow="fold")
    table.add_column("PROTOCOL", no_wrap=True)
    table.add_column("RANGES", overflow="fold")
    table.add_column("USABLE", justify="right", no_wrap=True)
    for pool in config.pools:
        ranges = Text("\n".join(range_text(addresses) for addresses in pool.ranges))
        table.add_row(Text(f"  {visible(pool.name)}"), pool.protocol.value, ranges, _usable(pool))
    console.print(table)
    console.print()


def _usable(pool: Pool) -> Text:
    sizes = [pool.size(version) for version in (4, 6) if pool.serves(version)]
    return Text(" + ".join(_amount(size) for size in sizes))


def _amount(number: int) -> str:
    if number < _EXACT:
        return f"{number}"
    power = number.bit_length() - 1
    return f"2^{power}" if number == 1 << power else f"about {number:.2g}"


def _summary(manifest: Manifest) -> Text:
    errors = sum(problem.severity is Level.ERROR for problem in manifest.problems)
    warnings = len(manifest.problems) - errors
    pools = sum(len(part.parsed.config.pools) for part in manifest.parts if part.parsed.config is not None)
    counts = [_count(warnings, "warning")] if warnings else []
    counts.insert(0, _count(pools, "pool") if manifest.valid else _count(errors, "error"))
    verdict = "valid" if manifest.valid else "not valid"
    name = visible(manifest.source, _LONGEST_SOURCE)
    return Text(f"{name}: {verdict}: {', '.join(counts)}", style="bold" if manifest.valid else _STYLES[Level.ERROR])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(
        text, max(width, 20), subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)

"""What `metallb lab` shows: steps with their times, commands with their output, a summary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

MARGIN = 4
"""Columns before the output of commands."""


class Step:
    """A step under way. Its detail is shown beside its title when it is done."""

    def __init__(self) -> None:
        self.detail = ""


class LabView:
    """Writes to a terminal with colours and a spinner, to anything else plain text."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        plain = not (self._console.encoding or "").lower().startswith("utf")
        self._done, self._failed, self._dot = ("ok ", "!! ", "-") if plain else ("✓ ", "✗ ", "·")

    def heading(self, text: str) -> None:
        """Begin a part."""
        self._line(Text(f"\n{text}", style="bold"))

    def say(self, text: str) -> None:
        """A sentence or two."""
        self._line(Text(text))

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show that something is being done, then that it is done and how long it took; or that it failed."""
        step = Step()
        started = time.monotonic()
        mark, style = self._failed, "bold red"
        try:
            with self._spinner(title):
                yield step
            mark, style = self._done, "green"
        finally:
            text = Text.assemble((mark, style), title, (f" {self._dot} {step.detail}" if step.detail else "", "dim"))
            text.append(f"  {time.monotonic() - started:.1f} s", style="dim")
            self._line(text)

    def shell(self, command: str, output: Sequence[str] = ()) -> None:
        """A command as typed, and what it printed."""
        self._line(Text.assemble(" " * MARGIN, ("$ ", "dim"), (command, "bold")))
        for line in output:
            self._line(Text(" " * MARGIN + line))

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and values, one pair a line."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for name, value in facts:
            table.add_row(name, Text(value))
        self._console.print(Padding(table, (0, 0, 0, MARGIN), expand=False))

    def logs(self, ends: Sequence[tuple[Path, Sequence[str]]], folder: Path) -> None:
        """The ends of some logs, and the folder where all of them stay."""
        for path, lines in ends:
            self._line(Text(f"\nThe end of {path}:", style="bold"))
            for line in lines or ["(empty)"]:
                self._line(Text(" " * MARGIN + line, style="dim"))
        self._line(Text(f"\nAll logs stay in {folder}"))

    @contextlib.contextmanager
    def _spinner(self, title: str) -> Iterator[None]:
        if self._console.is_terminal:
            with self._console.status(Text(title)):
                yield
        else:
            yield

    def _line(self, text: Text) -> None:
        """One line, whatever its length: a terminal wraps it, a file keeps it, and both can be copied."""
        self._console.print(text, soft_wrap=True)

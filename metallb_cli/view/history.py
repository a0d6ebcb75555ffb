"""How addresses changed hands, as a table: readable without colour, and at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metallb_cli.model import Reason
from metallb_cli.reconcile.history import Entry

BAD, DIM = "bold red", "dim"
"""Colour only repeats what the words say."""

ALARMING = frozenset(
    reason.value
    for reason in (Reason.OWNER_DIED, Reason.FENCED, Reason.BETTER_CLAIM, Reason.API_OUTAGE, Reason.ADDRESS_CONFLICT)
)
"""What nobody asked for."""

WIDE = 90
"""Columns from which a range of IPv4 addresses fits on one line beside the other columns."""

MOST_RUNS = 4
"""Runs of addresses that one change shows."""

NOBODY = "-"


def show_history(
    entries: Sequence[Entry],
    out: TextIO,
    *,
    namespace: str,
    older: int = 0,
    nodes: int = 1,
    width: int | None = None,
    zone: tzinfo | None = None,
) -> None:
    """Write the table.

    Args:
        entries: what to show, newest last.
        out: where to.
        namespace: where it was read.
        older: changes that are known but not shown.
        nodes: how many nodes have a history.
        width: columns; None for those of the terminal, 80 where there is none.
        zone: for the times; None for the local one.
    """
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    if not entries:
        console.print(_nothing(namespace, older, nodes))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("TIME", "ADDRESS", "FROM", "TO", "REASON", "GAP"):
        whole = name in ("TIME", "REASON", "GAP")
        table.add_column(name, justify="right" if name == "GAP" else "left", overflow="fold", no_wrap=whole)
    for entry in entries:
        table.add_row(
            moment(entry.time, zone),
            _addresses(entry, "-" if console.width >= WIDE else "-\n"),
            entry.before or NOBODY,
            entry.after or NOBODY,
            Text(entry.reason, style=BAD if entry.reason in ALARMING else ""),
            NOBODY if entry.gap is None else f"{entry.gap:.2f}s",
        )
    console.print(table)
    if older:
        console.print(Text(f"{older} older, not shown: see them with a greater --since or --limit", style=DIM))


def moment(seconds: float, zone: tzinfo | None) -> str:
    """Return the time in the zone, None for the local one, to the millisecond."""
    return datetime.fromtimestamp(seconds, zone).isoformat(" ", "milliseconds")[:23]


def _addresses(entry: Entry, between: str) -> str:
    """Return the first runs; `between` stands between the ends of each, so that no address is broken in its middle."""
    shown = [str(run).replace("-", between) for run in entry.addresses[:MOST_RUNS]]
    left = sum(run.size for run in entry.addresses[MOST_RUNS:])
    if left or not entry.complete:
        shown.append(f"and {left} more" if entry.complete else f"and {left} more at least" if left else "and others")
    return "\n".join(shown)


def _nothing(namespace: str, older: int, nodes: int) -> str:
    if older:
        return f"Nothing changed hands in that time; {older} older changes are known: leave out --since to see them."
    if nodes:
        return "No change is recorded that can be read."
    return (
        f"Nothing is recorded in the namespace {namespace}: no speaker has run there yet, or no address has had "
        "an owner. See `metallb status`."
    )

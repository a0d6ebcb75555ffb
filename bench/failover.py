"""How long an address is without an answer when a node fails, and whether two nodes ever answer for one.

    make bench-failover                              about 35 minutes; --rounds 2 takes 20
    make bench-failover ARGS=--docs                  also writes the tables into docs/benchmarks.md
    make bench-failover ARGS=--quick                 a minute or two: shows that everything works
    make bench-failover ARGS="--nodes 3 --addresses 100 --rounds 20 --scenario kill --scenario sigterm"

Each node is a network namespace with a real speaker, two processes, on one bridge; the API server is the embedded one.
A client asks by ARP, for up to 20 addresses every 10 ms (of 50 nodes every 20 ms), and a sweep asks for all of them
before and after. Beside that, two nodes with keepalived and the same client. Needs root and bpf(2); frames stay in
namespaces made here.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import costs, keepalived, page
from bench.asker import PERIOD
from bench.episode import Outcome, percentile, play
from bench.faults import FAULTS, Fault
from bench.fleet import Fleet, Site
from bench.report import machine
from metallb_cli.linux.ebpf.support import supported

COMMAND = "make bench-failover ARGS=--docs"
LIMIT = 12.0
"""Seconds within which one node should answer for each address again."""
BASIC = ("kill", "sigterm")
"""Of these there are all rounds, and of the others half as many."""
SHARED = ("kill", "node", "sigterm")
"""What can happen to keepalived as well."""
SHARED_LIMIT = 5.0


@dataclass(frozen=True)
class Size:
    """A cluster to measure, and what happens to it."""

    nodes: int
    addresses: int
    faults: tuple[str, ...]


MOST = tuple(name for name in FAULTS if name != "rolling")
"""Fifty speakers that restart one after the other are three minutes, and each of them is an end by SIGTERM."""
FULL = tuple(
    Size(nodes, addresses, tuple(FAULTS) if nodes <= 10 else MOST)
    for nodes in (3, 10, 50)
    for addresses in (1, 100, 1000)
)
QUICK = (Size(3, 10, tuple(FAULTS)),)
ADVERTISEMENTS = ("1", "0.1")
"""Seconds between keepalived's: its default, and the heartbeat interval of the speakers."""

SLOWER = 10
"""Nodes from which on the heartbeats of all are made slower: all these nodes share the processors of one machine."""

RARER = 25
"""Nodes from which on the client asks less often: each question goes to all of them, and takes time of this machine."""


@dataclass(frozen=True)
class Row:
    """Of the table of faults."""

    who: str
    nodes: int
    addresses: int
    fault: Fault
    outcome: Outcome


@dataclass(frozen=True)
class Cost:
    """Of the table of costs."""

    nodes: int
    addresses: int
    figures: dict[str, float]


def tell(text: str) -> None:
    """Progress, for who waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(size: Size, rounds: int, arguments: Sequence[str]) -> tuple[list[Row], Cost]:
    """Everything about one cluster."""
    arguments = [*slower(size.nodes), *arguments]
    with _folder() as folder:
        tell(f"{size.nodes} nodes, {size.addresses} addresses: starting {' '.join(arguments)}")
        period = PERIOD * max(1, size.nodes / RARER)
        fleet = Fleet(size.nodes, size.addresses, folder, arguments=arguments, period=period)
        try:
            figures = costs.steady(fleet)
            tell(f"{size.nodes} nodes at rest: link {figures['link_cpu']:.2%} of a processor")
            rows = list(_rows("speaker", fleet, [FAULTS[name] for name in size.faults], rounds, LIMIT))
        finally:
            fleet.close()
    return rows, Cost(size.nodes, size.addresses, figures)


def beside(rounds: int, intervals: Sequence[str], addresses: int) -> Iterator[Row]:
    """The same with keepalived.

    Raises:
        Missing: there is none; says why.
    """
    with _folder() as folder:
        program = keepalived.obtain(folder)
        for interval in intervals:
            pair = keepalived.Pair(program, interval, addresses, folder)
            try:
                faults = [FAULTS[name] for name in SHARED]
                yield from _rows(f"keepalived, {interval} s", pair, faults, rounds, SHARED_LIMIT)
            finally:
                pair.close()


def _rows(who: str, site: Site, faults: Sequence[Fault], rounds: int, limit: float) -> Iterator[Row]:
    for fault in faults:
        total, began = Outcome(), time.monotonic()
        count = rounds if fault.name in BASIC else half(rounds)
        for number in range(count):
            total.add(play(site, fault, limit, random.Random(number)))
        nodes, addresses = len(site.switch.nodes), len(site.addresses)
        tell(
            f"{who}, {nodes} nodes, {addresses} addresses, {fault.name}: {count} rounds in "
            f"{time.monotonic() - began:.0f} s; gap {1000 * max(total.gaps):.0f} ms at most {total.why}"
        )
        yield Row(who, nodes, addresses, fault, total)


def half(rounds: int) -> int:
    """Rounds of the faults that are not BASIC."""
    return max(1, rounds // 2)


def slower(nodes: int) -> list[str]:
    """Arguments of the speakers when so many share a machine."""
    return ["--heartbeat-interval", f"{nodes / 300:.2f}"] if nodes > SLOWER else []


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="metallb-bench-") as name:
        yield Path(name)


def _milliseconds(values: Sequence[float]) -> list[str]:
    if not values:
        return ["", "", ""]
    return [f"{1000 * percentile(values, share):,.0f}" for share in (0.5, 0.99, 1.0)]


_COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "lost": lambda o: f"{o.lost:,}",
    "of": lambda o: f"{o.asked:,}",
    "answered by two": lambda o: f"{o.doubled:,}",
    "longest, ms": lambda o: f"{1000 * o.overlap:,.0f}",
    "moved": lambda o: f"{o.moved} of {o.owned}",
    "of others": lambda o: str(o.needless),
    "back": lambda o: str(o.back),
}


def table(rows: Sequence[Row]) -> str:
    """The table of faults, in Markdown."""
    heads = ["", "nodes", "addresses", "what happens", "new owner, ms p50", "p99", "max", "gap, ms p50", "p99", "max"]
    lines = [f"| {' | '.join([*heads, *_COLUMNS])} |", "|---|---:|---:|---" + "|---:" * (6 + len(_COLUMNS)) + "|"]
    for row in rows:
        cells = [row.who, str(row.nodes), f"{row.addresses:,}", row.fault.what]
        cells += _milliseconds(row.outcome.takeovers) + _milliseconds(row.outcome.gaps)
        cells += [column(row.outcome) for column in _COLUMNS.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_costs(found: Sequence[Cost]) -> str:
    """The table of costs, in Markdown."""
    lines = [
        "| nodes | addresses | heartbeats/s of a node | link: CPU | MiB | control: CPU | MiB |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for cost in found:
        interval = float((slower(cost.nodes) or ["", "0.1"])[1])
        f = cost.figures
        lines.append(
            f"| {cost.nodes} | {cost.addresses:,} | {1 / interval:g} | {100 * f['link_cpu']:.1f} % | "
            f"{f['link_mib']:.0f} | {100 * f['control_cpu']:.1f} % | {f['control_mib']:.0f} |"
        )
    return "\n".join(lines)


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the table does not say: where it never became calm, and how exact the client was."""
    lines = [
        f"{row.who}, {row.nodes} nodes, {row.addresses:,} addresses, {row.fault.what}: {row.outcome.unsettled} times "
        f"there was not one node for each address in time; at last {row.outcome.why}."
        for row in rows
        if row.outcome.unsettled
    ]
    return [*lines, f"The client was {1000 * max(row.outcome.late for row in rows):.0f} ms behind at most."]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of everything with three nodes")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--nodes", type=int, help="only clusters of this size")
    parser.add_argument("--up-to", type=int, default=50, metavar="NODES", help="only clusters of at most this size")
    parser.add_argument("--addresses", type=int, help="only with so many addresses")
    parser.add_argument(
        "--rounds", type=int, help="of a killed and of an ended speaker (default 5); of the other faults half as many"
    )
    parser.add_argument(
        "--scenario", action="append", choices=[*FAULTS, "keepalived"], help="only this; repeatable", dest="only"
    )
    parser.add_argument("--speaker", action="append", default=[], metavar="ARG", help="of the speakers; repeatable")
    options = parser.parse_args()
    if options.quick and options.docs:
        parser.error("--docs is for figures that mean something, so not with --quick")
    if reason := supported():
        sys.exit(f"this needs root and bpf(2): {reason}")
    sizes: Sequence[Size] = QUICK if options.quick else FULL
    sizes = [size for size in sizes if size.nodes <= options.up_to]
    if options.nodes or options.addresses:
        sizes = [Size(options.nodes or 3, options.addresses or 100, tuple(FAULTS))]
    rounds = options.rounds or (1 if options.quick else 5)
    rows: list[Row] = []
    found: list[Cost] = []
    notes = []
    for size in sizes:
        names = tuple(name for name in size.faults if options.only is None or name in options.only)
        if names or options.only is None:
            more, cost = measure(Size(size.nodes, size.addresses, names), rounds, options.speaker)
            rows += more
            found.append(cost)
    if options.only is None or "keepalived" in options.only:
        try:
            rows += beside(rounds, ADVERTISEMENTS[-1:] if options.quick else ADVERTISEMENTS, 20)
        except keepalived.Missing as error:
            notes.append(f"No keepalived: {error}.")
    if not rows:
        sys.exit("nothing of that was measured")
    parts = [
        f"Measured: {machine()}; {rounds} rounds, of other faults than SIGKILL and SIGTERM {half(rounds)}.",
        table(rows),
    ]
    parts += [table_of_costs(found)] if found else []
    text = "\n\n".join([*parts, *remarks(rows), *notes])
    print(text)
    if options.docs:
        page.write(page.PAGE, COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

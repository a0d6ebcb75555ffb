"""The report of `metallb status` as tables: readable without colour, and at 80 columns."""

from __future__ import annotations

from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from metallb_cli.model import Reason
from metallb_cli.reconcile.report import PoolReport, Report, ServiceReport, SpeakerReport

GOOD, BAD, DIM = "green", "bold red", "dim"
"""Colour only repeats what the words say."""

FULL = 0.85
"""Share of a pool in use from which it is shown as a warning; MetalLB's second alert threshold."""

MOST_PROBLEMS = 20
"""Problems shown unless all are asked for; the gravest come first."""

LONG_NAME = 24
"""Characters of namespace and name together that fit beside the other columns in a terminal of 80."""

NONE = "-"


def show_status(report: Report, out: TextIO, *, wide: bool = False, width: int | None = None) -> None:
    """Write the tables.

    Args:
        report: what to show.
        out: where to.
        wide: also candidates, claims, excluded nodes, the settings of each speaker, every interface with its networks,
            and explanations of what is well.
        width: columns; None for those of the terminal, 80 where there is none.
    """
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    _headline(console, report)
    _section(console, "Pools", _pools(report.pools), "no pools are configured")
    _section(console, "Services", _services(report, wide=wide), "no Service is of type LoadBalancer")
    _section(console, "Speakers", _speakers(report.speakers), "no speaker has ever run in this namespace")
    _common_settings(console, report.speakers)
    if wide and report.speakers:
        _section(console, "Settings", _settings(report), "")
    _interfaces(console, report.speakers, wide=wide)
    if wide:
        _explanations(console, report.services)
    _problems(console, report, wide=wide)


def _headline(console: Console, report: Report) -> None:
    configuration = report.configuration
    words = Text.assemble(
        "MetalLB in ", (report.namespace, "bold"), ": ", ("healthy", GOOD) if report.healthy else ("problems", BAD)
    )
    if not report.healthy:
        words.append(f" ({len(report.problems)})")
    words.append(f", configuration {configuration.state}")
    if configuration.problems:
        words.append(f" with {_count(configuration.problems, 'problem')}")
    controller = report.controller
    if controller is None:
        words.append(", no controller has ever led")
    else:
        words.append(f", controller {controller.state}")
    console.print(words)


def _section(console: Console, title: str, table: Table, empty: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    if table.row_count:
        console.print(table)
    else:
        console.print(Text(f"  {empty}", style=DIM))


def _table(*columns: str, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """Make a table; `right` columns are aligned right, `whole` ones never broken over lines."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in whole)
    return table


def _pools(pools: tuple[PoolReport, ...]) -> Table:
    table = _table("NAME", "PROTOCOL", "ADDRESSES", "SIZE", "USED", "FREE", right=("SIZE", "USED", "FREE"))
    for pool in pools:
        size, used = pool.total_v4 + pool.total_v6, pool.used_v4 + pool.used_v6
        free = pool.free_v4 + pool.free_v6
        style = BAD if free == 0 else "yellow" if used >= FULL * size else ""
        ranges = "\n".join(pool.ranges) + ("" if pool.auto_assign else "\n(only on request)")
        table.add_row(pool.name, pool.protocol, ranges, _number(size), _number(used), Text(_number(free), style=style))
    return table


def _services(report: Report, *, wide: bool) -> Table:
    columns = ["SERVICE", "ADDRESS", "POOL", "OWNER", "STATE", "AGE"]
    if wide:
        columns.insert(4, "CANDIDATES")
    table = _table(*columns, right=("AGE",), whole=("STATE", "AGE"))
    # Long names stand on two lines each, rather than broken in the middle of a word.
    room = LONG_NAME - (10 if wide else 0)
    between = "/" if all(len(row.namespace) + len(row.name) < room for row in report.services) else "/\n  "
    for row in report.services:
        cells: list[str | Text] = [
            f"{row.namespace}{between}{row.name}",
            row.address or Text("<pending>", style=BAD),
            row.pool or NONE,
            row.owner or NONE,
            _state(row),
            NONE if row.since is None else age(report.taken - row.since),
        ]
        if wide:
            cells.insert(4, ", ".join(row.candidates) or NONE)
        table.add_row(*cells)
    return table


def _state(row: ServiceReport) -> Text:
    if row.agrees is False:
        return Text((Reason.UNEXPECTED_HOLDER if row.holders else Reason.OWNER_NOT_HOLDING).value, style=BAD)
    if row.action:
        return Text(row.reason, style=BAD)
    return Text("announced" if row.owner else row.reason, style=GOOD if row.owner else "")


def _speakers(speakers: tuple[SpeakerReport, ...]) -> Table:
    table = _table("NODE", "STATE", "LEASE", "PEERS", "ADDRESSES", "INTERFACES", right=("LEASE", "PEERS", "ADDRESSES"))
    for speaker in speakers:
        usable = [interface.name for interface in speaker.interfaces if interface.verdict == Reason.USABLE.value]
        shown = ", ".join(usable)
        skipped = len(speaker.interfaces) - len(usable)
        if skipped:
            shown = f"{shown or 'none usable'} (+{skipped} skipped)"
        table.add_row(
            speaker.node,
            _speaker_state(speaker),
            NONE if speaker.age is None else age(speaker.age),
            _peers(speaker),
            f"{len(speaker.addresses)}{'' if speaker.complete else '+'}",
            shown or NONE,
        )
    return table


def _settings(report: Report) -> Table:
    table = _table("NODE", "HEARTBEATS", "LEASE", "ELECTION", "API OUTAGE", "UP", right=("UP",))
    for speaker in report.speakers:
        lease = _seconds(speaker.lease_duration) if speaker.lease_duration else NONE
        table.add_row(
            speaker.node,
            _heartbeats(speaker) or NONE,
            f"{lease}, renewed every {_seconds(speaker.renew)}" if speaker.renew else lease,
            speaker.election or NONE,
            speaker.api_outage or NONE,
            NONE if speaker.started is None or not speaker.live else age(report.taken - speaker.started),
        )
    return table


def _speaker_state(speaker: SpeakerReport) -> Text:
    """Say the most remarkable thing about a live speaker; for others whether they are dead or stopped."""
    if speaker.live and speaker.fenced:
        return Text("fenced", style=BAD)
    if speaker.state == "live":
        for word, so in (("leaving", speaker.leaving), ("unsteady", speaker.unsteady)):
            if so:
                return Text(word, style="yellow")
    return Text(speaker.state, style="yellow" if speaker.state == "draining" else GOOD if speaker.live else BAD)


def _peers(speaker: SpeakerReport) -> Text:
    if not speaker.live or speaker.live_peers is None or speaker.expected_peers is None:
        return Text(NONE)
    missing = speaker.live_peers < speaker.expected_peers
    style = "" if not missing else "yellow" if speaker.live_peers else BAD
    return Text(f"{speaker.live_peers}/{speaker.expected_peers}", style=style)


def _heartbeats(speaker: SpeakerReport) -> str | None:
    if speaker.heartbeat_interval is None:
        return None
    return f"{_seconds(speaker.heartbeat_interval)} × {speaker.heartbeat_misses}"


def _common_settings(console: Console, speakers: tuple[SpeakerReport, ...]) -> None:
    """Say in one line by which settings addresses are owned, when all live speakers have the same."""
    told = [speaker for speaker in speakers if speaker.live and speaker.election]
    if len({(s.election, _heartbeats(s), s.lease_duration, s.api_outage) for s in told}) != 1:
        return
    one = told[0]
    if one.heartbeat_interval is None or one.heartbeat_misses is None:
        silence = "no heartbeats"
    else:
        silence = f"dead after {_seconds(one.heartbeat_interval * one.heartbeat_misses)} of silence"
    leases = f", Leases {_seconds(one.lease_duration)}" if one.lease_duration else ""
    outage = f", API outage: {one.api_outage}" if one.api_outage else ""
    console.print(Text(f"Ownership: {one.election}, {silence}{leases}{outage}"))


def _interfaces(console: Console, speakers: tuple[SpeakerReport, ...], *, wide: bool) -> None:
    """Say why interfaces are skipped: for speakers that have no usable one, or for all."""
    shown = [s for s in speakers if s.interfaces and (wide or (s.live and s.cut_off))]
    if not shown:
        return
    console.print()
    console.print(Text("Interfaces", style="bold"))
    for speaker in shown:
        console.print(Text(f"  {speaker.node}", style="bold"))
        names: dict[str, list[str]] = {}
        for interface in speaker.interfaces:
            networks = f" on {', '.join(interface.networks)}" if interface.networks else ""
            names.setdefault(f"{interface.explanation}{networks}", []).append(interface.name)
        for why, those in names.items():
            console.print(Padding(Text(f"{', '.join(those)}: {why}"), (0, 0, 0, 4), expand=False))


def _explanations(console: Console, services: tuple[ServiceReport, ...]) -> None:
    if not services:
        return
    console.print()
    console.print(Text("Why", style="bold"))
    for row in services:
        console.print(Text(f"  {row.namespace}/{row.name} {row.address or ''}".rstrip(), style="bold"))
        lines = [row.explanation]
        if row.claim is not None:
            strength = "strong" if row.claim.strong else "weak"
            lines.append(f"claimed by {row.owner} with epoch {row.claim.epoch}, {strength}")
        if row.holders:
            lines.append(f"held by {', '.join(row.holders)}")
        lines += [f"not on {node}: {reason}" for node, reason in row.excluded.items()]
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))


def _problems(console: Console, report: Report, *, wide: bool) -> None:
    if not report.problems:
        return
    console.print()
    console.print(Text("Problems", style="bold"))
    for number, problem in enumerate(report.problems[: None if wide else MOST_PROBLEMS], 1):
        console.print(Text.assemble(f"  {number}. ", (problem.subject, "bold"), f": {problem.reason}"))
        console.print(Padding(Text(problem.message), (0, 0, 0, 5), expand=False))
    left = len(report.problems) - MOST_PROBLEMS
    if left > 0 and not wide:
        console.print(Text(f"  ... and {left} more: see all with -o wide"))


def age(seconds: float) -> str:
    """Return a duration as kubectl writes it: 45s, 12m, 5h, 9d."""
    whole = max(0, int(seconds))
    for unit, size, below in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if whole < below:
            return f"{whole // size}{unit}"
    return f"{whole // 86400}d"


def _seconds(seconds: float) -> str:
    """Return a setting: 300 ms, 1 s, 1.5 s."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _number(count: int) -> str:
    """Return an exact count while it is one that people can read, else a power of two: an IPv6 /64 is 2^64."""
    if count < 10_000_000:
        return str(count)
    power = (count + 1).bit_length() - 1
    return f"~2^{power}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

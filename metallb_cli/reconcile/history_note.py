"""A node's history as text, for an annotation of its Lease.

A JSON list of objects, oldest first. Reading never fails: the Lease may have been written by another version, or by
hand. What is read is fit for a terminal: names have no control characters, times and seconds are ordinary numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from ipaddress import ip_address

from metallb_cli.model import AddressRange, IPAddress
from metallb_cli.reconcile.history import MAX_ENTRIES, Entry, Stages

HISTORY = "metallb.io/history"

MAX_HISTORY = 24_000
"""Characters of all entries of a node: about 200 failovers of one run of addresses."""

MAX_ADDRESSES = 8_000
"""Characters of the addresses of one entry: more than 2000 runs, of which each usually takes 3."""

MAX_READ = 262_144
"""Characters read: what Kubernetes allows for all annotations of an object together (TotalAnnotationSizeLimitB)."""

MORE = "..."
"""Ends a list of addresses that was too long to be written in full."""

LAST_TIME = 32_503_680_000.0
"""The year 3000, in seconds since the epoch: no clock shows a later time by mistake of less than a thousand years."""

LONGEST = 1e6
"""Seconds that a stage can take: more than eleven days is an error of whoever wrote it."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)
_REASON = re.compile(r"[A-Za-z]{1,64}", re.ASCII)
_STEP = re.compile(r"\+([0-9]{1,40})(?:-([0-9]{1,40}))?", re.ASCII)
_START = re.compile(r"([0-9A-Fa-f.:]{2,45})(?:-([0-9]{1,40}))?", re.ASCII)


def encode(entries: Iterable[Entry]) -> tuple[str, int]:
    """Write the newest entries that fit into MAX_HISTORY characters.

    Returns:
        The text, and how many entries it has.
    """
    parts: list[str] = []
    length = 2
    for entry in list(entries)[: -MAX_ENTRIES - 1 : -1]:
        part = _entry_text(entry)
        length += len(part) + 1
        if length > MAX_HISTORY:
            break
        parts.append(part)
    return f"[{','.join(reversed(parts))}]", len(parts)


def decode(text: str, node: str) -> tuple[Entry, ...]:
    """Read what `encode` wrote for this node, oldest first, at most the newest MAX_ENTRIES; leave out the rest."""
    if not _NODE.fullmatch(node) or len(text) > MAX_READ:
        return ()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(items, list):
        return ()
    entries = (_entry(item, node) for item in items[-MAX_ENTRIES:])
    return tuple(sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.time))


def _entry_text(entry: Entry) -> str:
    item: dict[str, object] = {"time": round(entry.time, 3), "ip": _runs_text(entry), "reason": entry.reason}
    if entry.before is not None:
        item["from"] = entry.before
    if entry.after is not None:
        item["to"] = entry.after
    item["epoch"] = entry.epoch
    for name in ("detect", "decide", "announce"):
        seconds = getattr(entry.stages, name)
        if seconds is not None:
            item[name] = round(seconds, 4)
    return json.dumps(item, separators=(",", ":"))


def _runs_text(entry: Entry) -> str:
    """Write runs as `172.30.1.96-3,+2,+2-1`: .96 to .99, .101, .103 and .104.

    A run is its first address, or its distance from the end of the run before; then how many more follow it.
    """
    parts: list[str] = []
    length = 0
    previous: IPAddress | None = None
    complete = entry.complete
    for run in entry.addresses:
        near = previous is not None and previous.version == run.version
        start = f"+{int(run.first) - int(previous)}" if near and previous is not None else str(run.first)
        part = start if run.size == 1 else f"{start}-{run.size - 1}"
        length += len(part) + 1
        if length > MAX_ADDRESSES - len(MORE):
            complete = False
            break
        parts.append(part)
        previous = run.last
    return ",".join(parts if complete else [*parts, MORE])


def _entry(item: object, node: str) -> Entry | None:
    if not isinstance(item, dict):
        return None
    time = _seconds(item.get("time"), LAST_TIME)
    addresses = _runs(item.get("ip"))
    reason = item.get("reason")
    before, after = _name(item.get("from")), _name(item.get("to"))
    epoch = item.get("epoch")
    if time is None or addresses is None or not isinstance(reason, str) or not _REASON.fullmatch(reason):
        return None
    if before == after:
        return None
    known = isinstance(epoch, int) and not isinstance(epoch, bool) and 0 <= epoch < 1 << 32
    return Entry(
        time,
        node,
        addresses[0],
        reason,
        before,
        after,
        epoch=epoch if isinstance(epoch, int) and known else 0,
        stages=Stages(*(_seconds(item.get(name), LONGEST) for name in ("detect", "decide", "announce"))),
        complete=addresses[1],
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and _NODE.fullmatch(value) else None


def _seconds(value: object, most: float) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        return None
    return float(value) if math.isfinite(value) else None


def _runs(value: object) -> tuple[tuple[AddressRange, ...], bool] | None:
    """Return the runs, and whether they are all; None when it is no list of addresses, or they are not in order."""
    if not isinstance(value, str):
        return None
    parts = value.split(",")
    complete = parts[-1] != MORE
    runs: list[AddressRange] = []
    try:
        for part in parts if complete else parts[:-1]:
            runs.append(_run(part, runs[-1].last if runs else None))
    except ValueError:
        return None
    return (tuple(runs), complete) if runs else None


def _run(part: str, previous: IPAddress | None) -> AddressRange:
    """Read one run.

    Raises:
        ValueError: it is none, or does not come after `previous` with at least one address between them.
    """
    if step := _STEP.fullmatch(part):
        if previous is None or int(step[1]) < 2:
            raise ValueError(f"{part} has nothing to count from")
        first, more = previous + int(step[1]), step[2]
    elif start := _START.fullmatch(part):
        first, more = ip_address(start[1]), start[2]
        if previous is not None and previous.version >= first.version:
            raise ValueError(f"{part} is out of order")
    else:
        raise ValueError(f"{part} is no run of addresses")
    return AddressRange(first, first + int(more or 0))

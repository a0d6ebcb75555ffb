"""How addresses changed hands: what a speaker remembers, and the histories of all speakers as one.

A speaker records what it gained and what it lost, so a change between two nodes is told twice; `merge` makes one line
of it. Times are wall-clock times of the node that recorded: good for reading, not for deciding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from metallb_cli.election import Change
from metallb_cli.model import AddressRange, IPAddress, Reason, merge_ranges
from metallb_cli.reconcile.address_runs import intersection, without

PREFIX = "history-"
"""A node's history is in a Lease of its own, named after the node: the rights of a speaker cover that already."""

MAX_ENTRIES = 200
"""Entries that a node keeps."""

GROUP_SECONDS = 1.0
"""Changes of the same kind within this time of each other are one entry: a hundred Services created by one script."""

SAME_CHANGE_SECONDS = 5.0
"""Winner and loser may record the same change this far apart: a yield takes up to 1 s, and their clocks differ."""

IMPRECISE = (Reason.BETTER_CLAIM.value, Reason.OWNER_DIED.value, Reason.OWNER_LEAVING.value)
"""Reasons that one side gives for want of a better one, worst first: a node that seemed dead was fenced, perhaps."""


@dataclass(frozen=True, slots=True)
class Stages:
    """How long the parts of a takeover took, in seconds; None where there was no such part, or it is not known.

    Attributes:
        detect: from the last heartbeat of the old owner to declaring it dead; None when the change was planned.
        decide: from there to handing the set to the link process.
        announce: from there to the link process reporting that set in force.
    """

    detect: float | None = None
    decide: float | None = None
    announce: float | None = None

    @property
    def gap(self) -> float | None:
        """How long nobody answered; None unless all three parts are known: in a planned move nobody has to wait."""
        if self.detect is None or self.decide is None or self.announce is None:
            return None
        return self.detect + self.decide + self.announce

    def rounded(self) -> Stages:
        """Return them in tenths of a millisecond, none below zero."""
        parts = (self.detect, self.decide, self.announce)
        return Stages(*(None if part is None else max(0.0, round(part, 4)) for part in parts))


NO_STAGES = Stages()


@dataclass(frozen=True, slots=True)
class Entry:
    """What changed hands at once, between the same nodes and for the same reason.

    Attributes:
        time: seconds since the epoch.
        node: who recorded it.
        addresses: sorted, IPv4 first.
        reason: a Reason's value, or a word of another version.
        before: as in Change.
        after: as in Change.
        epoch: the highest of all.
        complete: False when there were more addresses than could be written down.
    """

    time: float
    node: str
    addresses: tuple[AddressRange, ...]
    reason: str
    before: str | None
    after: str | None
    epoch: int = 0
    stages: Stages = NO_STAGES
    complete: bool = True

    @property
    def gap(self) -> float | None:
        """How long nobody answered, in seconds; None when that is not known, or nobody had to wait."""
        return self.stages.gap


class History:
    """The newest MAX_ENTRIES entries of one node. Not thread-safe."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._entries: list[Entry] = []

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Oldest first."""
        return tuple(self._entries)

    def record(self, changes: Iterable[Change], stages: Stages, now: float) -> None:
        """Take in changes that happened at once. `now` is in seconds since the epoch."""
        groups: defaultdict[tuple[str, str | None, str | None], list[Change]] = defaultdict(list)
        for change in changes:
            groups[change.reason.value, change.before, change.after].append(change)
        for (reason, before, after), group in groups.items():
            runs = tuple(merge_ranges([AddressRange(change.address, change.address) for change in group]))
            epoch = max(change.epoch for change in group)
            # Rounded here, so that an entry is the same after it was written and read.
            self._append(Entry(round(now, 3), self._node, runs, reason, before, after, epoch, stages.rounded()))
        self.forget(len(self._entries) - MAX_ENTRIES)

    def restore(self, entries: Iterable[Entry]) -> None:
        """Take in what was stored, by an earlier start of this speaker for example; what is known already wins."""
        known = {(e.time, e.reason, e.before, e.after, e.stages): e for e in (*entries, *self._entries)}
        self._entries = sorted(known.values(), key=_order)
        self.forget(len(self._entries) - MAX_ENTRIES)

    def forget(self, count: int) -> None:
        """Forget the oldest `count` entries; none when it is not positive."""
        del self._entries[: max(0, count)]

    def _append(self, entry: Entry) -> None:
        last = self._entries[-1] if self._entries else None
        if last is not None and _belongs_to(entry, last):
            runs = tuple(merge_ranges([*last.addresses, *entry.addresses]))
            self._entries[-1] = replace(last, addresses=runs, epoch=max(last.epoch, entry.epoch))
        else:
            self._entries.append(entry)


def _belongs_to(entry: Entry, last: Entry) -> bool:
    """Whether two entries are one; never when an address is in both, because then it came and went between them."""
    alike = replace(entry, time=last.time, addresses=last.addresses, epoch=last.epoch) == last
    near = abs(entry.time - last.time) <= GROUP_SECONDS
    return alike and near and not intersection(entry.addresses, last.addresses)


def lease_name(node: str) -> str:
    """Return the name of the Lease with a node's history."""
    return PREFIX + node


def node_of(lease: str) -> str | None:
    """Return the node whose history a Lease of this name holds, or None for other Leases."""
    return lease.removeprefix(PREFIX) if lease.startswith(PREFIX) and len(lease) > len(PREFIX) else None


def merge(histories: Iterable[Iterable[Entry]]) -> list[Entry]:
    """Return all changes of all nodes, oldest first, each once.

    What winner and loser tell about the same change becomes the winner's entry, which has the stages, with the loser's
    reason where that is more precise. Of the loser's entry there remains what no winner tells: the winner's history
    may be lost, or begin later.
    """
    entries = sorted({entry for history in histories for entry in history}, key=_order)
    lost: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    won: list[Entry] = []
    for entry in entries:
        if entry.before is not None and entry.after is not None and entry.node == entry.before:
            lost[entry.before, entry.after].append(entry)
        else:
            won.append(entry)
    merged = []
    for entry in won:
        matches = lost.get((entry.before or "", entry.after or ""), [])
        merged.append(_with_the_losers_word(entry, matches))
    rest = (entry for matches in lost.values() for entry in matches if entry.addresses)
    return sorted([*merged, *rest], key=_order)


def _with_the_losers_word(entry: Entry, lost: list[Entry]) -> Entry:
    """Return the winner's entry with the best reason; take its addresses out of the losers' entries, nearest first."""
    near = [i for i, each in enumerate(lost) if abs(each.time - entry.time) <= SAME_CHANGE_SECONDS]
    open_runs, reason = entry.addresses, entry.reason
    for i in sorted(near, key=lambda i: abs(lost[i].time - entry.time)):
        shared = intersection(open_runs, lost[i].addresses)
        if shared:
            reason = max(reason, lost[i].reason, key=_precision)
            open_runs = without(open_runs, shared)
            lost[i] = replace(lost[i], addresses=without(lost[i].addresses, shared))
    return replace(entry, reason=reason)


def _precision(reason: str) -> int:
    return IMPRECISE.index(reason) if reason in IMPRECISE else len(IMPRECISE)


def about(entries: Iterable[Entry], address: IPAddress) -> list[Entry]:
    """Return the entries in which the address changed hands, each reduced to that address."""
    only = (AddressRange(address, address),)
    return [
        replace(entry, addresses=only, complete=True)
        for entry in entries
        if any(address in run for run in entry.addresses)
    ]


def _order(entry: Entry) -> tuple[float, int, tuple[str, ...]]:
    runs = map(str, entry.addresses)
    return entry.time, entry.epoch, (entry.node, entry.reason, entry.before or "", entry.after or "", *runs)

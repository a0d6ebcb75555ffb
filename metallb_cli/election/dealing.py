"""Who takes over the addresses that nobody owns: rule 4 of docs/ownership.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from metallb_cli.election.balance import deal
from metallb_cli.election.electorate import Electorate, Record
from metallb_cli.election.order import ranking
from metallb_cli.election.timers import Timers
from metallb_cli.model import IPAddress

BOUND_DROPPED_AFTER = 1.0
"""Seconds without an owner after which the hash alone says who takes over; each further second, one node more may."""


class Vacancies:
    """The addresses without an owner that some node may take over."""

    def __init__(self, me: str, electorate: Electorate, timers: Timers) -> None:
        self._me = me
        self._electorate = electorate
        self._timers = timers
        self._records: set[Record] = set()

    def add(self, record: Record, now: float) -> None:
        """Take in that nobody owns the address, since now if somebody did."""
        if record not in self._records:
            self._records.add(record)
            self._begin(record, now)

    def discard(self, record: Record) -> None:
        """Take in that it has an owner, or that no node may have it."""
        self._records.discard(record)

    def begin_anew(self, now: float) -> None:
        """Take in that nobody could have taken them over before."""
        for record in self._records:
            self._begin(record, now)

    def concern(self, node: str) -> bool:
        """Whether the node may take any of them over."""
        return any(node in group.takers for group in {record.group for record in self._records})

    def deal_out(self, owned: Mapping[str, set[Record]], deaf: bool, now: float) -> list[tuple[Record, str]]:
        """Return who takes over each of them, in the order of the addresses.

        Args:
            owned: the other addresses, by owner.
            deaf: live speakers are not heard, so how long an address has been without an owner is not known.
            now: the time.
        """
        rows = sorted(self._records, key=lambda record: record.sort_key)
        loads = {node: len(records) for node, records in owned.items()}
        takers: dict[IPAddress, str] = {}
        for record in rows:
            taker = self._taker_without_dealing(record, deaf, now)
            if taker is not None:
                takers[record.address] = taker
                loads[taker] = loads.get(taker, 0) + 1
        open_rows = ((record.address, record.group.takers) for record in rows if record.address not in takers)
        takers |= deal(open_rows, loads, self._electorate.shares)
        return [(record, takers[record.address]) for record in rows]

    def _begin(self, record: Record, now: float) -> None:
        record.since = now
        self._timers.wake(record, now + BOUND_DROPPED_AFTER)

    def _taker_without_dealing(self, record: Record, deaf: bool, now: float) -> str | None:
        """Who takes over if that is not a question of load."""
        seconds = int(now - record.since + 1e-6)
        if seconds >= BOUND_DROPPED_AFTER and not deaf:
            order = ranking(record.address, record.group.takers)
            if seconds < len(order):
                self._timers.wake(record, record.since + seconds + 1)
            return self._me if self._me in order[:seconds] else order[0]
        if self._electorate.by_hash:
            return record.taker
        return self._electorate.requested(record, record.top)

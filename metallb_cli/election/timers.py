"""When an address has to be looked at again although nothing new was heard. Pure."""

from __future__ import annotations

import heapq
import itertools

from metallb_cli.election.electorate import Record


class Timers:
    """Records by the time at which they wake. One that is not needed any more wakes all the same, to no effect."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Record]] = []
        self._numbers = itertools.count()

    def wake(self, record: Record, at: float) -> None:
        """Look at the record at that time, in seconds."""
        heapq.heappush(self._heap, (at, next(self._numbers), record))

    def due(self, now: float) -> list[Record]:
        """Take out those whose time has come."""
        records = []
        while self._heap and self._heap[0][0] <= now:
            records.append(heapq.heappop(self._heap)[2])
        return records

    @property
    def next(self) -> float | None:
        """When the next one wakes; None when there is none."""
        return self._heap[0][0] if self._heap else None

"""Which addresses are due when. Those with the same time and mark are one group, so thousands cost little."""

from __future__ import annotations

import heapq
from collections.abc import Collection, KeysView
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Mark = TypeVar("Mark")


class Part(NamedTuple, Generic[Mark]):
    """Addresses that were due at the same time with the same mark."""

    due: float
    mark: Mark
    addresses: list[bytes]


class Timetable(Generic[Mark]):
    """Addresses, each with the time when it is due and a mark: whatever its user wants to know then.

    An address is its bytes in network order. It has one entry at most.
    """

    def __init__(self) -> None:
        self._key_of: dict[bytes, tuple[float, Mark]] = {}
        self._groups: dict[float, dict[Mark, dict[bytes, None]]] = {}
        self._times: list[float] = []  # a heap of the keys of `_groups`

    def __contains__(self, ip: object) -> bool:
        return ip in self._key_of

    def __len__(self) -> int:
        return len(self._key_of)

    def addresses(self) -> KeysView[bytes]:
        """Every address that has an entry. A live view."""
        return self._key_of.keys()

    def mark(self, ip: bytes) -> Mark:
        """The mark of an address that has an entry."""
        return self._key_of[ip][1]

    def put(self, addresses: Collection[bytes], due: float, mark: Mark) -> None:
        """Give each of these an entry, in this order, in place of the one that it may have."""
        if not addresses:
            return
        if not self._key_of.keys().isdisjoint(addresses):
            self.remove(addresses)
        at = self._groups.get(due)
        if at is None:
            at = self._groups[due] = {}
            heapq.heappush(self._times, due)
        at.setdefault(mark, {}).update(dict.fromkeys(addresses))
        self._key_of.update(dict.fromkeys(addresses, (due, mark)))

    def remove(self, addresses: Collection[bytes]) -> None:
        """Take these out; those without an entry are ignored."""
        for ip in addresses:
            key = self._key_of.pop(ip, None)
            if key is not None:
                due, mark = key
                del self._groups[due][mark][ip]

    def take(self, now: float, limit: int) -> list[Part[Mark]]:
        """Take out what is due, the earliest first, at most `limit` addresses."""
        parts: list[Part[Mark]] = []
        while limit > 0 and (due := self.next_due()) is not None and due <= now:
            for mark, group in self._groups[due].items():
                addresses = list(islice(group, limit))
                if addresses:
                    parts.append(Part(due, mark, addresses))
                    limit -= len(addresses)
                    for ip in addresses:
                        del group[ip], self._key_of[ip]
        return parts

    def next_due(self) -> float | None:
        """When the first is due; None for never."""
        while self._times:
            if any(self._groups[self._times[0]].values()):
                return self._times[0]
            del self._groups[heapq.heappop(self._times)]
        return None

"""Which addresses are due when. Those with the same time and mark are one group, so thousands cost little."""

from __future__ import annotations

import heapq
from collections.abc import Collection, KeysView
from typing import Generic, NamedTuple, TypeVar

Mark = TypeVar("Mark")


class Part(NamedTuple, Generic[Mark]):
    """Addresses that were due at the same time with the same mark."""

    due: float
    mark: Mark
    addresses: list[bytes]


class _Group(Generic[Mark]):
    """Those with the same time and mark. What was removed or put elsewhere stays in the list, and is passed over."""

    __slots__ = ("addresses", "due", "live", "mark", "taken")

    def __init__(self, due: float, mark: Mark) -> None:
        self.due = due
        self.mark = mark
        self.addresses: list[bytes] = []
        self.taken = 0  # so many from the front of the list
        self.live = 0  # so many have their entry here

    def leave(self, number: int) -> None:
        self.live -= number
        if not self.live:
            self.addresses, self.taken = [], 0


class Timetable(Generic[Mark]):
    """Addresses, each with the time when it is due and a mark: whatever its user wants to know then.

    An address is its bytes in network order. It has one entry at most.
    """

    def __init__(self) -> None:
        self._group_of: dict[bytes, _Group[Mark]] = {}
        self._groups: dict[float, dict[Mark, _Group[Mark]]] = {}
        self._times: list[float] = []  # a heap of the keys of `_groups`

    def __contains__(self, ip: object) -> bool:
        return ip in self._group_of

    def __len__(self) -> int:
        return len(self._group_of)

    def addresses(self) -> KeysView[bytes]:
        """Every address that has an entry. A live view."""
        return self._group_of.keys()

    def mark(self, ip: bytes) -> Mark:
        """The mark of an address that has an entry."""
        return self._group_of[ip].mark

    def put(self, addresses: Collection[bytes], due: float, mark: Mark) -> None:
        """Give each of these an entry, in this order, in place of the one that it may have. None is there twice."""
        if not addresses:
            return
        if not self._group_of.keys().isdisjoint(addresses):
            self.remove(addresses)
        at = self._groups.get(due)
        if at is None:
            at = self._groups[due] = {}
            heapq.heappush(self._times, due)
        group = at.get(mark)
        if group is None:
            group = at[mark] = _Group(due, mark)
        group.addresses += addresses
        group.live += len(addresses)
        self._group_of.update(dict.fromkeys(addresses, group))

    def remove(self, addresses: Collection[bytes]) -> None:
        """Take these out; those without an entry are ignored."""
        for ip in addresses:
            group = self._group_of.pop(ip, None)
            if group is not None:
                group.leave(1)

    def take(self, now: float, limit: int) -> list[Part[Mark]]:
        """Take out what is due, the earliest first, at most `limit` addresses."""
        parts: list[Part[Mark]] = []
        while limit > 0 and (due := self.next_due()) is not None and due <= now:
            for group in self._groups[due].values():
                addresses = self._take_from(group, limit)
                if addresses:
                    parts.append(Part(due, group.mark, addresses))
                    limit -= len(addresses)
        return parts

    def _take_from(self, group: _Group[Mark], limit: int) -> list[bytes]:
        taken: list[bytes] = []
        group_of = self._group_of
        while group.live and len(taken) < limit:
            end = group.taken + limit - len(taken)
            before = len(taken)
            for ip in group.addresses[group.taken : end]:
                if group_of.get(ip) is group:  # also once only, when it was put here a second time
                    del group_of[ip]
                    taken.append(ip)
            group.taken = end
            group.leave(len(taken) - before)
        return taken

    def next_due(self) -> float | None:
        """When the first is due; None for never."""
        while self._times:
            if any(group.live for group in self._groups[self._times[0]].values()):
                return self._times[0]
            del self._groups[heapq.heappop(self._times)]
        return None

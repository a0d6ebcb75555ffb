"""When each announced address is told to everybody again: at once, repeated while it is new, then at long intervals."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection

GRATUITOUS_INTERVAL = 1.1
"""Seconds between gratuitous frames for a new address: Linux ignores an update within 1 s of the last (locktime)."""

GRATUITOUS_PERIOD = 5.0
"""Seconds for which a new address is repeated, as MetalLB does."""

REFRESH_PERIOD = 90.0
"""Seconds between gratuitous frames for an address that is not new.

A switch forgets where a MAC address is after 300 s without a frame from it, while the hosts and routers behind it keep
their ARP entry for up to 20 minutes: traffic then goes nowhere. Three refreshes fit into 300 s, so two may be lost.
"""

BATCH = 64
"""Addresses per `handle_timer`: a large set is told in turns with answering, never in one burst of its own."""

REFRESH_GRID = 0.1
"""Refreshes come at multiples of so many seconds, so that one wake-up serves all the addresses due by then."""

_GOLDEN = 2654435769  # 2**32 / golden ratio: consecutive addresses get evenly spread phases


class _Turn:
    """One address: since when it is announced, when it is due, whether it has left the repetitions of a new one."""

    __slots__ = ("due", "refreshing", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.due = now
        self.refreshing = False


class Schedule:
    """The turns of the addresses of one interface; an address is its bytes in network order.

    A new address is due at once and every GRATUITOUS_INTERVAL for GRATUITOUS_PERIOD; then every REFRESH_PERIOD, at its
    `phase`, so that the refreshes of many addresses are spread evenly.
    """

    def __init__(self) -> None:
        self._turns: dict[bytes, _Turn] = {}
        self._heap: list[tuple[float, bytes]] = []  # an entry counts only if it is its address's `due`

    def add(self, addresses: Collection[bytes], now: float) -> None:
        """Announce new addresses, which are due at once."""
        for ip in addresses:
            self._turns[ip] = _Turn(now)
        if len(self._heap) + len(addresses) > 2 * len(self._turns) + BATCH:  # mostly entries of withdrawn addresses
            self._heap = [(turn.due, ip) for ip, turn in self._turns.items()]
        else:
            self._heap.extend((now, ip) for ip in addresses)
        heapq.heapify(self._heap)

    def remove(self, addresses: Collection[bytes]) -> None:
        """Withdraw addresses."""
        for ip in addresses:
            self._turns.pop(ip, None)

    def restart(self, now: float) -> None:
        """Treat every address as new."""
        self.add(list(self._turns), now)

    def take_due(self, now: float, limit: int) -> list[bytes]:
        """Return the addresses that are due, at most `limit`, and set when each is next."""
        due: list[bytes] = []
        while len(due) < limit and (at := self.next_deadline()) is not None and at <= now:
            _, ip = heapq.heappop(self._heap)
            turn = self._turns[ip]
            _advance(turn, ip, now)
            heapq.heappush(self._heap, (turn.due, ip))
            due.append(ip)
        return due

    def next_deadline(self) -> float | None:
        """When the next address is due; None for never."""
        while self._heap:
            due, ip = self._heap[0]
            turn = self._turns.get(ip)
            if turn is not None and turn.due == due:
                return due
            heapq.heappop(self._heap)
        return None


def _advance(turn: _Turn, ip: bytes, now: float) -> None:
    again = now + GRATUITOUS_INTERVAL
    if not turn.refreshing and again < turn.since + GRATUITOUS_PERIOD:
        turn.due = again
    elif turn.refreshing and turn.due + REFRESH_PERIOD > now:
        turn.due += REFRESH_PERIOD
    else:  # the first refresh, or one after a long stop of the process: spread over the whole period
        turn.refreshing = True
        turn.due = math.ceil((now + REFRESH_PERIOD * phase(ip)) / REFRESH_GRID) * REFRESH_GRID


def phase(ip: bytes) -> float:
    """Where in the refresh period an address has its turn, between 0 and 1: the same in every run."""
    return (int.from_bytes(ip, "big") * _GOLDEN & 0xFFFFFFFF) / 0x100000000

"""When each announced address is told to everybody again: at once, repeated while it is new, then at long intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from metallb_cli.layer2.timetable import Timetable

GRATUITOUS_INTERVAL = 1.1
"""Seconds between gratuitous frames for a new address: Linux ignores an update within 1 s of the last (locktime)."""

GRATUITOUS_PERIOD = 5.0
"""Seconds for which a new address is repeated, as MetalLB does."""

REFRESH_PERIOD = 90.0
"""Seconds between gratuitous frames for an address that is not new.

A switch forgets where a MAC address is after 300 s without a frame from it, while the hosts and routers behind it keep
their ARP entry for up to 20 minutes: traffic then goes nowhere. Three refreshes fit into 300 s, so two may be lost.
"""

BATCH = 256
"""Addresses per `handle_timer`: a large set is told in turns with answering, never in one burst of its own. One turn is
some 1.5 ms of work, most of it the kernel's."""

REFRESH_GRID = 0.1
"""Refreshes come at multiples of so many seconds, so that one wake-up serves all the addresses due by then."""

_GOLDEN = 2654435769  # 2**32 / golden ratio: consecutive addresses get evenly spread phases


class Due(NamedTuple):
    """Addresses that are to be told: as long as they are new, and those that the neighbours only shall not forget."""

    new: list[bytes]
    refreshed: list[bytes]


class Schedule:
    """The turns of the addresses of one interface; an address is its bytes in network order.

    A new address is due at once and every GRATUITOUS_INTERVAL for GRATUITOUS_PERIOD; then every REFRESH_PERIOD, at its
    `phase`, so that the refreshes of many addresses are spread evenly.
    """

    def __init__(self) -> None:
        self._turns: Timetable[float | None] = Timetable()  # marked: since when it is new, None when it no longer is

    def add(self, addresses: Collection[bytes], now: float) -> None:
        """Announce new addresses, which are due at once, in this order."""
        self._turns.put(addresses, now, now)

    def remove(self, addresses: Collection[bytes]) -> None:
        """Withdraw addresses."""
        self._turns.remove(addresses)

    def restart(self, now: float) -> None:
        """Treat every address as new."""
        self.add(list(self._turns.addresses()), now)

    def take_due(self, now: float, limit: int) -> Due:
        """Return the addresses that are due, at most `limit`, and set when each is next."""
        taken = Due([], [])
        for due, since, addresses in self._turns.take(now, limit):
            if since is None:
                taken.refreshed.extend(addresses)
                if due + REFRESH_PERIOD > now:
                    self._turns.put(addresses, due + REFRESH_PERIOD, None)
                else:  # after a long stop of the process
                    self._spread(addresses, now)
            else:
                taken.new.extend(addresses)
                if now + GRATUITOUS_INTERVAL < since + GRATUITOUS_PERIOD:
                    self._turns.put(addresses, now + GRATUITOUS_INTERVAL, since)
                else:
                    self._spread(addresses, now)
        return taken

    def next_deadline(self) -> float | None:
        """When the next address is due; None for never."""
        return self._turns.next_due()

    def _spread(self, addresses: Iterable[bytes], now: float) -> None:
        """Give each its first refresh, somewhere in the whole period."""
        turns: defaultdict[float, list[bytes]] = defaultdict(list)
        for ip in addresses:
            turns[math.ceil((now + REFRESH_PERIOD * phase(ip)) / REFRESH_GRID) * REFRESH_GRID].append(ip)
        for due, together in turns.items():
            self._turns.put(together, due, None)


def phase(ip: bytes) -> float:
    """Where in the refresh period an address has its turn, between 0 and 1: the same in every run."""
    return (int.from_bytes(ip, "big") * _GOLDEN & 0xFFFFFFFF) / 0x100000000

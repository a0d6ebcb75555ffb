"""Addresses that another node takes over: answered for until it does, so that nobody asks in vain.

Whether it does is asked on the wire: by gratuitous frames it says so by itself, and it answers a probe.
"""

from __future__ import annotations

from collections.abc import Collection, KeysView, Sequence

from metallb_cli.layer2.timetable import Timetable

YIELD_LIMIT = 0.75
"""Seconds after which an address is given up, even if nobody else was seen answering.

With the time until the other's claim is heard and this node has decided, two nodes answer for less than a second.
"""

ASK_INTERVAL = 0.02
"""Seconds between two questions to the new owner."""

ASKS = 128
"""Addresses asked for in one interval. With more, each has its turn less often: the new owner of thousands is heard by
its gratuitous frames, and 6400 broadcasts a second are enough for any LAN."""


class Yielding:
    """The addresses of one interface that are being handed over."""

    def __init__(self) -> None:
        self._turns: Timetable[float] = Timetable()  # marked: when it is given up

    def __contains__(self, ip: object) -> bool:
        return ip in self._turns

    def __len__(self) -> int:
        return len(self._turns)

    def addresses(self) -> KeysView[bytes]:
        """All of them. A live view."""
        return self._turns.addresses()

    def add(self, addresses: Sequence[bytes], now: float) -> None:
        """Begin to hand these over."""
        end = now + YIELD_LIMIT
        for number, start in enumerate(range(0, len(addresses), ASKS)):
            self._turns.put(addresses[start : start + ASKS], min(now + number * ASK_INTERVAL, end), end)

    def remove(self, addresses: Collection[bytes]) -> None:
        """Forget these."""
        self._turns.remove(addresses)

    def take_due(self, now: float) -> tuple[list[bytes], list[bytes]]:
        """Return which addresses to ask for now, at most ASKS, and which are given up and forgotten here."""
        ask: list[bytes] = []
        over: list[bytes] = []
        again = now + ASK_INTERVAL * max(1, -(-len(self._turns) // ASKS))
        for _, end, addresses in self._turns.take(now, ASKS):
            if end <= now:
                over += addresses
            else:
                ask += addresses
                self._turns.put(addresses, min(again, end), end)
        return ask, over

    def next_deadline(self) -> float | None:
        """When `take_due` has something to do; None for never."""
        return self._turns.next_due()

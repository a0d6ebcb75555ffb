"""What of a speaker's state its Lease shows later than it is so: what may be over in a moment, or never rests.

Everybody reads the Lease and decides by it, and each change is a write that goes to every watcher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metallb_cli.model import Conflict, Interface, IPAddress, Reason

MAC_PERIOD = 10.0
"""Seconds between two changes of the note in which only the MAC address of a host that contests an address is new."""


class ShownInterfaces:
    """Shows the loss of a usable interface only when it has lasted.

    By the Lease a node without the interface is no candidate any more. When a cable is away for a few milliseconds
    nobody shall move an address for that; when it is away for longer, heartbeats say so first.

    Args:
        patience: seconds, within which peers do not miss this node either.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._shown: tuple[Interface, ...] = ()
        self._lost_at: float | None = None

    def show(self, interfaces: Sequence[Interface], now: float) -> tuple[Interface, ...]:
        """Return what to show when these are the interfaces."""
        if _usable(self._shown) <= _usable(interfaces):
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        if self._lost_at is None or now >= self._lost_at + self._patience:
            self._lost_at = None
            self._shown = tuple(interfaces)
        return self._shown

    def next_deadline(self) -> float | None:
        """When time alone changes what `show` returns."""
        return None if self._lost_at is None else self._lost_at + self._patience


class ShownContests:
    """Shows contested addresses at once, and at once that they are no longer, but not each new MAC address of a host.

    A host that changes it all the time would have the Lease written all the time.
    """

    def __init__(self) -> None:
        self._macs: dict[IPAddress, bytes] = {}
        self._renewed_at: float | None = None  # when a MAC address was replaced last
        self._waiting = False

    def show(self, conflicts: Sequence[Conflict], now: float) -> tuple[Conflict, ...]:
        """Return what to show when these addresses are contested; of each conflict the count is as given."""
        shown = {conflict.address: self._macs.get(conflict.address, conflict.mac) for conflict in conflicts}
        newest = {conflict.address: conflict.mac for conflict in conflicts}
        self._waiting = shown != newest
        if self._waiting and (self._renewed_at is None or now >= self._renewed_at + MAC_PERIOD):
            self._waiting, self._renewed_at = False, now
            shown = newest
        self._macs = shown
        return tuple(replace(conflict, mac=shown[conflict.address]) for conflict in conflicts)

    def next_deadline(self) -> float | None:
        """When time alone changes what `show` returns."""
        return self._renewed_at + MAC_PERIOD if self._waiting and self._renewed_at is not None else None


def _usable(interfaces: Sequence[Interface]) -> set[str]:
    return {interface.name for interface in interfaces if interface.verdict is Reason.USABLE}

"""Which speakers are alive, judged from their Leases by one observer. Pure: `now` is passed in.

A speaker is alive while its Lease keeps changing. Only changes count, measured on the observer's own monotonic clock:
the times written in a Lease come from another machine. A Lease that seems to have expired is a *suspect* until a fresh
read of it says the same, because a watch can lag. While the API server does not answer, nobody dies: silence of the
store says nothing about a speaker, so every speaker keeps what it has (DESIGN: freeze).
"""

from __future__ import annotations

from dataclasses import dataclass

from metallb_cli.model import Lease

PREFIX = "speaker-"
"""A speaker's Lease is named after its node."""


def lease_name(node: str) -> str:
    """Return the name of the Lease of a node's speaker."""
    return PREFIX + node


def node_of(lease: str) -> str | None:
    """Return the node whose speaker holds a Lease of this name, or None for other Leases."""
    return lease.removeprefix(PREFIX) if lease.startswith(PREFIX) and len(lease) > len(PREFIX) else None


@dataclass(slots=True)
class _Seen:
    lease: Lease
    changed: float
    dead: bool = False


class Liveness:
    """The observer. `me` counts as alive always: this process knows that it runs."""

    def __init__(self, me: str, default_duration: float) -> None:
        self._me = me
        self._default = default_duration
        self._seen: dict[str, _Seen] = {}

    def observe(self, lease: Lease, now: float) -> None:
        """Take in a Lease from the watch or from a read."""
        node = node_of(lease.name)
        if node is None:
            return
        known = self._seen.get(node)
        if known is None or (known.lease.renewed, known.lease.holder) != (lease.renewed, lease.holder):
            self._seen[node] = _Seen(lease, now)
        else:
            known.lease = lease

    def forget(self, name: str) -> None:
        """Take in that a Lease was deleted."""
        self._seen.pop(node_of(name) or "", None)

    def restart_clocks(self, now: float) -> None:
        """Begin every wait anew: the API server did not answer for a while, so changes may have been missed."""
        for seen in self._seen.values():
            seen.changed = now

    def suspects(self, now: float) -> list[str]:
        """Return the names of Leases that look expired and need a fresh read to confirm it, sorted."""
        return sorted(lease_name(n) for n, s in self._seen.items() if self._expired(n, s, now) and not s.dead)

    def confirm(self, name: str, lease: Lease | None, now: float) -> None:
        """Take in a fresh read of a suspect: unchanged means dead, changed means that the watch lagged."""
        node = node_of(name) or ""
        known = self._seen.get(node)
        if lease is None:
            self._seen.pop(node, None)
        elif known is None or (known.lease.renewed, known.lease.holder) != (lease.renewed, lease.holder):
            self._seen[node] = _Seen(lease, now)
        else:
            known.dead = True

    def live(self) -> frozenset[str]:
        """Return the nodes whose speakers are alive; a given-back Lease (no holder) ends a life at once."""
        return frozenset(n for n, s in self._seen.items() if s.lease.holder and not s.dead) | {self._me}

    def leases(self) -> tuple[tuple[Lease, bool], ...]:
        """Return every speaker's Lease as last seen, and whether it is live."""
        return tuple((s.lease, bool(s.lease.holder) and not s.dead) for s in self._seen.values())

    def next_deadline(self) -> float | None:
        """Return when the next Lease will look expired, or None."""
        waits = [
            s.changed + self._duration(s)
            for n, s in self._seen.items()
            if n != self._me and s.lease.holder and not s.dead
        ]
        return min(waits, default=None)

    def _duration(self, seen: _Seen) -> float:
        return seen.lease.duration or self._default

    def _expired(self, node: str, seen: _Seen, now: float) -> bool:
        return node != self._me and bool(seen.lease.holder) and now >= seen.changed + self._duration(seen)

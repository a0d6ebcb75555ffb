"""Leader election by a Lease: who may write, decided from what one candidate sees. Pure: `now` is passed in.

Two rules make it safe without trusting anybody's clock. A candidate takes a foreign Lease over only after it has
watched it, unchanged, for the Lease's whole duration on its own monotonic clock. A leader's right ends
`renew_deadline` after the *start* of the last renewal that succeeded, whether or not a later one is still on its way,
so a frozen API server cannot keep an old leader in office. Because `renew_deadline` is shorter than `duration`, the
old one has stopped before a new one can begin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metallb_cli.model import Lease

LEASE = "metallb-controller"
"""Name of the Lease that the leading controller holds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Times of an election, in seconds. The defaults are those of Kubernetes' own controllers.

    Raises:
        ValueError: not `retry < renew_deadline < duration`.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError(f"an election needs 0 < retry < renew deadline < duration, not {self}")


class Candidacy:
    """One process's part in the election: feed it what was read and written, ask it what to write."""

    def __init__(self, name: str, identity: str, terms: Terms) -> None:
        self._name = name
        self._identity = identity
        self._terms = terms
        self._seen: Lease | None = None
        self._seen_since = 0.0
        self._right_until: float | None = None

    @property
    def holder(self) -> str:
        """Identity of the last known holder, empty when nobody holds the Lease."""
        return self._seen.holder if self._seen else ""

    def leading(self, now: float) -> bool:
        """Whether this process may act as the leader at this moment. Ask again before every write."""
        until = self._right_until  # one read: another thread may ask while this one changes
        return until is not None and now < until

    def observe(self, lease: Lease | None, now: float) -> None:
        """Take in what the API server answered to a read; None means that there is no Lease."""
        before = self._seen
        unchanged = (
            before is not None
            and lease is not None
            and (before.holder, before.renewed, before.resource_version)
            == (lease.holder, lease.renewed, lease.resource_version)
        )
        if not unchanged:
            self._seen_since = now
        self._seen = lease
        if lease is None or lease.holder != self._identity:
            self._right_until = None

    def wanted(self, now: float) -> Lease | None:
        """Return the Lease to write now, or None while somebody else holds it."""
        lease = self._seen
        if lease is None:
            return Lease(self._name, self._identity, duration=self._terms.duration)
        mine = lease.holder == self._identity
        if not mine and lease.holder and now - self._seen_since < (lease.duration or self._terms.duration):
            return None
        return replace(
            lease,
            holder=self._identity,
            renewed="",
            duration=self._terms.duration,
            transitions=lease.transitions + (0 if mine else 1),
        )

    def wrote(self, lease: Lease, started: float) -> None:
        """Take in a write that the API server accepted; `started` is when the request was begun."""
        self._seen = lease
        self._seen_since = started
        self._right_until = started + self._terms.renew_deadline

    def resign(self) -> Lease | None:
        """Give up the right at once. Returns the Lease to write so that another need not wait, None if not held."""
        lease, self._right_until = self._seen, None
        if lease is None or lease.holder != self._identity:
            return None
        # One second is the shortest duration the API accepts: whoever reads this may take over at once anyway.
        return replace(lease, holder="", renewed="", duration=1.0)

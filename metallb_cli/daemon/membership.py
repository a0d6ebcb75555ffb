"""This speaker's Lease, and who else is alive.

One thread renews the Lease of this node and, when the Lease of another looks expired, reads that one freshly before
believing it. While the API server does not answer, nothing is believed: see `reconcile/liveness.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from metallb_cli.daemon.ports import LeaseStore
from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.model import Lease
from metallb_cli.reconcile.interface_notes import INTERFACES, Reach, decode_interfaces, reach
from metallb_cli.reconcile.lease_notes import says_the_same
from metallb_cli.reconcile.liveness import Liveness, lease_name, node_of

log = logging.getLogger(__name__)

DESCRIBE_EVERY = 0.5
"""Seconds between two writes that only change the Lease's annotations, at least."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. The duration is what a crash costs before others take over; a third of it bears two lost renewals."""

    duration: float = 6.0
    renew: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.renew <= self.duration / 2:
            raise ValueError(
                f"renewing every {self.renew:g} s is too slow for a Lease of {self.duration:g} s: at most half of it"
            )


class Membership:
    """Thread-safe. Calls `on_change` whenever the set of live speakers or what one of them can reach changes.

    Calls `on_notes` with the Lease of a speaker as it was and as it is when it says anything else that is new, and
    `on_failure` if its thread dies.

    Attributes:
        joined: set as soon as this speaker holds its Lease.
        before: the Lease as this speaker found it when it joined; None when there was none.
    """

    def __init__(
        self,
        leases: LeaseStore,
        node: str,
        identity: str,
        times: LeaseTimes,
        on_change: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        on_notes: Callable[[Lease | None, Lease | None], None] = lambda _old, _new: None,
    ) -> None:
        self._leases = leases
        self._node = node
        self._identity = identity
        self._times = times
        self._on_change = on_change
        self._on_failure = on_failure
        self._on_notes = on_notes
        self._lock = threading.Lock()
        self._liveness = Liveness(node, times.duration)
        self._leases_known: tuple[tuple[Lease, bool], ...] | None = None  # None: to be asked for anew
        self._live: frozenset[str] = frozenset({node})
        self._notes: dict[str, str] = {}
        self._reach: Mapping[str, Reach] = {}
        self._annotations: tuple[tuple[str, str], ...] = ()
        self._hurry = False  # they should not wait for the next renewal
        self._written: Lease | None = None
        self._described = -DESCRIBE_EVERY
        self._renewed = -times.renew
        self._outage_since: float | None = None
        self.before: Lease | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self.joined = threading.Event()

    # -- any thread

    def start(self) -> None:
        """Begin to renew; returns at once."""
        self._thread.start()

    def live(self) -> frozenset[str]:
        """Return the nodes whose speakers are alive, this one always included."""
        return self._live

    def reach(self) -> Mapping[str, Reach]:
        """Return what the speakers say that they can answer on, by node; live or not.

        Of this one as well what its Lease says: all speakers decide by the same words, and none of them changes while
        the API server is away.
        """
        return self._reach

    def leases(self) -> tuple[tuple[Lease, bool], ...]:
        """Return the Lease of every speaker, this one's included, and whether it is live.

        It is the same object as before as long as Leases were only renewed, or said nothing that speakers act on.
        """
        with self._lock:
            if self._leases_known is None:
                self._leases_known = self._liveness.leases()
            return self._leases_known

    @property
    def lease_duration(self) -> float:
        """How long this speaker's Lease lasts, in seconds."""
        return self._times.duration

    @property
    def renew(self) -> float:
        """Seconds between two renewals of this speaker's Lease."""
        return self._times.renew

    @property
    def outage_seconds(self) -> float:
        """How long the API server has not answered; 0 when it does."""
        since = self._outage_since
        return 0.0 if since is None else time.monotonic() - since

    def describe(self, annotations: Mapping[str, str], *, soon: bool = True) -> None:
        """Say what this speaker has and does: written soon when it has changed, else with the next renewal.

        Not soon should be what every speaker of a cluster learns at once: each write goes to all of them.
        """
        wanted = tuple(sorted(annotations.items()))
        if wanted != self._annotations:
            self._annotations = wanted
            if soon:
                self._hurry = True
                self._wake.set()

    def observe(self, old: Lease | None, new: Lease | None) -> None:
        """Take in what the watch of Leases shows."""
        with self._lock:
            if new is not None:
                self._liveness.observe(new, time.monotonic())
            elif old is not None:
                self._liveness.forget(old.name)
            lease = new or old
            node = None if lease is None else node_of(lease.name)
            moved = node is not None and node != self._node and self._read_note(node, new)
            known = old is not None and new is not None and says_the_same(old, new)
            if not known:
                self._leases_known = None
        if not self._settle() and known:
            return  # as good as a renewal, of which every node makes one in two seconds: nothing is due earlier
        if moved:
            self._on_change()
        else:
            self._on_notes(old, new)
        self._wake.set()

    def _read_note(self, node: str, lease: Lease | None) -> bool:
        """Take in on which networks a speaker is; return whether that changed. Few renewals change the note."""
        note = (lease.annotation(INTERFACES) if lease is not None else None) or ""
        if note == self._notes.get(node):
            return False
        if lease is None:
            self._notes.pop(node, None)
        else:
            self._notes[node] = note
        found = reach(decode_interfaces(note))
        if found == self._reach.get(node):
            return False
        others = {name: known for name, known in self._reach.items() if name != node}
        self._reach = others if found is None else {**others, node: found}
        return True

    def leave(self) -> None:
        """Give the Lease back, so that others take over at once. Bounded by one renewal interval and a call."""
        self._stop.set()
        self._wake.set()
        self._thread.join(2 * self._times.renew)
        lease = self._written
        if lease is None:
            return
        try:
            self._leases.write(replace(lease, holder="", renewed="", annotations=self._annotations), self._times.renew)
        except (ApiError, ApiUnavailableError) as error:
            log.warning(
                "could not give the Lease back, so others wait %g s for it to expire: %s", self._times.duration, error
            )

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                now = time.monotonic()
                hurry = self._hurry or self._written is None
                if now >= self._renewed + self._times.renew or (hurry and now >= self._described + DESCRIBE_EVERY):
                    self._renew(now)
                if self._outage_since is None:
                    self._confirm_suspects()
                self._settle()
                self._wake.wait(self._pause())
        except Exception as error:
            log.critical("the membership thread failed: %s", error, exc_info=True)
            self._on_failure(error)

    def _pause(self) -> float:
        now = time.monotonic()
        due = self._renewed + self._times.renew
        if self._hurry and self._written is not None:
            due = min(due, self._described + DESCRIBE_EVERY)
        with self._lock:
            expiry = self._liveness.next_deadline()
        if expiry is not None and self._outage_since is None:
            due = min(due, expiry)
        # Never less than a moment: a suspect whose fresh read failed stays due until the API server answers.
        return max(0.05, due - now)

    def _renew(self, started: float) -> None:
        self._renewed = self._described = started
        self._hurry = False
        annotations = self._annotations
        try:
            if self._written is None:
                self._written = self._leases.get(lease_name(self._node), self._times.renew)
                if not self.joined.is_set():
                    self.before = self._written
            base = self._written or Lease(lease_name(self._node))
            if self.joined.is_set() and base.holder not in ("", self._identity):
                log.warning("another process (%s) holds the Lease of this node: do two speakers run here?", base.holder)
            wanted = replace(
                base,
                holder=self._identity,
                renewed="",
                duration=self._times.duration,
                annotations=annotations,
                transitions=base.transitions + (base.holder != self._identity),
            )
            self._written = self._leases.write(wanted, self._times.renew)
        except ApiError as error:
            # 409: somebody touched the Lease; the next turn reads it again. It is this node's, whoever wrote it.
            self._written = None
            if error.status != 409:
                log.warning("could not renew the Lease: %s", error)
                self._outage(started)
            else:
                self._renewed = started - self._times.renew + DESCRIBE_EVERY
        except ApiUnavailableError as error:
            log.warning("could not renew the Lease, going on with what is known: %s", error)
            self._written = None
            self._outage(started)
        else:
            self._recovered(started)
            with self._lock:
                moved = self._read_note(self._node, self._written)
            if moved:
                self._on_change()
            self.joined.set()

    def _outage(self, started: float) -> None:
        if self._outage_since is None:
            self._outage_since = started

    def _recovered(self, started: float) -> None:
        now = time.monotonic()
        if self._outage_since is None and now - started < self._times.renew:
            return
        if self._outage_since is not None:
            log.info("the API server answers again after %.1f s", now - self._outage_since)
        self._outage_since = None
        with self._lock:
            self._liveness.restart_clocks(now)

    def _confirm_suspects(self) -> None:
        with self._lock:
            suspects = self._liveness.suspects(time.monotonic())
        for name in suspects:
            try:
                lease = self._leases.get(name, self._times.renew)
            except (ApiError, ApiUnavailableError) as error:
                log.warning("the Lease %s looks expired, but cannot be read: %s", name, error)
                return
            with self._lock:
                self._liveness.confirm(name, lease, time.monotonic())
                self._leases_known = None

    def _settle(self) -> bool:
        """Tell of speakers that are gone or alive again; return whether there are any."""
        with self._lock:
            live = self._liveness.live()
            gone, come = self._live - live, live - self._live
            self._live = live
        if gone:
            log.warning("speakers gone: %s", ", ".join(sorted(gone)))
        if come:
            log.info("speakers alive: %s", ", ".join(sorted(come)))
        if gone or come:
            self._on_change()
        return bool(gone or come)

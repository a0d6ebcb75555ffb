"""Writes down how addresses changed hands, where `metallb history` reads it: in a Lease that nobody holds or renews.

One thread writes, only when something changed, and no more often than every WRITE_SECONDS. While the API server does
not answer, the history stays in memory and is written later. What an earlier start of this speaker wrote is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from metallb_cli.daemon.ports import LeaseStore
from metallb_cli.election import Change
from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.model import Lease
from metallb_cli.reconcile.history import NO_STAGES, Entry, History, Stages, lease_name
from metallb_cli.reconcile.history_note import HISTORY, decode, encode

log = logging.getLogger(__name__)

WRITE_SECONDS = 2.0
"""Between the beginnings of two attempts to write, at least."""

CALL_TIMEOUT = 2.0
"""Seconds for one call of the API."""


class Recorder:
    """Thread-safe. Calls `on_failure` if its thread dies."""

    def __init__(
        self,
        leases: LeaseStore,
        node: str,
        on_failure: Callable[[BaseException], None],
        *,
        pause: float = WRITE_SECONDS,
    ) -> None:
        """`pause`: seconds between the beginnings of two attempts to write, at least."""
        self._leases = leases
        self._node = node
        self._on_failure = on_failure
        self._pause = pause
        self._lock = threading.Lock()
        self._history = History(node)
        self._unwritten = False
        self._known: Lease | None = None
        self._outage = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # -- any thread

    def start(self) -> None:
        """Begin to write; returns at once."""
        self._thread.start()

    def record(self, changes: Iterable[Change], stages: Stages = NO_STAGES, at: float | None = None) -> None:
        """Take in changes that happened at once: what this node gained, and what it lost. Never blocks.

        Call it once for each change: for what was gained, when the link process has reported the set in force, so that
        all stages are known; for what was lost, when it is no longer answered for.

        Args:
            changes: none is allowed too.
            stages: of all of them together.
            at: when it happened, in seconds since the epoch; None for now.
        """
        now = time.time() if at is None else at
        with self._lock:
            before = self._history.entries
            self._history.record(changes, stages, now)
            self._unwritten |= self._history.entries != before
        self._wake.set()

    def entries(self) -> tuple[Entry, ...]:
        """Return what is known of this node's history, oldest first."""
        with self._lock:
            return self._history.entries

    def stop(self) -> None:
        """Write what is not written yet, and end. Bounded by two calls of the API."""
        self._stop.set()
        self._wake.set()
        self._thread.join(2 * CALL_TIMEOUT)

    # -- the thread

    def _run(self) -> None:
        try:
            begun = time.monotonic()
            self._write()
            while not self._stop.is_set():
                self._wake.wait()
                self._wake.clear()
                self._stop.wait(max(0.0, begun + self._pause - time.monotonic()))
                begun = time.monotonic()
                self._write()
        except Exception as error:
            log.critical("the recorder of changes failed: %s", error, exc_info=True)
            self._on_failure(error)

    def _write(self) -> None:
        """Read the Lease if it is not known, and write it if there is something new; on failure the next turn tries."""
        try:
            try:
                self._write_new(self._known or self._read())
            except ApiError as error:
                if error.status != 409:
                    raise
                # The speaker before this one was still writing: keep what it wrote.
                self._write_new(self._read())
            self._outage = False
        except (ApiError, ApiUnavailableError) as error:
            self._known = None
            self._wake.set()
            if not self._outage:
                log.warning("the history of addresses cannot be written, and stays in memory until it can: %s", error)
            self._outage = True

    def _read(self) -> Lease:
        name = lease_name(self._node)
        lease = self._leases.get(name, CALL_TIMEOUT) or Lease(name)
        stored = decode(lease.annotation(HISTORY) or "", self._node)
        with self._lock:
            self._history.restore(stored)
        self._known = lease
        return lease

    def _write_new(self, known: Lease) -> None:
        with self._lock:
            if not self._unwritten:
                return
            entries = self._history.entries
            self._unwritten = False
        text, count = encode(entries)
        notes = tuple((key, value) for key, value in known.annotations if key != HISTORY)
        # Nobody holds this Lease, and it does not expire: its renewTime says only when it was written.
        wanted = replace(known, holder="", renewed="", duration=0.0, annotations=(*notes, (HISTORY, text)))
        try:
            self._known = self._leases.write(wanted, CALL_TIMEOUT)
        except (ApiError, ApiUnavailableError):
            with self._lock:
                self._unwritten = True
            raise
        with self._lock:
            self._history.forget(len(entries) - count)

"""The thread of the leading controller that sees to it that the speakers have a key for their heartbeats.

A thread of its own: however long the API server takes over the Secret, no Service waits for its address meanwhile, and
no renewal of the leader's Lease is late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from metallb_cli.daemon.ports import KeyStore
from metallb_cli.errors import ApiError, ApiUnavailableError

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks at the Secret: somebody may have deleted it."""

RETRY = 10.0
"""Seconds after a look that failed."""

POLL = 0.25
"""Seconds after which it looks again whether this replica leads."""

TIMEOUT = 5.0
"""Seconds for a call."""

ADVICE = "the rights of the controller are older than its version: apply k8s/metallb.yml again"
"""What to do about a 403."""


class KeyKeeper:
    """Looks at the start of a term of office, and now and then during it. What fails is logged, once until it changes.

    Without the Secret the speakers go by their Leases alone, so no failure here ends anything.
    """

    def __init__(
        self,
        keys: KeyStore,
        leading: Callable[[], bool],
        on_failure: Callable[[BaseException], None],
        *,
        every: float = EVERY,
        retry: float = RETRY,
    ) -> None:
        self._keys = keys
        self._leading = leading
        self._on_failure = on_failure
        self._every = every
        self._retry = retry
        self._told = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-keeper", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits a moment for a call on its way. What that call still says is of no interest any more."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        due = 0.0
        try:
            while not self._stop.wait(POLL):
                if not self._leading():
                    due = 0.0
                elif time.monotonic() >= due:
                    due = time.monotonic() + (self._every if self._ensure() else self._retry)
        except Exception as error:
            log.critical("the thread that keeps the key of the heartbeats failed: %s", error, exc_info=True)
            self._on_failure(error)

    def _ensure(self) -> bool:
        """Look at the Secret. Returns whether that worked."""
        problem = ""
        try:
            if self._keys.ensure(TIMEOUT):
                log.info("made a new key for the heartbeats of the speakers")
        except ApiError as error:
            problem = f"{error}{f'; {ADVICE}' if error.status == 403 else ''}"
        except ApiUnavailableError as error:
            problem = str(error)
        if problem and problem != self._told and not self._stop.is_set():
            log.warning("could not see to it that the speakers have a key for their heartbeats: %s", problem)
        self._told = problem
        return not problem

"""Gets the key of the heartbeats from its Secret, and follows it when it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from metallb_cli.daemon.ports import KeyStore
from metallb_cli.errors import ApiError, ApiUnavailableError

log = logging.getLogger(__name__)

FIRST_LOOKS = 1.0
"""Seconds between the first two looks for a key that is not there yet: the controller makes it in its first seconds."""

LATER_LOOKS = 15.0
"""Seconds to which that grows: every node of the cluster asks, for as long as there is none."""

LOOKS = 60.0
"""Seconds between two looks whether the key was exchanged. Both keys are good meanwhile, so this need not be quick."""

CALL_TIMEOUT = 5.0
"""Seconds for one call of the API."""


class HeartbeatKeyThread:
    """Calls `on_keys` with the keys, newest first, when there are some and whenever they change.

    Calls `on_failure` if its thread dies. The keys are never logged.
    """

    def __init__(
        self,
        keys: KeyStore,
        on_keys: Callable[[tuple[bytes, ...]], None],
        on_failure: Callable[[BaseException], None],
        *,
        first: float = FIRST_LOOKS,
        every: float = LOOKS,
    ) -> None:
        """`first`, `every`: seconds between the first looks for a key, and between two looks for another one."""
        self._keys = keys
        self._on_keys = on_keys
        self._on_failure = on_failure
        self._first = first
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat-key", daemon=True)

    def start(self) -> None:
        """Begin to look; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait."""
        self._stop.set()

    def _run(self) -> None:
        known: tuple[bytes, ...] = ()
        told = ""
        pause = self._first
        try:
            while not self._stop.is_set():
                problem = ""
                try:
                    found = self._keys.read(CALL_TIMEOUT)
                    if found and found != known:
                        known = found
                        self._on_keys(found)
                    if not found:
                        problem = "the Secret with the key of the heartbeats is not there; the controller creates it"
                except (ApiError, ApiUnavailableError) as error:
                    problem = f"cannot read the key of the heartbeats: {error}"
                if problem and problem != told:
                    log.warning(
                        "%s. %s",
                        problem,
                        "Heartbeats go on with the keys known so far"
                        if known
                        else "Until then a node that dies is only missed when its Lease has expired",
                    )
                told = problem
                self._stop.wait(self._every if known else pause)
                pause = min(2 * pause, LATER_LOOKS)
        except Exception as error:
            log.critical("the thread that reads the key of the heartbeats failed: %s", error, exc_info=True)
            self._on_failure(error)

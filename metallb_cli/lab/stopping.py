"""Waiting that ends when the user has had enough."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from metallb_cli.errors import MetalLBError

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL = 0.05
"""Seconds between two looks at a condition."""


class InterruptedLabError(MetalLBError):
    """The user or the system asked the lab to end. The exit code is the shell's convention for the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class NotInTimeError(MetalLBError):
    """Something that was waited for did not happen."""


class Stopping:
    """Notes SIGINT, SIGTERM and SIGHUP, which take effect at the next wait; so nothing is left half made."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._number = 0

    def install(self) -> None:
        """Take over the signals for the rest of the process's life. Only in the main thread."""
        for each in SIGNALS:
            signal.signal(each, self._note)

    def _note(self, number: int, frame: object) -> None:
        self._number = self._number or number
        self._event.set()

    def check(self) -> None:
        """Raise InterruptedLabError when a signal has come."""
        if self._event.is_set():
            raise InterruptedLabError(self._number)

    def wait(self, condition: Callable[[], T | None], what: str, timeout: float, check: Callable[[], None]) -> T:
        """Wait until the condition returns something true, and return that.

        Args:
            condition: asked every POLL seconds.
            what: completes "not within 5 s:".
            timeout: seconds.
            check: asked as often; raises what makes waiting pointless.

        Raises:
            NotInTimeError: it was not in time.
            InterruptedLabError: a signal came.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            check()
            if value := condition():
                return value
            if time.monotonic() > deadline:
                raise NotInTimeError(f"not within {timeout:.0f} s: {what}")
            self._event.wait(POLL)

    def wait_for_end(self, check: Callable[[], None]) -> None:
        """Wait until a signal comes; `check` as in `wait`."""
        while not self._event.wait(0.5):
            check()

"""What a long-running role needs of its process: signals, one place for fatal failures, an HTTP server."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable

import click

from metallb_cli.telemetry import logs

log = logging.getLogger(__name__)


class Fatal:
    """Remembers the first failure that must end the process, from whatever thread, and asks the main loop to end."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] = lambda: None
        self.error: BaseException | None = None

    def stops(self, stop: Callable[[], None]) -> None:
        """Say what ends the main loop."""
        self._stop = stop

    def __call__(self, error: BaseException) -> None:
        """Take in a failure (any thread)."""
        self.error = self.error or error
        self._stop()

    def check(self) -> None:
        """End the process with an error if there was a failure; call it after the main loop.

        Raises:
            SystemExit: code 1. The failure has been logged by whoever met it.
        """
        if self.error is not None:
            raise SystemExit(1)

    def why(self) -> str:
        """Return why /healthz should fail, empty when all is well."""
        return f"{type(self.error).__name__}: {self.error}" if self.error else ""


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT; a second signal ends the process at once."""

    def handle(number: int, frame: object) -> None:
        log.info("%s: stopping", signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)
        # A handler runs between any two instructions of the main thread, which may hold a lock that `stop` needs.
        threading.Thread(target=stop, name="stop", daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def configure_logs(level: str, log_format: str | None) -> str:
    """Log as told; by default readable lines on a terminal and JSON elsewhere. Returns the format in use."""
    chosen = log_format or ("text" if sys.stderr.isatty() else "json")
    logs.configure(level, chosen)
    return chosen


def settle_memory() -> None:
    """Keep the garbage collector away from what start-up has made: it stays, and a full pass over it costs 0.1 s."""
    gc.collect()
    gc.freeze()


def seconds(minimum: float) -> click.FloatRange:
    """Return the option type of a duration in seconds."""
    return click.FloatRange(min=minimum, max=3600)

"""A queue of things to look at again: each key is in it at most once, and a failing key waits longer each time."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY = 0.2
"""Seconds before a failing key is tried again; doubles with each failure in a row."""

LAST_RETRY = 60.0
"""Seconds that a failing key waits at most: an operator who mends the cause sees it work within a minute."""


class Inbox(Generic[K]):
    """De-duplicating first-in first-out queue, written by watch threads and read by the one thread that decides."""

    def __init__(self) -> None:
        self._ready: dict[K, None] = {}
        self._later: list[tuple[float, int, K]] = []
        self._waiting: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._sequence = 0
        self._changed = threading.Condition()

    def put(self, key: K) -> None:
        """Add a key; one that is there already keeps its place."""
        with self._changed:
            self._ready.setdefault(key)
            self._changed.notify()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Add a key again after it failed. Returns the seconds it waits: the backoff, or `at_least` if longer."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            wait = max(at_least, min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 30)))
            due = time.monotonic() + wait
            self._sequence += 1
            self._waiting[key] = due
            heapq.heappush(self._later, (due, self._sequence, key))
            self._changed.notify()
            return wait

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        with self._changed:
            self._failures.pop(key, None)
            self._waiting.pop(key, None)

    def get(self, timeout: float) -> K | None:
        """Take the oldest ready key; waits up to `timeout` seconds, then returns None."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    due, _, key = heapq.heappop(self._later)
                    # A key that succeeded meanwhile, or was put back later still, is not due any more.
                    if self._waiting.get(key) == due:
                        del self._waiting[key]
                        self._ready.setdefault(key)
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    return key
                wake = min(end, self._later[0][0]) if self._later else end
                if now >= end:
                    return None
                self._changed.wait(wake - now)

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._ready.clear()
            self._later.clear()
            self._waiting.clear()
            self._failures.clear()

    @property
    def idle(self) -> bool:
        """Whether no key is ready; some may wait to be tried again."""
        with self._changed:
            return not self._ready

    def __len__(self) -> int:
        """Keys that are ready, and keys that wait to be tried again."""
        with self._changed:
            return len(self._ready) + len(self._waiting)

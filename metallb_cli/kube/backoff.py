"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST = 0.2
LIMIT = 30.0
GOOD_FOR = 60.0
MAX_RETRY_AFTER = 60.0
"""Seconds. A server that asks for more is not obeyed: a proxy's mistake must not stop a daemon for an hour."""


class Backoff:
    """Waits of 0.2 s doubling to 30 s, each shortened at random by up to a half; a good minute starts it again."""

    def __init__(self, first: float = FIRST, limit: float = LIMIT) -> None:
        self._first = first
        self._limit = limit
        self._next = first
        self._good_since: float | None = None

    def succeeded(self, now: float) -> None:
        """Note that things work at this monotonic second."""
        if self._good_since is None:
            self._good_since = now

    def failed(self, now: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait.

        Args:
            now: monotonic seconds.
            retry_after: what the server asks for; the wait is at least that.
        """
        if self._good_since is not None and now - self._good_since >= GOOD_FOR:
            self._next = self._first
        self._good_since = None
        wait = self._next * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        self._next = min(self._limit, self._next * 2)
        return max(wait, min(retry_after or 0.0, MAX_RETRY_AFTER))

"""Waits for several sockets at once and calls whoever each one belongs to."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

Handler = Callable[[float], None]
"""Called when there is something to read, or an error to be told; gets the time on the monotonic clock."""


class Poller:
    """An epoll (epoll(7)) with its handlers."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    def register(self, fd: int, handler: Handler) -> None:
        """Call the handler from `wait` as long as the descriptor is readable."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def unregister(self, fd: int) -> None:
        """Forget a descriptor. Call this before it is closed: the number may come again."""
        self._epoll.unregister(fd)
        del self._handlers[fd]

    def wait(self, timeout: float | None, woken: Handler = lambda _now: None) -> float:
        """Wait at most `timeout` seconds (None: for ever), call the handlers, and return the time they were given.

        `woken` is called before all of them, also when there are none.
        """
        events = self._epoll.poll(timeout)
        now = time.monotonic()
        woken(now)
        for fd, _ in events:
            # A handler may have unregistered one that comes later in the same batch.
            if (handler := self._handlers.get(fd)) is not None:
                handler(now)
        return now

    def close(self) -> None:
        """Close the epoll; the registered descriptors stay open."""
        self._epoll.close()

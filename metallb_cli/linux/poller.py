"""Waits for several sockets at once and calls whoever each one belongs to."""

from __future__ import annotations

import enum
import functools
import math
import select
import time
from collections.abc import Callable

MAX_EVENTS = 64
"""Descriptors looked at in one round; the kernel lets those that were left out come first in the next one."""

MAX_SPIN = 200
"""Microseconds. Who asks later than that after an answer has not waited for it."""

LONGEST = 3600.0
"""Seconds of one sleep at most: an endless deadline is a number like any other."""


class Done(enum.Enum):
    """What a handler has done that leaves nothing to do but to wait for the next frame."""

    ANSWERED = "answered"
    """Somebody had his answer, and may ask again at once."""
    IGNORED = "ignored"
    NOTHING = "nothing"
    """There was nothing to read."""


Handler = Callable[[float], Done | None]
"""Called when there is something to read, or an error to be told; gets the time on the monotonic clock.

Returns None when there may be more to do now, or earlier than it was before."""


class Poller:
    """An epoll (epoll(7)) with its handlers.

    Args:
        spin: seconds for which it looks for the next frame without sleeping after one was answered.

    Attributes:
        more: a handler has left something to do in the last `wait`; otherwise only the deadline was over.
    """

    def __init__(self, spin: float = 0.0) -> None:
        self.more = False
        self._spin = spin
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._resting: dict[int, float] = {}  # until when
        self._rested_at = math.inf  # the earliest of these

    def register(self, fd: int, handler: Handler, rest: float = 0.0) -> None:
        """Call the handler from `wait` as long as the descriptor is readable.

        With a rest, in seconds, the handler is called only so often: what comes meanwhile waits, and is looked for when
        the rest is over. While there is always something, the kernel is not asked at all.
        """
        if rest:
            handler = functools.partial(self._look, fd, handler, rest)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT if rest else select.EPOLLIN)
        self._handlers[fd] = handler

    def unregister(self, fd: int) -> None:
        """Forget a descriptor. Call this before it is closed: the number may come again."""
        self._epoll.unregister(fd)
        del self._handlers[fd]
        if self._resting.pop(fd, None) is not None:
            self._rested_at = min(self._resting.values(), default=math.inf)

    def _look(self, fd: int, handler: Handler, rest: float, now: float) -> Done | None:
        done = handler(now)
        if done is Done.NOTHING:
            self._resting.pop(fd, None)
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        else:
            self._resting[fd] = now + rest
        self._rested_at = min(self._resting.values(), default=math.inf)
        return done

    def wait(self, deadline: float | None, woken: Callable[[float], None] = lambda _now: None) -> float:
        """Call the handlers until one may have left something to do, or until the deadline (None: there is none).

        `woken` is called with the time before any handler: at first, and again once the deadline is over. In between
        nothing has happened but `Done`. Returns the time that the last handlers were given.
        """
        # The one path that must be fast: a lone question goes round this loop once.
        poll, clock, handlers = self._epoll.poll, time.monotonic, self._handlers
        end = math.inf if deadline is None else deadline
        check_at, spin_end = -math.inf, -math.inf
        while True:
            now = clock()
            until = min(end, self._rested_at)
            events = poll(max(0.0, min(until - now, LONGEST)) if now >= spin_end else 0.0, MAX_EVENTS)
            now = clock()
            if now >= self._rested_at:
                events += [(fd, 0) for fd, until in self._resting.items() if until <= now]
            if now >= check_at:
                woken(now)
                check_at = end
            more = answered = False
            for fd, _ in events:
                # A handler may have unregistered one that comes later in the same batch.
                if (handler := handlers.get(fd)) is not None:
                    done = handler(now)
                    more = more or done is None
                    answered = answered or done is Done.ANSWERED
            if more or now >= end:
                self.more = more
                return now
            if answered and self._spin:
                spin_end = clock() + self._spin

    def close(self) -> None:
        """Close the epoll; the registered descriptors stay open."""
        self._epoll.close()

"""Keeps a node silent that was late itself, until it has heard what the others did meanwhile (docs/ownership.md)."""

from __future__ import annotations


class Fence:
    """Whether this node must not answer, on any interface.

    Attributes:
        closed: nothing may be answered or announced.
    """

    def __init__(self) -> None:
        self.closed = False
        self._sound_since: float | None = None

    def check(self, lease: float | None, sent_at: float | None, timeout: float, now: float) -> bool:
        """Look at the clock; return `closed`. To be called whenever the process wakes, before it does anything else.

        Args:
            lease: until when live peers wait for our next heartbeat, as known before sleeping; None without live peers.
            sent_at: when the last heartbeat left, on any interface; None when there is no interface.
            timeout: how long peers wait, in seconds. So long must heartbeats be in time before the fence opens.
            now: the time.
        """
        if (lease is not None and now >= lease) or (self.closed and (sent_at is None or now >= sent_at + timeout)):
            self.closed = True
            self._sound_since = None
        elif self.closed:
            if self._sound_since is None:
                self._sound_since = now
            self.closed = now < self._sound_since + timeout
        return self.closed

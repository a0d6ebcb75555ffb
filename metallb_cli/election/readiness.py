"""Since when a node has listened, and heard enough others, to take over and to claim with strength. Pure."""

from __future__ import annotations

STRENGTH_AFTER = 1.0
"""Seconds for which a node has to hear more than half of the speakers, and lose none, before its claims are strong."""

LONGEST_LISTENING = 10.0
"""Seconds after which a speaker that has started takes over, even though it still hears claims it did not know."""


class Listening:
    """Whether this node has listened for long enough to take anything over.

    Args:
        settle: seconds of listening: after the start, a fence, and news at that time.
        cold: seconds of it after the start instead; None for `settle`.

    Attributes:
        settled: it has.
        until: when it has, as known now.
    """

    def __init__(self, now: float, settle: float, cold: float | None) -> None:
        self._settle = settle
        self._started = now
        self.until = now + (settle if cold is None else cold)
        self.settled = False

    def restart(self, now: float) -> None:
        """Listen anew: this node was late, so that others may have taken over."""
        self.settled = False
        self._started = now
        self.until = max(self.until, now + self._settle)

    def news(self, now: float) -> None:
        """Listen longer: a large set of claims comes section by section, and may not be complete yet."""
        if not self.settled:
            self.until = max(self.until, min(now + self._settle, self._started + max(self._settle, LONGEST_LISTENING)))

    def ends(self, now: float) -> bool:
        """Look at the clock; whether it is over just now."""
        ends = not self.settled and now >= self.until
        self.settled |= ends
        return ends


class Strength:
    """Whether this node has heard more than half of the speakers for long enough.

    Attributes:
        strong: it has.
    """

    def __init__(self) -> None:
        self.strong = False
        self._since: float | None = None

    def hears(self, quorum: bool, lost: bool, now: float) -> None:
        """Take in whether more than half are heard, and whether one is not any more.

        The nodes of a part that is cut off are lost one after the other, and the first ones still leave a majority.
        """
        if not quorum or lost:
            self._since = None
            self.strong = False
        if quorum and self._since is None:
            self._since = now

    def restart(self, now: float) -> None:
        """Count anew: this node was late."""
        if self._since is not None:
            self._since = now
        self.strong = False

    @property
    def until(self) -> float | None:
        """When this node is strong if nothing is lost; None while it does not hear enough, and when it is."""
        return None if self.strong or self._since is None else self._since + STRENGTH_AFTER

    def begins(self, now: float) -> bool:
        """Look at the clock; whether this node is strong just now."""
        begins = self.until is not None and now >= self.until
        self.strong |= begins
        return begins

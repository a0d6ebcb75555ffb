"""How long a node is to get nothing new, after a start or after others believed it dead. Pure."""

from __future__ import annotations

AFTER_START = 3.0
"""Seconds for which a speaker that has just started is unsteady."""

AFTER_ALARM = 10.0
"""Seconds for which it is unsteady after a first false alarm; each further one doubles them."""

LONGEST = 300.0
"""Seconds after which a node is steady again, however many false alarms there were."""

MEMORY = 600.0
"""Seconds for which a false alarm counts."""

SAME_ALARM = 2.0
"""Seconds within which all that goes wrong is one false alarm: a fence, and the claims that are lost with it."""


class Damping:
    """Whether this node is unsteady. `started`: it has just started, while others were running."""

    def __init__(self, now: float, *, started: bool = True) -> None:
        self._until = now + AFTER_START if started else now
        self._alarms: list[float] = []

    def alarm(self, now: float) -> None:
        """Others believed this node dead, or had reason to, while it was running."""
        if self._alarms and now < self._alarms[-1] + SAME_ALARM:
            return
        self._alarms = [*(at for at in self._alarms if now < at + MEMORY), now]
        self._until = max(self._until, now + min(AFTER_ALARM * 2 ** (len(self._alarms) - 1), LONGEST))

    def unsteady(self, now: float) -> bool:
        """Whether the node should get nothing new while a steady one lives."""
        return now < self._until

    @property
    def until(self) -> float:
        """When the node is steady, or became it."""
        return self._until

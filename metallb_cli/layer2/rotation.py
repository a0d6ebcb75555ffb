"""Which section of our claims goes out with which heartbeat: each in its turn, and what has changed before its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

BATCH = 8
"""Frames in a row: some 0.1 ms of work for us and a small part of a receiver's ring."""


class Rotation:
    """The sections of one interface.

    A section that has changed goes out at once, in batches, and once more with the next heartbeat: one frame may be
    lost. All sections go round, one with each heartbeat.
    """

    def __init__(self) -> None:
        self._sections: list[bytes] = []
        self._turn = 0
        self._urgent: deque[bytes] = deque()  # changed, not said yet
        self._said: list[bytes] = []  # changed, said once
        self._repeat: deque[bytes] = deque()  # to be said for the second time

    @property
    def urgent(self) -> bool:
        """Whether something should go out before the next heartbeat."""
        return bool(self._urgent or self._repeat)

    def replace(self, sections: Sequence[bytes]) -> None:
        """Say these from now on, at least one; those that were not there before are urgent."""
        before, wanted = set(self._sections), set(sections)
        self._sections = list(sections)
        self._turn %= len(sections)
        # What no longer holds must not be said any more, least of all after what holds instead.
        self._urgent = deque(s for s in self._urgent if s in wanted)
        self._repeat = deque(s for s in self._repeat if s in wanted)
        self._said = [s for s in self._said if s in wanted]
        self._urgent.extend(s for s in sections if s not in before)

    def hurry(self) -> None:
        """Say everything now, as if it had changed: somebody listens who was not there before."""
        self._urgent = deque(self._sections)
        self._said.clear()
        self._repeat.clear()

    def hurry_one(self) -> None:
        """Say something now: what else stands in the frame has changed."""
        if not self._urgent:
            self._urgent.append(self._sections[self._turn])

    def take(self, *, heartbeat: bool) -> list[bytes]:
        """Return what goes out now, at most BATCH and one: with a heartbeat at least one section."""
        if heartbeat:
            self._repeat.extend(self._said)
            self._said.clear()
        out: list[bytes] = []
        while len(out) < BATCH and self._urgent:
            out.append(self._urgent.popleft())
        self._said += out
        while len(out) < BATCH and self._repeat:
            out.append(self._repeat.popleft())
        if heartbeat:
            if (section := self._sections[self._turn]) not in out:
                out.append(section)
            self._turn = (self._turn + 1) % len(self._sections)
        return out

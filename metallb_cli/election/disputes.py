"""When an address is taken from a live node that goes on claiming it. Pure."""

from __future__ import annotations

from metallb_cli.election.claims import epoch_after
from metallb_cli.election.electorate import Record
from metallb_cli.election.readiness import Listening, Strength
from metallb_cli.election.timers import Timers
from metallb_cli.model import Claim

PATIENCE = 2.0
"""Seconds for which the claim of a live node is respected that, as this node sees it, may not answer.

It may know more than we do. The same wait, doubled each time, keeps two nodes that go on seeing different API objects
from taking an address from each other all the time.
"""

LONGEST_PATIENCE = 300.0
"""Seconds at which that wait stops growing. It begins anew after twice as long without a dispute."""


class Disputes:
    """The patience of one node, kept on the records."""

    def __init__(self, listening: Listening, strength: Strength, timers: Timers) -> None:
        self._listening = listening
        self._strength = strength
        self._timers = timers
        self.blocked: set[Record] = set()
        """To be looked at when the node is settled, or when its claims are strong."""

    def respects(self, record: Record, node: str, claim: Claim, now: float) -> bool:
        """Whether the claim of a live node counts that may not answer, as this node sees it."""
        rival = node, claim.epoch
        if record.rival != rival:
            record.rival = rival
            _grow_patience(record, now)
            self._timers.wake(record, record.patience)
        if now < record.patience:
            return True
        if self._would_beat(record, claim):
            return False
        self.blocked.add(record)
        return True

    def may_challenge(self, record: Record, claim: Claim, now: float) -> bool:
        """Whether to claim now what a live node has, and is to keep until it hears the claim."""
        if not self._listening.settled or not self._would_beat(record, claim):
            self.blocked.add(record)
        elif now < record.patience:
            self._timers.wake(record, record.patience)
        else:
            _grow_patience(record, now)
            return True
        return False

    def _would_beat(self, record: Record, claim: Claim) -> bool:
        """Whether a claim made now is better than this one by more than the hash."""
        return (self._strength.strong, epoch_after(record.top)) > (claim.strong, claim.epoch)


def _grow_patience(record: Record, now: float) -> None:
    if now >= record.patience + 2 * LONGEST_PATIENCE:
        record.wait = 0.0
    record.wait = min(2 * record.wait or PATIENCE, LONGEST_PATIENCE)
    record.patience = now + record.wait

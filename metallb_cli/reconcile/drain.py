"""How far the draining of a node has come: which address went where, which one stays, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from metallb_cli.model import IPAddress
from metallb_cli.reconcile.audit import Snapshot
from metallb_cli.reconcile.explain import names
from metallb_cli.reconcile.situation import Situation, situation

STUCK_AFTER = 3.0
"""Seconds for which nobody else may answer until that is the result: pods and speakers come and go."""


class Handover(Enum):
    """What became of an address."""

    HELD = "held"
    """The node still announces it; another one may take over."""
    MOVED = "moved"
    """Another node announces it, and this one does not any more."""
    RELEASED = "released"
    """Nobody says that it announces it, though somebody may."""
    STAYS = "stays"
    """The node still announces it, because no other may: the last one does not withdraw an address."""
    GONE = "gone"
    """Nobody shall announce it any more: its Service is gone, has another address, or has no ready pod."""


@dataclass(frozen=True, slots=True)
class DrainedAddress:
    """An address that the node announced at some time since the drain began.

    Attributes:
        service: `namespace/name`; None when no Service has the address.
        holders: the other nodes that announce it.
        seconds: since the drain began, when it was first seen as it is now.
        explanation: why it stays; empty otherwise.
    """

    address: str
    service: str | None
    state: Handover
    holders: tuple[str, ...] = ()
    seconds: float = 0.0
    explanation: str = ""

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.state in (Handover.MOVED, Handover.GONE)


class Drain:
    """Follows one node from snapshot to snapshot.

    Attributes:
        speaker: whether a live speaker runs on the node.
        complete: whether the speaker says all that it announces.
        addresses: by address, in order.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.speaker = False
        self.complete = False
        self.addresses: tuple[DrainedAddress, ...] = ()
        self._tracked: set[IPAddress] = set()
        self._stuck_since: float | None = None
        self._seconds = 0.0

    def observe(self, snapshot: Snapshot, seconds: float) -> tuple[DrainedAddress, ...]:
        """Take in what was read `seconds` after the beginning; return the addresses whose state changed."""
        now = situation(snapshot, self._tracked)
        known = now.announced.get(self.node)
        self.speaker = known is not None
        self.complete = known is None or known.complete
        if known is not None and not known.addresses <= self._tracked:
            self._tracked |= known.addresses
            now = situation(snapshot, self._tracked)
        before = {each.address: each for each in self.addresses}
        ordered = sorted(self._tracked, key=lambda a: (a.version, int(a)))
        self.addresses = tuple(self._follow(before.get(str(a)), self._look(a, now), seconds) for a in ordered)
        left = [each for each in self.addresses if not each.settled]
        stays = bool(left) and all(each.state is Handover.STAYS for each in left)
        self._stuck_since = (seconds if self._stuck_since is None else self._stuck_since) if stays else None
        self._seconds = seconds
        return tuple(e for e in self.addresses if e.address not in before or before[e.address].state != e.state)

    @property
    def done(self) -> bool:
        """Whether the node announces nothing any more, and others all that somebody may announce."""
        return self.complete and all(each.settled for each in self.addresses)

    @property
    def stuck(self) -> bool:
        """Whether all that is left stays, because for a while no other node has been allowed to answer for it."""
        return self._stuck_since is not None and self._seconds >= self._stuck_since + STUCK_AFTER

    @staticmethod
    def _follow(before: DrainedAddress | None, now: DrainedAddress, seconds: float) -> DrainedAddress:
        since = before.seconds if before is not None and before.state is now.state else seconds
        return DrainedAddress(now.address, now.service, now.state, now.holders, since, now.explanation)

    def _look(self, address: IPAddress, now: Situation) -> DrainedAddress:
        verdict = now.verdicts.get(address)
        holders = now.holders(address)
        others = tuple(node for node in holders if node != self.node)
        heirs = now.heirs(address, self.node)
        explanation = ""
        if self.node in holders:
            # What this node may not announce itself any more it will let go of without an heir.
            stays = not heirs and verdict is not None and self.node in verdict.candidates
            state = Handover.STAYS if stays else Handover.HELD
            if stays:
                obstacles = now.obstacles(address, self.node)
                explanation = (
                    f"no other node may answer for it: {names(obstacles)}" if obstacles else "there is no other node"
                )
        elif others:
            state = Handover.MOVED
        else:
            state = Handover.RELEASED if verdict is not None and verdict.candidates else Handover.GONE
        return DrainedAddress(
            str(address), None if verdict is None else str(verdict.service), state, others, explanation=explanation
        )

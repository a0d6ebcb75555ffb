"""What is known of other speakers: on one interface, and on all interfaces together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metallb_cli.layer2.heartbeat import LEAVING, UNSTEADY, overlap, tag
from metallb_cli.model import Peer

MAX_SECTIONS = 512
"""Sections remembered of one peer: more than 30 000 IPv4 claims. The oldest is forgotten; when it comes again, it
counts as changed."""

MAX_MACS = 8
"""MAC addresses of one peer on one LAN: so many of its interfaces may be there."""

MAX_REMEMBERED = 256
"""Peers remembered of interfaces that are gone. The one heard longest ago is forgotten."""


class Sighting(NamedTuple):
    """A peer as one interface hears it.

    Attributes:
        sequence: the highest that was heard; what is not higher is a replay.
        live: heard in time, and it hears us.
        flags: LEAVING, UNSTEADY of `heartbeat`.
        heard: when last, on the clock of `now`.
    """

    node: str
    boot: int
    sequence: int
    live: bool
    flags: int
    heard: float


class Neighbour:
    """What one interface knows of one peer.

    Attributes:
        tag: of its present boot.
        answered: when it last said that it hears us.
        timeout: seconds of silence after which it is dead: its interval times its misses.
        audible: it was heard in time, so it is told that it is.
        live: audible, and it hears us.
        frame: the last one that said something new, if it also said that it hears us.
        macs: from which it was heard, and when last.
        sections: by their bounds, encoded; no two overlap.
        news: bounds of the sections to be reported.
    """

    __slots__ = (
        *("node", "boot", "sequence", "tag", "flags", "timeout", "heard", "answered", "audible", "live"),
        *("frame", "macs", "sections", "news"),
    )

    def __init__(self, node: str, boot: int, heard: float) -> None:
        self.node = node
        self.flags = 0
        self.heard = heard
        self.timeout = 0.0
        self.macs: dict[bytes, float] = {}
        self.sections: dict[bytes, bytes] = {}
        self.news: dict[bytes, None] = {}
        self.restart(boot)

    def restart(self, boot: int) -> None:
        """Take in that another speaker runs there now: what the one before said no longer counts."""
        self.boot = boot
        self.tag = tag(self.node, boot)
        self.sequence = -1
        self.answered = -math.inf
        self.audible = self.live = False
        self.frame = b""
        self.sections.clear()
        self.news.clear()

    def store(self, bounds: bytes, section: bytes) -> None:
        """Remember a section that is new or has changed."""
        if bounds not in self.sections:
            for other in [other for other in self.sections if overlap(other, bounds)]:
                self._forget(other)
            if len(self.sections) >= MAX_SECTIONS:
                self._forget(next(iter(self.sections)))
        self.sections[bounds] = section
        self.news[bounds] = None

    def _forget(self, bounds: bytes) -> None:
        del self.sections[bounds]
        self.news.pop(bounds, None)

    def note_mac(self, mac: bytes, now: float) -> bool:
        """Take in from where it was heard. Returns whether that is new."""
        new = mac not in self.macs
        if new and len(self.macs) >= MAX_MACS:
            del self.macs[min(self.macs, key=self.macs.__getitem__)]
        self.macs[mac] = now
        return new

    def drop_silent_macs(self, now: float) -> bool:
        """Forget from where it was not heard in time. Returns whether there was any."""
        silent = [mac for mac, heard in self.macs.items() if heard + self.timeout <= now]
        for mac in silent:
            del self.macs[mac]
        return bool(silent)

    def sighting(self) -> Sighting:
        """What other interfaces should know."""
        return Sighting(self.node, self.boot, self.sequence, self.live, self.flags, self.heard)


class Memory:
    """Remembers peers beyond the life of an interface: who was heard there is dead now and not unknown.

    What is remembered also keeps frames that were recorded before from being believed afterwards.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Sighting] = {}

    def keep(self, sightings: Iterable[Sighting]) -> None:
        """Remember what an interface knew that is gone."""
        self._latest = {seen.node: seen._replace(live=False) for seen in self.with_those_of(sightings)}
        while len(self._latest) > MAX_REMEMBERED:
            del self._latest[min(self._latest, key=lambda node: self._latest[node].heard)]

    def with_those_of(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """The newest sighting of each node, of those remembered and these."""
        latest = self._latest.copy()
        for seen in sightings:
            known = latest.get(seen.node, seen)
            latest[seen.node] = max(known, seen, key=_newest)
        return list(latest.values())

    def combine(self, heard: Mapping[str, Iterable[Sighting]], now: float) -> tuple[Peer, ...]:
        """Every peer as all interfaces together know it, sorted by node. `heard`: by the name of the interface."""
        on_interfaces = [(name, seen) for name, sightings in heard.items() for seen in sightings]
        peers = []
        for newest in self.with_those_of(seen for _, seen in on_interfaces):
            live = tuple(
                sorted(name for name, s in on_interfaces if s.live and (s.node, s.boot) == (newest.node, newest.boot))
            )
            peers.append(
                Peer(
                    node=newest.node,
                    boot=newest.boot,
                    live=bool(live),
                    leaving=bool(newest.flags & LEAVING),
                    unsteady=bool(newest.flags & UNSTEADY),
                    interfaces=live,
                    silence=max(0.0, now - newest.heard),
                )
            )
        return tuple(sorted(peers, key=lambda peer: peer.node))


def _newest(seen: Sighting) -> tuple[int, int]:
    return seen.boot, seen.sequence

"""What `layer2.beacon.Beacon` says and hears, as objects and not as bytes: faster, for very many histories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import ip_address

from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings, PeerClaims
from metallb_cli.layer2.peers import Sighting
from metallb_cli.model import Section

FIRST, LAST = ip_address("0.0.0.0"), ip_address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class PlainFrame:
    node: str
    boot: int
    sequence: int
    flags: int
    hears: frozenset[tuple[str, int]]
    section: Section


class _Neighbour:
    __slots__ = ("answered", "boot", "flags", "heard", "hears", "live", "news", "section", "sequence")

    def __init__(self, boot: int) -> None:
        self.boot = boot
        self.sequence = -1
        self.heard = self.answered = -math.inf
        self.flags = 0
        self.live = False
        self.hears: frozenset[tuple[str, int]] = frozenset()
        self.section: Section | None = None
        self.news = False


class PlainBeacon:
    """The part of a Beacon's interface that a node needs. All claims are IPv4 and fit into one section."""

    def __init__(self, settings: HeartbeatSettings, now: float) -> None:
        self.node, self.boot = settings.node, settings.boot
        self.interval = settings.interval
        self.timeout = settings.interval * settings.misses
        self.sent_at = now
        self.peers_changed = False
        self._next = now
        self._urgent = False
        self._flags = 0
        self._section = Section(FIRST, LAST)
        self._sequence = 0
        self._peers: dict[str, _Neighbour] = {}
        self._hears: frozenset[tuple[str, int]] = frozenset()
        self._out: list[PlainFrame] = []

    def claim(self, announcements: AnnouncementSet, versions: tuple[int, ...]) -> None:
        flags = announcements.leaving + 2 * announcements.unsteady
        section = Section(FIRST, LAST, tuple(announcements.claims.items()))
        if (flags, section) != (self._flags, self._section):
            self._flags, self._section, self._urgent = flags, section, True

    def resume(self, mac: bytes, now: float) -> None:
        self._next = now

    def begin_anew(self, now: float) -> None:
        """As a new Beacon on the same interface, which only remembers whom the one before had heard."""
        self.sent_at = self._next = now
        for peer in self._peers.values():
            peer.heard = peer.answered = -math.inf
            peer.live = False
        self._collect()
        self.peers_changed = True

    def receive_frame(self, frame: PlainFrame, now: float) -> None:
        peer = self._peers.get(frame.node)
        if peer is None or frame.boot > peer.boot:
            peer = self._peers[frame.node] = _Neighbour(frame.boot)
            self.peers_changed = True
        elif frame.boot < peer.boot or frame.sequence <= peer.sequence:
            return
        audible = peer.heard + self.timeout > now
        peer.sequence, peer.heard = frame.sequence, now
        if not audible:
            self._collect()
        if frame.flags != peer.flags:
            peer.flags = frame.flags
            self.peers_changed = True
        peer.hears = frame.hears
        if (self.node, self.boot) in frame.hears:
            peer.answered = now
        else:
            peer.answered = -math.inf
        if frame.section is not peer.section:
            peer.section, peer.news = frame.section, True
        self._judge(peer, now)

    def receive_repetition(self, frame: PlainFrame, now: float) -> bool:
        """Take the frame in and return True, if it says nothing that the control process has to know."""
        peer = self._peers.get(frame.node)
        if peer is None or frame.boot != peer.boot or frame.sequence <= peer.sequence or not peer.live:
            return False
        if frame.section is not peer.section or frame.flags != peer.flags or frame.hears is not peer.hears:
            return False
        if peer.heard + self.timeout <= now or peer.answered + self.timeout <= now:
            return False
        peer.sequence = frame.sequence
        peer.heard = peer.answered = now
        return True

    def _judge(self, peer: _Neighbour, now: float) -> None:
        live = peer.answered + self.timeout > now
        if live is not peer.live:
            peer.live = live
            peer.news |= live
            self.peers_changed = True

    def _collect(self) -> None:
        self._hears = frozenset((node, peer.boot) for node, peer in self._peers.items() if peer.heard > -math.inf)

    def next_deadline(self) -> float:
        return 0.0 if self._urgent else self._next

    def handle_timer(self, now: float) -> None:
        beat = now >= self._next
        if beat:
            self._next = max(self._next + self.interval, now + self.interval / 2)
            for peer in self._peers.values():
                self._judge(peer, now)
                if peer.heard + self.timeout <= now and peer.heard > -math.inf:
                    peer.heard = -math.inf
                    self._collect()
        if beat or self._urgent:
            self._urgent = False
            self._sequence += 1
            self._out.append(PlainFrame(self.node, self.boot, self._sequence, self._flags, self._hears, self._section))

    def frames_to_send(self) -> list[PlainFrame]:
        out, self._out = self._out, []
        return out

    @property
    def lease(self) -> float | None:
        return self.sent_at + self.timeout if any(peer.live for peer in self._peers.values()) else None

    def sightings(self) -> list[Sighting]:
        return [
            Sighting(node, peer.boot, peer.sequence, peer.live, peer.flags, peer.heard)
            for node, peer in self._peers.items()
        ]

    def take_claims(self, limit: int) -> list[PeerClaims]:
        taken = []
        for node, peer in self._peers.items():
            if peer.live and peer.news and peer.section is not None:
                peer.news = False
                taken.append(PeerClaims(node, peer.boot, peer.section))
        return taken

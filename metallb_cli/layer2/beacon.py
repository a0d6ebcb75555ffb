"""Says on one interface that this node lives and what it claims, and hears the same of others (docs/ownership.md).

Bytes and a clock in, bytes out, as in `engine`: call `claim` when the claims change, `receive_frame` for every frame,
and `handle_timer` at `next_deadline()`; after each send what `frames_to_send` returns. What the control process should
know is in `peers_changed` and `take_claims`.

The heartbeat of a peer that says nothing new costs the check of its signature and a few comparisons.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable

from metallb_cli.layer2 import heartbeat
from metallb_cli.layer2.claim_sections import cut
from metallb_cli.layer2.heartbeat import LEAVING, MAX_TAGS, TAG_LENGTH, UNSTEADY, Heartbeat, Ignored
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings, PeerClaims
from metallb_cli.layer2.peers import Neighbour, Sighting
from metallb_cli.layer2.rotation import Rotation
from metallb_cli.model import Claim, IPAddress

MAX_PEERS = 256
"""Peers of one interface. Only who has the key becomes one, and no LAN should have so many speakers. For one more the
dead peer that was heard longest ago is forgotten."""

TIMEOUT = 0.02, 60.0
"""Seconds: bounds of the silence that a peer may ask for before it is dead."""

PAUSE = 0.01
"""Seconds between batches of frames. 10 000 claims that are all new are out within 0.2 s, at 1 MB/s."""

REPETITION = 1.0
"""Seconds before all claims are said again at once for peers that have become live since: some may come and go."""

TAGS_STEP = 16
"""Sections leave room for a multiple of so many tags, so that a new peer seldom changes where they are cut."""


class Sequence:
    """Numbers the heartbeats of all interfaces of this node, each higher than all before.

    They follow the clock, in microseconds. So an interface that comes back goes on above what it said before, and what
    was recorded on another LAN of the same node is hardly newer than what was heard here.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, now: float) -> int:
        """Return the next number."""
        self._last = max(self._last + 1, int(now * 1e6))
        return self._last


class Beacon:
    """The heartbeats of one interface with one MAC address. The first is due at once.

    Args:
        mac: of the interface.
        settings: `node` and `boot` stay the same as long as the beacon lives.
        sequence: shared by all beacons of this node.
        now: the time.
        remembered: peers known from other interfaces or from earlier; here they are dead until heard again.

    Attributes:
        timeout: seconds without a heartbeat of ours after which others take us for dead.
        drops: heartbeats not taken in, by reason.
        peers_changed: a peer is new, live, dead, or says something else of itself, since this was last set to False.
        claims_changed: `take_claims` has something to return.
        peer_macs: from which live peers are heard.
        sent_at: set this when frames have left, to a time before they did.
    """

    def __init__(
        self,
        mac: bytes,
        settings: HeartbeatSettings,
        sequence: Sequence,
        now: float,
        remembered: Iterable[Sighting] = (),
    ) -> None:
        self.drops: Counter[Ignored] = Counter()
        self.peers_changed = self.claims_changed = False
        self.peer_macs: frozenset[bytes] = frozenset()
        self.sent_at = now
        self._mac = mac
        self._settings = settings
        self._own_tag = heartbeat.tag(settings.node, settings.boot)
        self._sequence = sequence
        self._flags = 0
        self._claims: dict[int, list[tuple[IPAddress, Claim]]] = {4: []}
        self._rotation = Rotation()
        self._spare_tags = TAGS_STEP
        self._peers: dict[str, Neighbour] = {}
        self._live = 0
        for seen in sorted(remembered, key=lambda seen: seen.heard)[-MAX_PEERS:]:
            peer = self._peers[seen.node] = Neighbour(seen.node, seen.boot, seen.heard)
            peer.sequence, peer.flags = seen.sequence, seen.flags
        self._expiry = math.inf  # before then no peer falls silent
        self._tags: list[bytes] = []
        self._first_tag = 0
        self._out: list[bytes] = []
        self._batch_at = now
        self._newcomers = False  # somebody has become live who should hear everything
        self._all_said = -math.inf  # when they were told last
        self._start, self._beats = now, 0  # the next heartbeat is due at start + beats * interval
        self._cut()
        self.follow(settings, now)

    def follow(self, settings: HeartbeatSettings, now: float) -> None:
        """Go on with other keys, another interval or other misses."""
        before, self._settings = self._settings, settings
        if settings.interval != before.interval:
            self._start, self._beats = now, 0
        self._milliseconds = max(1, round(settings.interval * 1000))
        self._interval = self._milliseconds / 1000
        self.timeout = self._interval * settings.misses

    def claim(self, announcements: AnnouncementSet, versions: Collection[int]) -> None:
        """Say from now on what a set says; what has changed goes out at once.

        Args:
            announcements: its claims and flags.
            versions: the IP versions of which this speaker has ever claimed an address, and may claim one.
        """
        flags = announcements.leaving * LEAVING | announcements.unsteady * UNSTEADY
        claims: dict[int, list[tuple[IPAddress, Claim]]] = {version: [] for version in versions or (4,)}
        for address, claim in announcements.claims.items():
            claims.setdefault(address.version, []).append((address, claim))
        self._claims = claims
        self._cut()
        if flags != self._flags:
            self._flags = flags
            self._rotation.hurry_one()

    def _cut(self) -> None:
        room = heartbeat.room(len(self._settings.node), self._spare_tags)
        sections = [section for version, claims in self._claims.items() for section in cut(claims, version, room)]
        self._rotation.replace(sections)

    def resume(self, mac: bytes, now: float) -> None:
        """Go on after the interface was away for a moment, during which nothing was said, heard or noticed.

        Who was heard before counts as silent since then. The next heartbeat is due at once, so that nobody misses us.

        Args:
            mac: of the interface, which may be another one than before.
            now: the time.
        """
        self._mac = mac
        self._start, self._beats = now, 0

    # -- hearing

    def receive_frame(self, frame: bytes, now: float) -> Ignored | None:
        """Take in a heartbeat and return None, or return why not. Takes any bytes."""
        keys = self._settings.keys
        peer = self._peers.get(heartbeat.sender(frame))
        if peer is not None and peer.live:
            sequence = heartbeat.decode_repetition(frame, peer.frame, keys)
            if sequence is not None and sequence > peer.sequence:
                peer.sequence = sequence
                peer.heard = peer.answered = peer.macs[frame[6:12]] = now
                self._expiry = min(self._expiry, now + peer.timeout)
                return None
        seen = heartbeat.decode(frame, keys)
        ignored = self._hear(seen, frame, now) if isinstance(seen, Heartbeat) else seen
        if ignored is not None:
            self.drops[ignored] += 1
        return ignored

    def _hear(self, seen: Heartbeat, frame: bytes, now: float) -> Ignored | None:
        if seen.node == self._settings.node:
            return Ignored.OWN
        peer = self._peers.get(seen.node)
        if peer is not None and (seen.boot, seen.sequence) <= (peer.boot, peer.sequence):
            return Ignored.REPLAY
        bounds = heartbeat.bounds(seen.section)
        known = peer is not None and peer.boot == seen.boot and peer.sections.get(bounds) == seen.section
        if not known and not heartbeat.well_formed(seen.section):
            return Ignored.MALFORMED
        if peer is None:
            peer = self._admit(seen, now)
            if peer is None:
                return Ignored.TOO_MANY
        elif seen.boot != peer.boot:
            self._silence(peer)
            peer.restart(seen.boot)
            self.peers_changed = True
        if not known and len(bounds) > 1:
            peer.store(bounds, seen.section)
            self.claims_changed |= peer.live
        self._note(peer, seen, now)
        peer.frame = frame if peer.answered == now else b""
        return None

    def _admit(self, seen: Heartbeat, now: float) -> Neighbour | None:
        """Begin to know a node; None when there is no room."""
        if len(self._peers) >= MAX_PEERS:
            dead = [peer for peer in self._peers.values() if not peer.audible]
            if not dead:
                return None
            del self._peers[min(dead, key=lambda peer: peer.heard).node]
        peer = self._peers[seen.node] = Neighbour(seen.node, seen.boot, now)
        self.peers_changed = True
        return peer

    def _note(self, peer: Neighbour, seen: Heartbeat, now: float) -> None:
        """Take in all but the section of a heartbeat that is in order."""
        peer.sequence, peer.heard = seen.sequence, now
        peer.timeout = min(max(seen.interval * seen.misses / 1000, TIMEOUT[0]), TIMEOUT[1])
        if seen.flags != peer.flags:
            peer.flags = seen.flags
            self.peers_changed = True
        if not peer.audible:
            peer.audible = True
            self._collect_tags()
        if self._names_us(seen.tags):
            peer.answered = now
        elif len(seen.tags) < MAX_TAGS * TAG_LENGTH:  # a full list does not name all, so it says nothing about us
            peer.answered = -math.inf
        live = peer.answered + peer.timeout > now
        if peer.note_mac(seen.source, now) and live and peer.live:
            self._collect_macs()
        if live is not peer.live:
            if live:
                self._welcome(peer)
            else:
                self._silence(peer)
        self._expiry = min(self._expiry, now + peer.timeout)

    def _names_us(self, tags: bytes) -> bool:
        at = tags.find(self._own_tag)
        while at > 0 and at % TAG_LENGTH:
            at = tags.find(self._own_tag, at + 1)
        return at >= 0

    def _welcome(self, peer: Neighbour) -> None:
        """A peer is live: report what it has said, and tell it everything."""
        peer.live = True
        self._live += 1
        peer.news = dict.fromkeys(peer.sections)
        self.peers_changed = self.claims_changed = self._newcomers = True
        self._collect_macs()

    def _silence(self, peer: Neighbour) -> None:
        """A peer is no longer live."""
        if peer.live:
            peer.live = False
            self._live -= 1
            self.peers_changed = True
            self._collect_macs()

    def _collect_macs(self) -> None:
        self.peer_macs = frozenset(mac for peer in self._peers.values() if peer.live for mac in peer.macs)

    def _collect_tags(self) -> None:
        self._tags = [peer.tag for peer in self._peers.values() if peer.audible]
        wanted = min(MAX_TAGS, -(-len(self._tags) // TAGS_STEP) * TAGS_STEP)
        if wanted > self._spare_tags:
            self._spare_tags = wanted
            self._cut()

    # -- time

    def next_deadline(self) -> float:
        """When `handle_timer` has something to do, on the clock of `now`."""
        deadline = min(self._start + self._beats * self._interval, self._expiry)
        return min(deadline, self._batch_at) if self._rotation.urgent else deadline

    def handle_timer(self, now: float) -> None:
        """Queue the frames that are due, and notice who has fallen silent."""
        if now >= self._expiry:
            self._expire(now)
        beat = now >= self._start + self._beats * self._interval
        if beat:  # those that were missed are left out
            self._beats = max(self._beats, math.floor((now - self._start) / self._interval)) + 1
            if self._start + self._beats * self._interval <= now:  # the division was rounded down
                self._beats += 1
            if self._newcomers and now >= self._all_said + REPETITION:
                self._newcomers, self._all_said = False, now
                self._rotation.hurry()
        if beat or (self._rotation.urgent and now >= self._batch_at):
            self._batch_at = now + PAUSE
            self._out += [self._say(section, now) for section in self._rotation.take(heartbeat=beat)]

    def _say(self, section: bytes, now: float) -> bytes:
        tags = self._tags
        if len(tags) > MAX_TAGS:
            self._first_tag = (self._first_tag + MAX_TAGS) % len(tags)
            tags = (tags + tags)[self._first_tag : self._first_tag + MAX_TAGS]
        settings = self._settings
        said = Heartbeat(
            source=self._mac,
            flags=self._flags,
            boot=settings.boot,
            sequence=self._sequence.next(now),
            interval=self._milliseconds,
            misses=settings.misses,
            node=settings.node,
            tags=b"".join(tags),
            section=section,
        )
        return heartbeat.encode(said, settings.keys[0])

    def _expire(self, now: float) -> None:
        self._expiry = math.inf
        for peer in self._peers.values():
            if not peer.audible:
                continue
            if peer.answered + peer.timeout <= now:
                self._silence(peer)
            if len(peer.macs) > 1 and peer.drop_silent_macs(now) and peer.live:
                self._collect_macs()
            if peer.heard + peer.timeout <= now:
                peer.audible = False
            else:
                ends = (peer.answered if peer.live else peer.heard) + peer.timeout
                self._expiry = min(self._expiry, ends)
        self._collect_tags()

    def frames_to_send(self) -> list[bytes]:
        """Take the queued frames, in order."""
        out, self._out = self._out, []
        return out

    # -- what was heard

    @property
    def lease(self) -> float | None:
        """Until when nobody takes over from us; None when nobody is there who would."""
        return self.sent_at + self.timeout if self._live else None

    def sightings(self) -> list[Sighting]:
        """Every peer as it is heard here."""
        return [peer.sighting() for peer in self._peers.values()]

    def take_claims(self, limit: int) -> list[PeerClaims]:
        """Take the sections of live peers that have changed or whose peer has become live, at most `limit`."""
        taken: list[PeerClaims] = []
        if not self.claims_changed:
            return taken
        for peer in self._peers.values():
            while peer.live and peer.news:
                if len(taken) >= limit:
                    return taken
                bounds = next(iter(peer.news))
                del peer.news[bounds]
                section = heartbeat.decode_section(peer.sections[bounds])
                taken.append(PeerClaims(peer.node, peer.boot, section))
        self.claims_changed = False
        return taken

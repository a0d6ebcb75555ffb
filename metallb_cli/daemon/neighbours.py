"""What is known of the other speakers: from the LAN, by the link process, and from their Leases.

The link's thread leaves its reports here, and the one thread that decides feeds them to the election. A Lease counts
only for a speaker that is not heard on the LAN: heartbeats are newer, and the Lease of a cut-off node is still renewed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from metallb_cli.election import Ownership
from metallb_cli.layer2.messages import PeerClaims, PeersReport
from metallb_cli.model import Claim, Lease, Peer, Section
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    SPEAKER,
    decode_addresses,
    decode_claims,
    speaker_note,
)
from metallb_cli.reconcile.liveness import node_of
from metallb_cli.reconcile.standings import LeasedSpeaker, Standings, standings

DISCOVERY = 1.0
"""Seconds in which two speakers that begin to hear each other may do so one way only: it takes a heartbeat or two.

So long this node also waits after its own interface came back, before it believes that others are dead.
"""

HEARTBEATS_DUE = 2.0
"""Seconds after its Lease says that a speaker sends heartbeats, from which on not hearing any means something."""

MAX_QUEUED = 4096
"""Sections that wait to be fed. More are only queued by a peer that floods; the oldest go, and come round again."""

EARLIER = ""
"""Stands for this node's speaker before it was started anew, so that the LAN is not asked who has what it had."""

EARLIER_COUNTS = 10.0
"""Seconds after the start for which it is remembered what the speaker before had."""

_FAMILIES = (
    (IPv4Address(0), IPv4Address((1 << 32) - 1)),
    (IPv6Address(0), IPv6Address((1 << 128) - 1)),
)


@dataclass(slots=True)
class _Heard:
    """What is remembered of one peer: which start, since when it is known, and whether it ever was live."""

    boot: int
    since: float
    was_live: bool = False


@dataclass(slots=True)
class Died:
    """How deaths were noticed.

    Attributes:
        silence: seconds that a node had been silent for when it was reported dead.
        reported_at: when the newest report of peers came (monotonic).
    """

    silence: dict[str, float] = field(default_factory=dict)
    reported_at: float = 0.0


class Neighbours:
    """The other speakers. `on_change` is called from any thread when there is something new to `feed`."""

    def __init__(self, me: str, on_change: Callable[[], None]) -> None:
        self._me = me
        self._on_change = on_change
        self._lock = threading.Lock()
        self._reported: tuple[Peer, ...] = ()
        self._sections: deque[PeerClaims] = deque(maxlen=MAX_QUEUED)
        self._heard: dict[str, _Heard] = {}
        self._notes: dict[str, tuple[str | None, str | None]] = {}
        self._heartbeats_since: dict[tuple[str, int], float] = {}
        self._fed: Standings | None = None
        self._earlier_until: float | None = None
        self._connected_since: float | None = None
        self.died = Died()

    # -- the link's thread

    def on_peers(self, report: PeersReport) -> None:
        """Take in who is heard."""
        with self._lock:
            self._reported = report.peers
            self.died.reported_at = time.monotonic()
        self._on_change()

    def on_claims(self, claims: PeerClaims) -> None:
        """Take in what a peer claims."""
        with self._lock:
            self._sections.append(claims)
        self._on_change()

    # -- the deciding thread

    def remember(self, ownership: Ownership, before: Lease | None, now: float) -> None:
        """Take in what this node's own speaker had before it started anew."""
        self._earlier_until = now + EARLIER_COUNTS
        for section in _sections(before) if before is not None else ():
            ownership.hear(EARLIER, section, now)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Everybody who is or was heard."""
        return self._reported

    @property
    def standings(self) -> Standings:
        """Who is alive, as of the last `feed`."""
        return self._fed or Standings({}, quorum=True)

    def feed(
        self,
        ownership: Ownership,
        leases: Iterable[tuple[Lease, bool]],
        draining: Collection[str],
        now: float,
        *,
        connected: bool,
    ) -> None:
        """Tell the election everything that is new.

        Nobody is believed dead while this node itself is cut off, or has only just come back: it hears nobody then.

        Args:
            ownership: this node's part in the election.
            leases: of speakers, each with whether it is live.
            draining: nodes that an operator drains.
            now: monotonic seconds.
            connected: this node has a usable interface.
        """
        with self._lock:
            reported = self._reported
            sections = list(self._sections)
            self._sections.clear()
        peers = self._follow(ownership, reported, now)
        for heard in sections:
            known = self._heard.get(heard.node)
            if known is not None and known.boot == heard.boot:
                ownership.hear(heard.node, heard.section, now)
        if self._earlier_until is not None and now >= self._earlier_until:
            self._earlier_until = None
            ownership.forget(EARLIER)
        leased = [self._read(ownership, lease, live, now) for lease, live in leases]
        self._forget_gone(ownership, {speaker.node for speaker in leased})
        found = standings(self._me, peers, leased, draining)
        self._connected_since = (self._connected_since or now) if connected else None
        if self._fed is not None and (self._connected_since is None or now < self._connected_since + DISCOVERY):
            found = Standings({**self._fed.speakers, **found.speakers}, found.quorum)
        if found != self._fed:
            self._fed = found
            ownership.set_live(found.speakers, found.quorum, now)

    def next_deadline(self, now: float) -> float | None:
        """When time alone changes what `feed` would say."""
        waiting = [h.since + DISCOVERY for h in self._heard.values() if not h.was_live]
        waiting += [since + HEARTBEATS_DUE for since in self._heartbeats_since.values()]
        if self._connected_since is not None:
            waiting.append(self._connected_since + DISCOVERY)
        return min((at for at in waiting if at > now), default=None)

    def _follow(self, ownership: Ownership, reported: tuple[Peer, ...], now: float) -> dict[str, Peer]:
        """Return the peers whose state means something: all but those that have only just been met."""
        peers = {}
        for peer in reported:
            known = self._heard.get(peer.node)
            if known is None or known.boot != peer.boot:
                if known is not None:
                    ownership.forget(peer.node)
                known = self._heard[peer.node] = _Heard(peer.boot, now)
                self._notes.pop(peer.node, None)
            if known.was_live and not peer.live:
                self.died.silence[peer.node] = peer.silence
            known.was_live |= peer.live
            if known.was_live or now - known.since >= DISCOVERY:
                peers[peer.node] = peer
        for node in self._heard.keys() - {peer.node for peer in reported}:
            del self._heard[node]
        return peers

    def _read(self, ownership: Ownership, lease: Lease, live: bool, now: float) -> LeasedSpeaker:
        """What a Lease says; the claims in it count as long as its speaker is not heard itself."""
        node = node_of(lease.name) or ""
        note = speaker_note(lease)
        if node != self._me and not self._hears(node, note.boot):
            self._read_claims(ownership, node, lease, now)
        since = None
        if note.interval:
            since = self._heartbeats_since.setdefault((node, note.boot), now)
        return LeasedSpeaker(
            node,
            live,
            note.boot,
            tells=lease.annotation(SPEAKER) is not None,
            heartbeats=since is not None and now - since >= HEARTBEATS_DUE,
            leaving=note.leaving,
            unsteady=note.unsteady,
        )

    def _hears(self, node: str, boot: int) -> bool:
        """Whether the present start of the node's speaker was ever heard."""
        heard = self._heard.get(node)
        return heard is not None and heard.boot >= boot

    def _read_claims(self, ownership: Ownership, node: str, lease: Lease, now: float) -> None:
        notes = lease.annotation(CLAIMS), lease.annotation(ANNOUNCING)
        if self._notes.get(node) != notes:
            self._notes[node] = notes
            for section in _sections(lease):
                ownership.hear(node, section, now)

    def _forget_gone(self, ownership: Ownership, leased: set[str]) -> None:
        for node in self._notes.keys() - leased - self._heard.keys():
            del self._notes[node]
            ownership.forget(node)
        self._heartbeats_since = {key: at for key, at in self._heartbeats_since.items() if key[0] in leased}


def _sections(lease: Lease) -> Iterable[Section]:
    """What a Lease claims. What it announces, but is not noted as claimed, counts as claimed before all else."""
    claims = {address: Claim(0) for address in decode_addresses(lease.annotation(ANNOUNCING) or "").addresses}
    claims |= decode_claims(lease.annotation(CLAIMS) or "").claims
    for first, last in _FAMILIES:
        of_family = ((a, claim) for a, claim in claims.items() if a.version == first.version)
        yield Section(first, last, tuple(sorted(of_family, key=lambda pair: int(pair[0]))))

"""What is known of the other speakers: from the LAN, by the link process, and from their Leases.

The link's thread leaves its reports here, and the one thread that decides feeds them to the election. A Lease counts
only for a speaker that is not heard on the LAN: heartbeats are newer, and the Lease of a cut-off node is still renewed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from metallb_cli.election import Ownership
from metallb_cli.layer2.messages import PeerClaims, PeersReport
from metallb_cli.model import Claim, IPAddress, Lease, Peer, Section
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    SPEAKER,
    decode_addresses,
    decode_claims,
    says_the_same,
    speaker_note,
)
from metallb_cli.reconcile.liveness import node_of
from metallb_cli.reconcile.standings import LeasedSpeaker, Standings, standings

DISCOVERY = 1.0
"""Seconds in which two speakers that begin to hear each other may do so one way only: it takes a heartbeat or two.
With heartbeats that are rarer than by default it is as many of them: see DISCOVERY_INTERVALS.

So long this node also waits after its own interface went or came back, before it believes that others are dead.
"""

DISCOVERY_INTERVALS = 3
"""Intervals that it takes at least: one until we are heard, one until that is said, and one that may be lost."""

HEARTBEATS_DUE = 2.0
"""Seconds after its Lease says that a speaker sends heartbeats, from which on not hearing any means something."""

MAX_QUEUED = 4096
"""Sections with different bounds that wait to be fed. Only a peer that floods has more; then the oldest go."""

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


@dataclass(frozen=True, slots=True)
class _Leased:
    """How a Lease was read.

    Attributes:
        lease: it.
        hears: whether the present start of its speaker had been heard by then.
        since: when this start first said that it sends heartbeats; None when it does not.
        speaker: what it says.
        stays: time alone changes nothing about that.
    """

    lease: Lease
    hears: bool
    since: float | None
    speaker: LeasedSpeaker
    stays: bool


@dataclass(frozen=True, slots=True)
class Death:
    """How it was noticed that a node that was live on the LAN is not any more.

    Attributes:
        silence: seconds that it had been silent for when it was reported dead.
        at: when that report came (monotonic).
    """

    silence: float
    at: float


class Neighbours:
    """The other speakers. `on_change` is called from any thread when there is something new to `feed`.

    Args:
        me: this node.
        interval: seconds between heartbeats, which all speakers have in common.
    """

    def __init__(self, me: str, on_change: Callable[[], None], interval: float = 0.1) -> None:
        self._me = me
        self._discovery = max(DISCOVERY, DISCOVERY_INTERVALS * interval)
        self._heartbeats_due = max(HEARTBEATS_DUE, 2 * DISCOVERY_INTERVALS * interval)
        self._on_change = on_change
        self._lock = threading.Lock()
        self._reported: tuple[Peer, ...] = ()
        self._reported_at = 0.0
        self._sections: dict[tuple[str, int, IPAddress, IPAddress], Section] = {}
        self._heard: dict[str, _Heard] = {}
        self._claimants: set[str] = set()  # whose claims the election was told
        self._notes: dict[str, tuple[str | None, str | None]] = {}
        self._leased: dict[str, _Leased] = {}
        self._fed: Standings | None = None
        self._inputs: object = None  # of the last `feed`, which need not be looked at again before `_again_at`
        self._again_at = -math.inf
        self._earlier_until: float | None = None
        self._connected_since: float | None = None
        self._deaths: dict[str | None, Death] = {}

    # -- any thread

    def heeds(self, old: Lease | None, new: Lease | None) -> bool:
        """Whether a Lease that says something new can change anything now.

        What a speaker claims there is of no use while it is heard itself; `feed` finds it when that is over.
        """
        known = self._leased.get(new.name) if new is not None else None
        if old is None or new is None or known is None:
            return True
        return not (
            self._hears(known.speaker.node, known.speaker.boot)
            and says_the_same(old, new, but_for=(CLAIMS, ANNOUNCING))
        )

    # -- the link's thread

    def on_peers(self, report: PeersReport) -> None:
        """Take in who is heard."""
        with self._lock:
            self._reported = report.peers
            self._reported_at = time.monotonic()
        self._on_change()

    def on_claims(self, claims: PeerClaims) -> None:
        """Take in what a peer claims."""
        section = claims.section
        bounds = claims.node, claims.boot, section.first, section.last
        with self._lock:
            self._sections.pop(bounds, None)  # to the end: sections with other bounds may overlap it
            self._sections[bounds] = section
            if len(self._sections) > MAX_QUEUED:
                del self._sections[next(iter(self._sections))]
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
    def deaths(self) -> Mapping[str | None, Death]:
        """How those died that were live on the LAN in the present boot and are not any more, as of the last `feed`."""
        return self._deaths

    @property
    def standings(self) -> Standings:
        """Who is alive, as of the last `feed`."""
        return self._fed or Standings({}, quorum=True)

    def feed(
        self,
        ownership: Ownership,
        leases: tuple[tuple[Lease, bool], ...],
        draining: Collection[str],
        now: float,
        *,
        usable: Collection[str],
    ) -> None:
        """Tell the election everything that is new.

        Nobody is believed dead while this node itself is cut off, or has only just come back: it hears nobody then. The
        same holds for a while after it lost the one interface on which it heard somebody: others know by then, and so
        does it, that it is not on that network any more.

        Args:
            ownership: this node's part in the election.
            leases: of speakers, each with whether it is live.
            draining: nodes that an operator drains.
            now: monotonic seconds.
            usable: the names of the usable interfaces of this node.
        """
        with self._lock:
            reported, reported_at = self._reported, self._reported_at
            sections, self._sections = self._sections, {}
        inputs = reported, leases, frozenset(draining), frozenset(usable)
        known_already = inputs == self._inputs and now < self._again_at
        peers = {} if known_already else self._follow(ownership, reported, reported_at, now)
        for (node, boot, _, _), section in sections.items():
            known = self._heard.get(node)
            if known is not None and known.boot == boot:
                self._hear(ownership, node, section, now)
        if known_already:  # as in most turns, of which those for claims come in crowds
            return
        self._inputs = inputs
        if self._earlier_until is not None and now >= self._earlier_until:
            self._earlier_until = None
            ownership.forget(EARLIER)
        leased = [self._read(ownership, lease, live, now) for lease, live in leases]
        self._forget_gone(ownership, {speaker.node for speaker in leased})
        found = standings(self._me, peers, leased, draining)
        severed = _severed(reported, usable)
        if not usable:
            self._connected_since = None
        elif self._connected_since is None or severed:
            self._connected_since = now
        if self._fed is not None and (self._connected_since is None or now < self._connected_since + self._discovery):
            found = Standings({**self._fed.speakers, **found.speakers}, found.quorum)
        if found != self._fed:
            self._fed = found
            ownership.set_live(found.speakers, found.quorum, now)
        deadlines = (self.next_deadline(now), self._earlier_until, now if severed else None)
        self._again_at = min((at for at in deadlines if at is not None), default=math.inf)

    def next_deadline(self, now: float) -> float | None:
        """When time alone changes what `feed` would say."""
        waiting = [h.since + self._discovery for h in self._heard.values() if not h.was_live]
        waiting += [known.since + self._heartbeats_due for known in self._leased.values() if known.since is not None]
        if self._connected_since is not None:
            waiting.append(self._connected_since + self._discovery)
        return min((at for at in waiting if at > now), default=None)

    def _follow(
        self, ownership: Ownership, reported: tuple[Peer, ...], reported_at: float, now: float
    ) -> dict[str, Peer]:
        """Return the peers whose state means something: all but those that have only just been met."""
        peers = {}
        for peer in reported:
            known = self._heard.get(peer.node)
            if known is None or known.boot != peer.boot:
                if known is not None:
                    ownership.forget(peer.node)
                known = self._heard[peer.node] = _Heard(peer.boot, now)
                self._notes.pop(peer.node, None)
            if not known.was_live or peer.live:
                self._deaths.pop(peer.node, None)
            elif peer.node not in self._deaths:
                self._deaths[peer.node] = Death(peer.silence, reported_at)
            known.was_live |= peer.live
            if known.was_live or now >= known.since + self._discovery:
                peers[peer.node] = peer
        for node in self._heard.keys() - {peer.node for peer in reported}:
            del self._heard[node]
            self._deaths.pop(node, None)
        return peers

    def _hear(self, ownership: Ownership, node: str, section: Section, now: float) -> None:
        self._claimants.add(node)
        ownership.hear(node, section, now)

    def _read(self, ownership: Ownership, lease: Lease, live: bool, now: float) -> LeasedSpeaker:
        """What a Lease says; the claims in it count as long as its speaker is not heard itself.

        Nearly every one is as it was when this was last asked, which is in every turn.
        """
        known = self._leased.get(lease.name)
        if (
            known is not None
            and known.stays
            and known.speaker.live is live
            and known.hears is self._hears(known.speaker.node, known.speaker.boot)
            and says_the_same(known.lease, lease)
        ):
            return known.speaker
        node, note = node_of(lease.name) or "", speaker_note(lease)
        hears = self._hears(node, note.boot)
        if node != self._me and not hears:
            self._read_claims(ownership, node, lease, now)
        since = None
        if note.interval:
            same_start = known is not None and known.speaker.boot == note.boot
            since = known.since if known is not None and same_start and known.since is not None else now
        heartbeats = since is not None and now >= since + self._heartbeats_due
        speaker = LeasedSpeaker(
            node,
            live,
            note.boot,
            tells=lease.annotation(SPEAKER) is not None,
            heartbeats=heartbeats,
            leaving=note.leaving,
            unsteady=note.unsteady,
        )
        self._leased[lease.name] = _Leased(lease, hears, since, speaker, stays=since is None or heartbeats)
        return speaker

    def _hears(self, node: str, boot: int) -> bool:
        """Whether the present start of the node's speaker was ever heard."""
        heard = self._heard.get(node)
        return heard is not None and heard.boot >= boot

    def _read_claims(self, ownership: Ownership, node: str, lease: Lease, now: float) -> None:
        notes = lease.annotation(CLAIMS), lease.annotation(ANNOUNCING)
        if self._notes.get(node) != notes:
            self._notes[node] = notes
            for section in _sections(lease):
                self._hear(ownership, node, section, now)

    def _forget_gone(self, ownership: Ownership, leased: set[str]) -> None:
        """Forget nodes that are neither in the cluster nor on the LAN any more."""
        for node in self._claimants - leased - self._heard.keys():
            self._claimants.discard(node)
            ownership.forget(node)
        for node in self._notes.keys() - leased:
            del self._notes[node]
        for name in [name for name, known in self._leased.items() if known.speaker.node not in leased]:
            del self._leased[name]


def _severed(peers: Iterable[Peer], usable: Collection[str]) -> bool:
    """Whether a peer counts as live only because it was heard a moment ago on an interface that is away now."""
    return any(peer.live and peer.interfaces and not set(peer.interfaces) & set(usable) for peer in peers)


def _sections(lease: Lease) -> Iterable[Section]:
    """What a Lease claims. What it announces, but is not noted as claimed, counts with the first epoch there is."""
    claims = {address: Claim(1) for address in decode_addresses(lease.annotation(ANNOUNCING) or "").addresses}
    claims |= decode_claims(lease.annotation(CLAIMS) or "").claims
    for first, last in _FAMILIES:
        of_family = ((a, claim) for a, claim in claims.items() if a.version == first.version)
        yield Section(first, last, tuple(sorted(of_family, key=lambda pair: int(pair[0]))))

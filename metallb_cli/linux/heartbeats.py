"""Heartbeats on the usable interfaces of this node: a socket and a beacon on each, and the fence over all."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from metallb_cli.layer2.beacon import Beacon, Sequence
from metallb_cli.layer2.fence import Fence
from metallb_cli.layer2.heartbeat import Ignored
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings, PeerClaims
from metallb_cli.layer2.peers import Memory, Sighting
from metallb_cli.linux.heartbeat_socket import SLOTS, HeartbeatSocket
from metallb_cli.linux.links import Link
from metallb_cli.linux.poller import Done, Poller
from metallb_cli.model import Peer, Reason

log = logging.getLogger(__name__)


REST = 0.25
"""Of the interval: for so long nothing is received after something was.

With many peers their heartbeats then come in batches, and waking up, which costs several times what a heartbeat does,
no longer grows with their number. A flood of frames can wake the process only so often, too.
"""


class _Outlet:
    """The heartbeats of one interface. Of no use any more once `error` is set.

    Args:
        rest: seconds without receiving after something was received.
    """

    def __init__(self, link: Link, beacon: Beacon, poller: Poller, rest: float) -> None:
        self.name = link.name
        self.beacon = beacon
        self.socket = HeartbeatSocket(link.name, link.index)
        self.error: OSError | None = None
        self.ignored = False  # a heartbeat was not taken in since this was last set to False
        self._poller = poller
        self._rest = rest
        poller.register(self.socket.fileno(), self.receive, rest)

    def close(self) -> None:
        """Give the socket back."""
        self._poller.unregister(self.socket.fileno())
        self.socket.close()

    def receive(self, now: float) -> Done | None:
        """Take in the waiting heartbeats. Returns None when there is news.

        A heartbeat counts from when the kernel had it, and not from when this process looked; but one that has waited
        for longer than a rest did so because this process was late, for which nobody else shall be dead.
        """
        beacon, stamps = self.beacon, list[float]()
        try:
            frames = self.socket.receive(SLOTS, stamps)
        except OSError as error:
            self.error = error
            return None
        if not frames:
            return Done.NOTHING
        to_monotonic, earliest = -time.time() + time.monotonic(), now - self._rest  # never earlier than it was
        for frame, stamp in zip(frames, stamps, strict=True):
            if beacon.receive_frame(frame, min(max(stamp + to_monotonic, earliest), now)) is not None:
                self.ignored = True
        return None if beacon.peers_changed or beacon.claims_changed else Done.IGNORED

    def tick(self, now: float) -> bool:
        """Do what is due. Returns whether a heartbeat left."""
        beacon = self.beacon
        if beacon.next_deadline() > now:
            return False
        self.receive(now)  # nobody is dead whose heartbeat waits here
        beacon.handle_timer(now)
        frames = beacon.frames_to_send()
        try:
            lost = self.socket.send(frames)
        except OSError as error:
            self.error = error
            return False
        if lost == len(frames):
            return False
        beacon.sent_at = now
        return True


class _Absent(NamedTuple):
    """The heartbeats of an interface that is away, until nobody can be sure any more that we live.

    Attributes:
        lease: until when peers wait for us, as in `Beacon`; None when there were none.
        until: when what was heard is void: an interface that comes back later begins anew.
    """

    name: str
    beacon: Beacon
    lease: float | None
    until: float


class Heartbeats:
    """All of this node's heartbeats. Without settings it does nothing.

    Args:
        poller: calls when heartbeats wait.

    Attributes:
        fenced: heartbeats were late, so nothing may be answered.
        ignored: a heartbeat was not taken in since this was last set to False.
    """

    def __init__(self, poller: Poller) -> None:
        self.fenced = self.ignored = False
        self._poller = poller
        self._settings: HeartbeatSettings | None = None
        self._said = AnnouncementSet()
        self._versions: frozenset[int] = frozenset()
        self._sequence = Sequence()
        self._memory = Memory()
        self._fence = Fence()
        self._outlets: dict[int, _Outlet] = {}
        self._absent: dict[int, _Absent] = {}
        self._peers: tuple[Peer, ...] = ()  # as reported, without `silence`
        self._changed = False
        self._drops: Counter[Ignored] = Counter()  # of interfaces that are gone

    # -- what is said

    def follow(self, settings: HeartbeatSettings, now: float) -> bool:
        """Send heartbeats by these settings. Returns whether every interface is to be opened anew."""
        before, self._settings = self._settings, settings
        if before is None or (before.node, before.boot) != (settings.node, settings.boot):
            self._give_up(list(self._absent))
            return True
        for beacon in self._beacons():
            beacon.follow(settings, now)
        return False

    def claim(self, announcements: AnnouncementSet) -> None:
        """Say from now on what this set says."""
        self._said = announcements
        versions = {r.version for r in announcements.ranges} | {a.version for a in announcements.claims}
        self._versions |= versions  # a family is never dropped: others remember what was said about it
        for outlet in self._outlets.values():
            outlet.beacon.claim(announcements, sorted(self._versions))

    def open(self, link: Link, now: float) -> None:
        """Begin on an interface, go on where it was before it was away for a moment, or begin anew if it was open.

        Raises:
            OSError: the kernel refuses.
        """
        if link.index in self._outlets:
            self.close(link.index)
            self._give_up([link.index])
        if self._settings is None:
            return
        absent = self._absent.get(link.index)
        if absent is not None and now < absent.until:
            beacon = absent.beacon
            beacon.resume(link.mac, now)
        else:
            remembered = self._memory.with_those_of(seen for beacon in self._beacons() for seen in beacon.sightings())
            beacon = Beacon(link.mac, self._settings, self._sequence, now, remembered)
        beacon.claim(self._said, sorted(self._versions))
        outlet = _Outlet(link, beacon, self._poller, REST * self._settings.interval)
        if absent is not None and absent.beacon is beacon:
            del self._absent[link.index]
        self._outlets[link.index] = outlet

    def close(self, index: int) -> None:
        """End on an interface. Those who were heard there count as silent from now on, and are not dead at once.

        The interface may be back before they miss us, or we them.
        """
        outlet = self._outlets.pop(index, None)
        if outlet is not None:
            outlet.close()
            beacon = outlet.beacon
            self._absent[index] = _Absent(outlet.name, beacon, beacon.lease, beacon.sent_at + beacon.timeout)

    def _give_up(self, indexes: Iterable[int]) -> None:
        """Those who were heard on these interfaces are dead unless another interface hears them."""
        for index in indexes:
            beacon = self._absent.pop(index).beacon
            self._memory.keep(beacon.sightings())
            self._drops.update(beacon.drops)
            self._changed = True

    def _beacons(self) -> Iterator[Beacon]:
        for _, beacon in self._named_beacons():
            yield beacon

    def _named_beacons(self) -> Iterator[tuple[str, Beacon]]:
        """Of all interfaces, those that are away for a moment included, by the interface's name."""
        yield from ((outlet.name, outlet.beacon) for outlet in self._outlets.values())
        yield from ((absent.name, absent.beacon) for absent in self._absent.values())

    # -- for the loop

    def check_fence(self, now: float) -> bool:
        """Look whether heartbeats were late, before anything is done. Returns whether `fenced` has changed."""
        if self._settings is None:
            return False
        before, lease = self.fenced, self.lease
        sent_at = max((outlet.beacon.sent_at for outlet in self._outlets.values()), default=None)
        timeout = self._settings.interval * self._settings.misses
        self.fenced = self._fence.check(lease, sent_at, timeout, now)
        if self.fenced and not before and lease is not None:
            log.warning(
                "no heartbeat left for %.2f s, so others may have taken over: not answering until that is clear",
                now - lease + timeout,
                extra={"reason": Reason.FENCED.value},
            )
        elif before and not self.fenced:
            log.info("heartbeats are in time again: answering", extra={"reason": Reason.FENCED.value})
        return self.fenced is not before

    @property
    def lease(self) -> float | None:
        """Until when no peer takes over from us, on any interface; None when there is none who would.

        When all interfaces are away, it is so of those.
        """
        leases = [outlet.beacon.lease for outlet in self._outlets.values()]
        if not leases:
            leases = [absent.lease for absent in self._absent.values()]
        return min((lease for lease in leases if lease is not None), default=None)

    def tick(self, now: float) -> bool:
        """Send what is due. Returns whether a heartbeat left, or a peer came or went."""
        worked = False
        self._give_up([index for index, absent in self._absent.items() if absent.until <= now])
        for outlet in self._outlets.values():
            worked |= outlet.tick(now)
            self.ignored |= outlet.ignored
            outlet.ignored = False
            if outlet.beacon.peers_changed:
                outlet.beacon.peers_changed = False
                self._changed = worked = True
        return worked

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or `check_fence` would close the fence; until then it need not be called."""
        lease = None if self.fenced else self.lease
        deadlines = [outlet.beacon.next_deadline() for outlet in self._outlets.values()]
        deadlines += [absent.until for absent in self._absent.values()]
        return min(deadlines if lease is None else [*deadlines, lease], default=None)

    @property
    def news(self) -> bool:
        """Whether there is something to report, or an error."""
        return (
            self._changed
            or self.ignored
            or any(outlet.error is not None or outlet.beacon.claims_changed for outlet in self._outlets.values())
        )

    def error(self, index: int) -> OSError | None:
        """What ended the heartbeats of an interface; None while all is well."""
        outlet = self._outlets.get(index)
        return None if outlet is None else outlet.error

    def peer_macs(self, index: int) -> frozenset[bytes]:
        """Of the peers that are live on an interface."""
        outlet = self._outlets.get(index)
        return frozenset() if outlet is None else outlet.beacon.peer_macs

    # -- for the control process

    def take_peers(self, now: float) -> tuple[Peer, ...] | None:
        """Every peer; None when nothing but silences have changed since the last call."""
        if not self._changed:
            return None
        self._changed = False
        heard: dict[str, list[Sighting]] = {name: beacon.sightings() for name, beacon in self._named_beacons()}
        peers = self._memory.combine(heard, now)
        shown = tuple(dataclasses.replace(peer, silence=0.0) for peer in peers)
        if shown == self._peers:
            return None
        self._peers = shown
        return peers

    def take_claims(self, limit: int) -> list[PeerClaims]:
        """Take what live peers claim, as far as it has changed, at most `limit` sections."""
        taken: list[PeerClaims] = []
        for outlet in self._outlets.values():
            taken += outlet.beacon.take_claims(limit - len(taken))
        return taken

    def drops(self) -> Counter[str]:
        """Heartbeats not taken in, by reason, since the start."""
        total = self._drops.copy()
        for beacon in self._beacons():
            total.update(beacon.drops)
        return Counter({ignored.value: count for ignored, count in total.items()})

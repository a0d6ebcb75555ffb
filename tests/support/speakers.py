"""Speakers on a LAN in memory, with a virtual clock: what they decide and answer, and what goes wrong between them.

Real are the decisions (`election.Ownership`), the fence, and, if wanted, the heartbeats' bytes. Everything random comes
from one seed. Times are seconds.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Any

from metallb_cli.election import Change, Decision, Mode, Ownership, Standing, Wish
from metallb_cli.layer2.beacon import Beacon, Sequence
from metallb_cli.layer2.fence import Fence
from metallb_cli.layer2.heartbeat import LEAVING, UNSTEADY
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.layer2.yielding import YIELD_LIMIT
from metallb_cli.model import IPAddress
from tests.support.plain_beacon import PlainBeacon

LEASE = 6.0
PROBING = 0.8
SET_UP = 0.03
"""At most so long the link process takes until it answers for what the control process has decided."""

HEARTBEATS_AFTER = 1.0
"""At most so long after its Lease a speaker begins to send heartbeats."""

DISCOVERY = 1.0
"""So long after its interface has come back a node believes nobody dead."""

KEY = bytes(32)


class Speaker:
    """One boot of a node: both of its processes."""

    def __init__(self, lan: Lan, name: str, boot: int) -> None:
        self.lan, self.name, self.boot = lan, name, boot
        self._settings = HeartbeatSettings(name, boot, (KEY,))
        self._mac = bytes((2, 0, 0, 0, boot % 256, ord(name[-1])))
        self._sequence = Sequence()
        self.beacon: Any = (
            Beacon(self._mac, self._settings, self._sequence, lan.now)
            if lan.bytes
            else PlainBeacon(self._settings, lan.now)
        )
        self.fence = Fence()
        self.ownership = Ownership(name, lan.now, lan.mode)
        self.decision = Decision()
        self.started = lan.now
        self.leaving = False
        self.terminating = False
        self.stalled = False
        self.away = False  # its cable is out
        self.believes_from = 0.0  # before then, nobody is dead for it
        self.inbox: list[Any] = []
        self.boots: dict[str, int] = {}
        self.live: frozenset[str] = frozenset()  # heard on the LAN
        self.deaf = False
        self.wake_at = lan.now
        self.answering: frozenset[IPAddress] = frozenset()
        self._answers_from: dict[IPAddress, float] = {}
        self._answers_change = math.inf  # when it answers for others than now
        self._closed = False
        self._yields: dict[IPAddress, float] = {}
        self._leases_seen = -1.0
        self._stood: frozenset[str] = frozenset()

    # -- one turn of both loops

    def turn(self, now: float) -> None:
        if self.stalled:
            return
        if self.away:
            self._turn_without_cable(now)
            return
        beacon, ownership = self.beacon, self.ownership
        if self.fence.check(beacon.lease, beacon.sent_at, beacon.timeout, now):
            ownership.fenced(now)
        frames, self.inbox = self.inbox, []
        for frame in frames:
            beacon.receive_frame(frame, now)
        beacon.handle_timer(now)
        if beacon.peers_changed or now >= self._leases_seen + 0.5:
            beacon.peers_changed = False
            self._leases_seen = now
            self._look_around(now)
        for heard in beacon.take_claims(100):
            ownership.hear(heard.node, heard.section, now)
        if self._yields:
            self._watch_yields(now)
        decision = ownership.decide(now)
        if decision is not self.decision:
            self._carry_out(decision, now)
            beacon.handle_timer(now)
        for frame in beacon.frames_to_send():
            beacon.sent_at = now
            self.lan.send(self, frame)
        if now >= self._answers_change or self.fence.closed is not self._closed:
            self._answer(now)
        self._sleep(now, min(beacon.next_deadline(), self._answers_change))
        if self.terminating and not decision.claims and not self._yields:
            self.lan.kill(self.name)

    def _sleep(self, now: float, moment: float) -> None:
        if (deadline := self.ownership.next_deadline()) is not None and deadline < moment:
            moment = deadline
        if self._yields:
            moment = min(moment, now + 0.02)
        moment = max(now, moment)
        if moment < self.wake_at or self.wake_at <= now:
            self.wake_at = moment
            self.lan.at(moment, self.lan.wake, self, moment)

    def _turn_without_cable(self, now: float) -> None:
        """The process goes on: it is late when its time is over, decides, and nobody hears or sees it."""
        beacon, self.inbox = self.beacon, []
        if self.fence.check(beacon.lease, None, beacon.timeout, now):
            self.ownership.fenced(now)
        self._watch_yields(now)
        decision = self.ownership.decide(now)
        if decision is not self.decision:
            self._carry_out(decision, now)
        self._answer(now)
        lease = beacon.lease
        self._sleep(now, now + 1.0 if lease is None or lease <= now else lease)

    def plug_in(self, now: float) -> None:
        """As `linux.heartbeats` does: go on where it was, or begin anew when its time is over."""
        beacon = self.beacon
        if now < beacon.sent_at + beacon.timeout:
            beacon.resume(self._mac, now)
        elif isinstance(beacon, PlainBeacon):
            beacon.begin_anew(now)
        else:
            self.beacon = Beacon(self._mac, self._settings, self._sequence, now, beacon.sightings())
        self.away, self.believes_from, self._answers_change = False, now + DISCOVERY, now
        self.beacon.claim(self.lan.announcements(self.decision, self.leaving), (4,))

    def hears_nothing_new(self, frame: Any, now: float) -> bool:
        """Take a frame in the short way, if it says what the one before said: most of them do."""
        beacon = self.beacon
        on_time = not self.stalled and not self.fence.closed and now < beacon.sent_at + beacon.timeout
        return on_time and isinstance(beacon, PlainBeacon) and beacon.receive_repetition(frame, now)

    def _look_around(self, now: float) -> None:
        standings: dict[str, Standing] = {}
        for seen in self.beacon.sightings():
            if self.boots.get(seen.node, seen.boot) != seen.boot:
                self.ownership.forget(seen.node)
            self.boots[seen.node] = seen.boot
            if seen.live:
                standings[seen.node] = Standing(bool(seen.flags & LEAVING), bool(seen.flags & UNSTEADY))
        self.live = frozenset(standings)
        leases = self.lan.api.leases(self.name, now)
        quorum = 2 * (len((self.live & leases) | {self.name})) > len(leases | {self.name})
        if not standings:
            standings = {node: Standing(heard=False) for node in leases - self.boots.keys() - {self.name}}
        if now < self.believes_from:
            standings = {**dict.fromkeys(self._stood, Standing()), **standings}
        self._stood = frozenset(standings)
        self.deaf = any(not standing.heard for standing in standings.values())
        self.ownership.set_live(standings, quorum, now)

    def _carry_out(self, decision: Decision, now: float) -> None:
        before, self.decision = self.decision, decision
        for change in decision.changes:
            self.lan.note(f"{self.name}: {change.address} {change.before} -> {change.after} {change.reason.value}")
            self.lan.changes.append((now, self.name, change))
        for address in decision.claims:
            if address not in before.claims:
                was = address in self._yields or address in before.yielding
                setting_up = 0.0 if was else self.lan.random.random() * SET_UP
                self._answers_from[address] = now + setting_up + (PROBING if address in decision.probe else 0.0)
        for address in [address for address in self._answers_from if address not in decision.claims]:
            answers_from = self._answers_from.pop(address)
            if address in decision.yielding and answers_from <= now:
                self._yields[address] = now + YIELD_LIMIT
        self._yields = {address: until for address, until in self._yields.items() if address in decision.yielding}
        self._answers_change = now
        flags = self.lan.announcements(decision, self.leaving)
        self.beacon.claim(flags, (4,))

    def _watch_yields(self, now: float) -> None:
        """End what has taken its time, and what another one answers for whom we hear."""
        done = {
            address
            for address, until in self._yields.items()
            if now >= until or any(address in other.answering for other in self.lan.heard_by(self))
        }
        for address in done:
            del self._yields[address]
        if done:
            self._answers_change = now
            self.ownership.released(frozenset(done))

    def _answer(self, now: float) -> None:
        answering = frozenset(itertools.chain((a for a, at in self._answers_from.items() if at <= now), self._yields))
        self._answers_change = min((at for at in self._answers_from.values() if at > now), default=math.inf)
        self._closed = self.fence.closed
        if self._closed or self.away:
            answering = frozenset()
        if answering != self.answering:
            self.answering = answering
            self.lan.unchecked = True

    def fall_silent(self, now: float) -> None:
        """Answer for nothing until the next turn."""
        self.answering = frozenset()
        self._answers_change = now
        self.lan.unchecked = True

    def set_leaving(self, leaving: bool) -> None:
        self.leaving = leaving
        self.ownership.set_leaving(leaving)
        self.beacon.claim(self.lan.announcements(self.decision, leaving), (4,))


class Api:
    """The API server, and how each node sees it: late, or as it was when the node lost it."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan
        self.wishes: dict[IPAddress, Wish] = {}
        self.cut: set[str] = set()
        self.lag = 0.05
        self._renewed: dict[str, float] = {}
        self._seen: dict[str, frozenset[str]] = {}
        self._views: dict[str, dict[IPAddress, Wish]] = {}

    def want(self, address: IPAddress, wish: Wish | None) -> None:
        if wish is None:
            self.wishes.pop(address, None)
        else:
            self.wishes[address] = wish
        for name in self._lan.names:
            self._lan.after(self._lan.random.uniform(0, self.lag), self.show, name)

    def show(self, name: str) -> None:
        """The node's watch brings everything up to date."""
        speaker = self._lan.speakers.get(name)
        if speaker is None or name in self.cut:
            return
        view = self._views.get(name, {})
        for address in view.keys() | self.wishes.keys():
            if view.get(address) != self.wishes.get(address):
                speaker.ownership.want(address, self.wishes.get(address))
        self._views[name] = dict(self.wishes)
        self._lan.turn(speaker)

    def start(self, name: str) -> None:
        self._views.pop(name, None)
        self._seen.pop(name, None)
        self.show(name)

    def knows_all(self, name: str) -> bool:
        """Whether the node sees what there is."""
        return name not in self.cut and self._views.get(name) == self.wishes

    def give_back(self, name: str) -> None:
        self._renewed.pop(name, None)

    def leases(self, name: str, now: float) -> frozenset[str]:
        """The live Leases as the node sees them."""
        for node in self._lan.starting:
            self._renewed[node] = now
        for node, speaker in self._lan.speakers.items():
            if node not in self.cut and not speaker.stalled:
                self._renewed[node] = now
        if name not in self.cut or name not in self._seen:
            self._seen[name] = frozenset(node for node, at in self._renewed.items() if now < at + LEASE)
        return self._seen[name]


class Lan:
    """Everything that there is, and the clock."""

    def __init__(
        self, names: tuple[str, ...], seed: int, *, mode: Mode = Mode.STICKY, frames: bool = False, kernel: bool = False
    ) -> None:
        self.names = names
        self.random = Random(seed)
        self.mode = mode
        self.bytes = frames
        self.kernel = kernel  # it answers for a process that is stopped, for as long as heartbeats are not late
        self.now = 1000.0
        self.api = Api(self)
        self.speakers: dict[str, Speaker] = {}
        self.starting: set[str] = set()
        self.blocked: set[tuple[str, str]] = set()
        self.loss = 0.0
        self.delay = 0.002
        self.duplicates = 0.0
        self.unchecked = False
        self.changes: list[tuple[float, str, Change]] = []
        self.trace: list[str] = []
        self.check: Callable[[], None] = lambda: None
        self._boots = itertools.count(1)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now - 1000:8.3f}  {what}")

    # -- time

    def at(self, moment: float, action: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), action, args))

    def after(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, action, *args)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            moment, _, action, args = heapq.heappop(events)
            self.now = max(self.now, moment)
            action(*args)
            self.check()
        self.now = end

    def turn(self, speaker: Speaker) -> None:
        if self.speakers.get(speaker.name) is speaker:
            speaker.turn(self.now)

    def wake(self, speaker: Speaker, moment: float) -> None:
        if speaker.wake_at == moment:
            self.turn(speaker)

    # -- the wire

    def send(self, sender: Speaker, frame: Any) -> None:
        random, now, name, deliver = self.random.random, self.now, sender.name, self.deliver
        for receiver in self.speakers.values():
            if receiver is sender or (name, receiver.name) in self.blocked:
                continue
            for _ in range(1 + (random() < self.duplicates)):
                if random() >= self.loss:
                    self.at(now + random() * self.delay, deliver, receiver, frame)

    def deliver(self, receiver: Speaker, frame: Any) -> None:
        if receiver.away or receiver.hears_nothing_new(frame, self.now):
            return
        if len(receiver.inbox) < 64:
            receiver.inbox.append(frame)
            self.turn(receiver)

    def hears(self, receiver: Speaker, sender: Speaker) -> bool:
        """Whether frames get from one to the other, apart from what is lost."""
        return (sender.name, receiver.name) not in self.blocked and not receiver.away and not sender.away

    def heard_by(self, receiver: Speaker) -> list[Speaker]:
        return [
            other
            for other in self.speakers.values()
            if other is not receiver and self.hears(receiver, other) and self.hears(other, receiver)
        ]

    @staticmethod
    def announcements(decision: Decision, leaving: bool) -> AnnouncementSet:
        return AnnouncementSet(claims=dict(decision.said), leaving=leaving, unsteady=decision.unsteady)

    # -- what happens to nodes

    def start(self, name: str) -> None:
        """The node's speaker starts: it has a Lease at once, and sends heartbeats soon after."""
        if name not in self.speakers and name not in self.starting:
            self.note(f"start {name}")
            self.starting.add(name)
            self.after(self.random.random() * HEARTBEATS_AFTER, self._begin, name)

    def _begin(self, name: str) -> None:
        if name in self.starting:
            self.starting.remove(name)
            speaker = self.speakers[name] = Speaker(self, name, next(self._boots))
            self.api.start(name)
            self.turn(speaker)

    def kill(self, name: str) -> None:
        self.starting.discard(name)
        speaker = self.speakers.pop(name, None)
        if speaker is not None:
            self.note(f"end {name}")
            self.unchecked = True
            if speaker.terminating:
                self.api.give_back(name)

    def terminate(self, name: str) -> None:
        """SIGTERM: leave, wait for the others for at most two seconds, end."""
        speaker = self.speakers.get(name)
        if speaker is not None:
            self.note(f"terminate {name}")
            speaker.terminating = True
            self.after(2.0, self._end, speaker)
            self.leave(name, True)

    def _end(self, speaker: Speaker) -> None:
        if self.speakers.get(speaker.name) is speaker:
            self.kill(speaker.name)

    def leave(self, name: str, leaving: bool) -> None:
        speaker = self.speakers.get(name)
        if speaker is not None and not (speaker.terminating and not leaving):
            self.note(f"{name} leaving={leaving}")
            speaker.set_leaving(leaving)
            self.turn(speaker)

    def stall(self, name: str, seconds: float) -> None:
        speaker = self.speakers.get(name)
        if speaker is None or speaker.stalled or speaker.away:
            return
        self.note(f"stall {name} for {seconds:.2f} s")
        speaker.stalled = True
        self.after(seconds, self._resume, speaker)
        lease = speaker.beacon.lease
        if not self.kernel:
            self._silence(speaker)
        elif lease is not None:
            self.at(lease, self._silence, speaker)

    def _silence(self, speaker: Speaker) -> None:
        if speaker.stalled:
            speaker.fall_silent(self.now)

    def unplug(self, name: str, seconds: float) -> None:
        """The node's own interface is without carrier for a while."""
        speaker = self.speakers.get(name)
        if speaker is not None and not speaker.away and not speaker.stalled:
            self.note(f"unplug {name} for {seconds:.2f} s")
            speaker.away = True
            self.after(seconds, self._plug_in, speaker)
            self.turn(speaker)

    def _plug_in(self, speaker: Speaker) -> None:
        self.note(f"plug in {speaker.name}")
        speaker.plug_in(self.now)
        self.turn(speaker)

    def _resume(self, speaker: Speaker) -> None:
        speaker.stalled = False
        self.note(f"resume {speaker.name}")
        self.turn(speaker)

"""Speakers with one interface each on a wire in memory, which loses, delays and duplicates as it is told."""

import heapq
import itertools
import random
from ipaddress import ip_address

from metallb_cli.layer2.beacon import Beacon, Sequence
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.model import Claim

KEY = b"k" * 32
INTERVAL, MISSES = 0.1, 3
TIMEOUT = INTERVAL * MISSES


def settings_of(node, boot=1, keys=(KEY,), interval=INTERVAL, misses=MISSES):
    return HeartbeatSettings(node, boot, tuple(keys), interval, misses)


def claims_of(*texts, epoch=1):
    return {ip_address(text): Claim(epoch) for text in texts}


class Speaker:
    """One node: what it says, what it heard, and when it learned of each change."""

    def __init__(self, name, number, boot, now, keys=(KEY,)):
        self.name = name
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self.beacon = Beacon(self.mac, settings_of(name, boot, keys), Sequence(), now)
        self.claims = {}
        self.changes = []
        self.last_live = frozenset()
        self.stopped = False
        self.unplugged = False

    def claim(self, claims, **flags):
        self.beacon.claim(AnnouncementSet(claims=claims, **flags), {a.version for a in claims})

    def live(self):
        return {seen.node for seen in self.beacon.sightings() if seen.live}

    def known(self):
        return {seen.node: seen for seen in self.beacon.sightings()}

    def learn(self, now):
        """Take the news, as the control process does."""
        if self.live() != self.last_live:
            self.last_live = self.live()
            self.changes.append((now, self.last_live))
        for news in self.beacon.take_claims(10_000):
            held = self.claims.setdefault((news.node, news.boot), {})
            section = news.section
            version, first, last = section.first.version, int(section.first), int(section.last)
            for address in [a for a in held if a.version == version and first <= int(a) <= last]:
                del held[address]
            held.update(section.claims)


class Wire:
    """Everybody hears everybody.

    Attributes:
        loses: called with (sender, receiver); True loses the frame.
        delay: called without arguments; seconds that a frame takes.
        copies: how often a frame arrives.
        sent: (time, sender, frame) of all frames.
    """

    def __init__(self, *names, seed=1):
        self.now = 1000.0
        self.random = random.Random(seed)
        self.loses = lambda sender, receiver: False
        self.delay = lambda: 0.0001
        self.copies = 1
        self.sent = []
        self.speakers = {}
        self._boots = itertools.count(1)
        self._numbers = {}
        self._flying = []
        self._order = itertools.count()
        for name in names:
            self.start(name)

    def __getitem__(self, name):
        return self.speakers[name]

    def start(self, name, **options):
        """Start a speaker, anew if there was one of the name."""
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        self.speakers[name] = Speaker(name, number, next(self._boots), self.now, **options)
        return self.speakers[name]

    def kill(self, name):
        return self.speakers.pop(name)

    def unplug(self, name):
        """The speaker's interface goes away: it sends and hears nothing, and its beacon stands still."""
        self.speakers[name].unplugged = True

    def plug_in(self, name, mac=None):
        """The interface is back, perhaps with another MAC address."""
        speaker = self.speakers[name]
        speaker.unplugged = False
        speaker.mac = mac or speaker.mac
        speaker.beacon.resume(speaker.mac, self.now)

    def inject(self, frame, receiver):
        """Deliver a frame now; return why it was ignored."""
        ignored = self.speakers[receiver].beacon.receive_frame(frame, self.now)
        self.speakers[receiver].learn(self.now)
        return ignored

    def advance(self, seconds):
        end = self.now + seconds
        for _ in range(1_000_000):
            running = [s for s in self.speakers.values() if not s.stopped and not s.unplugged]
            times = [s.beacon.next_deadline() for s in running] + [at for at, *_ in self._flying[:1]]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, receiver, frame = heapq.heappop(self._flying)
                listener = self.speakers.get(receiver)
                if listener is not None and not listener.stopped and not listener.unplugged:
                    self.inject(frame, receiver)
            for speaker in running:
                if speaker.beacon.next_deadline() <= self.now:
                    speaker.beacon.handle_timer(self.now)
                    speaker.learn(self.now)
                    self._send(speaker)
        raise AssertionError("the beacons never stop talking")

    def _send(self, speaker):
        for frame in speaker.beacon.frames_to_send():
            speaker.beacon.sent_at = self.now
            self.sent.append((self.now, speaker.name, frame))
            for receiver in self.speakers:
                if receiver == speaker.name or self.loses(speaker.name, receiver):
                    continue
                for _ in range(self.copies):
                    heapq.heappush(self._flying, (self.now + self.delay(), next(self._order), receiver, frame))

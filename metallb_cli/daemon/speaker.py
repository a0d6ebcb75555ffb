"""The speaker's control process: decides which addresses this node answers for and hands them to the link process.

One thread decides. Watch threads, the membership thread and the link's reader thread only leave a key in the inbox, and
what they have to say beside it. Each turn does the same: judge the Services that changed, tell the election what may be
owned by whom, ask it what this node owns, and hand the whole set over when it is another than before. When the API
server is away nothing arrives from it, and the node goes on with what it knows, and with what the LAN says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from metallb_cli.daemon.announcements import Announcements
from metallb_cli.daemon.configuration import Configuration
from metallb_cli.daemon.description import Description
from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.judgements import Judgements
from metallb_cli.daemon.membership import Membership
from metallb_cli.daemon.neighbours import Neighbours
from metallb_cli.daemon.ports import Events, Link, Recorder, SpeakerFeeds, SpeakerMetrics
from metallb_cli.election import Decision, Mode, Ownership
from metallb_cli.errors import LinkError
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.model import AddressRange, IPAddress, Lease, LinkState, Reason, ServiceKey, merge_ranges
from metallb_cli.reconcile import api_outage
from metallb_cli.reconcile.announce import ClusterState
from metallb_cli.reconcile.api_outage import ApiOutagePolicy
from metallb_cli.reconcile.lease_notes import CLAIMS, SpeakerNote, speaker_note
from metallb_cli.reconcile.liveness import node_of

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds after which an idle loop looks again whether it shall stop and whether its threads live."""

LEAVE_TIMEOUT = 2.0
"""Seconds in which the others must have taken everything over from a speaker that stops."""

LISTENING = 0.5
"""Seconds for which a speaker that starts listens before it takes anything over; longer when heartbeats are rarer."""

LISTENING_INTERVALS = 5
"""Heartbeats that it must be able to hear in that time: until it is heard itself, and is told what others claim."""

COLD_LISTENING = 3.0
"""Seconds instead, when a whole cluster starts: else the first speaker would get every address, and keep it."""

YOUNG = 10.0
"""Seconds after its start in which a speaker may be one of those that start together."""

KEY_PATIENCE = 5.0
"""Seconds for which a speaker that starts is not ready because it has no key for heartbeats. After that it counts as
ready without them: by its Lease it can take over, and a Secret that is missing must not hold up an update for ever."""

HANDOVER = 0.5
"""Seconds that a speaker which gave its Lease back goes on answering for what nobody has taken over by then."""


class Task(Enum):
    """Keys in the inbox that are no Service."""

    CONFIG = "config"
    EVERYTHING = "everything"
    LINK = "link"
    PEERS = "peers"


Key = ServiceKey | Task


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose.

    Attributes:
        node: name of the node that this speaker answers on.
        lb_class: announce only Services of this `loadBalancerClass`; None means those without one.
        ignore_exclude_lb: announce also from nodes labelled exclude-from-external-load-balancers.
        heartbeat_interval: seconds.
        heartbeat_misses: intervals without a heartbeat after which this node counts as dead.
    """

    node: str
    lb_class: str | None = None
    ignore_exclude_lb: bool = False
    election: Mode = Mode.STICKY
    on_api_outage: ApiOutagePolicy = ApiOutagePolicy.FREEZE
    heartbeat_interval: float = 0.1
    heartbeat_misses: int = 3


class Speaker:
    """Runs until told to stop."""

    def __init__(
        self,
        *,
        feeds: SpeakerFeeds,
        inbox: Inbox[Key],
        membership: Membership,
        events: Events,
        metrics: SpeakerMetrics,
        recorder: Recorder,
        options: Options,
    ) -> None:
        self._feeds = feeds
        self._inbox = inbox
        self._membership = membership
        self._metrics = metrics
        self._options = options
        self._stop = threading.Event()
        self._config = Configuration(metrics)
        self._judgements = Judgements(feeds.services, options.lb_class)
        self._ownership = self._listen(time.monotonic())
        self._decided: object = None
        self._sent = AnnouncementSet()
        self._leaving = False
        self._yielding_since: dict[IPAddress, int] = {}
        self._suspended = False
        self._fences = self._fences_followed = 0
        self._link_state = LinkState()
        self._link_exit: int | None = None
        self._description = Description(membership, _settings(options, membership))
        self._boot = time.time_ns()
        self._began: float | None = None
        self._hears_since: float | None = None  # since when it takes part in the heartbeats
        self._ready = False
        self.neighbours = Neighbours(options.node, lambda: inbox.put(Task.PEERS), options.heartbeat_interval)
        self._announcements = Announcements(
            options.node, self._judgements.services_of, feeds.services, events, metrics, recorder
        )
        self.working = False

    # -- any thread

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stop.set()
        self._inbox.put(Task.PEERS)  # so that it need not wait for its next look

    def on_link_state(self, state: LinkState) -> None:
        """Take in a report of the link process, each in its turn."""
        if state.fenced and not self._link_state.fenced:
            self._fences += 1  # counted here, because it may be over before the loop looks
        self._link_state = state
        self._inbox.put(Task.LINK)

    def on_link_exit(self, code: int) -> None:
        """Take in that the link process ended: without it this node answers for nothing."""
        self._link_exit = code
        self._inbox.put(Task.LINK)

    def on_notes(self, old: Lease | None, new: Lease | None) -> None:
        """Take in that a speaker says something new on its Lease."""
        if self.neighbours.heeds(old, new):
            self._inbox.put(Task.PEERS)

    def on_keys(self, keys: tuple[bytes, ...]) -> None:
        """Take in the keys of the heartbeats, newest first, and begin to send them."""
        options = self._options
        try:
            self._link.heartbeats(
                HeartbeatSettings(options.node, self._boot, keys, options.heartbeat_interval, options.heartbeat_misses)
            )
        except LinkError:  # it has ended: `on_link_exit` says so
            return
        self._hears_since = self._hears_since or time.monotonic()
        self._inbox.put(Task.LINK)

    def why_not_ready(self) -> str:
        """Return why this speaker could not take anything over yet; empty when it could.

        From then on it stays ready: an outage of the API server, a drain or a fence is no reason to hold an update up.
        """
        if not self.working or self._began is None:
            return "nothing has been decided yet: waiting for the API server"
        if self._ready:
            return ""
        now = time.monotonic()
        if self._hears_since is None and now < self._began + KEY_PATIENCE:
            return "no heartbeats yet: waiting for their key, the Secret metallb-heartbeat"
        if not self._ownership.settled or now < (self._hears_since or self._began) + self._listening:
            return "listening to what the other speakers have, before taking anything over"
        self._ready = True
        return ""

    # -- the loop

    def run(self, link: Link, joined: Callable[[], None] = lambda: None) -> None:
        """Work until `stop`, then hand over.

        Args:
            link: started, and reporting to `on_link_state`, `on_link_exit` and `neighbours`.
            joined: called when this speaker has its Lease, from where on `on_keys` may be called.

        Raises:
            LinkError: the link process ended.
        """
        self._link = link
        self._feeds.start()
        try:
            while not self._feeds.synced() and not self._stop.wait(0.02):
                self._check_link()
            # The Lease comes first, and says on which networks this speaker is: the others must know of both before it
            # takes part in the election.
            self._describe()
            self._membership.start()
            while not self._membership.joined.wait(0.02) and not self._stop.is_set():
                self._check_link()
            if not self._stop.is_set():
                self._begin()
                joined()
            while not self._stop.is_set():
                self._turn(POLL)
            self._leave()
        finally:
            self.working = False
            self._feeds.stop()

    def _listen(self, now: float) -> Ownership:
        """Begin to take part in the election: by listening."""
        together = len(self._feeds.nodes()) > 1 and self._starts_with_others()
        cold = max(self._listening, COLD_LISTENING) if together else None
        return Ownership(self._options.node, now, self._options.election, settle=self._listening, cold=cold)

    @property
    def _listening(self) -> float:
        """Seconds for which it listens before it takes anything over."""
        return max(LISTENING, LISTENING_INTERVALS * self._options.heartbeat_interval)

    def _starts_with_others(self) -> bool:
        """Whether no other speaker has been running for long, and none has got an address yet.

        Their clocks may differ: then addresses spread less.
        """
        me = self._options.node
        others = [(lease, live) for lease, live in self._membership.leases() if node_of(lease.name) != me]
        if not others:  # the first of all, unless it has always been the only one
            return self._membership.before is None
        return not any(
            live and (lease.annotation(CLAIMS) or self._boot - speaker_note(lease).boot >= YOUNG * 1e9)
            for lease, live in others
        )

    def _begin(self) -> None:
        before, now = self._membership.before, time.monotonic()
        self._boot = max(self._boot, speaker_note(before).boot + 1)  # grows even when the clock was set back
        self._ownership = self._listen(now)
        self._began = now
        self.neighbours.remember(self._ownership, before, now)
        self._config.load(self._feeds.config_text())
        self._inbox.put(Task.EVERYTHING)

    def _turn(self, patience: float) -> None:
        due = self._next_deadline()
        now = time.monotonic()
        key = self._inbox.get(max(0.0, min(patience, patience if due is None else due - now)))
        self._check_link()
        services, tasks = set[ServiceKey](), set[Task]()
        while key is not None:
            if isinstance(key, ServiceKey):
                services.add(key)
            else:
                tasks.add(key)
            key = self._inbox.get(0)
        if Task.CONFIG in tasks:
            self._config.load(self._feeds.config_text())
        handled = bool(services or tasks & {Task.CONFIG, Task.EVERYTHING})
        if tasks & {Task.CONFIG, Task.EVERYTHING} or (Task.PEERS in tasks and self._newcomers()):
            services |= self._survey()
        self._judge(services)
        if Task.LINK in tasks:
            self._follow_link()
        self._decide()
        if handled:
            self._metrics.update_handled(failed=False)
            self.working = True
        described = self._description.next_deadline()
        if tasks or services or (described is not None and described <= time.monotonic()):
            self._describe()

    def _next_deadline(self) -> float | None:
        now = time.monotonic()
        parts = (self._ownership.next_deadline(), self.neighbours.next_deadline(now), self._description.next_deadline())
        return min((at for at in parts if at is not None), default=None)

    def _check_link(self) -> None:
        if self._link_exit is not None:
            raise LinkError(f"the link process ended with code {self._link_exit}; this node answers for nothing")

    def _leave(self) -> None:
        """Let the others take over while this node still answers, so that clients never wait for nobody."""
        self._leaving = True
        end = time.monotonic() + LEAVE_TIMEOUT
        self._decide()
        while self._sent.addresses and time.monotonic() < end and self._can_hand_over():
            self._turn(0.05)
        self._membership.leave()
        if self._sent.addresses:
            time.sleep(HANDOVER)
        if self._sent.addresses:
            self._link.announce(AnnouncementSet(self._sent.generation + 1, ranges=self._sent.ranges, leaving=True))

    def _can_hand_over(self) -> bool:
        """Whether a speaker on the LAN has begun to take over what this node still answers for, or may."""
        if self._sent.yielding:
            return True
        live = {peer.node for peer in self.neighbours.peers if peer.live}
        speakers = self.neighbours.standings.speakers
        takers = {node for node in live if node in speakers and not speakers[node].leaving}
        wishes = (self._judgements.wish(address) for address in self._sent.addresses) if takers else ()
        return any(wish is not None and not takers.isdisjoint(wish.candidates) for wish in wishes)

    # -- judging Services

    def _survey(self) -> set[ServiceKey]:
        """Look at what every Service is judged by; return those to judge again because it is anything else than before.

        Draining is left out: a drained node is a candidate, which leaves.
        """
        if not self._config.loaded:
            return set()
        return self._judgements.follow(
            ClusterState(
                pools=self._config.pools,
                nodes={name: replace(node, draining=False) for name, node in self._feeds.nodes().items()},
                speakers=self._speakers(),
                endpoints=self._feeds.endpoints(),  # live: a change comes with the key of its Service
                ignore_exclude_lb=self._options.ignore_exclude_lb,
                reach=self._membership.reach(),
            )
        )

    def _speakers(self) -> frozenset[str]:
        return self._membership.live() | {peer.node for peer in self.neighbours.peers if peer.live}

    def _newcomers(self) -> bool:
        """Whether the LAN shows speakers that no Service was judged with. Who is gone is the election's business."""
        state = self._judgements.state
        return state is not None and not self._speakers() <= state.speakers

    def _judge(self, keys: Iterable[ServiceKey]) -> None:
        """Find out which nodes may answer for the Services' addresses, and tell the election."""
        changed: set[IPAddress] = set()
        for key, before, after in self._judgements.judge(keys):
            changed |= {verdict.address for verdict in (*before, *after)}
            if after != before:
                self._announcements.judged(key, before, after)
        for address in changed:
            self._ownership.want(address, self._judgements.wish(address))

    # -- deciding and doing

    def _decide(self) -> None:
        now = time.monotonic()
        draining = frozenset(name for name, node in self._feeds.nodes().items() if node.draining)
        leaving = self._leaving or self._options.node in draining
        usable = {interface.name for interface in self._link_state.interfaces if interface.verdict is Reason.USABLE}
        self.neighbours.feed(self._ownership, self._membership.leases(), draining, now, usable=usable)
        self._ownership.set_leaving(leaving)
        self._obey_outage_policy()
        decision = self._ownership.decide(now)
        state = decision, leaving or self._suspended, self._config.pools
        if state != self._decided:
            self._decided = state
            self._send(decision, leaving or self._suspended)
        if decision.changes:
            self._announcements.decided(decision.changes, self._sent.generation, now, self.neighbours.deaths)

    def _obey_outage_policy(self) -> None:
        outage, duration = self._membership.outage_seconds, self._membership.lease_duration
        suspended = api_outage.suspended(
            self._options.on_api_outage, outage, duration, quorum=self.neighbours.standings.quorum
        )
        if suspended != self._suspended:
            self._suspended = suspended
            self._ownership.suspend(suspended)
            self._announcements.suspended(suspended, outage)

    def _send(self, decision: Decision, leaving: bool) -> None:
        addresses = sorted(decision.claims.keys() | decision.yielding.keys(), key=lambda a: (a.version, int(a)))
        ranges = [r for pool in self._config.pools if pool.protocol.is_layer2 for r in pool.ranges]
        # An address that was kept although no pool contains it any more is answered for as well.
        ranges += [AddressRange(a, a) for a in addresses]
        wanted = AnnouncementSet(
            generation=self._sent.generation,
            addresses=tuple(addresses),
            ranges=tuple(merge_ranges(ranges)),
            probe=tuple(a for a in addresses if a in decision.probe),
            yielding=tuple(a for a in addresses if a in decision.yielding),
            claims=dict(decision.said),
            leaving=leaving,
            unsteady=decision.unsteady,
        )
        if wanted != self._sent:
            self._sent = replace(wanted, generation=self._sent.generation + 1)
            since = self._yielding_since
            self._yielding_since = {a: since.get(a, self._sent.generation) for a in wanted.yielding}
            self._link.announce(self._sent)

    def _follow_link(self) -> None:
        """Take in what the link process found out about the addresses and about itself."""
        state, now = self._link_state, time.monotonic()
        if self._fences != self._fences_followed:
            self._fences_followed = self._fences
            self._ownership.fenced(now)
            self._announcements.fenced()
        self._ownership.contested(frozenset(conflict.address for conflict in state.contested))
        # Of an address that was yielded before, taken back and is yielded again, an old report says nothing.
        since = self._yielding_since
        self._ownership.released(frozenset(a for a in state.released if since.get(a, 0) <= state.generation))
        self._announcements.reported(state, now)

    def _describe(self) -> None:
        peers, hears = self.neighbours.peers, self._hears_since is not None
        self._description.write(self._link_state, peers, self._sent, self._boot, hears=hears, now=time.monotonic())
        live = sum(peer.live for peer in peers)
        self._metrics.peers(live=live, dead=len(peers) - live)


def _settings(options: Options, membership: Membership) -> SpeakerNote:
    """What a speaker says of its options."""
    return SpeakerNote(
        election=options.election.value,
        api_outage=options.on_api_outage.value,
        interval=options.heartbeat_interval,
        misses=options.heartbeat_misses,
        renew=membership.renew,
    )

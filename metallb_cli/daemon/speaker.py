"""The speaker's control process: decides which addresses this node answers for and hands them to the link process.

One thread decides. Watch threads, the membership thread and the link's reader thread only leave a key in the inbox.
What to announce is always computed as a whole set and compared with the set in force, so a lost or doubled event does
no harm. When the API server is away nothing arrives in the inbox, and the node goes on answering for what it has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from metallb_cli import config
from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.membership import Membership
from metallb_cli.daemon.ports import Events, Link, SpeakerFeeds, SpeakerMetrics
from metallb_cli.errors import LinkError
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.model import (
    AddressRange,
    Conflict,
    IPAddress,
    LinkState,
    Notice,
    Protocol,
    Reason,
    Service,
    ServiceKey,
    Severity,
    merge_ranges,
)
from metallb_cli.reconcile.announce import ClusterState, Verdict, judge
from metallb_cli.reconcile.interface_notes import encode_interfaces
from metallb_cli.reconcile.lease_notes import encode_addresses

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds after which an idle loop looks again whether it shall stop and whether its threads live."""

PASSING_CLAIM = 3.0
"""Seconds for which another machine may claim an address of ours without being reported: a handover looks the same."""

HANDOVER = 0.5
"""Seconds that a speaker which gave its Lease back goes on answering: others need a moment to take over."""


class Task(Enum):
    """Keys in the inbox that are no Service."""

    CONFIG = "config"
    EVERYTHING = "everything"
    LINK = "link"


Key = ServiceKey | Task
Waker = Callable[[Key], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose.

    Attributes:
        node: name of the node that this speaker answers on.
        lb_class: announce only Services of this `loadBalancerClass`; None means those without one.
        ignore_exclude_lb: announce also from nodes labelled exclude-from-external-load-balancers.
    """

    node: str
    lb_class: str | None = None
    ignore_exclude_lb: bool = False


@dataclass(slots=True)
class _Claim:
    """Another machine that claims an address of ours: since when, how often at first, whether it was reported."""

    since: float
    count: int
    told: bool = False


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
        options: Options,
    ) -> None:
        self._feeds = feeds
        self._inbox = inbox
        self._membership = membership
        self._events = events
        self._metrics = metrics
        self._options = options
        self._stop = threading.Event()
        self._config: config.Config | None = None
        self._told_config: tuple[Reason, str] | None = None
        self._verdicts: dict[ServiceKey, tuple[Verdict, ...]] = {}
        self._state: ClusterState | None = None
        self._sent = AnnouncementSet()
        self._link_state = LinkState()
        self._claims: dict[tuple[IPAddress, bytes], _Claim] = {}
        self._link_exit: int | None = None
        self.working = False

    # -- any thread

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stop.set()

    def on_link_state(self, state: LinkState) -> None:
        """Take in a report of the link process."""
        self._link_state = state
        self._inbox.put(Task.LINK)

    def on_link_exit(self, code: int) -> None:
        """Take in that the link process ended: without it this node answers for nothing."""
        self._link_exit = code
        self._inbox.put(Task.LINK)

    # -- the loop

    def run(self, link: Link) -> None:
        """Work until `stop`, then hand over.

        Args:
            link: started, and reporting to `on_link_state` and `on_link_exit`.

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
            self._load_config(self._feeds.config_text())
            self._inbox.put(Task.EVERYTHING)
            while not self._stop.is_set():
                self._turn()
            self._hand_over()
        finally:
            self.working = False
            self._feeds.stop()

    def _turn(self) -> None:
        key = self._inbox.get(POLL)
        self._check_link()
        if key is None:
            return
        everything, services, link = False, set[ServiceKey](), False
        while key is not None:
            if isinstance(key, ServiceKey):
                services.add(key)
            elif key is Task.CONFIG:
                everything |= self._load_config(self._feeds.config_text())
            elif key is Task.LINK:
                link = True
            else:
                everything = True
            key = self._inbox.get(0)
        if everything:
            self._judge_everything()
        elif services:
            self._judge(services)
        if everything or services:
            self._metrics.update_handled(failed=False)
            self._announce()
            self.working = True
        if link or everything or services:
            self._describe()

    def _check_link(self) -> None:
        if self._link_exit is not None:
            raise LinkError(f"the link process ended with code {self._link_exit}; this node answers for nothing")

    def _hand_over(self) -> None:
        """Give the Lease back first and answer a moment longer, so that clients never wait for nobody."""
        self._membership.leave()
        if self._sent.addresses:
            time.sleep(HANDOVER)
        self._send(())

    # -- deciding

    def _judge_everything(self) -> None:
        self._state = ClusterState(
            pools=self._config.pools if self._config else (),
            nodes=dict(self._feeds.nodes()),
            speakers=self._membership.live(),
            endpoints=self._feeds.endpoints(),
            ignore_exclude_lb=self._options.ignore_exclude_lb,
            reach=self._membership.reach(),
        )
        keys = {service.key for service in self._feeds.services.all()}
        self._judge(keys | set(self._verdicts))

    def _judge(self, keys: Iterable[ServiceKey]) -> None:
        if self._state is None or self._config is None:
            return
        for key in sorted(keys):
            service = self._feeds.services.get(key)
            before = self._verdicts.get(key, ())
            if service is None or not self._ours(service):
                after: tuple[Verdict, ...] = ()
            else:
                after = judge(service, self._state)
            if after == before:
                continue
            if after:
                self._verdicts[key] = after
            else:
                del self._verdicts[key]
            self._tell(key, service, before, after)

    def _ours(self, service: Service) -> bool:
        return service.is_load_balancer and service.load_balancer_class == self._options.lb_class

    def _mine(self, verdicts: tuple[Verdict, ...]) -> dict[IPAddress, Verdict]:
        return {
            v.address: v
            for v in verdicts
            if v.address is not None and v.owner == self._options.node and v.reason is Reason.ANNOUNCED
        }

    def _tell(
        self,
        key: ServiceKey,
        service: Service | None,
        before: tuple[Verdict, ...],
        after: tuple[Verdict, ...],
    ) -> None:
        """Log every change of mind, and make an Event of each address that this node begins to answer for."""
        had, has = self._mine(before), self._mine(after)
        for address, verdict in has.items():
            if address not in had and service is not None:
                protocol = (verdict.protocol or Protocol.LAYER2).value
                message = f'announcing {address} from node "{self._options.node}" with protocol "{protocol}"'
                self._events.about_service(service, Notice(Reason.ANNOUNCED, message))
                self._log(key, Reason.ANNOUNCED, message)
        for address in had.keys() - has.keys():
            reason = self._why_stopped(service, address, after)
            self._log(key, reason, f"not announcing {address} from this node any more")
        if not had and not has:
            for verdict in after:
                reason = self._shown(verdict)
                owner = f"; {verdict.owner} answers" if verdict.owner else ""
                # On most nodes most addresses are somebody else's: that is no news.
                level = logging.DEBUG if verdict.owner else logging.INFO
                self._log(key, reason, f"not announcing {verdict.address} from this node{owner}", level)

    def _shown(self, verdict: Verdict) -> Reason:
        elsewhere = verdict.reason is Reason.ANNOUNCED and verdict.owner != self._options.node
        return verdict.excluded.get(self._options.node, Reason.NOT_OWNER) if elsewhere else verdict.reason

    def _why_stopped(self, service: Service | None, address: IPAddress, after: tuple[Verdict, ...]) -> Reason:
        if service is None:
            return Reason.SERVICE_DELETED
        if not self._ours(service):
            return Reason.NOT_LOAD_BALANCER if not service.is_load_balancer else Reason.OTHER_CLASS
        for verdict in after:
            if verdict.address == address:
                return self._shown(verdict)
        return Reason.ADDRESS_CHANGED if service.ingress else Reason.NO_ADDRESS

    def _log(self, key: ServiceKey, reason: Reason, message: str, level: int = logging.INFO) -> None:
        log.log(level, "%s: %s", key, message, extra={"service": str(key), "reason": reason.value})

    # -- doing

    def _announce(self) -> None:
        mine: dict[IPAddress, Verdict] = {}
        gauges: dict[tuple[ServiceKey, IPAddress], str] = {}
        for key, verdicts in self._verdicts.items():
            for address, verdict in self._mine(verdicts).items():
                mine[address] = verdict
                gauges[key, address] = (verdict.protocol or Protocol.LAYER2).value
        addresses = tuple(sorted(mine, key=lambda a: (a.version, int(a))))
        self._send(addresses)
        self._metrics.announced(gauges)

    def _send(self, addresses: tuple[IPAddress, ...]) -> None:
        pools = self._config.pools if self._config else ()
        ranges = [r for pool in pools if pool.protocol.is_layer2 for r in pool.ranges]
        # An address that was kept although no pool contains it any more is answered for as well.
        ranges += [AddressRange(a, a) for a in addresses]
        wanted = AnnouncementSet(self._sent.generation + 1, addresses, tuple(merge_ranges(ranges)))
        if (wanted.addresses, wanted.ranges) != (self._sent.addresses, self._sent.ranges):
            self._link.announce(wanted)
            self._sent = wanted

    def _describe(self) -> None:
        state = self._link_state
        self._membership.describe(
            {
                "metallb.io/interfaces": encode_interfaces(state.interfaces),
                "metallb.io/announcing": encode_addresses(state.announced),
            }
        )
        self._tell_conflicts(state.conflicts, time.monotonic())
        self._metrics.address_counters(state.counters)
        self._metrics.frame_drops(state.drops)

    def _tell_conflicts(self, conflicts: tuple[Conflict, ...], now: float) -> None:
        """Report machines that go on claiming addresses of ours."""
        claims = {(c.address, c.mac): c for c in conflicts}
        self._claims = {key: self._claims.get(key) or _Claim(now, claims[key].count) for key in claims}
        for (address, mac), claim in self._claims.items():
            lasting = now >= claim.since + PASSING_CLAIM and claims[address, mac].count > claim.count
            if claim.told or not lasting:
                continue
            claim.told = True
            message = (
                f"{address} is also claimed by the machine with MAC address {mac.hex(':')}; "
                "find it on the LAN, or take the address out of the pool"
            )
            for key, verdicts in self._verdicts.items():
                service = self._feeds.services.get(key)
                if service is not None and address in self._mine(verdicts):
                    self._events.about_service(service, Notice(Reason.ADDRESS_CONFLICT, message, Severity.WARNING))
                    self._log(key, Reason.ADDRESS_CONFLICT, message, logging.WARNING)

    # -- the configuration

    def _load_config(self, text: str | None) -> bool:
        """Take a new configuration if it is good; otherwise go on with the one before. Returns whether it was taken."""
        if text is None:
            return self._complain(Reason.CONFIG_MISSING, "the ConfigMap does not exist")
        parsed = config.parse(text, source="config")
        if parsed.config is None:
            errors = [p for p in parsed.problems if p.severity is config.Level.ERROR]
            return self._complain(Reason.CONFIG_INVALID, f"line {errors[0].line}: {errors[0].message}")
        self._told_config = None
        self._config = parsed.config
        self._metrics.config_state(loaded=True, stale=False)
        log.info(
            "configuration loaded: %d pools", len(parsed.config.pools), extra={"reason": Reason.CONFIG_LOADED.value}
        )
        return True

    def _complain(self, reason: Reason, message: str) -> bool:
        kept = "; going on with the configuration before it" if self._config else "; announcing nothing"
        self._metrics.config_state(loaded=self._config is not None, stale=True)
        if (reason, message) != self._told_config:
            self._told_config = (reason, message)
            # The controller makes the Event: one per cluster, not one per node.
            log.warning("%s%s", message, kept, extra={"reason": reason.value})
        return False

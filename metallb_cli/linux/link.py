"""The link process: owns the raw sockets, answers on the LAN, and does what the control process says.

One thread, one epoll, no lock. It holds CAP_NET_RAW and nothing else, cannot open files, and ends when the control
process ends (or `orphan_grace` seconds later), so that no address is answered for by a node that nobody watches.

Deadlines are on CLOCK_MONOTONIC: they only pace frames, and time asleep should not pile up a burst for the resume.
"""

from __future__ import annotations

import gc
import logging
import math
import signal
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from types import FrameType

from metallb_cli.errors import BpfError, MetalLBError, PermissionMissingError, UsageError
from metallb_cli.layer2.engine import Drop
from metallb_cli.layer2.messages import (
    AnnouncementSet,
    HeartbeatSettings,
    LinkReport,
    PeersReport,
    Refusal,
    Stop,
)
from metallb_cli.layer2.probing import PROBE_INTERVAL
from metallb_cli.linux import netns, privileges
from metallb_cli.linux.channel import Channel
from metallb_cli.linux.ebpf import support
from metallb_cli.linux.ebpf.pins import PinDirectory, bpf_file_system
from metallb_cli.linux.interfaces import Interfaces
from metallb_cli.linux.links import Excluded, LinkWatcher
from metallb_cli.linux.poller import Poller
from metallb_cli.linux.port import L2Engine
from metallb_cli.model import AddressCounters, Conflict, IPAddress

log = logging.getLogger(__name__)

REPORT_INTERVAL = 1.0
"""Seconds between reports of counters. Other changes are reported at once."""

KERNEL_LEASE = 1.0
"""Seconds for which the kernel goes on answering when this process stands still. Renewed four times as often.

With live peers it is the time from the last heartbeat to the takeover instead, and every heartbeat renews it."""

COUNTS_PER_REPORT = 512
"""Addresses in one report: some 2 ms of work, in which no frame is answered. The rest follows after MORE_COUNTS."""

REPORT_GAP = 0.02
"""Seconds between two reports at least: when thousands of addresses change their state, they do so in many turns."""

COLLECT_AFTER = 200_000
"""New objects before the garbage collector looks: more than a set of 10 000 addresses needs, the reading of which it
would slow down to half. There is next to no garbage that only it can find."""

CLAIMS_PER_TURN = 8
"""Sections of peers' claims that are handed on in a row: some 2 ms of work."""

RETRY_NEWS = 0.02
"""Seconds until peers' news are offered again to a control process that was too slow to take them."""

MORE_COUNTS = 0.02
"""Seconds until the next part of the counters."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How the control process started this one.

    Attributes:
        fd: the connected stream socket to the control process.
        network: network namespace to answer in, by name or path; None is the present one.
        exclude: regular expressions of interface names to keep away from.
        orphan_grace: seconds to go on answering after the control process ended.
        l2_engine: who answers; None for the kernel where it can, else this process.
        probe_interval: seconds between the probes for an address that nobody had before; 0 for no probes.
        spin: seconds for which it stays awake after it has answered a question.
    """

    fd: int
    network: str | None = None
    exclude: tuple[str, ...] = ()
    orphan_grace: float = 0.0
    l2_engine: L2Engine | None = None
    probe_interval: float = PROBE_INTERVAL
    spin: float = 0.0


def run(options: LinkOptions) -> int:
    """Be the link process until told to stop; return the exit code.

    Raises:
        UsageError: nobody is at the other end.
    """
    if options.orphan_grace <= 0:
        privileges.die_with_parent()
    try:
        channel = Channel(socket.socket(fileno=options.fd))
    except OSError as error:
        raise UsageError(f"file descriptor {options.fd} is no socket: only the speaker starts this command") from error
    try:
        loop = _prepare(options, channel)
    except MetalLBError as error:
        channel.send(Refusal(str(error)))
        return error.exit_code
    return loop.run()


def _prepare(options: LinkOptions, channel: Channel) -> Loop:
    """Take what needs rights, then give the rights up."""
    privileges.require({"CAP_NET_RAW"}, purpose="open raw sockets on the LAN")
    if options.network is not None:
        netns.enter(options.network)
    l2_engine, pins = _choose(options.l2_engine)
    loop = Loop(channel, options, l2_engine, pins)
    time.tzset()  # reads a file, which the logs may need later
    privileges.keep_only({"CAP_NET_RAW"} | (support.CAPABILITIES if l2_engine is L2Engine.TC else set()))
    if not privileges.close_files(None if pins is None else pins.path):
        log.warning(
            "this kernel has no Landlock: the link process could open files, such as a token, if it were misled"
        )
    gc.collect()
    gc.freeze()  # what is loaded now stays: the collector need not look at it again
    gc.set_threshold(COLLECT_AFTER)
    return loop


def _choose(wanted: L2Engine | None) -> tuple[L2Engine, PinDirectory | None]:
    """Return the engine to use and where it pins, and say in one line which and why.

    Raises:
        PermissionMissingError: the tc engine is asked for by name and cannot be had.
    """
    if wanted is L2Engine.PACKET:
        log.info("layer-2 engine: packet, as told")
        return L2Engine.PACKET, None
    why_not = support.supported()
    if why_not is None:
        pins, where = _pin_directory()
        log.info("layer-2 engine: tc, so the kernel answers by itself; %s", where)
        return L2Engine.TC, pins
    if wanted is L2Engine.TC:
        raise PermissionMissingError(f"the tc engine cannot be used: {why_not}. Or choose --l2-engine packet")
    log.info("layer-2 engine: packet, so this process answers; tc is not used: %s", why_not)
    return L2Engine.PACKET, None


def _pin_directory() -> tuple[PinDirectory | None, str]:
    """Where the kernel's part outlives this process, if anywhere, and a remark about it for the log."""
    file_system = bpf_file_system()
    if file_system is None:
        return None, "not pinned: no bpf file system is mounted"
    try:
        pins = PinDirectory(file_system)
    except BpfError as error:
        return None, f"not pinned: {error}"
    return pins, f"pinned in {pins.path}"


class Loop:
    """Waits for frames, changes of interfaces, messages and deadlines."""

    def __init__(
        self, channel: Channel, options: LinkOptions, l2_engine: L2Engine, pins: PinDirectory | None = None
    ) -> None:
        self._channel = channel
        self._orphan_grace = options.orphan_grace
        self._poller = Poller(options.spin)
        self._watcher = LinkWatcher()
        self._pins = pins
        self._interfaces = Interfaces(
            Excluded(options.exclude),
            self._poller,
            l2_engine,
            None if pins is None else pins.path,
            options.probe_interval,
        )
        self._interfaces.breathe = self._breathe
        self._l2_engine = l2_engine
        self._renew_at: float | None = None  # not before the first set, so that what was adopted lives no longer by it
        self._generation = 0
        self._stopping = ""  # why, as soon as it is
        self._end: float | None = None  # when to stop, after the control process has gone
        self._reported_at = 0.0
        self._report_at: float | None = 0.0  # at once: the first report says that the link process works
        self._news_at: float | None = None  # when more about peers is to be told
        self._conflicts: frozenset[tuple[IPAddress, bytes]] = frozenset()

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._poller.register(wake.fileno(), lambda _now: None)
        self._poller.register(self._channel.fileno(), self._on_message)
        self._poller.register(self._watcher.fileno(), lambda now: self._interfaces.apply(self._watcher.changes(), now))
        self._interfaces.apply(self._watcher.all(), time.monotonic())
        self._interfaces.discard_leftovers()
        while not self._stopping:
            self._turn()
        if self._end is None or self._orphan_grace > 0:
            self._interfaces.close()
            if self._pins is not None:
                self._pins.remove()
        # Else the control process crashed, and what is pinned answers for the next one, as long as the lease lasts.
        log.info("stopped: %s", self._stopping)
        return 0

    def _turn(self) -> None:
        """Wait until there is more to do than to answer and to send heartbeats, and do it."""
        now = self._wait()
        self._interfaces.tick(now)
        self._tell_news(now)
        if self._interfaces.changed:
            self._report_at = max(now, self._reported_at + REPORT_GAP)
        elif self._report_at is None and (self._interfaces.worked or self._renew_at is not None):
            # What the kernel answers wakes nobody, so its counters are looked at from time to time.
            self._report_at = now + REPORT_INTERVAL
        if self._report_at is not None and self._report_at <= now:
            self._report(now)
        if self._end is not None and self._end <= now:
            self._stopping = "the control process is gone"

    def _wait(self) -> float:
        """Answer, and send heartbeats, until there is anything else to do; return the time."""
        interfaces, heartbeats = self._interfaces, self._interfaces.heartbeats
        deadlines = (interfaces.next_deadline(), self._end, self._report_at, self._news_at)
        deadline = min((at for at in deadlines if at is not None), default=math.inf)
        while True:
            beats = (heartbeats.next_deadline(), self._renew_at, deadline)
            now = self._poller.wait(min(at for at in beats if at is not None), interfaces.check_fence)
            self._beat(now)
            if self._poller.more or now >= deadline or interfaces.changed or heartbeats.news:
                return now

    def _beat(self, now: float) -> None:
        """Send the heartbeats that are due, and let the kernel go on answering."""
        heartbeats = self._interfaces.heartbeats
        beaten = heartbeats.tick(now)
        if self._renew_at is None or not (beaten or self._renew_at <= now or self._interfaces.changed):
            return  # an interface that has just come up has a lease of its own, which wants its first renewal at once
        self._renew_at = now + KERNEL_LEASE / 4
        if not heartbeats.fenced:
            lease = heartbeats.lease
            self._interfaces.renew(now + KERNEL_LEASE if lease is None else lease)

    def _breathe(self) -> None:
        """Send the heartbeats that are due in the midst of other work."""
        now = time.monotonic()
        self._interfaces.check_fence(now)
        self._beat(now)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = signal.Signals(number).name

    def _on_message(self, now: float) -> None:
        messages = self._channel.receive()
        self._breathe()
        if messages is None:
            self._poller.unregister(self._channel.fileno())
            self._end = now + self._orphan_grace
            log.warning("the control process is gone; answering for another %g s", self._orphan_grace)
            return
        for message in messages:
            if isinstance(message, Stop):
                self._stopping = message.goodbye or "told to"
        for message in messages:
            if isinstance(message, HeartbeatSettings):
                self._interfaces.send_heartbeats(message, now)
        sets = [message for message in messages if isinstance(message, AnnouncementSet)]
        if sets:  # each is the whole set, so that the last is all that counts
            self._generation = sets[-1].generation
            self._interfaces.announce(sets[-1], now)
            if self._renew_at is None and self._l2_engine is L2Engine.TC:
                self._renew_at = now

    def _tell_news(self, now: float) -> None:
        """Tell the control process at once what peers say; what it is too slow to take stays where it is."""
        heartbeats = self._interfaces.heartbeats
        self._news_at = None
        if not self._channel.flush():
            self._news_at = now + RETRY_NEWS
            return
        peers = heartbeats.take_peers(now)
        if peers is not None:
            self._channel.send(PeersReport(peers))
        claims = heartbeats.take_claims(CLAIMS_PER_TURN)
        for section in claims:
            self._channel.send(section)
        if len(claims) == CLAIMS_PER_TURN:
            self._news_at = now

    def _report(self, now: float) -> None:
        """Tell the control process what is new; when it is too slow to take it, try again later."""
        self._report_at = now + REPORT_INTERVAL
        if not self._channel.flush():
            return
        self._report_at, self._reported_at = None, now
        interfaces = self._interfaces
        news = interfaces.changed or interfaces.worked
        interfaces.changed = interfaces.worked = False
        conflicts, unanswered = interfaces.conflicts(), interfaces.unanswered()
        self._tell_conflicts(conflicts, unanswered.contested)
        counts = interfaces.take_counts(COUNTS_PER_REPORT)
        if not news and not counts:
            return
        self._channel.send(
            LinkReport(
                generation=self._generation,
                interfaces=interfaces.interfaces(),
                answering=interfaces.answering(),
                counts={ip_address(ip): AddressCounters(*counted) for ip, counted in counts.items()},
                drops=interfaces.drops(),
                last_error=interfaces.last_error,
                conflicts=conflicts,
                probing=unanswered.probing,
                contested=unanswered.contested,
                released=unanswered.released,
                fenced=interfaces.heartbeats.fenced,
            )
        )
        if len(counts) >= COUNTS_PER_REPORT:
            self._report_at = now + MORE_COUNTS
        elif not self._channel.flush():
            self._report_at = now + REPORT_INTERVAL

    def _tell_conflicts(self, conflicts: tuple[Conflict, ...], contested: tuple[Conflict, ...]) -> None:
        """Say who else has an address, once for each, and what it means for the address."""
        meanings = ((conflicts, "claims {}, which we announce"), (contested, "has {}, so we do not announce it"))
        told = self._conflicts
        self._conflicts = frozenset((conflict.address, conflict.mac) for conflict in (*conflicts, *contested))
        for conflict, meaning in ((conflict, meaning) for found, meaning in meanings for conflict in found):
            if (conflict.address, conflict.mac) not in told:
                self._interfaces.last_error = f"{conflict.mac.hex(':')} {meaning.format(conflict.address)}"
                log.warning(
                    "%s",
                    self._interfaces.last_error,
                    extra={"ip": str(conflict.address), "mac": conflict.mac.hex(":"), "reason": Drop.CONFLICT.value},
                )

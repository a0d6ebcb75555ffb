"""The interfaces of this node and the engine on each that is usable.

An engine begins when its interface becomes usable and ends when it no longer is, or its MAC address or cable changes.
The next one finds every address new and tells all of them to the neighbours. An error on one interface ends that
engine only, and it is tried again after RETRY seconds or at the interface's next change.
"""

from __future__ import annotations

import errno
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.responder import MAX_CONFLICTS, Counts, Responder, add_counts
from metallb_cli.linux.driver import Driver
from metallb_cli.linux.links import Excluded, Gone, Link, judge
from metallb_cli.linux.packet_socket import ArpSocket, explain
from metallb_cli.linux.poller import Poller
from metallb_cli.model import AddressRange, Conflict, Interface, Reason, merge_ranges

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until an interface whose socket failed is tried again, should the kernel tell of no change before."""

MAX_REPORTED = 100
"""Interfaces in a report. A node with many pods has hundreds, all but a few excluded by name."""

_REPORT_ORDER = [Reason.USABLE, Reason.INTERFACE_FAILED]
_REPORT_LAST = Reason.INTERFACE_EXCLUDED


class _Port:
    """One interface, its verdict, and its driver while it is usable."""

    def __init__(self, link: Link, verdict: Reason) -> None:
        self.link = link
        self.verdict = verdict
        self.socket: ArpSocket | None = None
        self.driver: Driver | None = None  # exactly when there is a socket
        self.retry_at: float | None = None


class Interfaces:
    """Opens and closes engines as interfaces come and go.

    Args:
        excluded: interfaces to keep away from.
        poller: calls the drivers when frames wait.

    Attributes:
        last_error: the newest problem in one sentence, empty when none.
        changed: something other than a counter changed since this was last set to False.
        worked: a counter changed since this was last set to False.
    """

    def __init__(self, excluded: Excluded, poller: Poller) -> None:
        self.last_error = ""
        self.changed = True
        self.worked = False
        self._excluded = excluded
        self._poller = poller
        self._ports: dict[int, _Port] = {}
        self._announced: tuple[IPv4Address, ...] = ()
        self._ranges: tuple[AddressRange, ...] = ()
        self._own_macs: frozenset[bytes] = frozenset()
        # What engines that ended have seen:
        self._counts: dict[bytes, Counts] = {}
        self._drops: Counter[str] = Counter()
        self._conflicts: Counter[tuple[bytes, bytes]] = Counter()

    def _drivers(self) -> Iterator[Driver]:
        for port in self._ports.values():
            if port.driver is not None:
                yield port.driver

    def announce(self, announcements: AnnouncementSet, now: float) -> None:
        """Answer for these addresses, on every usable interface."""
        self.changed = True
        self._announced = tuple(a for a in announcements.addresses if isinstance(a, IPv4Address))
        if self._conflicts:
            wanted = {address.packed for address in self._announced}
            self._conflicts = Counter({key: count for key, count in self._conflicts.items() if key[0] in wanted})
        ranges = _with_all([r for r in announcements.ranges if r.version == 4], self._announced)
        if ranges != self._ranges:
            self._ranges = ranges
            for port in self._ports.values():
                if port.socket is not None and port.driver is not None:
                    try:
                        port.socket.set_ranges(ranges)
                    except OSError as error:
                        port.driver.error = error
        for driver in self._drivers():
            driver.engine.announce(self._announced, now)

    def apply(self, changes: Iterable[Link | Gone], now: float) -> None:
        """Follow what the kernel told, in its order."""
        for change in changes:
            if isinstance(change, Gone):
                self._remove(change.index)
            else:
                self._update(change, now)
        own_macs = frozenset(port.link.mac for port in self._ports.values() if len(port.link.mac) == 6)
        if own_macs != self._own_macs:
            self._own_macs = own_macs
            for driver in self._drivers():
                driver.engine.own_macs = own_macs

    def _remove(self, index: int) -> None:
        port = self._ports.pop(index, None)
        if port is not None:
            self.changed = True
            self._close(port)
            log.info("interface %s is gone", port.link.name, extra={"interface": port.link.name})

    def _update(self, link: Link, now: float) -> None:
        verdict = judge(link, self._excluded)
        port = self._ports.get(link.index)
        if port is None:
            port = self._ports[link.index] = _Port(link, verdict)
            self.changed = True
            _log_verdict(link, verdict)
        elif port.link == link and port.driver is not None:
            return
        else:
            before = Interface(port.link.name, 0, port.link.mac, port.verdict)
            if verdict is not Reason.USABLE or link.replugged(port.link):
                self._close(port)
            port.link, port.verdict = link, verdict
            if before != Interface(link.name, 0, link.mac, verdict):
                self.changed = True
                _log_verdict(link, verdict)
        if verdict is Reason.USABLE and port.driver is None:
            self._open(port, now)

    def _open(self, port: _Port, now: float) -> None:
        link = port.link
        try:
            port.socket = ArpSocket(link.name, link.index, self._ranges)
        except OSError as error:
            self._fail(port, error, now)
            return
        port.verdict, port.retry_at = Reason.USABLE, None
        port.driver = Driver(port.socket, Responder(link.mac, self._own_macs))
        self._poller.register(port.socket.fileno(), port.driver.receive)
        port.driver.engine.announce(self._announced, now)
        self.changed = True

    def _close(self, port: _Port) -> None:
        """End the engine and keep what it counted."""
        port.retry_at = None
        sock, driver = port.socket, port.driver
        port.socket = port.driver = None
        if sock is None or driver is None:
            return
        self.changed = True
        self._poller.unregister(sock.fileno())
        sock.close()
        self._conflicts = _newest(self._conflicts + Counter(driver.engine.conflicts))
        driver.engine.announce((), 0.0)
        for ip, counts in driver.engine.take_counts(len(self._announced)).items():
            add_counts(self._counts, ip, counts)
        self._drops.update(_drops(driver))

    def _fail(self, port: _Port, error: OSError, now: float) -> None:
        self._close(port)
        port.retry_at = now + RETRY
        self.changed = True
        if error.errno == errno.ENETDOWN:  # the kernel's message about it is on its way
            port.verdict = Reason.INTERFACE_DOWN
            return
        port.verdict = Reason.INTERFACE_FAILED
        self.last_error = f"cannot answer on {port.link.name}: {explain(error)}; trying again in {RETRY:.0f} s"
        log.error(self.last_error, extra={"interface": port.link.name, "reason": port.verdict.value})

    def tick(self, now: float) -> None:
        """Do what is due: let the engines speak, drop those that failed, try again those whose time has come."""
        for port in self._ports.values():
            driver = port.driver
            if driver is not None:
                driver.tick(now)
                self.worked |= driver.worked
                driver.worked = False
                if driver.error is not None:
                    self._fail(port, driver.error, now)
            elif port.retry_at is not None and port.retry_at <= now:
                self._open(port, now)

    def next_deadline(self) -> float | None:
        """When an engine, or an interface to try again, has something to do."""
        deadlines = [driver.engine.next_deadline() for driver in self._drivers()]
        deadlines += [port.retry_at for port in self._ports.values()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def close(self) -> None:
        """Stop answering."""
        for port in self._ports.values():
            self._close(port)

    # -- for the report

    def interfaces(self) -> tuple[Interface, ...]:
        """Every interface with its verdict, those that matter first, at most MAX_REPORTED."""
        ports = sorted(self._ports.values(), key=lambda port: (_importance(port.verdict), port.link.name))
        return tuple(
            Interface(port.link.name, port.link.index, port.link.mac, port.verdict) for port in ports[:MAX_REPORTED]
        )

    def announced(self) -> tuple[IPv4Address, ...]:
        """What is answered for now: nothing as long as no interface is usable."""
        return self._announced if any(True for _ in self._drivers()) else ()

    def take_counts(self, limit: int) -> dict[bytes, Counts]:
        """Take what was counted since the last call, of about `limit` addresses per interface."""
        counts, self._counts = self._counts, {}
        for driver in self._drivers():
            for ip, new in driver.engine.take_counts(limit).items():
                add_counts(counts, ip, new)
        return counts

    def drops(self) -> dict[str, int]:
        """Frames not answered and frames not sent, by reason, since the start."""
        total = self._drops.copy()
        for driver in self._drivers():
            total.update(_drops(driver))
        return dict(total)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Foreign claims to announced addresses, on all interfaces together."""
        total = self._conflicts.copy()
        for driver in self._drivers():
            total.update(driver.engine.conflicts)
        return tuple(Conflict(IPv4Address(ip), mac, count) for (ip, mac), count in sorted(total.items()))


def _with_all(ranges: list[AddressRange], addresses: Iterable[IPv4Address]) -> tuple[AddressRange, ...]:
    """The ranges, and the addresses that lie in none of them: the filter must let pass all that is answered for."""
    merged = merge_ranges(ranges)
    starts = [int(r.first) for r in merged]
    outside = []
    for address in addresses:
        place = bisect_right(starts, int(address))
        if not place or address not in merged[place - 1]:
            outside.append(AddressRange(address, address))
    return tuple(merge_ranges([*merged, *outside]) if outside else merged)


def _newest(conflicts: Counter[tuple[bytes, bytes]]) -> Counter[tuple[bytes, bytes]]:
    return Counter(dict(list(conflicts.items())[-MAX_CONFLICTS:]))


def _drops(driver: Driver) -> dict[str, int]:
    drops = {drop.value: count for drop, count in driver.engine.drops.items()}
    return drops | {"SendError": driver.send_errors} if driver.send_errors else drops


def _importance(verdict: Reason) -> int:
    return 0 if verdict in _REPORT_ORDER else 2 if verdict is _REPORT_LAST else 1


def _log_verdict(link: Link, verdict: Reason) -> None:
    level = logging.DEBUG if verdict is Reason.INTERFACE_EXCLUDED else logging.INFO
    message = "answering" if verdict is Reason.USABLE else f"not answering: {verdict.value}"
    log.log(level, "interface %s: %s", link.name, message, extra={"interface": link.name, "reason": verdict.value})

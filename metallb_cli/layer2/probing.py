"""Is an address free? Asked before it is answered for the first time, and again while another host has it.

RFC 5227 §2.1.1 for ARP; for IPv6 it is duplicate address detection (RFC 4862 §5.4), at the same pace. The RFC's pace is
1 to 2 s between probes and 2 s of listening: for hosts that boot, perhaps with a switch port that does not forward yet,
and with a configuration nobody checked. Here the interface has been up, addresses come from a pool that is given to
us, and somebody waits for the Service. `probe_interval` makes it as slow as wanted.
"""

from __future__ import annotations

from collections.abc import Collection, KeysView
from typing import NamedTuple

from metallb_cli.layer2.schedule import phase
from metallb_cli.layer2.timetable import Timetable

PROBES = 3
"""RFC 5227 §1.1: PROBE_NUM."""

PROBE_INTERVAL = 0.2
"""Seconds between two probes, and from the last one to the first answer of ours."""

REPROBE_PERIOD = 30.0
"""Seconds, at most, until an address that another host has is probed again."""

_REPROBE_SPREAD = 3.0  # seconds by which nodes differ, else two that met when they probed would meet for ever


class Contest(NamedTuple):
    """Another host has an address: who said so last, six bytes, and how often it was heard."""

    mac: bytes
    frames: int


class Probing:
    """The addresses of one interface that are silent until they turn out to be free.

    Args:
        mac: of the interface; differs from node to node.

    Attributes:
        contested: those that another host has.
    """

    def __init__(self, mac: bytes) -> None:
        self.contested: dict[bytes, Contest] = {}
        self._mac = mac
        self._turns: Timetable[int] = Timetable()  # marked: how many probes have been sent

    def __contains__(self, ip: object) -> bool:
        return ip in self._turns

    def __len__(self) -> int:
        return len(self._turns)

    def addresses(self) -> KeysView[bytes]:
        """All of them. A live view."""
        return self._turns.addresses()

    def add(self, addresses: Collection[bytes], now: float) -> None:
        """Begin to probe these."""
        self._turns.put(addresses, now, 0)

    def remove(self, addresses: Collection[bytes]) -> None:
        """Forget these."""
        self._turns.remove(addresses)
        for ip in addresses:
            self.contested.pop(ip, None)

    def taken(self, ip: bytes, mac: bytes, now: float) -> bool:
        """Take in that another host has one of the addresses, or probes it too. Returns whether that is news."""
        before = self.contested.get(ip)
        self.contested[ip] = Contest(mac, 1 if before is None else before.frames + 1)
        if before is None or self._turns.mark(ip):
            self._turns.put([ip], now + REPROBE_PERIOD - _REPROBE_SPREAD * phase(ip + self._mac), 0)
        return before is None or before.mac != mac

    def take_due(self, now: float, limit: int, interval: float) -> tuple[list[bytes], list[bytes]]:
        """Return which addresses to probe now, and which are free and forgotten here. At most `limit` together."""
        probe: list[bytes] = []
        free: list[bytes] = []
        for due, before, addresses in self._turns.take(now, limit):
            sent = before if now - due <= interval else 0  # when nobody listened for so long, it begins anew
            if sent < PROBES:
                probe += addresses
                self._turns.put(addresses, now + interval, sent + 1)
            else:
                free += addresses
        for ip in free:
            self.contested.pop(ip, None)
        return probe, free

    def next_deadline(self) -> float | None:
        """When `take_due` has something to do; None for never."""
        return self._turns.next_due()

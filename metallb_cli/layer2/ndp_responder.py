"""Answers neighbour solicitations for the announced addresses on one interface. What it shares with ARP is in `engine`.

It answers more than MetalLB does: unicast reachability probes, and solicitations without a link-layer address, are
questions of a neighbour that is about to give the address up; and duplicate address detection is a host about to take
the address.
"""

from __future__ import annotations

from collections.abc import Collection

from metallb_cli.layer2.engine import Drop, Engine
from metallb_cli.layer2.ndp import UNSPECIFIED, Advertisement, Advertiser, parse
from metallb_cli.layer2.schedule import BATCH


class NdpResponder(Engine):
    """The NDP engine of one interface (RFC 4861 §7.2)."""

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = ()) -> None:
        super().__init__(mac, own_macs)
        self._mac = mac
        self._advertiser = Advertiser(mac)

    def _prepare(self, ip: bytes) -> bytes:
        """Return nothing: the advertiser keeps what it needs of each address."""
        return b""

    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""
        drop = self._answer(frame)
        if drop is not None:
            self.drops[drop] += 1
        return drop

    def _answer(self, frame: bytes) -> Drop | None:
        packet = parse(frame)
        if packet is None:
            return Drop.ERROR
        mac = packet.link_address or packet.ethernet_source
        if isinstance(packet, Advertisement):
            return self._claimed(packet.target, mac) if packet.target in self._held else Drop.MESSAGE_TYPE
        if packet.source in self._held:
            return self._claimed(packet.source, mac)
        if packet.ethernet_destination != self._mac and not packet.ethernet_destination[0] & 1:
            return Drop.ETHERNET_DESTINATION
        record = self._held.get(packet.target)
        if record is None:
            return Drop.ANNOUNCE_IP
        if packet.source == UNSPECIFIED:
            answer = self._advertiser.unsolicited(packet.target)
        else:
            answer = self._advertiser.answer(packet.target, mac, packet.source)
        self._out.append(answer)
        record.answered += 1
        return None

    def handle_timer(self, now: float) -> None:
        """Queue the unsolicited advertisements that are due, of at most BATCH addresses."""
        for ip in self._schedule.take_due(now, BATCH):
            self._out.append(self._advertiser.unsolicited(ip))
            self._held[ip].gratuitous += 1

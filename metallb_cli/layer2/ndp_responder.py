"""Answers neighbour solicitations for the announced addresses on one interface. What it shares with ARP is in `engine`.

It answers more than MetalLB does: unicast reachability probes, and solicitations without a link-layer address, are
questions of a neighbour that is about to give the address up; and duplicate address detection is a host about to take
the address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from metallb_cli.layer2.engine import Drop, Engine
from metallb_cli.layer2.ndp import UNSPECIFIED, Advertisement, Advertiser, parse, probe
from metallb_cli.layer2.probing import PROBE_INTERVAL


class NdpResponder(Engine):
    """The NDP engine of one interface (RFC 4861 §7.2)."""

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = (), probe_interval: float = PROBE_INTERVAL) -> None:
        super().__init__(mac, own_macs, probe_interval)
        self._mac = mac
        self._advertiser = Advertiser(mac)

    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""
        drop = self._answer(frame, now)
        if drop is not None:
            self.drops[drop] += 1
        return drop

    def _answer(self, frame: bytes, now: float) -> Drop | None:
        packet = parse(frame)
        if packet is None:
            return Drop.ERROR
        mac = packet.link_address or packet.ethernet_source
        claimed = packet.target if isinstance(packet, Advertisement) else packet.source
        if claimed in self._held or claimed in self._probing:
            return self._claimed(claimed, mac, now)
        if isinstance(packet, Advertisement):
            return Drop.MESSAGE_TYPE
        if packet.source == UNSPECIFIED and packet.target in self._probing:
            return self._taken(packet.target, mac, now)
        if packet.ethernet_destination != self._mac and not packet.ethernet_destination[0] & 1:
            return Drop.ETHERNET_DESTINATION
        record = self._held.get(packet.target)
        if record is None:
            return self._not_held(packet.target)
        if packet.source == UNSPECIFIED:
            answer = self._advertiser.unsolicited(packet.target)
        else:
            answer = self._advertiser.answer(packet.target, mac, packet.source)
        self._out.append(answer)
        record.answered += 1
        return None

    def _tell(self, addresses: Iterable[bytes]) -> None:
        """Queue an unsolicited advertisement for each of these."""
        for ip in addresses:
            self._out.append(self._advertiser.unsolicited(ip))
            self._held[ip].gratuitous += 1

    def _ask(self, addresses: Iterable[bytes]) -> None:
        """Queue a probe for each of these: a question that claims nothing."""
        self._out += [probe(self._mac, ip) for ip in addresses]

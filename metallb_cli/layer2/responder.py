"""Answers ARP for the announced addresses on one interface. What it shares with NDP is in `engine`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from metallb_cli.layer2.arp import BROADCAST, FRAME_LENGTH, gratuitous_heads, probe_head, reply_head
from metallb_cli.layer2.engine import Drop, Engine
from metallb_cli.layer2.probing import PROBE_INTERVAL

_REQUEST_HEADER = bytes.fromhex("0806 0001 0800 06 04 0001")
_NO_ADDRESS = bytes(4)

MAX_ASKERS = 1024
"""Hosts that are remembered, for speed only: about 200 bytes each. Beyond that, all are forgotten and learnt again."""


class Responder(Engine):
    """The ARP engine of one interface (RFC 826)."""

    def __init__(self, mac: bytes, own_macs: Collection[bytes] = (), probe_interval: float = PROBE_INTERVAL) -> None:
        super().__init__(mac, own_macs, probe_interval)
        self._destinations = frozenset((mac, BROADCAST))
        self._reply_head = reply_head(mac)
        self._gratuitous_heads = gratuitous_heads(mac)
        self._probe_head = probe_head(mac)
        self._askers: dict[bytes, tuple[bytes, bytes]] = {}

    def receive_frame(self, frame: bytes, now: float) -> Drop | None:
        """Queue an answer and return None, or return why there is none. Takes any bytes."""
        # The one path that must be fast: it slices bytes, makes no objects and calls nothing.
        held = self._held
        target = frame[38:42]
        record = held.get(target)
        if record is not None and frame[28:32] not in held:
            answer = self._askers.get(frame[:38]) or self._take_asker(frame)
            if answer is not None:
                head, asker = answer
                self._out.append(head + target + asker)
                record.answered += 1
                return None
        drop = self._why_not(frame, now)
        self.drops[drop] += 1
        return drop

    def _take_asker(self, frame: bytes) -> tuple[bytes, bytes] | None:
        """Return what comes before and after the address in the answers to whoever asks like this; None for no answer.

        It is kept: an asker's next question differs in the address asked for alone.
        """
        if frame[12:22] != _REQUEST_HEADER or frame[:6] not in self._destinations or frame[22] & 1:
            return None
        if len(self._askers) >= MAX_ASKERS:
            self._askers.clear()
        asker = frame[22:32]
        answer = self._askers[frame[:38]] = (asker[:6] + self._reply_head, asker)
        return answer

    def _why_not(self, frame: bytes, now: float) -> Drop:
        """Explain a frame that is not answered, in MetalLB's order, with conflicts first."""
        if len(frame) < FRAME_LENGTH or frame[12:20] != _REQUEST_HEADER[:8]:
            return Drop.ERROR
        sender, target = frame[28:32], frame[38:42]
        if sender in self._held or sender in self._probing:
            return self._claimed(sender, frame[22:28], now)
        if frame[20:22] != _REQUEST_HEADER[8:]:
            return Drop.ARP_REPLY
        if sender == _NO_ADDRESS and target in self._probing:
            return self._taken(target, frame[22:28], now)
        if frame[:6] not in self._destinations:
            return Drop.ETHERNET_DESTINATION
        if target not in self._held:
            return self._not_held(target)
        # The sender's MAC is a group address: no host has one, and answering would reach the whole LAN.
        return Drop.ERROR

    def _tell(self, addresses: Iterable[bytes]) -> None:
        """Queue the gratuitous frames for these, in both forms."""
        as_request, as_reply = self._gratuitous_heads
        queue, held = self._out.append, self._held
        for ip in addresses:
            claim = ip + BROADCAST + ip
            queue(as_request + claim)
            queue(as_reply + claim)
            held[ip].gratuitous += 2

    def _ask(self, addresses: Iterable[bytes]) -> None:
        """Queue a probe for each of these: a question that claims nothing."""
        self._out += [self._probe_head + ip for ip in addresses]

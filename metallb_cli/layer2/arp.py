"""ARP frames as bytes: Ethernet II carrying ARP for IPv4 (RFC 826, RFC 894).

A MAC address is six bytes and an IPv4 address four, in network order. An untagged frame is

    offset  0  destination MAC   6  source MAC      12  0x0806
           14  hardware 1       16  protocol 0x0800 18  lengths 6, 4    20  operation
           22  sender MAC       28  sender address  32  target MAC      38  target address      42  end
"""

from __future__ import annotations

import struct
from typing import NamedTuple

REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
ZERO_MAC = bytes(6)
FRAME_LENGTH = 42
"""Without the padding that Ethernet adds up to 60 bytes."""

_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERTYPE, _HARDWARE, _PROTOCOL, _LENGTHS = 0x0806, 1, 0x0800, (6, 4)


class ArpFrame(NamedTuple):
    """One ARP frame. The sender's MAC may differ from the frame's source, as behind a proxy."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes

    def encode(self) -> bytes:
        """The frame's 42 bytes."""
        return _FRAME.pack(
            self.destination,
            self.source,
            _ETHERTYPE,
            _HARDWARE,
            _PROTOCOL,
            *_LENGTHS,
            self.operation,
            self.sender_mac,
            self.sender_ip,
            self.target_mac,
            self.target_ip,
        )


def parse(frame: bytes) -> ArpFrame | None:
    """Return the fields, or None when it is not a whole ARP frame for IPv4 over Ethernet. Padding is ignored."""
    if len(frame) < FRAME_LENGTH:
        return None
    destination, source, ethertype, hardware, protocol, mac_length, ip_length, *fields = _FRAME.unpack_from(frame)
    if (ethertype, hardware, protocol, (mac_length, ip_length)) != (_ETHERTYPE, _HARDWARE, _PROTOCOL, _LENGTHS):
        return None
    return ArpFrame(destination, source, *fields)


def request(mac: bytes, sender_ip: bytes, target_ip: bytes) -> bytes:
    """Ask everybody who has `target_ip`. A sender address of 0.0.0.0 makes it a probe (RFC 5227 §2.1.1)."""
    return ArpFrame(BROADCAST, mac, REQUEST, mac, sender_ip, ZERO_MAC, target_ip).encode()


def reply(mac: bytes, sender_ip: bytes, target_mac: bytes, target_ip: bytes) -> bytes:
    """Tell one host that `mac` has `sender_ip`."""
    return ArpFrame(target_mac, mac, REPLY, mac, sender_ip, target_mac, target_ip).encode()


def reply_head(mac: bytes) -> bytes:
    """The 22 bytes from source MAC to sender MAC of every reply by `mac`.

    For frames on the hot path: with `asker`, the ten bytes of a request's sender MAC and address as they stand there,
    `asker[:6] + reply_head(mac) + address + asker` is `reply(mac, address, asker[:6], asker[6:])`.
    """
    return reply(mac, bytes(4), ZERO_MAC, bytes(4))[6:28]


def probe_head(mac: bytes) -> bytes:
    """All of a probe by `mac` but the address asked for: `probe_head(mac) + ip` is `request(mac, bytes(4), ip)`."""
    return request(mac, bytes(4), bytes(4))[:38]


def gratuitous_heads(mac: bytes) -> tuple[bytes, bytes]:
    """How `mac` tells everybody that it has an address, in the request and the reply form (RFC 5944 §4.6).

    Some neighbours update their cache on the one and some on the other. Complete each as
    `head + address + BROADCAST + address`; the target MAC is the broadcast address as in MetalLB.
    """
    return (
        ArpFrame(BROADCAST, mac, REQUEST, mac, bytes(4), BROADCAST, bytes(4)).encode()[:28],
        ArpFrame(BROADCAST, mac, REPLY, mac, bytes(4), BROADCAST, bytes(4)).encode()[:28],
    )


def gratuitous(mac: bytes, address: bytes) -> tuple[bytes, bytes]:
    """Both gratuitous forms, whole."""
    claim = address + BROADCAST + address
    as_request, as_reply = gratuitous_heads(mac)
    return as_request + claim, as_reply + claim

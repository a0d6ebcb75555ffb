"""Neighbour solicitations and advertisements (RFC 4861), as bytes.

`parse` accepts an Ethernet frame only if it holds a solicitation or advertisement that RFC 4861 §7.1 calls valid; it
never raises. The checksum is arithmetic modulo 0xffff (RFC 1071: a ones' complement sum, and 2**16 ≡ 1), so one big
integer does for a whole packet, and all but the addressee of an advertisement is summed in advance.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

ETHERTYPE = 0x86DD
NEXT_HEADER_ICMPV6 = 58
HOP_LIMIT = 255
"""RFC 4861 §7.1: a packet that a router forwarded has less, so nobody outside the link can forge one."""
SOLICITATION, ADVERTISEMENT = 135, 136

UNSPECIFIED = bytes(16)
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_NODES_MAC = bytes.fromhex("333300000001")
SOLICITED_NODE_PREFIX = bytes.fromhex("ff0200000000000000000001ff")
"""RFC 4291 §2.7.1: ff02::1:ff00:0/104, completed by the address's last three bytes."""

SOLICITED_FLAG, OVERRIDE_FLAG, ROUTER_FLAG = 0x40, 0x20, 0x80
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2

_HEADERS = struct.Struct("!6s6sHIHBB16s16s")  # Ethernet II, then IPv6
_MESSAGE = struct.Struct("!BBHB3x16s")  # type, code, checksum, flags (reserved in a solicitation), target
_OPTION = struct.Struct("!BB6s")  # a link-layer address: type, length 1 (in units of 8 bytes), MAC
_SHORTEST = _HEADERS.size + _MESSAGE.size
_VERSION_6 = 6 << 28


class Solicitation(NamedTuple):
    """Who has `target`? A named tuple, because one is made per frame and it is several times faster than a dataclass.

    Attributes:
        ethernet_destination: six bytes, like every MAC here.
        source: the asker's address, 16 bytes like every address here; all zero when it tests `target` for duplicates.
        link_address: the asker's MAC by the source link-layer address option, or None without the option.
    """

    ethernet_destination: bytes
    ethernet_source: bytes
    source: bytes
    destination: bytes
    target: bytes
    link_address: bytes | None = None


class Advertisement(NamedTuple):
    """`target` is at `link_address`.

    Attributes:
        flags: of ROUTER_FLAG, SOLICITED_FLAG and OVERRIDE_FLAG.
        link_address: by the target link-layer address option, or None without the option.
    """

    ethernet_destination: bytes
    ethernet_source: bytes
    source: bytes
    destination: bytes
    target: bytes
    link_address: bytes | None = None
    flags: int = 0


def parse(frame: bytes) -> Solicitation | Advertisement | None:
    """Decode an untagged Ethernet frame; None for anything but a valid solicitation or advertisement.

    Beyond RFC 4861 §7.1.1 and §7.1.2, a packet is invalid if its IPv6 source is a multicast address (RFC 4291 §2.7), or
    if the MAC that an answer would go to (option or Ethernet source) is one: no host has such an address, and an answer
    to it would go to many. Extension headers are not looked behind: nobody sends these messages with one, and RFC 6980
    forbids the fragment header.
    """
    if len(frame) < _SHORTEST:
        return None
    to, sender, ethertype, version, length, next_header, hop_limit, source, destination = _HEADERS.unpack_from(frame)
    kind, code, _, flags, target = _MESSAGE.unpack_from(frame, _HEADERS.size)
    if (
        ethertype != ETHERTYPE
        or next_header != NEXT_HEADER_ICMPV6
        or not SOLICITATION <= kind <= ADVERTISEMENT
        or version >> 28 != 6
        or hop_limit != HOP_LIMIT
        or code != 0
    ):
        return None
    end = _HEADERS.size + length
    if length < _MESSAGE.size or length % 8 or end > len(frame):  # options come in units of 8 bytes
        return None
    if target[0] == 0xFF or source[0] == 0xFF or sender[0] & 1:
        return None
    if (int.from_bytes(frame[22:end], "big") + length + NEXT_HEADER_ICMPV6) % 0xFFFF:
        return None
    wanted = _SOURCE_LINK_ADDRESS if kind == SOLICITATION else _TARGET_LINK_ADDRESS
    link_address = None
    offset = _SHORTEST
    while offset < end:
        option, units = frame[offset], frame[offset + 1]
        if units == 0 or offset + 8 * units > end:
            return None
        if option == wanted and link_address is None:  # of several, the first counts, as in Linux
            link_address = frame[offset + 2 : offset + 8]
            if units != 1 or link_address[0] & 1:
                return None
        offset += 8 * units
    if kind == ADVERTISEMENT:
        if destination[0] == 0xFF and flags & SOLICITED_FLAG:
            return None
        return Advertisement(to, sender, source, destination, target, link_address, flags & 0xE0)
    if source == UNSPECIFIED and (link_address is not None or not destination.startswith(SOLICITED_NODE_PREFIX)):
        return None
    return Solicitation(to, sender, source, destination, target, link_address)


class Advertiser:
    """Makes the advertisements of one interface; all but the two addresses is computed in advance.

    Each carries the target link-layer address and Override=1 (RFC 4861 §7.2.4 for an address that is neither anycast
    nor proxied). MetalLB answers with Override=0: a neighbour that has the previous owner's MAC then keeps it (§7.2.5)
    until its own reachability probes have failed. Router=0, because nobody routes *through* the address.
    """

    __slots__ = ("_answer", "_head", "_tail", "_unsolicited")

    def __init__(self, mac: bytes) -> None:
        blank = Advertisement(bytes(6), mac, bytes(16), bytes(16), bytes(16), mac, SOLICITED_FLAG | OVERRIDE_FLAG)
        frame = encode_advertisement(blank)
        self._head, self._tail = frame[6:22], frame[78:]
        self._answer = _constants(frame)
        self._unsolicited = _constants(encode_advertisement(blank._replace(flags=OVERRIDE_FLAG)))

    def answer(self, target: bytes, mac: bytes, address: bytes) -> bytes:
        """Return the frame that tells the neighbour with this MAC and address that we have `target`. Solicited=1."""
        return self._complete(target, mac, address, self._answer)

    def unsolicited(self, target: bytes) -> bytes:
        """Return the frame that tells all nodes that we have `target`. Solicited=0.

        It is also the answer to duplicate address detection (RFC 4861 §7.2.4).
        """
        return self._complete(target, ALL_NODES_MAC, ALL_NODES, self._unsolicited)

    def _complete(self, target: bytes, mac: bytes, address: bytes, constants: tuple[bytes, bytes, int]) -> bytes:
        start, flags, constant = constants
        # The target is summed twice: it is also the IPv6 source.
        checksum = -(constant + 2 * int.from_bytes(target, "big") + int.from_bytes(address, "big")) % 0xFFFF
        return b"".join(
            (mac, self._head, target, address, start, checksum.to_bytes(2, "big"), flags, target, self._tail)
        )


def _constants(frame: bytes) -> tuple[bytes, bytes, int]:
    """Of an advertisement with all addresses zero: type and code, flags, and the sum of all that is constant."""
    return frame[54:56], frame[58:62], _sum(frame[22:54], frame[54:56] + bytes(2) + frame[58:])


def encode_solicitation(packet: Solicitation) -> bytes:
    """Return the Ethernet frame."""
    return _encode(packet, SOLICITATION, _SOURCE_LINK_ADDRESS, 0)


def probe(mac: bytes, target: bytes) -> bytes:
    """Return the frame by which `mac` asks everybody whether `target` is taken, claiming nothing (RFC 4862 §5.4.2)."""
    group = solicited_node(target)
    return encode_solicitation(Solicitation(group_mac(group), mac, UNSPECIFIED, group, target))


def encode_advertisement(packet: Advertisement) -> bytes:
    """Return the Ethernet frame."""
    return _encode(packet, ADVERTISEMENT, _TARGET_LINK_ADDRESS, packet.flags)


def solicited_node(address: bytes) -> bytes:
    """The multicast group that everybody who asks for the address sends to (RFC 4291 §2.7.1), 16 bytes."""
    return SOLICITED_NODE_PREFIX + address[13:]


def group_mac(group: bytes) -> bytes:
    """The Ethernet address of an IPv6 multicast group (RFC 2464 §7)."""
    return b"\x33\x33" + group[12:]


def _encode(packet: Solicitation | Advertisement, kind: int, option: int, flags: int) -> bytes:
    options = b"" if packet.link_address is None else _OPTION.pack(option, 1, packet.link_address)
    message = _MESSAGE.pack(kind, 0, 0, flags, packet.target) + options
    checksum = -_sum(packet.source + packet.destination, message) % 0xFFFF
    ethernet = packet.ethernet_destination, packet.ethernet_source, ETHERTYPE
    ipv6 = _VERSION_6, len(message), NEXT_HEADER_ICMPV6, HOP_LIMIT, packet.source, packet.destination
    return _HEADERS.pack(*ethernet, *ipv6) + message[:2] + checksum.to_bytes(2, "big") + message[4:]


def _sum(addresses: bytes, message: bytes) -> int:
    """What RFC 4443 §2.3 sums, neither folded nor complemented: pseudo-header and message. Even lengths only."""
    return int.from_bytes(addresses, "big") + int.from_bytes(message, "big") + len(message) + NEXT_HEADER_ICMPV6

"""Heartbeats as bytes: how a speaker says on the LAN that it lives, whom it hears and what it answers for.

docs/ownership.md has the layout. A frame is signed as a whole, with the source MAC address in it, so what `decode`
returns was said by somebody who has the key, and to the letter.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from metallb_cli.model import Claim, Section

ETHERTYPE = 0x88B5
"""IEEE 802 local experimental 1: never leaves the LAN, belongs to no protocol."""

GROUP = bytes.fromhex("034d4c420001")
"""A group address that is administered locally. No bridge swallows it, and no host looks at it unasked."""

VERSION = 1

MAX_PAYLOAD = 1232
"""Bytes after the Ethernet header: less than any interface carries that can carry IPv6 (1280)."""

HEADER_LENGTH = 14
"""Of Ethernet."""

MAX_FRAME = HEADER_LENGTH + MAX_PAYLOAD

MAX_NAME = 253
"""Bytes of a node's name, as in Kubernetes."""

MAX_TAGS = 192
"""In one frame: with the longest name there is still room for six IPv6 claims. More peers take turns."""

LEAVING, UNSTEADY = 1, 2

TAG_LENGTH = 4
SIGNATURE_LENGTH = 16

NO_SECTION = bytes(3)
"""Family none, no claims."""

_START = GROUP, ETHERTYPE.to_bytes(2, "big") + bytes([VERSION])
_HEAD = struct.Struct("!BBHQQHBB")  # version, flags, length, boot, sequence, interval, misses, length of the name
_NAME = HEADER_LENGTH + _HEAD.size
_SEQUENCE, _INTERVAL = HEADER_LENGTH + 12, HEADER_LENGTH + 20  # the one field that differs in every frame, and the next
_SHORTEST = _NAME + 1 + 1 + len(NO_SECTION) + SIGNATURE_LENGTH  # a name of one letter, no tags, no section
_SIZES = {0: 0, 4: 4, 6: 16}  # bytes of an address, by family
_CLAIM = struct.Struct("!IB")  # epoch, flags
_STRONG, _CONTESTED = 1, 2


class Ignored(enum.Enum):
    """Why a heartbeat was not taken in."""

    FOREIGN = "HeartbeatForeign"
    """Another protocol on the same EtherType, or another version of this one."""
    MALFORMED = "HeartbeatMalformed"
    SIGNATURE = "HeartbeatSignature"
    """Signed with none of our keys: another cluster on the LAN, or somebody who pretends."""
    OWN = "HeartbeatOwn"
    """From this node, by another of its interfaces."""
    REPLAY = "HeartbeatReplay"
    """No newer than what was heard before."""
    TOO_MANY = "HeartbeatTooManyPeers"


class Heartbeat(NamedTuple):
    """What one frame says.

    Attributes:
        source: MAC address.
        interval: milliseconds, from 1.
        misses: from 1.
        tags: of the peers that the sender hears, one after the other, TAG_LENGTH bytes each.
        section: from its family to its last claim: for `well_formed`, `bounds` and `decode_section`.
    """

    source: bytes
    flags: int
    boot: int
    sequence: int
    interval: int
    misses: int
    node: str
    tags: bytes
    section: bytes


def tag(node: str, boot: int) -> bytes:
    """The short name, in heartbeats, of one start of a node's speaker."""
    return hashlib.sha256(node.encode() + boot.to_bytes(8, "big")).digest()[:TAG_LENGTH]


def encode(heartbeat: Heartbeat, key: bytes) -> bytes:
    """The whole frame, to GROUP, signed.

    Raises:
        ValueError: it is longer than MAX_PAYLOAD.
    """
    name = heartbeat.node.encode()
    length = _HEAD.size + len(name) + 1 + len(heartbeat.tags) + len(heartbeat.section) + SIGNATURE_LENGTH
    if length > MAX_PAYLOAD:
        raise ValueError(f"a heartbeat of {length} bytes (limit {MAX_PAYLOAD})")
    _, flags, boot, sequence, interval, misses, *_ = heartbeat
    body = b"".join(
        (
            _HEAD.pack(VERSION, flags, length, boot, sequence, interval, misses, len(name)),
            name,
            bytes([len(heartbeat.tags) // TAG_LENGTH]),
            heartbeat.tags,
            heartbeat.section,
        )
    )
    signature = _sign(key, heartbeat.source, body)
    return b"".join((GROUP, heartbeat.source, _START[1][:2], body, signature))


def decode(frame: bytes, keys: Sequence[bytes]) -> Heartbeat | Ignored:
    """Read a frame, or say why not. Takes any bytes; what comes after the signature, such as padding, is ignored.

    What is said between `first` and `last` of the section is not looked at: see `well_formed`.
    """
    if len(frame) < _SHORTEST:
        return Ignored.MALFORMED if frame[12:14] == _START[1][:2] else Ignored.FOREIGN
    if (frame[:6], frame[12:15]) != _START:
        return Ignored.FOREIGN
    _, flags, length, boot, sequence, interval, misses, name_length = _HEAD.unpack_from(frame, HEADER_LENGTH)
    tags = _NAME + name_length + 1
    end = HEADER_LENGTH + length - SIGNATURE_LENGTH
    if length > MAX_PAYLOAD or end + SIGNATURE_LENGTH > len(frame) or tags > end or not (interval and misses):
        return Ignored.MALFORMED
    section = tags + frame[tags - 1] * TAG_LENGTH
    if not 0 < name_length <= MAX_NAME or end - section != _section_length(frame, section, end):
        return Ignored.MALFORMED
    source, body, signature = frame[6:12], frame[HEADER_LENGTH:end], frame[end : end + SIGNATURE_LENGTH]
    if not _signed(keys, source, body, signature):
        return Ignored.SIGNATURE
    name = frame[_NAME : tags - 1]
    if not name.isascii():
        return Ignored.MALFORMED
    node = name.decode()
    return Heartbeat(source, flags, boot, sequence, interval, misses, node, frame[tags:section], frame[section:end])


def sender(frame: bytes) -> str:
    """Which node's heartbeat this claims to be; nothing of it has been looked at. Takes any bytes."""
    return frame[_NAME : _NAME + frame[_NAME - 1]].decode("ascii", "replace") if len(frame) > _NAME else ""


def decode_repetition(frame: bytes, earlier: bytes, keys: Sequence[bytes]) -> int | None:
    """Return the sequence of a frame that is signed and says the same as an earlier one; None when it is no such frame.

    Args:
        frame: any bytes.
        earlier: a frame that `decode` has read.
        keys: as of `decode`.
    """
    if (
        frame[:_SEQUENCE] != earlier[:_SEQUENCE]
        or frame[_INTERVAL:-SIGNATURE_LENGTH] != earlier[_INTERVAL:-SIGNATURE_LENGTH]
    ):
        return None
    body = frame[HEADER_LENGTH:-SIGNATURE_LENGTH]
    if not _signed(keys, frame[6:12], body, frame[-SIGNATURE_LENGTH:]):
        return None
    return int.from_bytes(frame[_SEQUENCE:_INTERVAL], "big")


def _signed(keys: Sequence[bytes], source: bytes, body: bytes, signature: bytes) -> bool:
    return any(hmac.compare_digest(_sign(key, source, body), signature) for key in keys)


def _sign(key: bytes, source: bytes, body: bytes) -> bytes:
    return hmac.digest(key, source + body, "sha256")[:SIGNATURE_LENGTH]


def _section_length(frame: bytes, start: int, end: int) -> int:
    """How long the section that begins there says it is; -1 when it is none."""
    if start >= end:
        return -1
    family = frame[start]
    size = _SIZES.get(family)
    if size is None:
        return -1
    count = int.from_bytes(frame[start + 1 + 2 * size : start + 3 + 2 * size], "big")
    if count and not size:
        return -1
    return 3 + 2 * size + count * (size + _CLAIM.size)


# -- sections


def room(name_length: int, tags: int) -> int:
    """How long a section may be in the heartbeats of a node with this name and so many tags."""
    return MAX_PAYLOAD - _HEAD.size - name_length - 1 - tags * TAG_LENGTH - SIGNATURE_LENGTH


def encode_section(section: Section) -> bytes:
    """The section as it stands in a frame."""
    claims = [
        address.packed + _CLAIM.pack(claim.epoch, claim.strong * _STRONG | claim.contested * _CONTESTED)
        for address, claim in section.claims
    ]
    head = bytes([section.first.version]) + section.first.packed + section.last.packed
    return b"".join((head, len(claims).to_bytes(2, "big"), *claims))


def bounds(section: bytes) -> bytes:
    """Family, first and last address: two sections with the same are about the same addresses."""
    return section[: 1 + 2 * _SIZES[section[0]]]


def overlap(one: bytes, other: bytes) -> bool:
    """Whether the `bounds` of two sections have an address in common."""
    size = _SIZES[one[0]]
    return one[0] == other[0] and one[1 : 1 + size] <= other[1 + size :] and other[1 : 1 + size] <= one[1 + size :]


def well_formed(section: bytes) -> bool:
    """Whether the addresses of a section, as `decode` returns it, are in ascending order and between its bounds."""
    size = _SIZES[section[0]]
    first, last = section[1 : 1 + size], section[1 + size : 1 + 2 * size]
    addresses = [section[at : at + size] for at in range(3 + 2 * size, len(section), size + _CLAIM.size)]
    if not addresses:
        return first <= last
    return first <= addresses[0] and addresses[-1] <= last and all(map(bytes.__lt__, addresses, addresses[1:]))


def decode_section(section: bytes) -> Section:
    """Read a well-formed section."""
    make, size = (IPv4Address, 4) if section[0] == 4 else (IPv6Address, 16)
    first, last = make(section[1 : 1 + size]), make(section[1 + size : 1 + 2 * size])
    claims = []
    for at in range(3 + 2 * size, len(section), size + _CLAIM.size):
        epoch, flags = _CLAIM.unpack_from(section, at + size)
        claims.append((make(section[at : at + size]), Claim(epoch, bool(flags & _STRONG), bool(flags & _CONTESTED))))
    return Section(first, last, tuple(claims))

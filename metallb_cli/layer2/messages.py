"""What the control process and the link process say to each other, and how it looks on their socket.

Down go HeartbeatSettings, AnnouncementSet and Stop, up go LinkReport, PeersReport, PeerClaims and Refusal. A message is
four bytes of length, in network order, and that many bytes of JSON: an object whose `type` names the class. Neither
process trusts the other: whatever arrives is a message or a LinkError, within fixed bounds of size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from metallb_cli.errors import LinkError
from metallb_cli.model import (
    AddressCounters,
    AddressRange,
    Claim,
    Conflict,
    Interface,
    IPAddress,
    IPNetwork,
    LinkState,
    Peer,
    Reason,
    Section,
)

MAX_MESSAGE = 8 << 20
"""Bytes of one message. A set of 100 000 scattered addresses needs 1.5 MiB."""

MAX_ADDRESSES = 1 << 18
"""Addresses in one message: four times a /16. Runs are short to write, so the message's size does not bound them."""

MAX_KEYS = 4
"""Of heartbeats at a time: the present one, the one before, the one to come, and one to spare. Each costs every frame
that has another."""


@dataclass(frozen=True, slots=True)
class AnnouncementSet:
    """Everything this node answers for: level, not edge, so a lost or repeated message does no harm.

    Attributes:
        generation: grows by one with each set, so that a state report can say which set is in force.
        addresses: the addresses to answer for, sorted.
        ranges: addresses that may be announced some day; frames for any other never wake the process.
        probe: those of `addresses` that nobody had before: to be answered for only when no other host has them.
        yielding: those of `addresses` that a peer takes over: to be answered for until the peer does.
        claims: what to say in heartbeats, sorted by address.
        leaving, unsteady: flags of the heartbeats.
    """

    generation: int = 0
    addresses: tuple[IPAddress, ...] = ()
    ranges: tuple[AddressRange, ...] = ()
    probe: tuple[IPAddress, ...] = ()
    yielding: tuple[IPAddress, ...] = ()
    claims: dict[IPAddress, Claim] = field(default_factory=dict)
    leaving: bool = False
    unsteady: bool = False


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Send heartbeats from now on, and listen to those of others.

    Attributes:
        boot: of this speaker, in nanoseconds since the epoch.
        keys: the first signs, each verifies. From one to MAX_KEYS.
        interval: seconds between heartbeats, from 0.001 to 65.
        misses: intervals without a heartbeat after which a node is dead, from 1 to 255.
    """

    node: str
    boot: int
    keys: tuple[bytes, ...] = field(repr=False)
    interval: float = 0.1
    misses: int = 3


@dataclass(frozen=True, slots=True)
class Stop:
    """End. `goodbye`: why, for the log; may be empty."""

    goodbye: str = ""


@dataclass(frozen=True, slots=True)
class LinkReport:
    """What is new in the link process; `fold` makes a LinkState of it.

    Attributes:
        generation: of the set in force, which the control process has sent and knows.
        answering: IP versions whose addresses in that set are answered for: those with a usable interface.
        counts: what was counted since the previous report, by address; zero is left out.
    """

    generation: int = 0
    interfaces: tuple[Interface, ...] = ()
    answering: tuple[int, ...] = ()
    counts: dict[IPAddress, AddressCounters] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    last_error: str = ""
    conflicts: tuple[Conflict, ...] = ()
    probing: tuple[IPAddress, ...] = ()
    contested: tuple[Conflict, ...] = ()
    released: tuple[IPAddress, ...] = ()
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class PeersReport:
    """Every node whose heartbeats were heard, after a change of anything but `silence`."""

    peers: tuple[Peer, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerClaims:
    """A section of a live peer's claims that differs from what was reported before."""

    node: str
    boot: int
    section: Section


@dataclass(frozen=True, slots=True)
class Refusal:
    """The link process cannot do its work and ends. `message` says why, for the operator."""

    message: str


Message = AnnouncementSet | HeartbeatSettings | Stop | LinkReport | PeersReport | PeerClaims | Refusal


def fold(state: LinkState, report: LinkReport, announced: tuple[IPAddress, ...]) -> LinkState:
    """Return the state after a report, of which `generation` and `answering` mean these announced addresses.

    Pass the same object as in `state` while they are unchanged. A withdrawn address keeps its counters in the state
    that withdraws it, and in no later one.
    """
    counters = dict(state.counters)
    if announced is not state.announced:
        known = frozenset(state.announced)
        counters = {address: counted for address, counted in counters.items() if address in known}
    for address, new in report.counts.items():
        old = counters.get(address, AddressCounters())
        counters[address] = AddressCounters(
            old.requests + new.requests, old.responses + new.responses, old.gratuitous + new.gratuitous
        )
    return LinkState(
        generation=report.generation,
        interfaces=report.interfaces,
        announced=announced,
        counters=counters,
        drops=report.drops,
        last_error=report.last_error,
        conflicts=report.conflicts,
        probing=report.probing,
        contested=report.contested,
        released=report.released,
        fenced=report.fenced,
    )


def encode(message: Message) -> bytes:
    """The message as it goes over the socket.

    Raises:
        LinkError: it is larger than the other side accepts.
    """
    body = json.dumps(_ENCODERS[type(message)](message), separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE:
        raise LinkError(f"a message of {len(body)} bytes is too large for the link process (limit {MAX_MESSAGE})")
    return len(body).to_bytes(4, "big") + body


class MessageReader:
    """Finds the messages in a stream, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take more of the stream; return the messages that are complete now.

        Raises:
            LinkError: this is no message. The stream cannot be read any further.
        """
        self._buffer += data
        messages = []
        start = 0
        while len(self._buffer) - start >= 4:
            length = int.from_bytes(self._buffer[start : start + 4], "big")
            if length > MAX_MESSAGE:
                raise LinkError(f"a message of {length} bytes was announced on the link socket (limit {MAX_MESSAGE})")
            end = start + 4 + length
            if len(self._buffer) < end:
                break
            messages.append(_decode(bytes(self._buffer[start + 4 : end])))
            start = end
        del self._buffer[:start]
        return messages


def _decode(body: bytes) -> Message:
    try:
        fields = _object(json.loads(body))
        return _DECODERS[fields["type"]](fields)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise LinkError(f"malformed message on the link socket: {type(error).__name__}: {error}") from error


# -- the forms in JSON. Addresses are integers, in runs of [first, count]: 10 000 of them take a few milliseconds.


def _announcement_fields(message: AnnouncementSet) -> dict[str, Any]:
    return {
        "type": "announce",
        "generation": message.generation,
        "addresses": _runs(message.addresses),
        "ranges": [[r.version, int(r.first), int(r.last)] for r in message.ranges],
        "probe": _runs(message.probe),
        "yielding": _runs(message.yielding),
        "claims": _claim_fields(message.claims.items()),
        "leaving": message.leaving,
        "unsteady": message.unsteady,
    }


def _announcement(fields: dict[str, Any]) -> AnnouncementSet:
    return AnnouncementSet(
        generation=_count(fields["generation"]),
        addresses=_addresses(fields["addresses"]),
        ranges=tuple(_ranges(fields)),
        probe=_addresses(fields["probe"]),
        yielding=_addresses(fields["yielding"]),
        claims=dict(_claims(fields["claims"])),
        leaving=_flag(fields["leaving"]),
        unsteady=_flag(fields["unsteady"]),
    )


def _heartbeat_fields(message: HeartbeatSettings) -> dict[str, Any]:
    return {
        "type": "heartbeats",
        "node": message.node,
        "boot": message.boot,
        "keys": [key.hex() for key in message.keys],
        "interval": message.interval,
        "misses": message.misses,
    }


def _heartbeats(fields: dict[str, Any]) -> HeartbeatSettings:
    settings = HeartbeatSettings(
        node=_text(fields["node"]),
        boot=_count(fields["boot"]),
        keys=tuple(bytes.fromhex(_text(key)) for key in _list(fields["keys"])),
        interval=_seconds(fields["interval"]),
        misses=_count(fields["misses"]),
    )
    if not (settings.node.isascii() and 1 <= len(settings.node) <= 253 and settings.boot < 1 << 64):
        raise ValueError("not a node and its boot")
    if not (0.001 <= settings.interval <= 65 and 1 <= settings.misses <= 255 and 1 <= len(settings.keys) <= MAX_KEYS):
        raise ValueError("heartbeats that cannot be sent")
    return settings


def _claim_fields(claims: Iterable[tuple[IPAddress, Claim]]) -> list[list[int]]:
    """Runs of consecutive addresses with the same claim: [version, first address, how many, epoch, flags]."""
    runs: list[list[int]] = []
    for address, claim in claims:
        rest = [claim.epoch, claim.strong | claim.contested << 1]
        number, last = int(address), runs[-1] if runs else None
        if last is not None and last[0] == address.version and last[1] + last[2] == number and last[3:] == rest:
            last[2] += 1
        else:
            runs.append([address.version, number, 1, *rest])
    return runs


def _claims(runs: object) -> list[tuple[IPAddress, Claim]]:
    claims: list[tuple[IPAddress, Claim]] = []
    made: dict[tuple[int, int], Claim] = {}  # many are equal, and making them is what takes the time
    for version, first, count, epoch, flags in _list(runs):
        claim = made.get((epoch, flags))
        if claim is None:
            claim = made[epoch, flags] = Claim(_count(epoch), bool(_count(flags) & 1), bool(flags & 2))
        make = _FAMILIES[str(version)]
        if count == 1:
            claims.append((make(_count(first)), claim))
        elif len(claims) + _count(count) <= MAX_ADDRESSES:
            claims += ((make(number), claim) for number in range(_count(first), first + count))
        else:
            raise ValueError(f"more than {MAX_ADDRESSES} claims")
    return claims


def _ranges(fields: dict[str, Any]) -> Iterable[AddressRange]:
    for version, first, last in _list(fields["ranges"]):
        make = _FAMILIES[str(version)]
        yield AddressRange(make(_count(first)), make(_count(last)))


def _stop_fields(message: Stop) -> dict[str, Any]:
    return {"type": "stop", "goodbye": message.goodbye}


def _refusal_fields(message: Refusal) -> dict[str, Any]:
    return {"type": "refusal", "message": message.message}


def _report_fields(message: LinkReport) -> dict[str, Any]:
    return {
        "type": "report",
        "generation": message.generation,
        "interfaces": [
            [i.name, i.index, i.mac.hex(), i.verdict.value, list(map(str, i.networks)), i.master]
            for i in message.interfaces
        ],
        "answering": list(message.answering),
        "counts": [[a.version, int(a), c.requests, c.responses, c.gratuitous] for a, c in message.counts.items()],
        "drops": message.drops,
        "last_error": message.last_error,
        "conflicts": _conflict_fields(message.conflicts),
        "probing": _runs(message.probing),
        "contested": _conflict_fields(message.contested),
        "released": _runs(message.released),
        "fenced": message.fenced,
    }


def _conflict_fields(conflicts: Iterable[Conflict]) -> list[list[Any]]:
    return [[c.address.version, int(c.address), c.mac.hex(), c.count] for c in conflicts]


def _conflicts(rows: object) -> tuple[Conflict, ...]:
    return tuple(
        Conflict(_FAMILIES[str(version)](_count(address)), bytes.fromhex(mac), _count(number))
        for version, address, mac, number in _list(rows)
    )


def _report(fields: dict[str, Any]) -> LinkReport:
    return LinkReport(
        generation=_count(fields["generation"]),
        interfaces=tuple(
            Interface(
                _text(name), _count(index), bytes.fromhex(mac), Reason(verdict), _networks(networks), _text(master)
            )
            for name, index, mac, verdict, networks, master in _list(fields["interfaces"])
        ),
        answering=tuple(map(_count, _list(fields["answering"]))),
        counts={
            _FAMILIES[str(version)](_count(address)): AddressCounters(*map(_count, counted))
            for version, address, *counted in _list(fields["counts"])
        },
        drops={_text(name): _count(number) for name, number in _object(fields["drops"]).items()},
        last_error=_text(fields["last_error"]),
        conflicts=_conflicts(fields["conflicts"]),
        probing=_addresses(fields["probing"]),
        contested=_conflicts(fields["contested"]),
        released=_addresses(fields["released"]),
        fenced=_flag(fields["fenced"]),
    )


def _peers_fields(message: PeersReport) -> dict[str, Any]:
    return {
        "type": "peers",
        "peers": [
            [p.node, p.boot, p.live, p.leaving, p.unsteady, list(p.interfaces), p.silence] for p in message.peers
        ],
    }


def _peers(fields: dict[str, Any]) -> PeersReport:
    return PeersReport(
        tuple(
            Peer(
                node=_text(node),
                boot=_count(boot),
                live=_flag(live),
                leaving=_flag(leaving),
                unsteady=_flag(unsteady),
                interfaces=tuple(map(_text, _list(interfaces))),
                silence=_seconds(silence),
            )
            for node, boot, live, leaving, unsteady, interfaces, silence in _list(fields["peers"])
        )
    )


def _peer_claims_fields(message: PeerClaims) -> dict[str, Any]:
    section = message.section
    return {
        "type": "claims",
        "node": message.node,
        "boot": message.boot,
        "range": [section.first.version, int(section.first), int(section.last)],
        "claims": _claim_fields(section.claims),
    }


def _peer_claims(fields: dict[str, Any]) -> PeerClaims:
    version, first, last = _list(fields["range"])
    make = _FAMILIES[str(version)]
    section = Section(make(_count(first)), make(_count(last)), tuple(_claims(fields["claims"])))
    return PeerClaims(_text(fields["node"]), _count(fields["boot"]), section)


def _networks(value: object) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(_text(text)) for text in _list(value))


def _runs(addresses: Iterable[IPAddress]) -> dict[str, list[list[int]]]:
    runs: dict[str, list[list[int]]] = {"4": [], "6": []}
    for address in addresses:
        number, family = int(address), runs["4" if address.version == 4 else "6"]
        if family and number == family[-1][0] + family[-1][1]:
            family[-1][1] += 1
        else:
            family.append([number, 1])
    return runs


def _addresses(runs: object) -> tuple[IPAddress, ...]:
    addresses: list[IPAddress] = []
    for version, make in _FAMILIES.items():
        for first, count in _list(_object(runs)[version]):
            if len(addresses) + _count(count) > MAX_ADDRESSES:
                raise ValueError(f"more than {MAX_ADDRESSES} addresses")
            addresses += map(make, range(_count(first), first + count))
    return tuple(addresses)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a number from 0")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e9:  # type: ignore[operator]
        raise ValueError("not a number of seconds")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


_FAMILIES: dict[str, Callable[[int], IPAddress]] = {"4": IPv4Address, "6": IPv6Address}
_ENCODERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    AnnouncementSet: _announcement_fields,
    HeartbeatSettings: _heartbeat_fields,
    PeersReport: _peers_fields,
    PeerClaims: _peer_claims_fields,
    Stop: _stop_fields,
    LinkReport: _report_fields,
    Refusal: _refusal_fields,
}
_DECODERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "announce": _announcement,
    "heartbeats": _heartbeats,
    "peers": _peers,
    "claims": _peer_claims,
    "stop": lambda fields: Stop(_text(fields["goodbye"])),
    "report": _report,
    "refusal": lambda fields: Refusal(_text(fields["message"])),
}

"""What the control process and the link process say to each other, and how it looks on their socket.

Down go AnnouncementSet and Stop, up go LinkReport and Refusal. A message is four bytes of length, in network order, and
that many bytes of JSON: an object whose `type` names the class. Neither process trusts the other: whatever arrives is
a message or a LinkError, within fixed bounds of size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from metallb_cli.errors import LinkError
from metallb_cli.model import AddressCounters, AddressRange, Conflict, Interface, IPAddress, LinkState, Reason

MAX_MESSAGE = 8 << 20
"""Bytes of one message. A set of 100 000 scattered addresses needs 1.5 MiB."""

MAX_ADDRESSES = 1 << 18
"""Addresses in one message: four times a /16. Runs are short to write, so the message's size does not bound them."""


@dataclass(frozen=True, slots=True)
class AnnouncementSet:
    """Everything this node answers for: level, not edge, so a lost or repeated message does no harm.

    Attributes:
        generation: grows by one with each set, so that a state report can say which set is in force.
        addresses: the addresses to answer for, sorted.
        ranges: addresses that may be announced some day; frames for any other never wake the process.
    """

    generation: int = 0
    addresses: tuple[IPAddress, ...] = ()
    ranges: tuple[AddressRange, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """The link process cannot do its work and ends. `message` says why, for the operator."""

    message: str


Message = AnnouncementSet | Stop | LinkReport | Refusal


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
    }


def _announcement(fields: dict[str, Any]) -> AnnouncementSet:
    return AnnouncementSet(_count(fields["generation"]), _addresses(fields["addresses"]), tuple(_ranges(fields)))


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
        "interfaces": [[i.name, i.index, i.mac.hex(), i.verdict.value] for i in message.interfaces],
        "answering": list(message.answering),
        "counts": [[a.version, int(a), c.requests, c.responses, c.gratuitous] for a, c in message.counts.items()],
        "drops": message.drops,
        "last_error": message.last_error,
        "conflicts": [[c.address.version, int(c.address), c.mac.hex(), c.count] for c in message.conflicts],
    }


def _report(fields: dict[str, Any]) -> LinkReport:
    return LinkReport(
        generation=_count(fields["generation"]),
        interfaces=tuple(
            Interface(_text(name), _count(index), bytes.fromhex(mac), Reason(verdict))
            for name, index, mac, verdict in _list(fields["interfaces"])
        ),
        answering=tuple(map(_count, _list(fields["answering"]))),
        counts={
            _FAMILIES[str(version)](_count(address)): AddressCounters(*map(_count, counted))
            for version, address, *counted in _list(fields["counts"])
        },
        drops={_text(name): _count(number) for name, number in _object(fields["drops"]).items()},
        last_error=_text(fields["last_error"]),
        conflicts=tuple(
            Conflict(_FAMILIES[str(version)](_count(address)), bytes.fromhex(mac), _count(number))
            for version, address, mac, number in _list(fields["conflicts"])
        ),
    )


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
    Stop: _stop_fields,
    LinkReport: _report_fields,
    Refusal: _refusal_fields,
}
_DECODERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "announce": _announcement,
    "stop": lambda fields: Stop(_text(fields["goodbye"])),
    "report": _report,
    "refusal": lambda fields: Refusal(_text(fields["message"])),
}

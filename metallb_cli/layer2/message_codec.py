"""Messages between the control process and the link process as they go over their socket.

A message is four bytes of length, in network order, and that many bytes of JSON: an object whose `type` names the
class. Neither process trusts the other: whatever arrives is a message or a LinkError, within fixed bounds of size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from metallb_cli.errors import LinkError
from metallb_cli.layer2.message_fields import (
    FAMILIES,
    address_runs,
    claim_runs,
    read_addresses,
    read_claims,
    read_count,
    read_flag,
    read_list,
    read_networks,
    read_object,
    read_seconds,
    read_text,
)
from metallb_cli.layer2.messages import (
    MAX_KEYS,
    AnnouncementSet,
    HeartbeatSettings,
    LinkReport,
    Message,
    PeerClaims,
    PeersReport,
    Refusal,
    Stop,
)
from metallb_cli.model import AddressCounters, AddressRange, Conflict, Interface, Peer, Reason, Section

MAX_MESSAGE = 8 << 20
"""Bytes of one message. A set of 100 000 scattered addresses needs 1.5 MiB."""


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
        fields = read_object(json.loads(body))
        return _DECODERS[fields["type"]](fields)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise LinkError(f"malformed message on the link socket: {type(error).__name__}: {error}") from error


def _announcement_fields(message: AnnouncementSet) -> dict[str, Any]:
    return {
        "type": "announce",
        "generation": message.generation,
        "addresses": address_runs(message.addresses),
        "ranges": [[r.version, int(r.first), int(r.last)] for r in message.ranges],
        "probe": address_runs(message.probe),
        "yielding": address_runs(message.yielding),
        "claims": claim_runs(message.claims.items()),
        "leaving": message.leaving,
        "unsteady": message.unsteady,
    }


def _announcement(fields: dict[str, Any]) -> AnnouncementSet:
    return AnnouncementSet(
        generation=read_count(fields["generation"]),
        addresses=read_addresses(fields["addresses"]),
        ranges=tuple(_ranges(fields)),
        probe=read_addresses(fields["probe"]),
        yielding=read_addresses(fields["yielding"]),
        claims=dict(read_claims(fields["claims"])),
        leaving=read_flag(fields["leaving"]),
        unsteady=read_flag(fields["unsteady"]),
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
        node=read_text(fields["node"]),
        boot=read_count(fields["boot"]),
        keys=tuple(bytes.fromhex(read_text(key)) for key in read_list(fields["keys"])),
        interval=read_seconds(fields["interval"]),
        misses=read_count(fields["misses"]),
    )
    if not (settings.node.isascii() and 1 <= len(settings.node) <= 253 and settings.boot < 1 << 64):
        raise ValueError("not a node and its boot")
    if not (0.001 <= settings.interval <= 65 and 1 <= settings.misses <= 255 and 1 <= len(settings.keys) <= MAX_KEYS):
        raise ValueError("heartbeats that cannot be sent")
    return settings


def _ranges(fields: dict[str, Any]) -> Iterable[AddressRange]:
    for version, first, last in read_list(fields["ranges"]):
        make = FAMILIES[str(version)]
        yield AddressRange(make(read_count(first)), make(read_count(last)))


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
        "probing": address_runs(message.probing),
        "contested": _conflict_fields(message.contested),
        "released": address_runs(message.released),
        "fenced": message.fenced,
    }


def _conflict_fields(conflicts: Iterable[Conflict]) -> list[list[Any]]:
    return [[c.address.version, int(c.address), c.mac.hex(), c.count] for c in conflicts]


def _conflicts(rows: object) -> tuple[Conflict, ...]:
    return tuple(
        Conflict(FAMILIES[str(version)](read_count(address)), bytes.fromhex(mac), read_count(number))
        for version, address, mac, number in read_list(rows)
    )


def _report(fields: dict[str, Any]) -> LinkReport:
    return LinkReport(
        generation=read_count(fields["generation"]),
        interfaces=tuple(
            Interface(
                read_text(name),
                read_count(index),
                bytes.fromhex(mac),
                Reason(verdict),
                read_networks(networks),
                read_text(master),
            )
            for name, index, mac, verdict, networks, master in read_list(fields["interfaces"])
        ),
        answering=tuple(map(read_count, read_list(fields["answering"]))),
        counts={
            FAMILIES[str(version)](read_count(address)): AddressCounters(*map(read_count, counted))
            for version, address, *counted in read_list(fields["counts"])
        },
        drops={read_text(name): read_count(number) for name, number in read_object(fields["drops"]).items()},
        last_error=read_text(fields["last_error"]),
        conflicts=_conflicts(fields["conflicts"]),
        probing=read_addresses(fields["probing"]),
        contested=_conflicts(fields["contested"]),
        released=read_addresses(fields["released"]),
        fenced=read_flag(fields["fenced"]),
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
                node=read_text(node),
                boot=read_count(boot),
                live=read_flag(live),
                leaving=read_flag(leaving),
                unsteady=read_flag(unsteady),
                interfaces=tuple(map(read_text, read_list(interfaces))),
                silence=read_seconds(silence),
            )
            for node, boot, live, leaving, unsteady, interfaces, silence in read_list(fields["peers"])
        )
    )


def _peer_claims_fields(message: PeerClaims) -> dict[str, Any]:
    section = message.section
    return {
        "type": "claims",
        "node": message.node,
        "boot": message.boot,
        "range": [section.first.version, int(section.first), int(section.last)],
        "claims": claim_runs(section.claims),
    }


def _peer_claims(fields: dict[str, Any]) -> PeerClaims:
    version, first, last = read_list(fields["range"])
    make = FAMILIES[str(version)]
    section = Section(make(read_count(first)), make(read_count(last)), tuple(read_claims(fields["claims"])))
    return PeerClaims(read_text(fields["node"]), read_count(fields["boot"]), section)


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
    "stop": lambda fields: Stop(read_text(fields["goodbye"])),
    "report": _report,
    "refusal": lambda fields: Refusal(read_text(fields["message"])),
}

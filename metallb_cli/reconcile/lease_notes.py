"""What a speaker writes on its Lease for operators: the addresses it answers for, and its interfaces.

Reading never fails: a Lease may have been written by another version, or by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from metallb_cli.model import AddressRange, Interface, IPAddress, merge_ranges, parse_address

ANNOUNCING = "metallb.io/announcing"
INTERFACES = "metallb.io/interfaces"

MAX_ANNOUNCING = 200_000
"""Characters. Kubernetes allows 256 KiB for all annotations of an object together (TotalAnnotationSizeLimitB)."""

MAX_INTERFACES = 20_000
"""Characters: about 400 interfaces."""

MAX_ADDRESSES = 100_000
"""A note that claims more is read up to here, so that a range like ::/0 costs nothing."""

MORE = "..."
"""Ends a note that was too long to be written in full."""


@dataclass(frozen=True, slots=True)
class AnnouncedAddresses:
    """Attributes: complete: False when the note was cut short or partly unreadable, so more may be announced."""

    addresses: frozenset[IPAddress]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class InterfaceNote:
    """An interface as its speaker described it. The verdict is a Reason's value, or a word of another version."""

    name: str
    verdict: str


def encode_addresses(addresses: Iterable[IPAddress]) -> str:
    """Write addresses as `10.0.0.1,10.0.0.4-10.0.0.9`: sorted, IPv4 first, at most MAX_ANNOUNCING characters."""
    parts: list[str] = []
    length = 0
    for run in merge_ranges([AddressRange(address, address) for address in addresses]):
        part = str(run)
        length += len(part) + 1
        if length > MAX_ANNOUNCING - len(MORE):
            parts.append(MORE)
            break
        parts.append(part)
    return ",".join(parts)


def decode_addresses(text: str) -> AnnouncedAddresses:
    """Read what `encode_addresses` wrote, and as much as possible of anything else."""
    addresses: set[IPAddress] = set()
    complete = len(text) <= MAX_ANNOUNCING
    for part in text[:MAX_ANNOUNCING].split(","):
        run = _run(part.strip())
        if run is None:
            complete = complete and not part.strip()
            continue
        room = MAX_ADDRESSES - len(addresses)
        complete = complete and run.size <= room
        addresses.update(run.first + i for i in range(min(run.size, room)))
    return AnnouncedAddresses(frozenset(addresses), complete)


def _run(text: str) -> AddressRange | None:
    first_text, _, last_text = text.partition("-")
    first = parse_address(first_text.strip())
    last = parse_address(last_text.strip()) if last_text else first
    if first is None or last is None or first.version != last.version or int(first) > int(last):
        return None
    return AddressRange(first, last)


def encode_interfaces(interfaces: Iterable[Interface]) -> str:
    """Write interfaces as a JSON list of name and verdict, at most MAX_INTERFACES characters."""
    parts: list[str] = []
    length = 2
    for interface in interfaces:
        part = json.dumps({"name": interface.name, "verdict": interface.verdict.value})
        length += len(part) + 2
        if length > MAX_INTERFACES:
            break
        parts.append(part)
    return f"[{', '.join(parts)}]"


def decode_interfaces(text: str) -> tuple[InterfaceNote, ...]:
    """Read what `encode_interfaces` wrote; leave out what is not understood."""
    try:
        entries = json.loads(text[:MAX_INTERFACES])
    except (ValueError, RecursionError):
        return ()
    if not isinstance(entries, list):
        return ()
    return tuple(
        InterfaceNote(entry["name"], entry["verdict"])
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("verdict"), str)
    )

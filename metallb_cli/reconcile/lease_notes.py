"""What a speaker writes on its Lease: the addresses it answers for, its claims, and how it is.

Its interfaces are in `interface_notes.py`. Reading never fails: a Lease may have been written by another version, or by
hand.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice

from metallb_cli.election.claims import MAX_EPOCH
from metallb_cli.model import AddressRange, Claim, Conflict, IPAddress, Lease, merge_ranges, parse_address

ANNOUNCING = "metallb.io/announcing"
CLAIMS = "metallb.io/claims"
SPEAKER = "metallb.io/speaker"
PEERS = "metallb.io/peers"
"""Apart from SPEAKER, as it changes for all speakers at once when one dies, and only operators read it."""

MAX_ANNOUNCING = 150_000
"""Characters. Kubernetes allows 256 KiB for all annotations of an object together (TotalAnnotationSizeLimitB)."""

MAX_CLAIMS = 60_000
"""Characters: in the worst case, with all epochs different and no two addresses in a row, about 2500 addresses."""

MAX_SPEAKER = 20_000
"""Characters."""

MAX_PEERS = 50
"""Names of peers that a note lists; their number is always there."""

MAX_PEERS_TEXT = 20_000
"""Characters. The name of a node has at most 253."""

MAX_CONTESTED = 50
"""Contested addresses that a note lists with their MAC addresses; the claims say of each one that it is contested."""

MAX_ADDRESSES = 100_000
"""A note that claims more is read up to here, so that a range like ::/0 costs nothing."""

MORE = "..."
"""Ends a note that was too long to be written in full."""

WEAK, CONTESTED = "w", "c"
"""Marks behind an epoch."""

_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class AnnouncedAddresses:
    """Attributes: complete: False when the note was cut short or partly unreadable, so more may be announced."""

    addresses: frozenset[IPAddress]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ClaimsNote:
    """Attributes: complete: False when the note was cut short or partly unreadable, so there may be more claims."""

    claims: Mapping[IPAddress, Claim]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class SpeakerNote:
    """How a speaker runs and how it is, by its own account.

    Attributes:
        boot: which start of the speaker, in nanoseconds since the epoch; 0 when it did not say.
        election: what `--election` is.
        api_outage: what `--on-api-outage` is.
        interval: seconds between two heartbeats; 0 when it sends none.
        misses: intervals without a heartbeat after which others take it for dead.
        renew: seconds between two renewals of its Lease; 0 when it did not say.
        leaving: it asks others to take over.
        unsteady: it gets nothing new while a steady node lives.
        fenced: it answers for nothing, because its heartbeats were late.
        contested: `ADDRESS MAC` for addresses of this node that it does not answer for, because another host has them;
            of many only the first. `encode_contested` writes them.
    """

    boot: int = 0
    election: str = ""
    api_outage: str = ""
    interval: float = 0.0
    misses: int = 0
    renew: float = 0.0
    leaving: bool = False
    unsteady: bool = False
    fenced: bool = False
    contested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeersNote:
    """The other speakers that a speaker hears on the LAN, and that hear it.

    Attributes:
        count: how many.
        names: sorted; of many only the first.
    """

    count: int = 0
    names: tuple[str, ...] = ()


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


def encode_claims(claims: Mapping[IPAddress, Claim]) -> str:
    """Write claims as `1:10.0.0.1-10.0.0.9,10.0.0.12;3wc:10.0.0.10`, at most MAX_CLAIMS characters.

    A group of addresses follows its epoch; `w` behind the epoch is a weak claim, `c` a contested one. Groups are sorted
    by epoch, addresses as in `encode_addresses`.
    """
    groups: dict[tuple[int, str], list[AddressRange]] = defaultdict(list)
    for address, claim in claims.items():
        marks = ("" if claim.strong else WEAK) + (CONTESTED if claim.contested else "")
        groups[claim.epoch, marks].append(AddressRange(address, address))
    text: list[str] = []
    length = 0
    for (epoch, marks), addresses in sorted(groups.items()):
        before = f"{';' if text else ''}{epoch}{marks}:"
        for run in merge_ranges(addresses):
            part = f"{before}{run}"
            length += len(part)
            if length > MAX_CLAIMS - len(MORE) - 1:
                return f"{''.join(text)};{MORE}"
            text.append(part)
            before = ","
    return "".join(text)


def decode_claims(text: str) -> ClaimsNote:
    """Read what `encode_claims` wrote, and as much as possible of anything else.

    An address that is there twice counts with its last claim.
    """
    claims: dict[IPAddress, Claim] = {}
    complete = len(text) <= MAX_CLAIMS
    for group in text[:MAX_CLAIMS].split(";"):
        head, _, addresses = group.partition(":")
        claim = _claim(head.strip())
        if claim is None:
            complete = complete and not group.strip()
            continue
        for part in addresses.split(","):
            run = _run(part.strip())
            if run is None:
                complete = complete and not part.strip()
                continue
            room = max(0, MAX_ADDRESSES - len(claims))
            complete = complete and run.size <= room
            claims.update((run.first + i, claim) for i in range(min(run.size, room)))
    return ClaimsNote(claims, complete)


def _claim(text: str) -> Claim | None:
    digits = text.rstrip(WEAK + CONTESTED)
    marks = text[len(digits) :]
    if marks not in ("", WEAK, CONTESTED, WEAK + CONTESTED) or not (digits.isascii() and digits.isdigit()):
        return None
    epoch = int(digits) if len(digits) <= 10 else MAX_EPOCH + 1
    return Claim(epoch, strong=WEAK not in marks, contested=CONTESTED in marks) if epoch <= MAX_EPOCH else None


def _run(text: str) -> AddressRange | None:
    first_text, _, last_text = text.partition("-")
    first = parse_address(first_text.strip())
    last = parse_address(last_text.strip()) if last_text else first
    if first is None or last is None or first.version != last.version or int(first) > int(last):
        return None
    return AddressRange(first, last)


def encode_speaker(note: SpeakerNote) -> str:
    """Write the note as a JSON object with its attributes as keys; of contested addresses, at most MAX_CONTESTED."""
    bounded = {"contested": note.contested[:MAX_CONTESTED]}
    return json.dumps({f.name: getattr(note, f.name) for f in fields(note)} | bounded)


def decode_speaker(text: str) -> SpeakerNote | None:
    """Read what `encode_speaker` wrote; None when it is no JSON object.

    Keys of another version are left out; what is missing or of the wrong type is as though it had not been said.
    """
    try:
        entries = json.loads(text[:MAX_SPEAKER])
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict):
        return None
    default = SpeakerNote()
    known = {f.name: entries[f.name] for f in fields(default) if _fits(entries.get(f.name), getattr(default, f.name))}
    return replace(default, **known, contested=_texts(entries.get("contested"), MAX_CONTESTED))


def encode_peers(names: Collection[str]) -> str:
    """Write a PeersNote as `3:node1,node2,node4`: the names sorted, at most MAX_PEERS of them."""
    return f"{len(names)}:{','.join(sorted(names)[:MAX_PEERS])}"


def decode_peers(text: str) -> PeersNote:
    """Read what `encode_peers` wrote, and as much as possible of anything else."""
    count, _, names = text[:MAX_PEERS_TEXT].partition(":")
    known = tuple(name for name in names.split(",")[:MAX_PEERS] if name and name.isprintable())
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0
    return PeersNote(max(number, len(known)), known)


def encode_contested(conflicts: Iterable[Conflict]) -> tuple[str, ...]:
    """Write contested addresses for a SpeakerNote: `10.0.0.1 02:00:00:00:00:07`, the first MAX_CONTESTED."""
    return tuple(f"{c.address} {c.mac.hex(':')}" for c in islice(conflicts, MAX_CONTESTED))


def decode_contested(texts: Iterable[str]) -> dict[IPAddress, str]:
    """Return the MAC address of the host that has each contested address; what cannot be read is left out."""
    found: dict[IPAddress, str] = {}
    for text in texts:
        address_text, _, mac = text.partition(" ")
        address = parse_address(address_text)
        if address is not None and _MAC.fullmatch(mac):
            found[address] = mac
    return found


def speaker_note(lease: Lease | None) -> SpeakerNote:
    """What a speaker says on its Lease of how it runs; one that says nothing says nothing."""
    text = lease.annotation(SPEAKER) if lease is not None else None
    return decode_speaker(text or "") or SpeakerNote()


def says_the_same(one: Lease, other: Lease, but_for: Collection[str] = ()) -> bool:
    """Whether two states of a speaker's Lease differ in nothing that other speakers act on, but for these notes."""
    if one.holder != other.holder:
        return False
    if one.annotations == other.annotations:  # nearly all are renewals
        return True
    unheeded = {PEERS, *but_for}
    return _without(one, unheeded) == _without(other, unheeded)


def _without(lease: Lease, names: Collection[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in lease.annotations if name not in names]


def _fits(value: object, default: object) -> bool:
    if isinstance(value, str):
        return isinstance(default, str) and value.isprintable()
    if isinstance(value, bool) or isinstance(default, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 <= value < 1e6
    return isinstance(default, int) and isinstance(value, int) and 0 <= value < 1 << 64


def _texts(value: object, most: int) -> tuple[str, ...]:
    texts = value[:most] if isinstance(value, list) else []
    return tuple(text for text in texts if isinstance(text, str) and text.isprintable())

"""What the control process and the link process say to each other; how it looks on their socket: `message_codec`.

Down go HeartbeatSettings, AnnouncementSet and Stop, up go LinkReport, PeersReport, PeerClaims and Refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from metallb_cli.model import (
    AddressCounters,
    AddressRange,
    Claim,
    Conflict,
    Interface,
    IPAddress,
    LinkState,
    Peer,
    Section,
)

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

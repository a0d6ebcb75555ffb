"""What a speaker writes on its Lease about its interfaces, and what follows for the addresses it can answer for.

Operators read it in `metallb status`, and the other speakers learn which networks this one is on. Reading never fails:
a Lease may have been written by another version, or by hand.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from metallb_cli.model import MAX_NETWORKS, Interface, IPNetwork, Reason
from metallb_cli.subnets import network_order

INTERFACES = "metallb.io/interfaces"

MAX_INTERFACES = 20_000
"""Characters: about 400 interfaces."""


@dataclass(frozen=True, slots=True)
class InterfaceNote:
    """An interface as its speaker described it.

    Attributes:
        verdict: a Reason's value, or a word of another version.
        networks: of the interface; None when the speaker did not say, as it does of unusable ones.
        master: the bridge or bond that it is a port of, or empty.
    """

    name: str
    verdict: str
    networks: tuple[IPNetwork, ...] | None = None
    master: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a speaker can answer on.

    Attributes:
        usable: it has a usable interface.
        networks: of all usable interfaces together, sorted; None when it did not say for each of them.
    """

    usable: bool
    networks: tuple[IPNetwork, ...] | None


def encode_interfaces(interfaces: Iterable[Interface]) -> str:
    """Write interfaces as a JSON list of name, verdict, networks and master, at most MAX_INTERFACES characters.

    Only a usable interface has networks written, and only a port of another interface a master.
    """
    parts: list[str] = []
    length = 2
    for interface in interfaces:
        fields: dict[str, object] = {"name": interface.name, "verdict": interface.verdict.value}
        if interface.verdict is Reason.USABLE:
            fields["networks"] = [str(network) for network in interface.networks[:MAX_NETWORKS]]
        if interface.master:
            fields["master"] = interface.master
        part = json.dumps(fields)
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
        InterfaceNote(entry["name"], entry["verdict"], _networks(entry.get("networks")), _text(entry.get("master")))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("verdict"), str)
    )


def reach(interfaces: Iterable[InterfaceNote | Interface]) -> Reach | None:
    """Return what a speaker with these interfaces can answer on; None when there are none, so that nothing is known.

    Every node has at least a loopback interface.
    """
    known = list(interfaces)
    if not known:
        return None
    usable = [interface for interface in known if interface.verdict in (Reason.USABLE, Reason.USABLE.value)]
    networks: set[IPNetwork] = set()
    for interface in usable:
        if interface.networks is None:
            return Reach(usable=True, networks=None)
        networks.update(interface.networks)
    return Reach(bool(usable), tuple(sorted(networks, key=network_order)))


def _networks(value: object) -> tuple[IPNetwork, ...] | None:
    if not isinstance(value, list):
        return None
    found: list[IPNetwork] = []
    for text in value[:MAX_NETWORKS]:
        with contextlib.suppress(ValueError):
            found.append(ip_network(_text(text)))
    return tuple(found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

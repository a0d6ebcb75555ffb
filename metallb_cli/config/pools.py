"""`address-pools`: the pools of both generations of the format, which may be mixed.

v0.4.6 writes `protocol: arp` or `ndp`, `cidr` and `arp-network`; 0.5 to 0.12 write `protocol: layer2` and `addresses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from metallb_cli.config.addresses import Entry, EntryReader, inferred_arp_network, parse_network
from metallb_cli.config.advertisements import read_advertisements
from metallb_cli.config.document import Node, Scalar, Sequence, is_null
from metallb_cli.config.fields import Section, as_text, name_of, suggestion, warn_of_unquoted_name
from metallb_cli.config.problem import Code, Problems, quoted
from metallb_cli.config.settings import BgpAdvertisement
from metallb_cli.model import AddressRange, Pool, Protocol

KEYS = (
    "name",
    "protocol",
    "addresses",
    "cidr",
    "auto-assign",
    "avoid-buggy-ips",
    "arp-network",
    "bgp-advertisements",
)
_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_FAMILY_OF = {Protocol.ARP: 4, Protocol.NDP: 6}


@dataclass(frozen=True, slots=True)
class ReadPool:
    """A pool as far as it could be read.

    Attributes:
        pool: None when something essential is missing or wrong.
        entries: every valid element, in allocation order: `addresses` before `cidr`, as MetalLB 0.5.
    """

    name: Scalar | None
    pool: Pool | None
    entries: tuple[Entry, ...]
    advertisements: tuple[BgpAdvertisement, ...]


def read_pool(node: Node, number: int, communities: dict[str, int], problems: Problems) -> ReadPool:
    """Read element `number` (counted from 1) of `address-pools`, reporting all that is wrong with it by itself."""
    written_name = name_of(node)
    label = written_name or f"#{number}"
    section = Section(node, f"pool {quoted(label)}" if written_name else f"address pool {label}", KEYS, problems)
    if section.broken:
        return ReadPool(None, None, (), ())
    name = _name(section, problems)
    protocol = _protocol(section, problems)
    entries, complete = _entries(section, label, problems)
    if protocol in _FAMILY_OF:
        _check_family(protocol, entries, problems)
    arp_network = _arp_network(section, protocol, entries, complete, label, problems)
    advertisements = _advertisements(section, protocol, entries, communities, problems)
    auto_assign = section.flag("auto-assign", True)
    avoid_buggy_ips = section.flag("avoid-buggy-ips", False)
    if name is None or protocol is None or not entries:
        return ReadPool(name, None, entries, advertisements)
    ranges = tuple(entry.range for entry in entries)
    pool = Pool(name.text, protocol, ranges, auto_assign, avoid_buggy_ips, arp_network)
    _warn(pool, name, section, problems)
    return ReadPool(name, pool, entries, advertisements)


def _name(section: Section, problems: Problems) -> Scalar | None:
    name = section.text("name")
    if name is not None and name.text:
        warn_of_unquoted_name(name, "the pool name", problems)
        return name
    if name is not None or section.get("name") is None:
        hint = "Add name: and a name; Services ask for a pool by it."
        problems.error(Code.POOL_NAME_MISSING, name or section.node, f"{section.subject}: missing pool name", hint)
    return None


def _protocol(section: Section, problems: Problems) -> Protocol | None:
    scalar = section.text("protocol")
    if scalar is None or not scalar.text:
        if scalar is not None or section.get("protocol") is None:
            message = f"{section.subject}: address pool is missing the protocol field"
            hint = "Add protocol: layer2, or bgp (v0.4.6: arp, ndp or bgp)."
            problems.error(Code.POOL_PROTOCOL_MISSING, scalar or section.node, message, hint)
        return None
    protocol = _PROTOCOLS.get(scalar.text)
    if protocol is None:
        message = f"{section.subject}: unknown protocol {quoted(scalar.text)}"
        known = "Use layer2 or bgp (v0.4.6: arp, ndp or bgp), in lower case."
        hint = f"{suggestion(scalar.text, _PROTOCOLS, problems)} {known}".strip()
        problems.error(Code.POOL_PROTOCOL_UNKNOWN, scalar, message, hint, scalar.text)
    return protocol


def _entries(section: Section, label: str, problems: Problems) -> tuple[tuple[Entry, ...], bool]:
    """Return the valid entries, and whether that is all of them."""
    nodes = [(key, item) for key in ("addresses", "cidr") for item in section.items(key)]
    if not nodes and all(isinstance(section.get(key), Sequence | None) for key in ("addresses", "cidr")):
        hint = "Add addresses: with a list of CIDRs or first-last ranges (v0.4.6: cidr: with CIDRs)."
        place = section.place("addresses", "cidr")
        problems.error(Code.POOL_NO_ADDRESSES, place, f"{section.subject}: pool has no prefixes defined", hint)
    reader = EntryReader(label, problems)
    entries = []
    for key, item in nodes:
        scalar = as_text(item, f"{section.subject}: an element of {key}", problems)
        if scalar is not None and is_null(scalar):
            scalar = Scalar("", scalar.line, scalar.column)
        entry = None if scalar is None else reader.read(scalar, ranges=key == "addresses")
        if entry is not None:
            entries.append(entry)
    return tuple(entries), len(entries) == len(nodes)


def _check_family(protocol: Protocol, entries: tuple[Entry, ...], problems: Problems) -> None:
    version = _FAMILY_OF[protocol]
    for entry in entries:
        if entry.range.version != version:
            message = (
                f"pool {quoted(entry.pool)}: only IPv{version} addresses can be used in {protocol.name} pools, "
                f"not {quoted(entry.scalar.text)}"
            )
            hint = "Move it to a pool of its own, or use protocol: layer2, which takes both families."
            problems.error(Code.WRONG_FAMILY, entry.scalar, message, hint, entry.scalar.text)


def _arp_network(
    section: Section,
    protocol: Protocol | None,
    entries: tuple[Entry, ...],
    complete: bool,
    label: str,
    problems: Problems,
) -> IPv4Network | None:
    """Return the network whose ends are never given out; None for every protocol but arp, and when it is unusable."""
    scalar = section.text("arp-network")
    given = scalar if scalar is not None and scalar.text else None
    if protocol is not Protocol.ARP:
        _refuse_arp_network(section, protocol, given, problems)
        return None
    network: IPv4Network | None = None
    if given is not None:
        network = _parse_arp_network(section, given, problems)
    elif complete and entries and entries[0].range.version == 4 and section.get("arp-network") is None:
        network = inferred_arp_network(entries[0].range)
    if network is None:
        return None
    enclosing = AddressRange.of_network(network)
    for entry in entries:
        if entry.range.version != 4 or (entry.range.first in enclosing and entry.range.last in enclosing):
            continue
        text = entry.scalar.text
        if given is not None:
            code = Code.ARP_NETWORK_OUTSIDE
            message = f"CIDR {quoted(text)} is not contained within the enclosing ARP network {quoted(str(network))}"
            hint = "Widen arp-network to the whole network of the LAN, or correct the addresses."
        else:
            code = Code.ARP_NETWORK_NEEDED
            message = (
                f"pool did not specify an arp-network, and CIDR {quoted(text)} falls outside the inferred arp-network "
                f"{quoted(str(network))} (maybe explicitly define arp-network?)"
            )
            hint = "Add arp-network: with the network of the LAN; without it, it is the /24 around the first address."
        problems.error(code, entry.scalar, f"pool {quoted(label)}: {message}", hint, text)
    return network


def _refuse_arp_network(section: Section, protocol: Protocol | None, given: Scalar | None, problems: Problems) -> None:
    if given is None or protocol is None:
        return
    if protocol is Protocol.BGP:
        message = f"{section.subject}: cannot have arp-network configuration element in a BGP address pool"
        problems.error(Code.ARP_NETWORK_IN_BGP, given, message, "Remove arp-network.", given.text)
        return
    message = f"{section.subject}: arp-network has no effect with protocol {protocol.value}"
    hint = "Remove it, and leave the network and broadcast addresses out of the ranges."
    problems.warning(Code.ARP_NETWORK_IGNORED, given, message, hint, given.text)


def _parse_arp_network(section: Section, given: Scalar, problems: Problems) -> IPv4Network | None:
    network = parse_network(given.text)
    if isinstance(network, IPv4Network):
        return network
    reason = network if isinstance(network, str) else "ARP is for IPv4 only"
    message = f"{section.subject}: parsing ARP network: invalid CIDR {quoted(given.text)}: {reason}"
    hint = "Write the network of the LAN as a CIDR, such as 192.168.1.0/24."
    problems.error(Code.ARP_NETWORK_INVALID, given, message, hint, given.text)
    return None


def _advertisements(
    section: Section,
    protocol: Protocol | None,
    entries: tuple[Entry, ...],
    communities: dict[str, int],
    problems: Problems,
) -> tuple[BgpAdvertisement, ...]:
    items = section.items("bgp-advertisements", mappings=True)
    if items and protocol is not None and protocol.is_layer2:
        name = "layer2" if protocol is Protocol.LAYER2 else protocol.name
        article = "a" if protocol is Protocol.LAYER2 else "an"
        message = (
            f"{section.subject}: cannot have bgp-advertisements configuration element in {article} {name} address pool"
        )
        place = section.place("bgp-advertisements")
        problems.error(Code.ADVERTISEMENTS_NOT_BGP, place, message, "Remove bgp-advertisements, or use protocol: bgp.")
    advertisements = read_advertisements(items, section.subject, entries, communities, problems)
    if protocol is not Protocol.BGP:
        return ()
    return advertisements or (BgpAdvertisement(),)


def _warn(pool: Pool, name: Scalar, section: Section, problems: Problems) -> None:
    if pool.size() == 0:
        message = f"{section.subject}: every address of this pool is reserved, so none can be given out"
        hint = "Add addresses other than the ends of arp-network"
        hint += " and those ending in .0 or .255." if pool.avoid_buggy_ips else "."
        problems.warning(Code.POOL_EMPTY, name, message, hint, pool.name)
    if pool.protocol is Protocol.BGP:
        message = f"{section.subject}: BGP is not announced yet: its addresses are assigned, and nobody announces them"
        hint = "Use protocol: layer2 for addresses that must be reachable now."
        place = section.get("protocol") or section.node
        problems.warning(Code.BGP_NOT_ANNOUNCED, place, message, hint, pool.name)

"""Entries of a pool: CIDRs and `first-last` ranges, and which of them are odd or overlap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network, summarize_address_range

from metallb_cli.config.document import Scalar
from metallb_cli.config.problem import Code, Level, Problems, quoted
from metallb_cli.model import AddressRange, IPAddress, IPNetwork, parse_address

_CIDR = re.compile(r"([0-9a-fA-F:.]+)/([0-9]{1,3})", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")
_LONGEST = 128
_MAX_OVERLAPS = 10_000  # a pool that aliases repeat overlaps with each copy, at one and the same line

_SPECIAL: tuple[tuple[AddressRange, str], ...] = tuple(
    (AddressRange.of_network(ip_network(network)), name)
    for network, name in (
        ("0.0.0.0/8", "addresses of this host"),  # RFC 1122 section 3.2.1.3
        ("127.0.0.0/8", "loopback addresses"),  # RFC 1122 section 3.2.1.3
        ("169.254.0.0/16", "link-local addresses"),  # RFC 3927
        ("224.0.0.0/4", "multicast addresses"),  # RFC 5771
        ("240.0.0.0/4", "reserved addresses"),  # RFC 1112 section 4
        ("::/128", "the unspecified address"),  # RFC 4291 section 2.5.2
        ("::1/128", "the loopback address"),  # RFC 4291 section 2.5.3
        ("fe80::/10", "link-local addresses"),  # RFC 4291 section 2.5.6
        ("ff00::/8", "multicast addresses"),  # RFC 4291 section 2.7
    )
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One valid element of `addresses` or `cidr`, and where it was written."""

    range: AddressRange
    scalar: Scalar
    pool: str

    @property
    def shortest_prefix(self) -> int:
        """Prefix length of the largest network inside, once the range is written as the fewest CIDRs."""
        return min(network.prefixlen for network in summarize_address_range(self.range.first, self.range.last))


def parse_network(text: str) -> IPNetwork | str:
    """Return the network of a CIDR, host bits cleared, or why it is not one."""
    matched = _CIDR.fullmatch(text) if len(text) <= _LONGEST else None
    if matched is None:
        if text != text.strip():
            return "remove the spaces around it"
        if parse_address(text) is not None:
            return f"a single address is written {text}/{128 if ':' in text else 32}"
        return "write an address, a slash and a prefix length, such as 192.168.1.240/28"
    address = parse_address(matched[1])
    if address is None:
        return f"{quoted(matched[1])} is not an IP address"
    if int(matched[2]) > address.max_prefixlen:
        return f"the prefix length of IPv{address.version} is at most {address.max_prefixlen}"
    network = ip_network((address, int(matched[2])), strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return "write IPv4 addresses in their own notation"
    return network


class EntryReader:
    """Reads the entries of one pool and reports what is wrong with each.

    Args:
        pool: what messages call the pool: its name, or its number while it has none.
        problems: where to report.
    """

    def __init__(self, pool: str, problems: Problems) -> None:
        self._pool = pool
        self._problems = problems

    def read(self, scalar: Scalar, *, ranges: bool) -> Entry | None:
        """Return the entry, or None and an error. `ranges`: `first-last` is allowed, as under `addresses`."""
        text = scalar.text
        found = self._range(scalar) if ranges and "-" in text else self._cidr(scalar, ranges)
        if found is None:
            return None
        special = [f"{name} ({addresses})" for addresses, name in _SPECIAL if addresses.overlaps(found)]
        if special:
            message = f"{quoted(text)} in pool {quoted(self._pool)} contains {', '.join(special)}"
            hint = "Clients cannot reach a Service there; leave these addresses out."
            self._problems.warning(Code.SPECIAL_ADDRESSES, scalar, message, hint, text)
        return Entry(found, scalar, self._pool)

    def _cidr(self, scalar: Scalar, ranges: bool) -> AddressRange | None:
        text = scalar.text
        network = parse_network(text)
        if isinstance(network, str):
            message = f"invalid CIDR {quoted(text)} in pool {quoted(self._pool)}"
            hint = network[0].upper() + network[1:] + "."
            if any(dash in text for dash in "\u2012\u2013\u2014\u2212"):
                hint = "This dash is not the minus sign of the keyboard; write first-last with that one."
            elif not ranges and "-" in text:
                hint = "Write ranges under addresses; cidr takes only CIDRs."
            self._problems.error(Code.INVALID_CIDR, scalar, message, hint, text)
            return None
        whole = AddressRange.of_network(network)
        if parse_address(text.split("/")[0]) != whole.first:
            message = f"{quoted(text)} in pool {quoted(self._pool)} begins at {whole.first}, not where it says"
            hint = f"Write {network}, or a range if fewer addresses are meant."
            self._problems.warning(Code.CIDR_HOST_BITS, scalar, message, hint, text)
        return whole

    def _range(self, scalar: Scalar) -> AddressRange | None:
        text = scalar.text
        first, last = (parse_address(end.strip()) for end in text[:_LONGEST].split("-", 1))
        code, reason = Code.INVALID_RANGE, ""
        if first is None or last is None or len(text) > _LONGEST:
            hint = "Write two IP addresses with a minus sign between, such as 192.168.1.240-192.168.1.250."
        elif first.version != last.version:
            code, reason = Code.RANGE_MIXED_FAMILIES, ": one end is IPv4, the other IPv6"
            hint = "Write one range for each family."
        elif int(first) > int(last):
            code, reason = Code.RANGE_BACKWARDS, f": start IP {first} is after the end IP {last}"
            hint = f"Write {last}-{first}."
        elif _mapped(first) or _mapped(last):
            hint = "Write IPv4 addresses in their own notation."
        else:
            return AddressRange(first, last)
        message = f"invalid IP range {quoted(text)} in pool {quoted(self._pool)}{reason}"
        self._problems.error(code, scalar, message, hint, text)
        return None


def _mapped(address: IPAddress) -> bool:
    return address in _MAPPED


def report_overlaps(entries: list[Entry], problems: Problems) -> None:
    """Report each two entries that have an address in common, at the one that comes later in the text.

    Sorted by first address, every entry is compared only with those that still reach it, so the time is
    O(n log n) and one step for each overlap found.
    """
    order = sorted(range(len(entries)), key=lambda i: (entries[i].range.version, int(entries[i].range.first)))
    reaching: list[int] = []
    found = 0
    for current in order:
        reaching = [i for i in reaching if entries[i].range.overlaps(entries[current].range)]
        for other in reaching:
            found += 1
            if found > _MAX_OVERLAPS or problems.full(Level.ERROR):
                return
            _report_overlap(entries[min(other, current)], entries[max(other, current)], problems)
        reaching.append(current)


def _report_overlap(earlier: Entry, later: Entry, problems: Problems) -> None:
    kind = "IP range" if "-" in later.scalar.text else "CIDR"
    earlier_kind = "IP range" if "-" in earlier.scalar.text else "CIDR"
    common = AddressRange(
        max(earlier.range.first, later.range.first, key=int), min(earlier.range.last, later.range.last, key=int)
    )
    message = (
        f"{kind} {quoted(later.scalar.text)} in pool {quoted(later.pool)} overlaps with already defined {earlier_kind} "
        f"{quoted(earlier.scalar.text)} in pool {quoted(earlier.pool)} ({problems.where(earlier.scalar)})"
    )
    hint = f"Both contain {common}; leave it in one of them."
    problems.error(Code.POOL_OVERLAP, later.scalar, message, hint, later.scalar.text)


def inferred_arp_network(first: AddressRange) -> IPv4Network:
    """Return the /24 around the first address: what v0.4.6 takes for the `arp-network` of a pool that names none."""
    return IPv4Network((int(first.first) & ~0xFF, 24))

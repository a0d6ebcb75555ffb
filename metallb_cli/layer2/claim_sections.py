"""Cuts what a node claims into sections that fit into heartbeats.

The cuts follow the addresses and not the number of claims: a range with too many is halved, as often as needed. So a
claim that comes or goes changes one section, seldom two, and the rest need not be said again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from metallb_cli.layer2.heartbeat import encode_section
from metallb_cli.model import Claim, IPAddress, Section


def cut(claims: Sequence[tuple[IPAddress, Claim]], version: int, room: int) -> list[bytes]:
    """Return encoded sections that together say everything about one family, from its lowest address to its highest.

    Args:
        claims: of this IP version, sorted by address. Without any, there is one empty section.
        version: 4 or 6.
        room: bytes for a section, enough for at least one claim.
    """
    make: Callable[[int], IPAddress] = IPv4Address if version == 4 else IPv6Address
    size = 4 if version == 4 else 16
    bits = 8 * size
    limit = max(1, (room - 3 - 2 * size) // (size + 5))
    numbers = [int(address) for address, _ in claims]
    cuts: list[tuple[int, int]] = []
    _halve(numbers, 0, len(numbers), 0, bits, limit, cuts)
    firsts = [0, *(first for first, _ in cuts[1:])]
    starts = [0, *(start for _, start in cuts[1:])]
    lasts = [*(first - 1 for first in firsts[1:]), (1 << bits) - 1]
    ends = [*starts[1:], len(numbers)]
    return [
        encode_section(Section(make(first), make(last), tuple(claims[start:end])))
        for first, last, start, end in zip(firsts, lasts, starts, ends, strict=True)
    ]


def _halve(
    numbers: list[int], low: int, high: int, first: int, bits: int, limit: int, cuts: list[tuple[int, int]]
) -> None:
    """Append (first address, index of its first claim) of each range that has at most `limit` claims, and any."""
    if high - low <= limit:
        if high > low:
            cuts.append((first, low))
        return
    half = first + (1 << bits - 1)
    middle = bisect_left(numbers, half, low, high)
    _halve(numbers, low, middle, first, bits - 1, limit, cuts)
    _halve(numbers, middle, high, half, bits - 1, limit, cuts)

"""Parts of which the messages on the link socket consist, in JSON: read strictly, within fixed bounds of size.

Addresses are integers, in runs: 10 000 of them take a few milliseconds. What is not as expected is a ValueError,
TypeError or LookupError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from metallb_cli.model import Claim, IPAddress, IPNetwork

MAX_ADDRESSES = 1 << 18
"""Addresses in one message: four times a /16. Runs are short to write, so the message's size does not bound them."""

FAMILIES: dict[str, Callable[[int], IPAddress]] = {"4": IPv4Address, "6": IPv6Address}
"""Makes an address of its number, by the IP version as JSON has it."""


def address_runs(addresses: Iterable[IPAddress]) -> dict[str, list[list[int]]]:
    """Write addresses as runs of consecutive ones: [first, how many], by IP version."""
    runs: dict[str, list[list[int]]] = {"4": [], "6": []}
    for address in addresses:
        number, family = int(address), runs["4" if address.version == 4 else "6"]
        if family and number == family[-1][0] + family[-1][1]:
            family[-1][1] += 1
        else:
            family.append([number, 1])
    return runs


def read_addresses(runs: object) -> tuple[IPAddress, ...]:
    """Read what `address_runs` writes."""
    addresses: list[IPAddress] = []
    for version, make in FAMILIES.items():
        for first, count in read_list(read_object(runs)[version]):
            if len(addresses) + read_count(count) > MAX_ADDRESSES:
                raise ValueError(f"more than {MAX_ADDRESSES} addresses")
            addresses += map(make, range(read_count(first), first + count))
    return tuple(addresses)


def claim_runs(claims: Iterable[tuple[IPAddress, Claim]]) -> list[list[int]]:
    """Write claims as runs of consecutive addresses with the same: [version, first address, how many, epoch, flags]."""
    runs: list[list[int]] = []
    for address, claim in claims:
        rest = [claim.epoch, claim.strong | claim.contested << 1]
        number, last = int(address), runs[-1] if runs else None
        if last is not None and last[0] == address.version and last[1] + last[2] == number and last[3:] == rest:
            last[2] += 1
        else:
            runs.append([address.version, number, 1, *rest])
    return runs


def read_claims(runs: object) -> list[tuple[IPAddress, Claim]]:
    """Read what `claim_runs` writes."""
    claims: list[tuple[IPAddress, Claim]] = []
    made: dict[tuple[int, int], Claim] = {}  # many are equal, and making them is what takes the time
    for version, first, count, epoch, flags in read_list(runs):
        claim = made.get((epoch, flags))
        if claim is None:
            claim = made[epoch, flags] = Claim(read_count(epoch), bool(read_count(flags) & 1), bool(flags & 2))
        make = FAMILIES[str(version)]
        if count == 1:
            claims.append((make(read_count(first)), claim))
        elif len(claims) + read_count(count) <= MAX_ADDRESSES:
            claims += ((make(number), claim) for number in range(read_count(first), first + count))
        else:
            raise ValueError(f"more than {MAX_ADDRESSES} claims")
    return claims


def read_networks(value: object) -> tuple[IPNetwork, ...]:
    """Read networks in their usual notation."""
    return tuple(ip_network(read_text(text)) for text in read_list(value))


def read_count(value: object) -> int:
    """Read a whole number from 0."""
    if type(value) is not int or value < 0:
        raise ValueError("not a number from 0")
    return value


def read_flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def read_seconds(value: object) -> float:
    """Read a duration, below 1e9."""
    if type(value) not in (int, float) or not 0 <= value < 1e9:  # type: ignore[operator]
        raise ValueError("not a number of seconds")
    return float(value)  # type: ignore[arg-type]


def read_text(value: object) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def read_object(value: object) -> dict[str, Any]:
    """Read an object."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def read_list(value: object) -> list[Any]:
    """Read a list."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value

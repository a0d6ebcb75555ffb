"""The sentences with which the allocator refuses: what is wrong, with the numbers and names, and what would help."""

from __future__ import annotations

from collections.abc import Mapping

from metallb_cli.allocator.request import AllocationRefused, PoolUsage
from metallb_cli.model import IPAddress, Pool, Reason, ServiceKey

SHOWN = 3
"""How many ranges, pools or Services a message names before it says how many more there are."""


def describe_pool(pool: Pool) -> str:
    """Return the pool's name and ranges, as operators know it: `pool "default" (172.30.1.96-172.30.1.127)`."""
    return f'pool "{pool.name}" ({_some([str(r) for r in pool.ranges])})'


def in_use(address: IPAddress, holders: tuple[ServiceKey, ...]) -> AllocationRefused:
    """Somebody else has it."""
    names = _some([str(holder) for holder in holders])
    return AllocationRefused(
        Reason.ADDRESS_IN_USE,
        f"{address} is in use by {names}",
        "ask for another address, or take it from that Service",
    )


def in_no_pool(address: IPAddress, pools: tuple[Pool, ...]) -> AllocationRefused:
    """The configuration does not contain it."""
    have = f"the configuration has {_pools(pools)}" if pools else "the configuration has no pool"
    return AllocationRefused(
        Reason.ADDRESS_NOT_IN_POOL, f"{address} is in no pool: {have}", "ask for another address, or add it to a pool"
    )


def reserved(address: IPAddress, pool: Pool) -> AllocationRefused:
    """The configuration contains it and forbids it."""
    network = pool.arp_network
    if network is not None and address in (network.network_address, network.broadcast_address):
        end = "first" if address == network.network_address else "last"
        why = f"it is the {end} address of arp-network {network}"
    else:
        why = "avoid-buggy-ips leaves out addresses that end in .0 or .255"
    return AllocationRefused(
        Reason.ADDRESS_RESERVED, f"{describe_pool(pool)} never gives out {address}: {why}", "ask for another address"
    )


def not_the_requested(address: IPAddress, requested: IPAddress) -> AllocationRefused:
    """The Service asks for something else now."""
    return AllocationRefused(
        Reason.INVALID_REQUEST, f"the Service asks for {requested}, not for {address}", f"give it {requested}"
    )


def in_another_pool(address: IPAddress, pool: Pool, requested: str) -> AllocationRefused:
    """Address and pool do not go together."""
    return AllocationRefused(
        Reason.ADDRESS_NOT_IN_POOL,
        f'{address} is in {describe_pool(pool)}, not in the requested pool "{requested}"',
        "ask for one or the other",
    )


def unknown_pool(name: str, pools: tuple[Pool, ...]) -> AllocationRefused:
    """The annotation names no pool."""
    have = f"the configuration has {_pools(pools)}" if pools else "the configuration has none"
    return AllocationRefused(
        Reason.UNKNOWN_POOL,
        f'pool "{name}" does not exist: {have}',
        "correct the address-pool annotation or add the pool",
    )


def no_pool(pools: tuple[Pool, ...]) -> AllocationRefused:
    """There is nothing to choose from."""
    if not pools:
        return AllocationRefused(Reason.NO_POOL, "the configuration has no address pool", "add one")
    return AllocationRefused(
        Reason.NO_POOL,
        f"no pool may be used without being asked for: auto-assign is false in {_pools(pools)}",
        "name one in the address-pool annotation of the Service",
    )


def no_pool_of_version(pools: tuple[Pool, ...], versions: tuple[int, ...]) -> AllocationRefused:
    """The pools are of the other IP version, or all their addresses are reserved."""
    kind = "" if len(versions) > 1 else f"IPv{versions[0]} "
    one = f"{describe_pool(pools[0])} has" if len(pools) == 1 else f"{_pools(pools)} have"
    return AllocationRefused(
        Reason.FAMILY_MISMATCH,
        f"{one} no {kind}address to give out",
        f"add {kind}addresses or ask for another pool",
    )


def wrong_version(what: str, version: int, wanted: int) -> AllocationRefused:
    """The Service cannot use an address of this IP version."""
    return AllocationRefused(
        Reason.FAMILY_MISMATCH,
        f"{what} is IPv{version}, but the Service is IPv{wanted}",
        f"ask for an IPv{wanted} address",
    )


def full(pools: tuple[Pool, ...], usage: Mapping[str, PoolUsage], versions: tuple[int, ...]) -> AllocationRefused:
    """Everything is taken."""

    def one(pool: Pool) -> str:
        counts = usage[pool.name]
        used = sum(counts.used_v4 if v == 4 else counts.used_v6 for v in versions)
        total = sum(counts.total_v4 if v == 4 else counts.total_v6 for v in versions)
        kind = f"IPv{versions[0]} " if len(versions) == 1 and counts.total != total else ""
        return f"{describe_pool(pool)} is full: {used} of {total} {kind}addresses are in use"

    return AllocationRefused(
        Reason.POOL_EXHAUSTED,
        _some([one(pool) for pool in pools], "; "),
        "add addresses to a pool, or delete a Service that no longer needs one",
    )


def not_one_address(addresses: tuple[IPAddress, ...]) -> AllocationRefused:
    """Several addresses, which is not supported yet."""
    asked = _some([str(address) for address in addresses]) if addresses else "none"
    return AllocationRefused(
        Reason.INVALID_REQUEST,
        f"a Service can have one address, and {len(addresses)} are asked for ({asked})",
        "ask for one",
    )


def dual_stack() -> AllocationRefused:
    """One address of each IP version, which is not supported yet."""
    return AllocationRefused(
        Reason.INVALID_REQUEST,
        "a Service can have one address, and one of each IP version is asked for",
        "set spec.ipFamilyPolicy to SingleStack or PreferDualStack",
    )


def _pools(pools: tuple[Pool, ...]) -> str:
    return _some([describe_pool(pool) for pool in pools])


def _some(names: list[str], separator: str = ", ") -> str:
    shown = separator.join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown}{separator}and {len(names) - SHOWN} more"

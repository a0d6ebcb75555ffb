"""Finds the pool of an address without asking every pool."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from metallb_cli.model import IPAddress, Pool


class PoolIndex:
    """The ranges of all pools, sorted. A lookup is O(log ranges)."""

    def __init__(self, pools: tuple[Pool, ...]) -> None:
        """Sort the ranges.

        Raises:
            ValueError: two ranges overlap or two pools have one name. A Config never contains that.
        """
        if len({pool.name for pool in pools}) != len(pools):
            raise ValueError("two pools have the same name")
        entries = sorted(
            (
                (r.version, int(r.first), int(r.last), position)
                for position, pool in enumerate(pools)
                for r in pool.ranges
            )
        )
        for before, after in pairwise(entries):
            if before[0] == after[0] and after[1] <= before[2]:
                raise ValueError(f"ranges of pools {pools[before[3]].name!r} and {pools[after[3]].name!r} overlap")
        self.pools = pools
        self._firsts = [(version, first) for version, first, _, _ in entries]
        self._lasts = [last for _, _, last, _ in entries]
        self._pools = [pools[position] for _, _, _, position in entries]

    def pool_of(self, address: IPAddress) -> Pool | None:
        """Return the pool with a range that contains the address, whether it may be given out or not."""
        value = int(address)
        at = bisect_right(self._firsts, (address.version, value)) - 1
        if at < 0 or self._firsts[at][0] != address.version or value > self._lasts[at]:
            return None
        return self._pools[at]

    def usable_pool_of(self, address: IPAddress) -> Pool | None:
        """Return the pool that may give out the address; None when it is in no pool or reserved."""
        pool = self.pool_of(address)
        return None if pool is None or pool.reserved(address) else pool

"""The free addresses of a pool: which is the lowest, and how many are there.

What is kept is the *taken runs* of each range: maximal stretches of consecutive addresses that cannot be given out,
sorted. So an unused range costs nothing however large it is, a contiguously filled one is a single run, and the lowest
free address is the one after the first run. Addresses reserved by the pool's rules join a run when the run reaches
them, never earlier, so they cost nothing either.

Invariant: the address after a run is never reserved, and neither is the first one of a range unless a run begins there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from ipaddress import IPv4Address, IPv6Address

from metallb_cli.model import BUGGY_LAST_OCTETS, AddressRange, IPAddress, Pool


def usable_size(pool: Pool, addresses: AddressRange) -> int:
    """Return how many addresses of the range the pool's rules allow to give out. By arithmetic, whatever the size."""
    if addresses.version == 6:
        return addresses.size
    first, last = int(addresses.first), int(addresses.last)
    reserved = _buggy_below(last + 1) - _buggy_below(first) if pool.avoid_buggy_ips else 0
    if pool.arp_network is not None:
        for end in {int(pool.arp_network.network_address), int(pool.arp_network.broadcast_address)}:
            counted_already = pool.avoid_buggy_ips and end & 0xFF in BUGGY_LAST_OCTETS
            reserved += first <= end <= last and not counted_already
    return addresses.size - reserved


def _buggy_below(value: int) -> int:
    """Return how many addresses below this one end in .0 or .255."""
    return 2 * (value >> 8) + (value & 0xFF > 0)


class _Range:
    """One range of a pool and its taken runs."""

    def __init__(self, pool: Pool, addresses: AddressRange) -> None:
        self._make = IPv4Address if addresses.version == 4 else IPv6Address
        self._reserved = pool.reserved
        self._has_reserved = pool.avoid_buggy_ips or pool.arp_network is not None
        self._first, self._last = int(addresses.first), int(addresses.last)
        # Two lists rather than one of pairs: bisect then compares plain integers.
        self._run_firsts: list[int] = []
        self._run_lasts: list[int] = []
        start = self._skip_reserved(self._first)
        if start > self._first:
            self._mark(self._first, start - 1)

    def lowest(self) -> int | None:
        """Return the lowest free address, O(1)."""
        if not self._run_firsts or self._run_firsts[0] > self._first:
            return self._first
        after = self._run_lasts[0] + 1
        return after if after <= self._last else None

    def take(self, value: int) -> None:
        """Mark an address that is neither taken nor reserved. O(log runs), plus moving the list's tail."""
        self._mark(value, self._skip_reserved(value + 1) - 1)

    def give_back(self, value: int) -> None:
        """Undo `take`. O(log runs), plus moving the list's tail."""
        at = bisect_right(self._run_firsts, value) - 1
        first, last = self._run_firsts[at], self._run_lasts[at]
        rest = [run for run in ((first, value - 1), (value + 1, last)) if run[0] <= run[1]]
        self._run_firsts[at : at + 1] = [run[0] for run in rest]
        self._run_lasts[at : at + 1] = [run[1] for run in rest]

    def _skip_reserved(self, value: int) -> int:
        """Return the first address from this one on that is not reserved, or the one after the range's end."""
        if self._has_reserved:
            while value <= self._last and self._reserved(self._make(value)):
                value += 1
        return value

    def _mark(self, first: int, last: int) -> None:
        begin = bisect_left(self._run_lasts, first - 1)
        end = bisect_right(self._run_firsts, last + 1)
        if begin < end:
            first = min(first, self._run_firsts[begin])
            last = max(last, self._run_lasts[end - 1])
        self._run_firsts[begin:end] = [first]
        self._run_lasts[begin:end] = [last]


class FreeAddresses:
    """The free addresses of one pool. Only usable free addresses may be taken, and only taken ones given back."""

    def __init__(self, pool: Pool) -> None:
        self.total = {4: 0, 6: 0}
        self.used = {4: 0, 6: 0}
        self._ranges = [_Range(pool, r) for r in pool.ranges]
        self._versions = [r.version for r in pool.ranges]
        # Ranges with a free address, by version, in configuration order.
        self._open: dict[int, list[int]] = {4: [], 6: []}
        ordered = sorted((r.version, int(r.first), int(r.last), at) for at, r in enumerate(pool.ranges))
        self._starts = [(version, first) for version, first, _, _ in ordered]
        self._order = [at for _, _, _, at in ordered]
        for at, addresses in enumerate(pool.ranges):
            size = usable_size(pool, addresses)
            self.total[addresses.version] += size
            if size:
                self._open[addresses.version].append(at)

    def free(self, versions: tuple[int, ...]) -> int:
        """Return how many addresses of these IP versions are free."""
        return sum(self.total[v] - self.used[v] for v in versions)

    def lowest(self, versions: tuple[int, ...]) -> IPAddress | None:
        """Return the lowest free address of the first range, in configuration order, that has one; None when full."""
        at = min((self._open[v][0] for v in versions if self._open[v]), default=None)
        if at is None:
            return None
        value = self._ranges[at].lowest()
        assert value is not None, "a full range is listed as open"
        return IPv4Address(value) if self._versions[at] == 4 else IPv6Address(value)

    def take(self, address: IPAddress) -> None:
        """Mark an address as used."""
        at = self._range_of(address)
        self._ranges[at].take(int(address))
        self.used[address.version] += 1
        if self._ranges[at].lowest() is None:
            ranges = self._open[address.version]
            del ranges[bisect_left(ranges, at)]

    def give_back(self, address: IPAddress) -> None:
        """Mark an address as free again."""
        at = self._range_of(address)
        if self._ranges[at].lowest() is None:
            insort(self._open[address.version], at)
        self._ranges[at].give_back(int(address))
        self.used[address.version] -= 1

    def _range_of(self, address: IPAddress) -> int:
        return self._order[bisect_right(self._starts, (address.version, int(address))) - 1]

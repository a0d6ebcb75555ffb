"""Arithmetic with sorted runs of addresses: what two sets share, and what one has beyond the other.

Runs are those of `model.merge_ranges`: sorted, IPv4 first, none touching the next. All is linear in the number of runs,
whatever their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metallb_cli.model import AddressRange, IPAddress

Runs = tuple[AddressRange, ...]


def intersection(one: Sequence[AddressRange], other: Sequence[AddressRange]) -> Runs:
    """Return the addresses in both."""
    return tuple(_shared(one, other))


def without(runs: Sequence[AddressRange], taken: Sequence[AddressRange]) -> Runs:
    """Return the addresses of `runs` that are not in `taken`."""
    rest: list[AddressRange] = []
    shared = list(_shared(runs, taken))
    i = 0
    for run in runs:
        first: IPAddress | None = run.first
        while first is not None and i < len(shared) and shared[i].first in run:
            if int(first) < int(shared[i].first):
                rest.append(AddressRange(first, shared[i].first - 1))
            first = None if shared[i].last == run.last else shared[i].last + 1
            i += 1
        if first is not None:
            rest.append(AddressRange(first, run.last))
    return tuple(rest)


def _shared(one: Sequence[AddressRange], other: Sequence[AddressRange]) -> Iterator[AddressRange]:
    i = j = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        if a.overlaps(b):
            first = a.first if int(a.first) >= int(b.first) else b.first
            last = a.last if int(a.last) <= int(b.last) else b.last
            yield AddressRange(first, last)
        if (a.version, int(a.last)) < (b.version, int(b.last)):
            i += 1
        else:
            j += 1

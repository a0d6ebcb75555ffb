"""Deals out addresses that nobody owns, so that no node gets many more than others. Pure.

Consistent hashing with bounded loads: an address goes to the first node in the order of its hash that is not full. How
much a node may have depends on who could own which addresses, and not on who owns them. So when some addresses have
been claimed as they were dealt, dealing out the rest gives what it gave before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256

from metallb_cli.model import IPAddress

_LAST = b"\xff" * 33
"""After every digest."""

_UNIT = 1 << 20
"""Shares are whole numbers of 2**-20 of an address, so that their sum is the same in whichever order it is built."""


class Shares:
    """How many addresses each node would have if all were spread evenly over those that may have them."""

    def __init__(self) -> None:
        self._units: dict[str, int] = {}

    def add(self, count: int, takers: Collection[str]) -> None:
        """Spread so many addresses over these nodes. A negative count takes back what was added with these nodes."""
        if not takers:
            return
        each = abs(count) * _UNIT // len(takers)
        if count < 0:
            each = -each
        for node in takers:
            left = self._units.get(node, 0) + each
            if left:
                self._units[node] = left
            else:
                self._units.pop(node, None)

    def bound(self, node: str) -> int:
        """Return the number of addresses at which the node is full: 1.25 times its share, rounded up."""
        return -(-5 * self._units.get(node, 0) // (4 * _UNIT))


def deal(
    unowned: Iterable[tuple[IPAddress, Collection[str]]], loads: Mapping[str, int], shares: Shares
) -> dict[IPAddress, str]:
    """Return a new owner for each address, of the nodes given with it, which must be at least one.

    If all the nodes of an address are full, it goes to the one with the fewest addresses, of several to the first in
    the order of the hash.

    Args:
        unowned: the addresses, in the same order on every node, and the nodes that may take each over.
        shares: of all addresses, those with an owner included.
        loads: how many addresses each node has; a node that is missing has none.
    """
    dealt: dict[IPAddress, str] = {}
    room: dict[str, int] = {}
    names: dict[str, bytes] = {}
    for address, takers in unowned:
        suffix = f"#{address}".encode()
        owner, first = "", _LAST
        for node in takers:
            left = room.get(node)
            if left is None:
                left = room[node] = shares.bound(node) - loads.get(node, 0)
                names[node] = node.encode()
            if left > 0:
                draw = sha256(names[node] + suffix).digest()
                if draw < first:
                    owner, first = node, draw
        if not owner:
            owner = _first_of_least_loaded(suffix, takers, room, shares)
        room[owner] -= 1
        dealt[address] = owner
    return dealt


def _first_of_least_loaded(suffix: bytes, takers: Collection[str], room: Mapping[str, int], shares: Shares) -> str:
    having = {node: shares.bound(node) - room[node] for node in takers}
    fewest = min(having.values())
    return min(
        (node for node in takers if having[node] == fewest), key=lambda node: sha256(node.encode() + suffix).digest()
    )

"""What the other speakers claim, as far as heard. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from metallb_cli.model import Claim, IPAddress, Section


def sort_key(address: IPAddress) -> tuple[int, int]:
    """Order IPv4 before IPv6, and each by value."""
    return address.version, int(address)


class Heard:
    """The newest known claims of every node, dead ones included, by address and by node.

    A section replaces what the node claimed between its ends, and nothing else, whatever it holds.
    """

    def __init__(self) -> None:
        self._by_address: dict[IPAddress, dict[str, Claim]] = {}
        self._by_node: dict[str, tuple[list[tuple[int, int]], list[IPAddress]]] = {}  # keys, addresses; both sorted

    def claims(self, address: IPAddress) -> dict[str, Claim]:
        """The claims to the address, by node. The same object for as long as it is not dropped; not to be changed."""
        return self._by_address.setdefault(address, {})

    def drop_if_empty(self, address: IPAddress) -> None:
        """Spend no memory on an address that nobody claims and nobody looks at any more."""
        if not self._by_address.get(address, True):
            del self._by_address[address]

    def claimed_by(self, node: str) -> Iterable[IPAddress]:
        """The addresses that the node claims, sorted."""
        return self._by_node.get(node, ((), ()))[1]

    def take(self, node: str, section: Section) -> list[IPAddress]:
        """Take a section in; return the addresses whose claim by the node is another one now, or gone."""
        keys, addresses = self._by_node.setdefault(node, ([], []))
        first, last = sort_key(section.first), sort_key(section.last)
        start, end = bisect_left(keys, first), bisect_right(keys, last)
        said = {address: claim for address, claim in section.claims if first <= sort_key(address) <= last}
        changed = [address for address in addresses[start:end] if address not in said]
        for address in changed:
            del self._by_address[address][node]
        for address, claim in said.items():
            claims = self._by_address.setdefault(address, {})
            if claims.get(node) != claim:
                claims[node] = claim
                changed.append(address)
        order = sorted(said, key=sort_key)
        keys[start:end] = [sort_key(address) for address in order]
        addresses[start:end] = order
        return changed

    def forget(self, node: str) -> list[IPAddress]:
        """Make the node's claims void; return the addresses that it claimed."""
        addresses = self._by_node.pop(node, ([], []))[1]
        for address in addresses:
            del self._by_address[address][node]
        return addresses

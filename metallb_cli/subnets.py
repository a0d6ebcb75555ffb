"""Who has which IP networks, and so which addresses on their LAN: the one rule for interfaces and for nodes. Pure.

A holder is an interface of this node, or a node of the cluster. An address is announced by the holders with a network
that contains it, because its neighbours look for it there. When no holder has one, nothing is known about where the
neighbours are, and every holder may: addresses that are routed to the nodes, and interfaces without an IP address.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from metallb_cli.model import IPAddress, IPNetwork

Holder = TypeVar("Holder", bound=Hashable)


class NetworkIndex(Generic[Holder]):
    """Finds the holders whose networks contain an address. A lookup costs one dictionary access per prefix length.

    Args:
        networks: of each holder; they may overlap.
    """

    def __init__(self, networks: Mapping[Holder, Iterable[IPNetwork]]) -> None:
        holders: dict[IPNetwork, set[Holder]] = {}
        for holder, own in networks.items():
            for network in own:
                holders.setdefault(network, set()).add(holder)
        self._tables: dict[int, dict[int, dict[int, IPNetwork]]] = {4: {}, 6: {}}
        for network in holders:
            shift = network.max_prefixlen - network.prefixlen
            self._tables[network.version].setdefault(shift, {})[int(network.network_address) >> shift] = network
        self._holders = holders
        self._found: dict[tuple[IPNetwork, ...], frozenset[Holder]] = {(): frozenset()}

    def holders(self, address: IPAddress) -> frozenset[Holder]:
        """Return those with a network that contains the address; the same object for the same networks."""
        number = int(address)
        tables = self._tables[address.version].items()
        networks = tuple(table[number >> shift] for shift, table in tables if number >> shift in table)
        found = self._found.get(networks)
        if found is None:
            found = self._found[networks] = frozenset().union(*(self._holders[network] for network in networks))
        return found


def place(
    addresses: Sequence[IPAddress], networks: Mapping[Holder, tuple[IPNetwork, ...]]
) -> dict[Holder, list[IPAddress]]:
    """Return the addresses that each holder announces, in their order.

    The cost grows with the number of networks that have addresses, not with that of the addresses.

    Args:
        addresses: of one family, sorted.
        networks: of each holder.
    """
    index = NetworkIndex(networks)
    version = addresses[0].version if addresses else 4
    own = [network for networks_ in networks.values() for network in networks_ if network.version == version]
    # Between two borders all addresses have the same holders.
    borders = sorted({int(n.network_address) for n in own} | {int(n.broadcast_address) + 1 for n in own} | {1 << 128})
    placed: dict[Holder, list[IPAddress]] = {holder: [] for holder in networks}
    start = 0
    while start < len(addresses):
        border = borders[bisect_right(borders, int(addresses[start]))]
        end = bisect_left(addresses, border, lo=start, key=int)
        for holder in index.holders(addresses[start]) or placed:
            placed[holder] += addresses[start:end]
        start = end
    return placed


def network_order(network: IPNetwork) -> tuple[int, int, int]:
    """Sort key: IPv4 first, then by address, the larger network first."""
    return network.version, int(network.network_address), network.prefixlen

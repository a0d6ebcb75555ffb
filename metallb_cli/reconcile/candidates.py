"""Which of the nodes that may answer at all may answer for one address: those on its network.

Every speaker says on its Lease which IP networks its usable interfaces have. A node on another network would win
elections and answer where nobody asks. So:

* When a node that may answer has a network that contains the address, only such nodes are candidates.
* When none has, every one is: the address may be routed to the nodes, or their interfaces have no IP address.

A node that did not say counts as one without networks: it is no candidate where others are known to be right, and still
one where nobody is.

All speakers, and `status`, go by the words on the Leases, each also about itself. So they agree, and nothing moves
while the API server is silent.
"""

from __future__ import annotations

from collections.abc import Mapping

from metallb_cli.model import IPAddress, Reason
from metallb_cli.reconcile.interface_notes import Reach
from metallb_cli.subnets import NetworkIndex

Candidacy = tuple[tuple[str, ...], Mapping[str, Reason]]
"""The nodes that may answer, sorted; the nodes that may not, and why."""


class Candidates:
    """Finds the candidates of any number of addresses; each set of networks is worked out once.

    Args:
        eligible: the nodes that may answer at all, sorted.
        excluded: the nodes that may not, and why.
        reach: what each node can answer on; a node may be missing.
    """

    def __init__(
        self,
        eligible: tuple[str, ...],
        excluded: Mapping[str, Reason],
        reach: Mapping[str, Reach],
    ) -> None:
        networks = {node: reach[node].networks if node in reach else None for node in eligible}
        self._all_have_networks = bool(networks) and all(networks.values())
        self._eligible = eligible
        self._excluded = excluded
        self._index = NetworkIndex({node: own or () for node, own in networks.items()})
        self._known: dict[frozenset[str], Candidacy] = {frozenset(): (eligible, excluded)}

    def of(self, address: IPAddress) -> Candidacy:
        """Return who may answer for the address, and why the others may not."""
        nodes = self._index.holders(address)
        known = self._known.get(nodes)
        if known is None:
            others = (node for node in self._eligible if node not in nodes)
            excluded = {**self._excluded, **dict.fromkeys(others, Reason.NODE_NOT_ON_NETWORK)}
            known = self._known[nodes] = tuple(sorted(nodes)), excluded
        return known

    def off_network(self, address: IPAddress) -> bool:
        """Whether every eligible node is on some network, and none of these networks contains the address."""
        return self._all_have_networks and not self._index.holders(address)

"""Which of the nodes that may answer at all may answer for one address: those on its network.

Every speaker says on its Lease which IP networks its usable interfaces have. A node on another network would win
elections and answer where nobody asks. So:

* When a node that may answer has a network that contains the address, only such nodes are candidates.
* When none has, every one is: the address may be routed to the nodes, or their interfaces have no IP address.

A node that did not say counts as one without networks. It is no candidate where others are known to be right, and
still one where nobody is. Should it be wrong about itself for the moment that its first words take to arrive, two
nodes answer: that is better than none.
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
        self._eligible = eligible
        self._excluded = excluded
        self._index = NetworkIndex({node: reach[node].networks or () for node in eligible if node in reach})
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

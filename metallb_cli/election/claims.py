"""Which of two claims to an address is the better one. Pure: every node that hears both says the same."""

from __future__ import annotations

from collections.abc import Iterable

from metallb_cli.election.order import elect
from metallb_cli.model import Claim, IPAddress

MAX_EPOCH = 2**32 - 1
"""Epochs have four bytes in a heartbeat. They end here and do not wrap: an old claim never becomes the better one."""


def best(address: IPAddress, claims: Iterable[tuple[str, Claim]]) -> tuple[str, Claim] | None:
    """Return the best claim and who makes it; None when there is none.

    Strong before weak, then the higher epoch, then the node with the lower `sha256(node + "#" + address)`.
    """
    found: tuple[str, Claim] | None = None
    for node, claim in claims:
        if found is None or beats(address, node, claim, *found):
            found = node, claim
    return found


def beats(address: IPAddress, node: str, claim: Claim, other_node: str, other: Claim) -> bool:
    """Whether the claim of `node` is better than that of `other_node`, which is another node."""
    if claim.strong is not other.strong:
        return claim.strong
    if claim.epoch != other.epoch:
        return claim.epoch > other.epoch
    return elect(address, (node, other_node)) == node


def epoch_after(epoch: int) -> int:
    """Return the epoch of the next change of owner."""
    return min(epoch + 1, MAX_EPOCH)

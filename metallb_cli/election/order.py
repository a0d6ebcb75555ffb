"""The order in which nodes would own an address: the same inputs give the same order on every node. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256

from metallb_cli.model import IPAddress


def elect(address: IPAddress, candidates: Collection[str]) -> str | None:
    """Return the owner: the node with the lowest `sha256(node + "#" + address)`, as MetalLB does since 0.11.

    The order of the candidates does not matter. When a node leaves, only the addresses that it owned move.
    None when there is no candidate.
    """
    return min(candidates, key=_draw(address), default=None)


def ranking(address: IPAddress, candidates: Collection[str]) -> tuple[str, ...]:
    """Return the candidates in the order in which they would own the address if those before them left."""
    return tuple(sorted(candidates, key=_draw(address)))


def owner_by_holders(address: IPAddress, candidates: Collection[str], holders: Collection[str]) -> str | None:
    """Return the owner as far as somebody can tell who hears no heartbeats, and knows only who says that it answers.

    Of the holders that are candidates it is the first in the order; without any, the candidate that would take over.
    None when there is no candidate.
    """
    return elect(address, [node for node in holders if node in candidates]) or elect(address, candidates)


def _draw(address: IPAddress) -> Callable[[str], tuple[bytes, str]]:
    suffix = f"#{address}"
    return lambda node: (sha256((node + suffix).encode()).digest(), node)

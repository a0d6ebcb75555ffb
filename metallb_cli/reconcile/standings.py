"""Which speakers take part in the election, from what the LAN and the Leases say (docs/ownership.md). Pure.

The LAN comes first: who is heard there, and hears us, is alive; who was heard in the present start of its speaker and
is not any more is dead, at once. Whoever was never heard is judged by the Lease, but not if it sends heartbeats and we
hear others: a node that hears others, but not this one, could not hand over to it either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from metallb_cli.election import Standing
from metallb_cli.model import Peer


@dataclass(frozen=True, slots=True)
class LeasedSpeaker:
    """A speaker as its Lease describes it.

    Attributes:
        live: the Lease is held and did not run out.
        boot: which start, in nanoseconds since the epoch; 0 when it does not say.
        tells: it writes on its Lease what it claims, as speakers do that know heartbeats.
        heartbeats: it has said for a while that it sends heartbeats.
        leaving, unsteady: as in its heartbeats.
    """

    node: str
    live: bool
    boot: int = 0
    tells: bool = False
    heartbeats: bool = False
    leaving: bool = False
    unsteady: bool = False


@dataclass(frozen=True, slots=True)
class Standings:
    """Attributes: speakers: the live ones other than me; quorum: more than half of all are in touch with me."""

    speakers: Mapping[str, Standing]
    quorum: bool


def standings(
    me: str, peers: Mapping[str, Peer], leased: Iterable[LeasedSpeaker], draining: Collection[str]
) -> Standings:
    """Say who is alive beside me.

    Args:
        me: this node, which is left out.
        peers: who is or was heard on the LAN, by node.
        leased: the speakers that have a Lease.
        draining: nodes that an operator drains: their speakers count as leaving.
    """
    alone = not any(peer.live for peer in peers.values())
    speakers = {
        node: Standing(leaving=peer.leaving or node in draining, unsteady=peer.unsteady)
        for node, peer in peers.items()
        if peer.live and node != me
    }
    electorate = {me, *speakers}
    for lease in leased:
        if not lease.live or lease.node == me:
            continue
        if lease.heartbeats:
            electorate.add(lease.node)
        peer = peers.get(lease.node)
        heard = peer is not None and peer.boot >= lease.boot
        if lease.node in speakers or heard or (lease.heartbeats and not alone):
            continue
        leaving = lease.leaving or lease.node in draining
        speakers[lease.node] = Standing(leaving=leaving, unsteady=lease.unsteady, heard=lease.tells)
    in_touch = 1 + sum(peers[node].live for node in speakers if node in peers)
    return Standings(speakers, 2 * in_touch > len(electorate))

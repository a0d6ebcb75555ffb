"""Who is alive, and which nodes an address without an owner may go to. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from metallb_cli.election.balance import Shares
from metallb_cli.election.claims import MAX_EPOCH
from metallb_cli.election.heard import sort_key
from metallb_cli.election.order import elect
from metallb_cli.model import Claim, IPAddress

Candidates = frozenset[str] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the API objects say about one address.

    Attributes:
        candidates: the nodes that may answer, live or not. A drained node is one: it is `leaving` instead. Addresses
            with the same candidates should share one object.
        move_to: the node that a request to move names, None without one.
        move_epoch: the request counts while no claim has a higher epoch.
    """

    candidates: Candidates
    move_to: str | None = None
    move_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Flags of a live speaker.

    Attributes:
        leaving: others are to take its addresses over.
        unsteady: it is to get nothing new while a steady candidate lives.
        heard: on the LAN. Otherwise only its Lease says that it is alive, and what it claims is not known.
    """

    leaving: bool = False
    unsteady: bool = False
    heard: bool = True


class Record:
    """All that is known about one address that somebody shall answer for.

    Attributes:
        said: what the other nodes claim, dead ones included.
        top: the highest epoch known; 0 when nobody is known to have had the address.
        owner: by rule 2; None while the address waits for a new one.
        previous: the last owner other than None.
        mine: what this node claims.
        probe: this node's claim is the first that is known.
        yield_to, yield_until: who takes over from this node, and until when it lasts. Meanwhile `mine` is still said if
            the other one's claim is known, so that nobody takes the address for free who has not heard that claim yet.
        released: this node does not answer any more.
        since: when the address lost its last owner.
        taker: who should take it over; with `Group.by_hash`, who should have it.
        rival: the live claim that this node would take over from.
        patience, wait: when it may do so, and for how long after the time before.
    """

    __slots__ = (
        "address",
        "group",
        "mine",
        "owner",
        "patience",
        "previous",
        "probe",
        "released",
        "rival",
        "said",
        "since",
        "sort_key",
        "taker",
        "top",
        "wait",
        "wish",
        "yield_to",
        "yield_until",
    )

    def __init__(self, address: IPAddress, wish: Wish, group: Group, said: dict[str, Claim]) -> None:
        self.address = address
        self.sort_key = sort_key(address)
        self.wish = wish
        self.group = group
        self.said = said
        self.top = max((claim.epoch for claim in said.values()), default=0)
        self.owner: str | None = None
        self.previous: str | None = None
        self.mine: Claim | None = None
        self.probe = False
        self.yield_to: str | None = None
        self.yield_until: float | None = None
        self.released = False
        self.since = 0.0
        self.taker: str | None = None
        self.rival: tuple[str, int] | None = None
        self.patience = 0.0
        self.wait = 0.0


class Group:
    """The addresses that have the same candidates.

    Attributes:
        takers: the live nodes that an address without an owner may go to.
        leaving: the takers are leaving, for lack of others; so their claims count.
    """

    __slots__ = ("candidates", "leaving", "nodes", "records", "shared", "takers")

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self.nodes = frozenset(candidates)
        self.records: set[Record] = set()
        self.takers: tuple[str, ...] = ()
        self.leaving = False
        self.shared: tuple[int, tuple[str, ...]] = (0, ())  # what was added to the shares


class Electorate:
    """The live speakers, this node included, and the groups of addresses.

    With `by_hash` every address has the first live candidate in the order of the hash as its owner, steady or not.
    """

    def __init__(self, me: str, by_hash: bool) -> None:
        self._me = me
        self._always_by_hash = by_hash
        self.live: dict[str, Standing] = {me: Standing()}
        self.by_hash = by_hash
        self.shares = Shares()
        self._groups: dict[Candidates, Group] = {}
        self._latest: Group | None = None
        self._stale: set[Group] = set()

    def group(self, candidates: Candidates) -> Group:
        """The group of these candidates."""
        latest = self._latest
        if latest is not None and latest.candidates is candidates:
            return latest
        group = self._groups.get(candidates)
        if group is None:
            group = self._groups[candidates] = Group(candidates)
        self._latest = group
        return group

    def join(self, record: Record, group: Group) -> None:
        """Put a record into a group."""
        record.group = group
        group.records.add(record)
        self._stale.add(group)

    def part(self, record: Record) -> None:
        """Take a record out of its group."""
        group = record.group
        group.records.discard(record)
        self._stale.add(group)

    def set_standing(self, node: str, standing: Standing | None) -> None:
        """Take in that a node is as it is now, or not alive (None)."""
        if standing is None:
            self.live.pop(node, None)
        else:
            self.live[node] = standing
        for group in self._groups.values():
            if node in group.nodes:
                self._stale.add(group)

    def set_deaf(self, deaf: bool) -> bool:
        """Take in whether live speakers are not heard; return whether that changes anything.

        What they claim is unknown then, so only the hash can say who has which address.
        """
        by_hash = deaf or self._always_by_hash
        if by_hash == self.by_hash:
            return False
        self.by_hash = by_hash
        for group in self._groups.values():
            group.takers = ()
            self._stale.add(group)
        return True

    def requested(self, record: Record, epoch: int) -> str | None:
        """The node that a request to move names, if the request counts and the node can have the address.

        `epoch` is that of the claim which the request is to end.
        """
        wish = record.wish
        if wish.move_to is None or epoch > wish.move_epoch or wish.move_epoch >= MAX_EPOCH or self.by_hash:
            return None
        standing = self.live.get(wish.move_to)
        if standing is None or standing.leaving or wish.move_to not in record.group.nodes:
            return None
        return wish.move_to

    def refresh(self) -> tuple[set[Record], bool]:
        """Bring the takers of all groups up to date.

        Returns:
            the records whose owner may be another one for that, and whether the unowned have to be dealt out again.
        """
        touched: set[Record] = set()
        if not self._stale:
            return touched, False
        for group in self._stale:
            before, leaving = group.takers, group.leaving
            group.takers, group.leaving = self._takers(group)
            size = 0 if self.by_hash else len(group.records)
            if group.shared != (size, group.takers):
                self.shares.add(-group.shared[0], group.shared[1])
                group.shared = size, group.takers
                self.shares.add(size, group.takers)
            if bool(before) != bool(group.takers) or leaving != group.leaving:
                touched |= group.records
            if self.by_hash:
                touched |= _elect_again(group, before)
            if not group.records:
                self._groups.pop(group.candidates, None)
                if self._latest is group:
                    self._latest = None
        self._stale.clear()
        return touched, True

    def _takers(self, group: Group) -> tuple[tuple[str, ...], bool]:
        live = [(node, self.live[node]) for node in group.nodes if node in self.live]
        staying = [(node, standing) for node, standing in live if not standing.leaving]
        if not staying:
            return tuple(sorted(node for node, _ in live)), True
        steady = [] if self.by_hash else [node for node, standing in staying if not standing.unsteady]
        return tuple(sorted(steady or [node for node, _ in staying])), False


def _elect_again(group: Group, before: Collection[str]) -> set[Record]:
    """Set who should have each address of the group; return those for which that is another node."""
    come = tuple(node for node in group.takers if node not in before)
    gone = [node for node in before if node not in group.takers]
    changed: set[Record] = set()
    for record in group.records:
        taker = record.taker
        if taker is None or taker in gone or taker not in group.takers:
            now = elect(record.address, group.takers)
        elif come:
            now = elect(record.address, (taker, *come))
        else:
            continue
        if now != taker:
            record.taker = now
            changed.add(record)
    return changed

"""The state machine by which the speakers agree who answers for which address (docs/ownership.md). Pure.

Feed it what the API objects say, who is alive and what the others claim; `decide` returns what this node does. A call
costs as much as has changed since the one before.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

from metallb_cli.election.balance import deal
from metallb_cli.election.claims import MAX_EPOCH, beats, best, epoch_after
from metallb_cli.election.damping import Damping
from metallb_cli.election.decision import Change, Decision, Mode
from metallb_cli.election.electorate import Electorate, Record, Standing, Wish
from metallb_cli.election.heard import Heard, sort_key
from metallb_cli.election.order import ranking
from metallb_cli.model import Claim, IPAddress, Reason, Section

LONGEST_YIELD = 1.0
"""Seconds for which a node goes on answering for an address that another one takes over."""

STRENGTH_AFTER = 1.0
"""Seconds for which a node has to hear more than half of the speakers, and lose none, before its claims are strong."""

BOUND_DROPPED_AFTER = 1.0
"""Seconds without an owner after which the hash alone says who takes over; each further second, one node more may."""

PATIENCE = 2.0
"""Seconds for which the claim of a live node is respected that, as this node sees it, may not answer.

It may know more than we do. The same wait, doubled each time, keeps two nodes that go on seeing different API objects
from taking an address from each other all the time.
"""

LONGEST_PATIENCE = 300.0
"""Seconds at which that wait stops growing. It begins anew after twice as long without a dispute."""

LONGEST_LISTENING = 10.0
"""Seconds after which a speaker that has started takes over, even though it still hears claims it did not know."""


class Ownership:
    """One node's part. Times are monotonic seconds; they may stand still, but not go back.

    Args:
        settle: seconds of listening before anything is taken over: after the start, a fence, and news at that time.
        cold: seconds of it after the start instead, when the whole cluster starts. Nobody is unsteady for that.
    """

    def __init__(
        self, me: str, now: float, mode: Mode = Mode.STICKY, *, settle: float = 0.5, cold: float | None = None
    ) -> None:
        self._me = me
        self._settle = settle
        self._started = now
        self._settled_at = now + (settle if cold is None else cold)
        self._settled = False
        self._damping = Damping(now, started=cold is None)
        self._electorate = Electorate(me, by_hash=mode is Mode.METALLB)
        self._live = self._electorate.live
        self._gone: dict[str, Standing] = {}  # the last standing of nodes that are not alive any more
        self._heard = Heard()
        self._records: dict[IPAddress, Record] = {}
        self._owned: dict[str, set[Record]] = {}
        self._moves: dict[str, set[Record]] = {}
        self._unowned: set[Record] = set()
        self._held: set[Record] = set()
        self._yields: set[Record] = set()
        self._weak: set[Record] = set()  # of those held
        self._blocked: set[Record] = set()  # to be looked at when settled, or when claims are strong
        self._dirty: set[Record] = set()
        self._deal = False
        self._timers: list[tuple[float, int, Record]] = []
        self._numbers = itertools.count()
        self._quorum_since: float | None = None
        self._strong = False
        self._unsteady = True
        self._leaving = False
        self._suspended = False
        self._deaf = False
        self._unheard_since: dict[str, float] = {}
        self._contested: frozenset[IPAddress] = frozenset()
        self._changes: list[Change] = []
        self._decision = Decision()
        self._outdated = True
        self._stand()

    # -- what is fed in

    def want(self, address: IPAddress, wish: Wish | None) -> None:
        """Take in what the API objects say about the address. None: nobody shall answer, so it is dropped at once."""
        record = self._records.get(address)
        if wish is None:
            if record is not None:
                self._remove(record)
            return
        if record is None:
            group = self._electorate.group(wish.candidates)
            record = self._records[address] = Record(address, wish, group, self._heard.claims(address))
            self._electorate.join(record, group)
        elif record.wish is wish or record.wish == wish:
            return
        else:
            self._unindex_move(record)
            if record.wish.candidates is not wish.candidates and record.wish.candidates != wish.candidates:
                self._electorate.part(record)
                self._electorate.join(record, self._electorate.group(wish.candidates))
            record.wish = wish
            record.rival, record.patience, record.wait = None, 0.0, 0.0
        if wish.move_to is not None:
            self._moves.setdefault(wish.move_to, set()).add(record)
        self._dirty.add(record)

    def set_live(self, peers: Mapping[str, Standing], quorum: bool, now: float) -> None:
        """Take in which other speakers are alive, and whether this node hears more than half, itself counted."""
        gone = [node for node in self._live if node not in peers and node != self._me]
        # The nodes of a part that is cut off are lost one after the other, and the first ones still leave a majority.
        lost = any(not self._live[node].leaving for node in gone)
        if not quorum or lost:
            self._quorum_since = None
            self._strong = False
        if quorum and self._quorum_since is None:
            self._quorum_since = now
        for node in gone:
            self._gone[node] = self._live[node]
            self._electorate.set_standing(node, None)
            self._touch(node)
        for node, standing in peers.items():
            before = self._live.get(node)
            if node == self._me or before == standing:
                continue
            self._gone.pop(node, None)
            self._electorate.set_standing(node, standing)
            if before is None or (before.leaving, before.heard) != (standing.leaving, standing.heard):
                self._touch(node)
        deaf = any(not standing.heard for node, standing in peers.items() if node != self._me)
        unheard = [node for node, standing in peers.items() if not standing.heard]
        self._unheard_since = {node: self._unheard_since.get(node, now) for node in unheard}
        if self._electorate.set_deaf(deaf) or deaf != self._deaf:
            self._dirty.update(self._records.values())
        self._deaf = deaf

    def hear(self, node: str, section: Section, now: float) -> None:
        """Take in all that the node claims from the first to the last address of the section."""
        if node == self._me:
            return
        changed = self._heard.take(node, section)
        live = node in self._live
        for address in changed:
            record = self._records.get(address)
            if record is None:
                self._heard.drop_if_empty(address)
                continue
            claim = record.said.get(node)
            if claim is not None and claim.epoch > record.top:
                record.top = claim.epoch
            if live:
                self._dirty.add(record)
        if changed and not self._settled:  # a large set comes section by section; it may not be complete yet
            self._settled_at = max(
                self._settled_at, min(now + self._settle, self._started + max(self._settle, LONGEST_LISTENING))
            )

    def forget(self, node: str) -> None:
        """Take in that the claims of the node are void: it has started anew, or is gone for good.

        A node that is only silent keeps them: they count again when it comes back.
        """
        self._gone.pop(node, None)
        for address in self._heard.forget(node):
            record = self._records.get(address)
            if record is None:
                self._heard.drop_if_empty(address)
            else:
                self._dirty.add(record)

    def set_leaving(self, leaving: bool) -> None:
        """Take in whether others are to take this node's addresses over. The last candidate keeps them."""
        if leaving != self._leaving:
            self._leaving = leaving
            self._stand()
            self._touch(self._me)

    def contested(self, addresses: frozenset[IPAddress]) -> None:
        """Take in which addresses a host has that is no speaker: all of them, as the link process reports them."""
        for address in self._contested ^ addresses:
            record = self._records.get(address)
            if record is not None and record.mine is not None:
                record.mine = replace(record.mine, contested=address in addresses)
                self._outdated = True
        self._contested = addresses

    def released(self, addresses: frozenset[IPAddress]) -> None:
        """Take in which yielding addresses are not answered for any more."""
        for address in addresses:
            record = self._records.get(address)
            if record is not None and record.yield_until is not None and not record.released:
                record.released = self._outdated = True

    def fenced(self, now: float) -> None:
        """Take in that this node's heartbeats were late, so that others may have taken over.

        What others claim meanwhile is theirs: its claims are weak until it has heard more than half for a second.
        Nothing is taken over before this node has listened, as after a start.
        """
        self._alarm(now)
        self._settled = False
        self._started = now
        self._settled_at = max(self._settled_at, now + self._settle)
        if self._quorum_since is not None:
            self._quorum_since = now
        self._strong = False
        for record in self._held:
            if record.mine is not None and record.mine.strong:
                record.mine = replace(record.mine, strong=False)
                self._weak.add(record)
                self._dirty.add(record)
                self._outdated = True

    def suspend(self, suspended: bool) -> None:
        """Take in whether this node is to claim nothing at all. Its heartbeats should say that it is leaving."""
        if suspended != self._suspended:
            self._suspended = suspended
            self._dirty.update(self._records.values())

    # -- what comes out

    @property
    def settled(self) -> bool:
        """Whether this node has listened for long enough to take something over, as of the last `decide`."""
        return self._settled

    def decide(self, now: float) -> Decision:
        """Return what this node does from now on."""
        self._tick(now)
        touched, deal_again = self._electorate.refresh()
        self._dirty |= touched
        self._deal |= deal_again
        if self._dirty:
            dirty, self._dirty = self._dirty, set()
            for record in dirty:
                self._review(record, now)
        if self._deal:
            self._deal = False
            self._deal_out(now)
        return self._publish()

    def next_deadline(self) -> float | None:
        """Return when `decide` has to be called again although nothing was fed in; None for never."""
        deadlines = [self._timers[0][0]] if self._timers else []
        if not self._settled:
            deadlines.append(self._settled_at)
        if self._quorum_since is not None and not self._strong and (self._weak or self._blocked):
            deadlines.append(self._quorum_since + STRENGTH_AFTER)
        if self._live[self._me].unsteady:
            deadlines.append(self._damping.until)
        return min(deadlines, default=None)

    def owner(self, address: IPAddress) -> str | None:
        """Return who answers for the address as this node knows; None when nobody does, or it is not known."""
        record = self._records.get(address)
        if record is None:
            return None
        return record.owner or (self._me if record.mine is not None else None)

    # -- one address

    def _review(self, record: Record, now: float) -> None:
        """Find the owner by rule 2, give up what is another node's, take what is this one's though another has it."""
        group = record.group
        if record.yield_until is not None and now >= record.yield_until:
            self._end_yield(record)
        if self._suspended:
            self._set_owner(record, None)
            self._unowned.discard(record)
            self._drop(record, Reason.API_OUTAGE)
            return
        owner, claim = self._owner(record, now)
        self._set_owner(record, owner)
        if owner is not None or not group.takers:
            self._unowned.discard(record)
        elif record not in self._unowned:
            self._unowned.add(record)
            record.since = now
            self._deal = True
            self._wake(record, now + BOUND_DROPPED_AFTER)
        else:
            self._deal = True
        may = self._me in group.nodes
        if owner is None and may and record.mine is not None:  # until one takes over, one of the leaving nodes answers
            owner, claim = self._best_of_live(record)
        if record in self._held and owner != self._me:
            if not may and not group.takers:
                self._drop(record, Reason.OWNER_NOT_ELIGIBLE)
            elif not may or owner is not None:
                self._yield(record, owner, claim, now)
        elif record.yield_until is not None:
            if not may:
                self._withdraw(record)
            if owner is not None and owner != self._me:
                self._hand_to(record, owner)
            elif owner is not None and record.mine is not None:
                self._resume(record)
        if owner is not None and owner != self._me and claim is not None and may and not self._leaving:
            if self._requested(record, claim.epoch) == self._me:
                self._challenge(record, claim, Reason.MOVE_REQUESTED, now)
            elif self._electorate.by_hash and record.taker == self._me:
                self._challenge(record, claim, Reason.ELECTED, now)

    def _owner(self, record: Record, now: float) -> tuple[str | None, Claim | None]:
        """The owner and its claim; the owner alone when it is not heard."""
        group, me, live = record.group, self._me, self._live
        if self._deaf and record.taker is not None and self._known_by_lease(record, record.taker, now):
            record.top = max(record.top, 1)  # it is answered for there, so no probe will be needed here
            return record.taker, None
        owner: str | None = None
        leading: Claim | None = None
        for node, claim in record.said.items():
            standing = live.get(node)
            if standing is None or (standing.leaving and not group.leaving):
                continue
            if node not in group.nodes and group.takers and not self._respected(record, node, claim, now):
                continue
            if owner is None or leading is None or beats(record.address, node, claim, owner, leading):
                owner, leading = node, claim
        mine = record.mine
        if mine is None or me not in group.nodes or (self._leaving and not group.leaving):
            return owner, leading
        if owner is None or leading is None or beats(record.address, me, mine, owner, leading):
            return me, mine
        return owner, leading

    def _best_of_live(self, record: Record) -> tuple[str | None, Claim | None]:
        """Who of the live nodes has the best claim, whether or not it counts."""
        claims = [(node, claim) for node, claim in record.said.items() if node in self._live]
        if record.mine is not None:
            claims.append((self._me, record.mine))
        return best(record.address, claims) or (None, None)

    def _known_by_lease(self, record: Record, node: str, now: float) -> bool:
        """Whether the address is the node's although nothing is heard of it.

        A node that has just come has a Lease before it sends heartbeats. Until it can be heard nobody yields to it.
        """
        if self._live[node].heard:
            return False
        since = self._unheard_since.get(node, now)
        if record not in self._held or now >= since + PATIENCE:
            return True
        self._wake(record, since + PATIENCE)
        return False

    def _respected(self, record: Record, node: str, claim: Claim, now: float) -> bool:
        """Whether the claim of a live node counts that may not answer, as this node sees it."""
        rival = node, claim.epoch
        if record.rival != rival:
            record.rival = rival
            self._dispute(record, now)
            self._wake(record, record.patience)
        if now < record.patience:
            return True
        if self._would_beat(record, claim):
            return False
        self._blocked.add(record)
        return True

    def _challenge(self, record: Record, claim: Claim, reason: Reason, now: float) -> None:
        """Claim what a live node has and is to keep until it hears the claim."""
        if not self._settled or not self._would_beat(record, claim):
            self._blocked.add(record)
        elif now < record.patience:
            self._wake(record, record.patience)
        else:
            self._dispute(record, now)
            self._claim(record, reason)

    def _dispute(self, record: Record, now: float) -> None:
        if now >= record.patience + 2 * LONGEST_PATIENCE:
            record.wait = 0.0
        record.wait = min(2 * record.wait or PATIENCE, LONGEST_PATIENCE)
        record.patience = now + record.wait

    def _would_beat(self, record: Record, claim: Claim) -> bool:
        """Whether a claim made now is better than this one by more than the hash."""
        return (self._strong, epoch_after(record.top)) > (claim.strong, claim.epoch)

    def _requested(self, record: Record, epoch: int) -> str | None:
        """The node that a request to move names, if the request counts and the node can have the address."""
        wish = record.wish
        if wish.move_to is None or epoch > wish.move_epoch or wish.move_epoch >= MAX_EPOCH or self._electorate.by_hash:
            return None
        standing = self._live.get(wish.move_to)
        if standing is None or standing.leaving or wish.move_to not in record.group.nodes:
            return None
        return wish.move_to

    def _claim(self, record: Record, reason: Reason) -> None:
        base = max(record.top, record.wish.move_epoch) if reason is Reason.MOVE_REQUESTED else record.top
        before = record.owner or self._former(record)
        self._end_yield(record)
        record.probe = record.top == 0
        record.mine = Claim(epoch_after(base), self._strong, record.address in self._contested)
        record.top = record.mine.epoch
        self._held.add(record)
        if not self._strong:
            self._weak.add(record)
        self._set_owner(record, self._me)
        self._unowned.discard(record)
        self._outdated = True
        self._changes.append(Change(record.address, reason, before, self._me, record.mine.epoch))

    def _yield(self, record: Record, owner: str | None, claim: Claim | None, now: float) -> None:
        mine = record.mine
        assert mine is not None
        reason = self._why_yielded(record, mine, owner)
        if reason is Reason.BETTER_CLAIM and claim is not None and claim.epoch > mine.epoch:
            self._alarm(now)
        epoch = mine.epoch if claim is None else claim.epoch
        if owner is None:
            self._withdraw(record)
        self._held.discard(record)
        self._weak.discard(record)  # it must not become the better claim again
        self._yields.add(record)
        record.probe = False
        record.yield_to, record.yield_until, record.released = owner, now + LONGEST_YIELD, mine.contested
        self._outdated = True
        self._wake(record, record.yield_until)
        self._changes.append(Change(record.address, reason, self._me, owner, epoch))

    def _resume(self, record: Record) -> None:
        """Be the owner again, because the better claim is gone before its maker was seen answering, or soon after."""
        mine = record.mine
        assert mine is not None
        reason = self._why_claimed(record, record.yield_to)
        self._changes.append(Change(record.address, reason, record.yield_to, self._me, mine.epoch))
        self._yields.discard(record)
        record.yield_to = record.yield_until = None
        self._held.add(record)
        if not mine.strong:
            self._weak.add(record)
        self._outdated = True

    def _hand_to(self, record: Record, owner: str) -> None:
        """Take in that it is this node that takes over, if the address is being yielded."""
        if record.yield_until is not None and record.yield_to != owner:
            record.yield_to = owner
            self._outdated = True

    def _why_yielded(self, record: Record, mine: Claim, owner: str | None) -> Reason:
        if self._me not in record.group.nodes:
            return Reason.OWNER_NOT_ELIGIBLE
        if self._leaving:
            return Reason.OWNER_LEAVING
        if owner is not None and self._requested(record, mine.epoch) == owner:
            return Reason.MOVE_REQUESTED
        if self._electorate.by_hash and record.taker == owner:
            return Reason.ELECTED
        return Reason.BETTER_CLAIM

    def _drop(self, record: Record, reason: Reason) -> None:
        """Stop answering at once."""
        if record in self._held and record.mine is not None:
            self._changes.append(Change(record.address, reason, self._me, None, record.mine.epoch))
        self._withdraw(record)
        self._end_yield(record)

    def _withdraw(self, record: Record) -> None:
        if record.mine is not None:
            record.mine = None
            record.probe = False
            self._held.discard(record)
            self._weak.discard(record)
            self._outdated = True

    def _end_yield(self, record: Record) -> None:
        if record.yield_until is not None:
            self._withdraw(record)
            record.yield_to = record.yield_until = None
            self._yields.discard(record)
            self._outdated = True

    def _remove(self, record: Record) -> None:
        self._drop(record, Reason.OWNER_NOT_ELIGIBLE)
        self._set_owner(record, None)
        self._unindex_move(record)
        self._electorate.part(record)
        for records in (self._unowned, self._blocked, self._dirty):
            records.discard(record)
        del self._records[record.address]
        self._heard.drop_if_empty(record.address)

    def _unindex_move(self, record: Record) -> None:
        if record.wish.move_to is not None:
            self._moves[record.wish.move_to].discard(record)

    def _set_owner(self, record: Record, owner: str | None) -> None:
        before = record.owner
        if owner == before:
            return
        if before is not None:
            self._owned[before].discard(record)
        if owner is not None:
            self._owned.setdefault(owner, set()).add(record)
            record.previous = owner
        record.owner = owner
        if before is not None or owner != record.taker:
            self._deal = True  # the loads are others than those by which the rest was dealt out

    # -- all addresses

    def _deal_out(self, now: float) -> None:
        """Find who takes over the addresses without an owner (rule 4); claim those that fall to this node."""
        groups = {record.group for record in self._unowned}
        concerned = self._settled and any(self._me in group.takers for group in groups)
        if not concerned and not self._yields:
            return
        rows = sorted(self._unowned, key=_sort_key)
        loads = {node: len(records) for node, records in self._owned.items()}
        takers: dict[IPAddress, str] = {}
        for record in rows:
            taker = self._taker_without_dealing(record, now)
            if taker is not None:
                takers[record.address] = taker
                loads[taker] = loads.get(taker, 0) + 1
        open_rows = ((record.address, record.group.takers) for record in rows if record.address not in takers)
        takers |= deal(open_rows, loads, self._electorate.shares)
        for record in rows:
            taker = takers[record.address]
            if not self._electorate.by_hash:
                record.taker = taker
            if taker == self._me and self._settled:
                self._claim(record, self._why_claimed(record, self._former(record)))
            else:
                self._hand_to(record, taker)

    def _taker_without_dealing(self, record: Record, now: float) -> str | None:
        """Who takes over if that is not a question of load."""
        seconds = int(now - record.since + 1e-6)
        if seconds >= BOUND_DROPPED_AFTER and not self._deaf:
            order = ranking(record.address, record.group.takers)
            if seconds < len(order):
                self._wake(record, record.since + seconds + 1)
            return self._me if self._me in order[:seconds] else order[0]
        if self._electorate.by_hash:
            return record.taker
        return self._requested(record, record.top)

    def _why_claimed(self, record: Record, previous: str | None) -> Reason:
        if previous is None:
            return Reason.CLAIMED
        if self._requested(record, record.top) == self._me:
            return Reason.MOVE_REQUESTED
        standing = self._live.get(previous)
        if (standing or self._gone.get(previous, Standing())).leaving:
            return Reason.OWNER_LEAVING
        if standing is None:
            return Reason.OWNER_DIED
        return Reason.CLAIMED if previous in record.group.nodes else Reason.OWNER_NOT_ELIGIBLE

    def _former(self, record: Record) -> str | None:
        """The last owner, or, when there was none as this node saw it, who claims nevertheless."""
        if record.previous is not None:
            return record.previous
        return self._best_of_live(record)[0]

    def _touch(self, node: str) -> None:
        """Look again at the addresses for which it matters that the node came, went, or leaves."""
        self._dirty |= self._owned.get(node, set())
        self._dirty |= self._moves.get(node, set())
        claimed = (self._records.get(address) for address in self._heard.claimed_by(node))
        self._dirty.update(record for record in claimed if record is not None)
        if node == self._me:
            self._dirty |= self._held

    def _stand(self) -> None:
        """Take in that this node's own flags may be others."""
        standing = Standing(leaving=self._leaving, unsteady=self._unsteady)
        if self._live[self._me] != standing:
            self._electorate.set_standing(self._me, standing)

    def _alarm(self, now: float) -> None:
        self._damping.alarm(now)
        self._outdated |= not self._unsteady
        self._unsteady = True
        self._stand()

    def _wake(self, record: Record, at: float) -> None:
        heapq.heappush(self._timers, (at, next(self._numbers), record))

    def _tick(self, now: float) -> None:
        """Do what time alone brings."""
        while self._timers and self._timers[0][0] <= now:
            record = heapq.heappop(self._timers)[2]
            if record in record.group.records:
                self._dirty.add(record)
        if not self._settled and now >= self._settled_at:
            self._settled = self._deal = True
            self._look_at_blocked()
            for record in self._unowned:  # nobody could have taken them over before
                record.since = now
                self._wake(record, now + BOUND_DROPPED_AFTER)
        if not self._strong and self._quorum_since is not None and now >= self._quorum_since + STRENGTH_AFTER:
            self._strong = True
            self._look_at_blocked()
            for record in self._weak:
                if record.mine is not None:
                    record.mine = replace(record.mine, strong=True)
                    self._dirty.add(record)
                    self._outdated = True
            self._weak.clear()
        if self._unsteady and not self._damping.unsteady(now):
            self._unsteady = False
            self._outdated = True
            self._stand()

    def _look_at_blocked(self) -> None:
        self._dirty |= self._blocked
        self._blocked.clear()

    def _publish(self) -> Decision:
        """Make a decision of the state; the same object as before when nothing has changed."""
        if self._outdated:
            self._outdated = False
            held = sorted(self._held, key=_sort_key)
            self._decision = Decision(
                claims=_claims(held),
                said=_claims(sorted(self._held | self._yields, key=_sort_key)) if self._yields else _claims(held),
                yielding={
                    record.address: record.yield_to
                    for record in sorted(self._yields, key=_sort_key)
                    if record.yield_to is not None and not record.released
                },
                probe=frozenset(record.address for record in held if record.probe),
                unsteady=self._unsteady,
            )
        if not self._changes:
            return self._decision
        changes = tuple(sorted(self._changes, key=lambda change: sort_key(change.address)))
        self._changes = []
        return replace(self._decision, changes=changes)


def _claims(records: Iterable[Record]) -> dict[IPAddress, Claim]:
    return {record.address: record.mine for record in records if record.mine is not None}


def _sort_key(record: Record) -> tuple[int, int]:
    return record.sort_key

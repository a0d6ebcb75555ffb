"""The state machine by which the speakers agree who answers for which address (docs/ownership.md). Pure.

Feed it what the API objects say, who is alive and what the others claim; `decide` returns what this node does. A call
costs as much as has changed since the one before.
"""

from __future__ import annotations

from collections.abc import Mapping

from metallb_cli.election.claims import beats, best, epoch_after
from metallb_cli.election.damping import Damping
from metallb_cli.election.dealing import Vacancies
from metallb_cli.election.decision import Decision, Mode
from metallb_cli.election.disputes import PATIENCE, Disputes
from metallb_cli.election.electorate import Electorate, Record, Standing, Wish
from metallb_cli.election.heard import Heard
from metallb_cli.election.holdings import Holdings
from metallb_cli.election.readiness import Listening, Strength
from metallb_cli.election.timers import Timers
from metallb_cli.model import Claim, IPAddress, Reason, Section

LONGEST_YIELD = 1.0
"""Seconds for which a node goes on answering for an address that another one takes over."""


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
        self._listening = Listening(now, settle, cold)
        self._strength = Strength()
        self._damping = Damping(now, started=cold is None)
        self._electorate = Electorate(me, by_hash=mode is Mode.METALLB)
        self._live = self._electorate.live
        self._gone: dict[str, Standing] = {}  # the last standing of nodes that are not alive any more
        self._heard = Heard()
        self._records: dict[IPAddress, Record] = {}
        self._owned: dict[str, set[Record]] = {}
        self._moves: dict[str, set[Record]] = {}
        self._timers = Timers()
        self._vacancies = Vacancies(me, self._electorate, self._timers)
        self._disputes = Disputes(self._listening, self._strength, self._timers)
        self._holdings = Holdings(me)
        self._dirty: set[Record] = set()
        self._deal = False
        self._unsteady = True
        self._leaving = False
        self._suspended = False
        self._deaf = False
        self._unheard_since: dict[str, float] = {}
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
        self._strength.hears(quorum, any(not self._live[node].leaving for node in gone), now)
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
        if changed:
            self._listening.news(now)

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
        self._holdings.contest(addresses, self._records)

    def released(self, addresses: frozenset[IPAddress]) -> None:
        """Take in which yielding addresses are not answered for any more."""
        for address in addresses:
            record = self._records.get(address)
            if record is not None:
                self._holdings.release(record)

    def fenced(self, now: float) -> None:
        """Take in that this node's heartbeats were late, so that others may have taken over.

        What others claim meanwhile is theirs: its claims are weak until it has heard more than half for a second.
        Nothing is taken over before this node has listened, as after a start.
        """
        self._alarm(now)
        self._listening.restart(now)
        self._strength.restart(now)
        self._dirty.update(self._holdings.weaken())

    def suspend(self, suspended: bool) -> None:
        """Take in whether this node is to claim nothing at all. Its heartbeats should say that it is leaving."""
        if suspended != self._suspended:
            self._suspended = suspended
            self._dirty.update(self._records.values())

    # -- what comes out

    @property
    def settled(self) -> bool:
        """Whether this node has listened for long enough to take something over, as of the last `decide`."""
        return self._listening.settled

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
        return self._holdings.publish(self._unsteady)

    def next_deadline(self) -> float | None:
        """Return when `decide` has to be called again although nothing was fed in; None for never."""
        deadlines = [] if self._timers.next is None else [self._timers.next]
        if not self._listening.settled:
            deadlines.append(self._listening.until)
        if self._strength.until is not None and (self._holdings.weak or self._disputes.blocked):
            deadlines.append(self._strength.until)
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
            self._holdings.end_yield(record)
        if self._suspended:
            self._set_owner(record, None)
            self._vacancies.discard(record)
            self._holdings.drop(record, Reason.API_OUTAGE)
            return
        owner, claim = self._owner(record, now)
        self._set_owner(record, owner)
        if owner is not None or not group.takers:
            self._vacancies.discard(record)
        else:
            self._vacancies.add(record, now)
            self._deal = True
        may = self._me in group.nodes
        if owner is None and may and record.mine is not None:  # until one takes over, one of the leaving nodes answers
            owner, claim = self._best_of_live(record)
        if record in self._holdings.held and owner != self._me:
            if not may and not group.takers:
                self._holdings.drop(record, Reason.OWNER_NOT_ELIGIBLE)
            elif not may or owner is not None:
                self._yield(record, owner, claim, now)
        elif record.yield_until is not None:
            if not may:
                self._holdings.withdraw(record)
            if owner is not None and owner != self._me:
                self._holdings.hand_to(record, owner)
            elif owner is not None and record.mine is not None:
                self._holdings.resume(record, self._why_claimed(record, record.yield_to))
        if owner is not None and owner != self._me and claim is not None and may and not self._leaving:
            asked = self._electorate.requested(record, claim.epoch) == self._me
            elected = self._electorate.by_hash and record.taker == self._me
            if (asked or elected) and self._disputes.may_challenge(record, claim, now):
                self._claim(record, Reason.MOVE_REQUESTED if asked else Reason.ELECTED)

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
            if node not in group.nodes and group.takers and not self._disputes.respects(record, node, claim, now):
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
        if record not in self._holdings.held or now >= since + PATIENCE:
            return True
        self._timers.wake(record, since + PATIENCE)
        return False

    def _claim(self, record: Record, reason: Reason) -> None:
        base = max(record.top, record.wish.move_epoch) if reason is Reason.MOVE_REQUESTED else record.top
        before = record.owner or self._former(record)
        self._holdings.claim(record, reason, before, epoch_after(base), self._strength.strong)
        self._set_owner(record, self._me)
        self._vacancies.discard(record)

    def _yield(self, record: Record, owner: str | None, claim: Claim | None, now: float) -> None:
        mine = record.mine
        assert mine is not None
        reason = self._why_yielded(record, mine, owner)
        if reason is Reason.BETTER_CLAIM and claim is not None and claim.epoch > mine.epoch:
            self._alarm(now)
        epoch = mine.epoch if claim is None else claim.epoch
        self._holdings.give_way(record, owner, now + LONGEST_YIELD, reason, epoch)
        self._timers.wake(record, now + LONGEST_YIELD)

    def _why_yielded(self, record: Record, mine: Claim, owner: str | None) -> Reason:
        if self._me not in record.group.nodes:
            return Reason.OWNER_NOT_ELIGIBLE
        if self._leaving:
            return Reason.OWNER_LEAVING
        if owner is not None and self._electorate.requested(record, mine.epoch) == owner:
            return Reason.MOVE_REQUESTED
        if self._electorate.by_hash and record.taker == owner:
            return Reason.ELECTED
        return Reason.BETTER_CLAIM

    def _remove(self, record: Record) -> None:
        self._holdings.drop(record, Reason.OWNER_NOT_ELIGIBLE)
        self._set_owner(record, None)
        self._unindex_move(record)
        self._electorate.part(record)
        self._vacancies.discard(record)
        self._disputes.blocked.discard(record)
        self._dirty.discard(record)
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
        concerned = self._listening.settled and self._vacancies.concern(self._me)
        if not concerned and not self._holdings.yields:
            return
        for record, taker in self._vacancies.deal_out(self._owned, self._deaf, now):
            if not self._electorate.by_hash:
                record.taker = taker
            if taker == self._me and self._listening.settled:
                self._claim(record, self._why_claimed(record, self._former(record)))
            else:
                self._holdings.hand_to(record, taker)

    def _why_claimed(self, record: Record, previous: str | None) -> Reason:
        if previous is None:
            return Reason.CLAIMED
        if self._electorate.requested(record, record.top) == self._me:
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
            self._dirty |= self._holdings.held

    def _stand(self) -> None:
        """Take in that this node's own flags may be others."""
        standing = Standing(leaving=self._leaving, unsteady=self._unsteady)
        if self._live[self._me] != standing:
            self._electorate.set_standing(self._me, standing)

    def _alarm(self, now: float) -> None:
        self._damping.alarm(now)
        self._unsteady = True
        self._stand()

    def _tick(self, now: float) -> None:
        """Do what time alone brings."""
        self._dirty.update(record for record in self._timers.due(now) if record in record.group.records)
        if self._listening.ends(now):
            self._deal = True
            self._look_at_blocked()
            self._vacancies.begin_anew(now)
        if self._strength.begins(now):
            self._look_at_blocked()
            self._dirty.update(self._holdings.strengthen())
        if self._unsteady and not self._damping.unsteady(now):
            self._unsteady = False
            self._stand()

    def _look_at_blocked(self) -> None:
        self._dirty |= self._disputes.blocked
        self._disputes.blocked.clear()

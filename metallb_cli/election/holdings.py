"""What this node itself claims, answers for and yields, and what of it has changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from metallb_cli.election.decision import Change, Decision
from metallb_cli.election.electorate import Record
from metallb_cli.election.heard import sort_key
from metallb_cli.model import Claim, IPAddress, Reason


class Holdings:
    """The addresses of one node.

    Attributes:
        held: claimed, as the owner.
        weak: those of `held` whose claims are not strong.
        yields: still answered for, until another node does.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self.held: set[Record] = set()
        self.weak: set[Record] = set()
        self.yields: set[Record] = set()
        self._contested: frozenset[IPAddress] = frozenset()
        self._changes: list[Change] = []
        self._decision = Decision()
        self._outdated = True

    def claim(self, record: Record, reason: Reason, before: str | None, epoch: int, strong: bool) -> None:
        """Own the address from now on, at this epoch. `before`: the owner until now, None when there was none."""
        self.end_yield(record)
        record.probe = record.top == 0
        record.mine = Claim(epoch, strong, record.address in self._contested)
        record.top = epoch
        self.held.add(record)
        if not strong:
            self.weak.add(record)
        self._outdated = True
        self._changes.append(Change(record.address, reason, before, self._me, epoch))

    def give_way(self, record: Record, owner: str | None, until: float, reason: Reason, epoch: int) -> None:
        """Own the address no more, and answer for it until the new owner does, or until that time at most.

        `owner` is None while it is not known. `epoch` is that of its claim, if that is known, else of this node's.
        """
        mine = record.mine
        assert mine is not None
        if owner is None:
            self.withdraw(record)
        self.held.discard(record)
        self.weak.discard(record)  # it must not become the better claim again
        self.yields.add(record)
        record.probe = False
        record.yield_to, record.yield_until, record.released = owner, until, mine.contested
        self._outdated = True
        self._changes.append(Change(record.address, reason, self._me, owner, epoch))

    def resume(self, record: Record, reason: Reason) -> None:
        """Be the owner again, because the better claim is gone before its maker was seen answering, or soon after."""
        mine = record.mine
        assert mine is not None
        self._changes.append(Change(record.address, reason, record.yield_to, self._me, mine.epoch))
        self.yields.discard(record)
        record.yield_to = record.yield_until = None
        self.held.add(record)
        if not mine.strong:
            self.weak.add(record)
        self._outdated = True

    def hand_to(self, record: Record, owner: str) -> None:
        """Take in that it is this node that takes over, if the address is being yielded."""
        if record.yield_until is not None and record.yield_to != owner:
            record.yield_to = owner
            self._outdated = True

    def release(self, record: Record) -> None:
        """Take in that a yielding address is not answered for any more."""
        if record.yield_until is not None and not record.released:
            record.released = self._outdated = True

    def drop(self, record: Record, reason: Reason) -> None:
        """Stop answering at once."""
        if record in self.held and record.mine is not None:
            self._changes.append(Change(record.address, reason, self._me, None, record.mine.epoch))
        self.withdraw(record)
        self.end_yield(record)

    def withdraw(self, record: Record) -> None:
        """Claim the address no more."""
        if record.mine is not None:
            record.mine = None
            record.probe = False
            self.held.discard(record)
            self.weak.discard(record)
            self._outdated = True

    def end_yield(self, record: Record) -> None:
        """Answer no more for an address that is being yielded."""
        if record.yield_until is not None:
            self.withdraw(record)
            record.yield_to = record.yield_until = None
            self.yields.discard(record)
            self._outdated = True

    def weaken(self) -> list[Record]:
        """Make all claims weak; return those that were not."""
        records = [record for record in self.held if record.mine is not None and record.mine.strong]
        self.weak.update(records)
        self._restate(records, strong=False)
        return records

    def strengthen(self) -> list[Record]:
        """Make all claims strong; return those that were not."""
        records = list(self.weak)
        self.weak.clear()
        self._restate(records, strong=True)
        return records

    def contest(self, addresses: frozenset[IPAddress], records: Mapping[IPAddress, Record]) -> None:
        """Take in which addresses a host has that is no speaker. `records`: of every address that is known."""
        for address in self._contested ^ addresses:
            record = records.get(address)
            if record is not None and record.mine is not None:
                record.mine = replace(record.mine, contested=address in addresses)
                self._outdated = True
        self._contested = addresses

    def publish(self, unsteady: bool) -> Decision:
        """Make a decision of the state; the same object as before when nothing has changed."""
        if self._outdated or unsteady is not self._decision.unsteady:
            self._outdated = False
            held = sorted(self.held, key=_order)
            self._decision = Decision(
                claims=_claims(held),
                said=_claims(sorted(self.held | self.yields, key=_order)) if self.yields else _claims(held),
                yielding={
                    record.address: record.yield_to
                    for record in sorted(self.yields, key=_order)
                    if record.yield_to is not None and not record.released
                },
                probe=frozenset(record.address for record in held if record.probe),
                unsteady=unsteady,
            )
        if not self._changes:
            return self._decision
        changes = tuple(sorted(self._changes, key=lambda change: sort_key(change.address)))
        self._changes = []
        return replace(self._decision, changes=changes)

    def _restate(self, records: Iterable[Record], strong: bool) -> None:
        for record in records:
            if record.mine is not None:
                record.mine = replace(record.mine, strong=strong)
                self._outdated = True


def _claims(records: Iterable[Record]) -> dict[IPAddress, Claim]:
    return {record.address: record.mine for record in records if record.mine is not None}


def _order(record: Record) -> tuple[int, int]:
    return record.sort_key

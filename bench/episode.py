"""One fault from beginning to end, with a client that asks all the time; and what many of them have in common."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from bench import answers
from bench.asker import ANSWER_TIME
from bench.faults import Fault
from bench.fleet import Owners, Site

WATCHED, WATCHED_OTHERS = 15, 5
"""Addresses that are asked for all the time: of the node that the fault strikes, and of others."""
BEFORE = 0.3
"""Seconds of asking before anything happens."""
QUIET = 1.5
"""Seconds after the fault, and after its end, in which only the watched addresses are asked for. A look at all of them
is thousands of questions, each of which goes to every node, and would be a second fault where all share a machine."""


@dataclass
class Outcome:
    """What a client saw, of one episode or the sum of several. Times in seconds.

    Attributes:
        takeovers: from the fault to the first answer of another node, for each watched address of the struck node.
        gaps: the longest time without an answer, for each of these.
        asked, lost: questions about all watched addresses, and those without an answer.
        doubled: questions with answers from two nodes that hear each other.
        overlap: the longest time for which two nodes that hear each other answered for an address.
        moved, owned: addresses of the struck node that another one answers for afterwards, of so many.
        needless: addresses of other nodes that moved.
        back: addresses that moved again when the fault was over.
        unsettled: how often the wait for one answering node for each address was in vain; the last time, why.
        late: the asker behind its timetable, at most.
    """

    takeovers: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    asked: int = 0
    lost: int = 0
    doubled: int = 0
    overlap: float = 0.0
    moved: int = 0
    owned: int = 0
    needless: int = 0
    back: int = 0
    unsettled: int = 0
    why: str = ""
    late: float = 0.0

    def add(self, other: Outcome) -> None:
        """Take in another one."""
        self.takeovers += other.takeovers
        self.gaps += other.gaps
        for name in ("asked", "lost", "doubled", "moved", "owned", "needless", "back", "unsettled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.overlap, self.late = max(self.overlap, other.overlap), max(self.late, other.late)
        self.why = other.why or self.why


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def play(site: Site, fault: Fault, limit: float, random: random.Random) -> Outcome:
    """Let the fault happen to the node that owns most, and make it good again.

    Args:
        site: all is well there.
        fault: what happens.
        limit: seconds within which one node should answer for each address again.
        random: chooses the addresses that are watched.
    """
    outcome = Outcome()
    before = site.settle()
    victim = Counter(before.values()).most_common(1)[0][0]
    own = [address for address, node in before.items() if node == victim]
    others = [address for address, node in before.items() if node != victim]
    watched = random.sample(own, min(len(own), WATCHED))
    site.asker.take()
    site.asker.watch([*watched, *random.sample(others, min(len(others), WATCHED_OTHERS))])
    time.sleep(BEFORE)
    struck = fault.strike(site, victim, before)
    time.sleep(max(0.0, struck + QUIET - time.time()))
    parted = fault.parts and not fault.leaves
    after = None if parted else _settle(site, limit, outcome, victim if fault.leaves else "")
    time.sleep(max(0.0, struck + fault.hold - time.time()))
    fault.recover(site, victim)
    recovered = time.time()
    time.sleep(QUIET)
    last = _settle(site, limit, outcome)
    time.sleep(ANSWER_TIME)
    site.asker.watch(())
    time.sleep(ANSWER_TIME)
    record = site.asker.take()
    _judge(outcome, record, watched, victim, struck, recovered if fault.parts else struck)
    if after is None:
        after = last
    _compare(outcome, victim, before, after, last)
    return outcome


def _settle(site: Site, limit: float, outcome: Outcome, without: str = "") -> Owners | None:
    try:
        return site.settle(limit, without)
    except TimeoutError as error:
        outcome.unsettled += 1
        outcome.why = str(error)
        return None


def _judge(
    outcome: Outcome,
    record: answers.Record,
    watched: Iterable[IPv4Address],
    victim: str,
    struck: float,
    together: float,
) -> None:
    """Take in what the client saw. `together`: from then on all nodes hear each other."""
    outcome.late = record.late
    for address, questions in record.questions.items():
        outcome.asked += len(questions)
        outcome.lost += answers.lost(questions)
        outcome.doubled += answers.doubled(q for q in questions if q.sent >= together)
        for overlap in answers.overlaps(address, questions):
            outcome.overlap = max(outcome.overlap, overlap.end - max(overlap.start, together))
    for address in watched:
        questions = record.questions.get(address, ())
        outcome.gaps.append(answers.gap(questions))
        taken = answers.taken_over(questions, struck, victim)
        if taken is not None:
            outcome.takeovers.append(taken - struck)


def _compare(outcome: Outcome, victim: str, before: Owners, after: Owners | None, last: Owners | None) -> None:
    outcome.owned = sum(node == victim for node in before.values())
    if after is not None:
        moved = [address for address, node in before.items() if after[address] != node]
        outcome.moved = sum(before[address] == victim for address in moved)
        outcome.needless = len(moved) - outcome.moved
        if last is not None:
            outcome.back = sum(after[address] != node for address, node in last.items())

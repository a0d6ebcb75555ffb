"""What a record of questions and answers says: gaps, lost questions, and addresses for which two nodes answered.

Pure. Times are seconds on one clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

JOIN = 0.15
"""Seconds: a node that answers again within this has answered all the time."""


@dataclass(frozen=True)
class Question:
    """One question about an address: when it was sent, and when each node first answered it."""

    sent: float
    answers: Mapping[str, float]


@dataclass(frozen=True)
class Record:
    """Questions by address, in the order in which they were sent. `late`: how late the asker was, at most."""

    questions: Mapping[IPv4Address, Sequence[Question]]
    late: float = 0.0


@dataclass(frozen=True)
class Overlap:
    """Two nodes answered for an address from `start` to `end`."""

    address: IPv4Address
    nodes: tuple[str, str]
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


def lost(questions: Iterable[Question]) -> int:
    """How many got no answer."""
    return sum(not question.answers for question in questions)


def doubled(questions: Iterable[Question]) -> int:
    """How many got answers from two nodes or more."""
    return sum(len(question.answers) > 1 for question in questions)


def gap(questions: Sequence[Question]) -> float:
    """The longest time from a question without an answer to the next one with, or to the last one of all."""
    longest, since = 0.0, None
    for question in questions:
        if since is not None:
            longest = max(longest, question.sent - since)
        if question.answers:
            since = None
        elif since is None:
            since = question.sent
    return longest


def taken_over(questions: Iterable[Question], since: float, before: str) -> float | None:
    """When a node other than `before` first answered after `since`; None if none did."""
    times = [at for q in questions for node, at in q.answers.items() if node != before and at >= since]
    return min(times, default=None)


def answering(questions: Iterable[Question]) -> dict[str, list[tuple[float, float]]]:
    """From when to when each node answered, going by when its answers came."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for at, node in sorted((at, node) for question in questions for node, at in question.answers.items()):
        known = spans.setdefault(node, [])
        if known and at - known[-1][1] <= JOIN:
            known[-1] = (known[-1][0], at)
        else:
            known.append((at, at))
    return spans


def overlaps(address: IPv4Address, questions: Iterable[Question]) -> list[Overlap]:
    """When two nodes answered at the same time, the earliest first.

    A single late answer while another node answers is an overlap without length.
    """
    spans = answering(questions)
    found = []
    for one, other in itertools.combinations(sorted(spans), 2):
        for (start, end), (begin, last) in itertools.product(spans[one], spans[other]):
            if max(start, begin) <= min(end, last):
                found.append(Overlap(address, (one, other), max(start, begin), min(end, last)))
    return sorted(found, key=lambda overlap: overlap.start)

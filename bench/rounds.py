"""Rounds of measuring, the same for every protocol and for whoever answers, and the table of what came of them."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.cable import Cable, Questions
from bench.flood import Table
from bench.flood_programs import ROWS
from bench.responders import Responder, Start
from metallb_cli.linux.ebpf.support import supported

Figures = dict[str, float]
Results = dict[int, dict[str, Figures]]
"""Medians by number of addresses, and by who answers."""

WINDOW = 64
"""Questions out in the second closed loop; the first has one."""
STORM_SHARE = 64
"""One question in so many of a storm is for us."""
COMPARED = ("replies_per_s", "window_per_s", "p50_us", "p99_us")
"""Figures that are shown as a ratio to the kernel's in the same round."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        counts: numbers of addresses.
        number: of rounds.
        floods: ROWS questions each, in every flood of a round.
        asks: questions one by one, in a round; at least 20.
        exact: wait until new responders have told everybody about their addresses, and measure the slow ones too.
    """

    counts: tuple[int, ...]
    number: int
    floods: int
    asks: int
    exact: bool = True

    def __str__(self) -> str:
        questions = f"{self.floods * ROWS:,} questions"
        return f"medians of {self.number} interleaved rounds of {questions}; every reply was checked."


FULL = Effort((1, 100, 10_000), 5, 50, 1500)
QUICK = Effort((10,), 1, 2, 40, exact=False)


def effort(description: str) -> Effort:
    """The effort that the command line asks for. Ends the process where nothing can be measured."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    options = parser.parse_args()
    require_bpf()
    return QUICK if options.quick else FULL


def require_bpf() -> None:
    """End the process where it lacks what the flood and the `tc` engine need."""
    if reason := supported():
        sys.exit(f"layer 2 cannot be measured: {reason}")


@dataclass(frozen=True)
class Subject:
    """A responder on its cable, and the tables of frames to flood it with."""

    cable: Cable
    responder: Responder
    foreign: Table
    mixed: Table

    @classmethod
    def start(cls, cable: Cable, start: Start) -> Subject:
        """Let somebody answer."""
        responder = start(cable)
        foreign, own = cable.questions.foreign, cable.questions.frames
        few = [own[n % len(own)] for n in range(ROWS // STORM_SHARE)]
        mixed = cable.flooder.prepare([*few, *foreign[: ROWS - len(few)]])
        return cls(cable, responder, cable.flooder.prepare(foreign), mixed)


def compare(questions: Callable[[int], Questions], cases: Mapping[str, Start], work: Effort) -> Results:
    """Measure all with each number of addresses, in turn, so that all meet the same noise.

    Raises:
        RuntimeError: a reply was wrong, or somebody did not start.
    """
    return {count: _compare(questions(count), cases, work) for count in work.counts}


def _compare(questions: Questions, cases: Mapping[str, Start], work: Effort) -> dict[str, Figures]:
    samples: dict[str, dict[str, list[float]]] = {case: defaultdict(list) for case in cases}
    subjects: dict[str, Subject] = {}
    with contextlib.ExitStack() as stack:
        for case, start in cases.items():
            cable = Cable(case, questions)
            stack.callback(cable.close)
            subjects[case] = Subject.start(cable, start)
        settled = max(subject.responder.settled_at for subject in subjects.values()) if work.exact else 0.0
        time.sleep(max(0.0, settled - time.monotonic()))
        for subject in subjects.values():  # once unmeasured: caches, and the compiler of programs
            subject.cable.ask_one_by_one(20)
            if not subject.responder.slow:
                subject.cable.flood(subject.cable.own, ROWS)
                subject.responder.wait_until_idle()
        for number in range(work.number):
            for case, subject in subjects.items():
                before, _ = subject.cable.flooder.replies()
                measured = _slow_round(subject, work, first=not number) if subject.responder.slow else None
                for name, value in (measured or _round(subject, work)).items():
                    samples[case][name].append(value)
                samples[case]["replies_checked"].append(subject.cable.flooder.replies()[0] - before)
        medians = {case: {name: statistics.median(v) for name, v in own.items()} for case, own in samples.items()}
        for case, subject in subjects.items():
            medians[case] |= subject.responder.start
            if subject.responder.pids:
                medians[case]["rss_mib"] = subject.responder.memory()
    for case, own in samples.items():
        for name in COMPARED:
            pairs = zip(own[name], samples["kernel"][name], strict=True) if name in own else ()
            if ratios := [value / kernel for value, kernel in pairs]:
                medians[case][f"{name}_vs_kernel"] = statistics.median(ratios)
    return medians


def _round(subject: Subject, work: Effort) -> Figures:
    cable, responder, sent = subject.cable, subject.responder, work.floods * ROWS
    figures = _one_by_one(cable, work.asks)
    flood = cable.flood(cable.own, sent)
    responder.wait_until_idle()
    window = cable.window(WINDOW, max(1000, min(sent, int(flood.rate))))  # no longer than about a second
    mixed = cable.flood(subject.mixed, sent)
    responder.wait_until_idle()
    began, before = time.perf_counter(), responder.cpu_ns()
    foreign = cable.flood(subject.foreign, sent)
    between = responder.cpu_ns()
    time.sleep(time.perf_counter() - began)
    cpu = max(0, 2 * between - before - responder.cpu_ns())  # beyond what it takes anyway
    return figures | {
        "replies_per_s": flood.rate,
        "answered": flood.right / flood.sent,
        "question_ns": flood.nanoseconds,
        "window_per_s": window.rate,
        "window_answered": window.right / window.sent,
        "storm_answered": mixed.right / (mixed.sent / STORM_SHARE),
        "storm_frames_per_s": 1e9 / mixed.nanoseconds,
        "foreign_ns": foreign.nanoseconds,
        "foreign_cpu_ns": cpu / foreign.sent,
    }


def _slow_round(subject: Subject, work: Effort, *, first: bool) -> Figures:
    """The same for one that needs milliseconds for an answer: its rate is that of one question after the other."""
    cable, responder = subject.cable, subject.responder
    figures = _one_by_one(cable, max(20, work.asks // 10))
    figures["replies_per_s"] = 1e6 / figures.pop("mean_us")
    if first:  # once only: it takes seconds to work through what is left in its queue
        before = responder.cpu_ns()
        mixed = cable.flood(subject.mixed, ROWS)
        responder.wait_until_idle()
        figures |= {
            "storm_answered": mixed.right / (mixed.sent / STORM_SHARE),
            "storm_frames_per_s": 1e9 / mixed.nanoseconds,
            "foreign_cpu_ns": (responder.cpu_ns() - before) / mixed.sent,
        }
    return figures


def _one_by_one(cable: Cable, asks: int) -> Figures:
    times = cable.ask_one_by_one(asks)
    return {
        "p50_us": statistics.median(times),
        "p99_us": statistics.quantiles(times, n=100)[98],
        "mean_us": statistics.mean(times),
    }


Columns = dict[str, tuple[str, str]]
"""Figure by name: its heading and format."""

ANSWERS: Columns = {
    "replies_per_s": ("replies/s", "{:,.0f}"),
    "replies_per_s_vs_kernel": ("× kernel", "**{:.2f}**"),
    "answered": ("answered", "{:.2%}"),
    "window_per_s": (f"replies/s, {WINDOW} out", "{:,.0f}"),
    "window_per_s_vs_kernel": ("× kernel", "{:.2f}"),
    "p50_us": ("p50 µs", "{:,.1f}"),
    "p50_us_vs_kernel": ("× kernel", "{:,.2f}"),
    "p99_us": ("p99 µs", "{:,.1f}"),
    "p99_us_vs_kernel": ("× kernel", "{:,.2f}"),
}
LOAD: Columns = {
    "storm_answered": ("answered in a storm", "{:.2%}"),
    "storm_frames_per_s": ("frames/s of the storm", "{:,.0f}"),
    "foreign_ns": ("ns a foreign frame", "{:,.0f}"),
    "foreign_cpu_ns": ("CPU ns of the process", "{:,.0f}"),
    "rss_mib": ("MiB", "{:.0f}"),
    "start_ms": ("ms to start", "{:.0f}"),
    "announce_ms": ("ms for a new set", "{:.0f}"),
}


def table(title: str, results: Results) -> str:
    """Two tables in Markdown: how fast, and what foreign frames do. A ratio is the median of the rounds' ratios."""
    return "\n\n".join(_table(title, results, columns) for columns in (ANSWERS, LOAD))


def _table(title: str, results: Results, columns: Columns) -> str:
    heads = [title, "addresses", *(head for head, _ in columns.values())]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for count, cases in results.items():
        for case, figures in cases.items():
            cells = [form.format(figures[name]) if name in figures else "" for name, (_, form) in columns.items()]
            lines.append(f"| {case} | {count:,} | {' | '.join(cells)} |".replace("%", " %"))
    return "\n".join(lines)

"""Random faults on real speakers for a while, and a client that asks for every address all the time.

    make chaos                                        two minutes, four nodes, thirty addresses
    make chaos ARGS="--seconds 600 --seed 7"          the same faults in the same order as any other run with this seed

After each fault, and where it lasts also during it, one node must answer for each address. Two nodes that hear each
other may not both answer for longer than a second; a node that returns takes nothing away; a planned move loses no
question. Ends with 1, the seed and what happened when, if one of that is not so. Needs root and bpf(2).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Collection
from itertools import combinations
from pathlib import Path

from bench import answers
from bench.faults import FAULTS, Fault
from bench.fleet import Fleet, Owners
from metallb_cli.linux.ebpf.support import supported

PERIOD = 0.02
LONGEST_OVERLAP, SLACK = 1.0, 0.3
"""Seconds: promised, and for measuring."""
SETTLE = 6.0
"""Seconds in which one node answers for each address again."""
HANDOVER = 1.0
"""Seconds in which an address that is answered for by a node that yields it is answered for by its owner."""
SHORT, LONG = (0.05, 0.15, 0.3, 0.5, 1.0), 2.0
"""Seconds that a fault lasts: one of the short ones, or as long as it takes until all is calm and this."""
BUSY = 0.15
"""Seconds that the client may be behind. Where it is more, the machine kept heartbeats back as well, so that addresses
may have moved and questions may have been lost for want of processor time."""


class Broken(Exception):
    """A promise is broken; says which."""


class Chaos:
    """One run."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.timeline: list[str] = []
        self.faults = 0
        self.unjudged = 0
        self._began = time.time()

    def run(self, seconds: float) -> None:
        """Let things happen for so long.

        Raises:
            Broken: a promise is.
        """
        self._began = time.time()
        owners = self._settle("at the beginning")
        self.fleet.asker.watch(self.fleet.addresses)
        while time.time() < self._began + seconds:
            owners = self._episode(owners)
            self.faults += 1

    def _note(self, text: str, at: float | None = None) -> None:
        line = f"{(at or time.time()) - self._began:8.3f}  {text}"
        self.timeline.append(line)
        print(line, file=sys.stderr, flush=True)

    def _episode(self, before: Owners) -> Owners:
        fault = self.random.choice(list(FAULTS.values()))
        victim = self.random.choice(sorted(set(before.values())))
        lasts = self.random.choice((*SHORT, LONG, LONG, LONG))
        self._note(f"{fault.what}: {victim}, which has {sum(node == victim for node in before.values())} addresses")
        struck = fault.strike(self.fleet, victim, before)
        cut = self._cut() if fault.parts else set()
        during = None
        if lasts >= LONG and (fault.leaves or not fault.parts):
            during = self._settle("during it", victim if fault.leaves else "")
        time.sleep(max(0.0, struck + lasts - time.time()))
        fault.recover(self.fleet, victim)
        recovered = time.time()
        self._note("over", recovered)
        self._settle("after it")
        time.sleep(HANDOVER)
        after = self._settle("after it")
        record = self.fleet.asker.take()
        self._check_overlaps(record, cut, struck, recovered)
        if record.late > BUSY:
            self.unjudged += 1
            self._note(f"the client was {record.late:.2f} s behind: neither moves nor losses are judged")
        else:
            self._check_losses(fault, record)
            self._check_moves(fault, victim, before, during, after)
        return after

    def _settle(self, when: str, without: str = "") -> Owners:
        try:
            return self.fleet.settle(SETTLE, without)
        except TimeoutError as error:
            raise Broken(f"{when}, after {SETTLE:.0f} s: {error}") from None

    def _cut(self) -> set[tuple[str, str]]:
        pairs = combinations(sorted(self.fleet.switch.nodes), 2)
        return {pair for pair in pairs if not self.fleet.switch.hear_each_other(*pair)}

    def _check_overlaps(
        self, record: answers.Record, cut: Collection[tuple[str, str]], struck: float, recovered: float
    ) -> None:
        for address, questions in record.questions.items():
            for overlap in answers.overlaps(address, questions):
                seconds = overlap.seconds
                if overlap.nodes in cut:
                    seconds = max(min(overlap.end, struck) - overlap.start, overlap.end - max(overlap.start, recovered))
                if seconds > LONGEST_OVERLAP + SLACK:
                    raise Broken(
                        f"{' and '.join(overlap.nodes)} both answered for {address} for {seconds:.2f} s, "
                        f"until {overlap.end - self._began:.3f}"
                    )

    def _check_losses(self, fault: Fault, record: answers.Record) -> None:
        lost = {address: answers.lost(questions) for address, questions in record.questions.items()}
        if fault.planned and any(lost.values()):
            of = sum(map(bool, lost.values()))
            worst = max(lost, key=lost.__getitem__)
            when = next(q.sent for q in record.questions[worst] if not q.answers) - self._began
            raise Broken(
                f"{fault.what}: {sum(lost.values())} questions about {of} addresses were lost, "
                f"{lost[worst]} about {worst}, from {when:.3f}"
            )

    def _check_moves(self, fault: Fault, victim: str, before: Owners, during: Owners | None, after: Owners) -> None:
        if during is not None:
            if moved := [address for address in after if after[address] != during[address]]:
                raise Broken(f"addresses moved when it was over: {_moves(during, after, moved)}")
            if fault.leaves and (moved := [a for a in during if during[a] != before[a] != victim]):
                raise Broken(f"addresses of other nodes moved: {_moves(before, during, moved)}")


def _moves(before: Owners, after: Owners, moved: list) -> str:
    few = ", ".join(f"{address} from {before[address]} to {after[address]}" for address in moved[:5])
    return f"{len(moved)}, {few}"


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults (default 120)")
    parser.add_argument("--seed", type=int, default=None, help="of the choices (default: a random one)")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--addresses", type=int, default=30)
    parser.add_argument("--speaker", action="append", default=[], metavar="ARG", help="of the speakers; repeatable")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the speakers' logs there")
    options = parser.parse_args()
    if reason := supported():
        sys.exit(f"this needs root and bpf(2): {reason}")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    with tempfile.TemporaryDirectory(prefix="metallb-chaos-") as name:
        folder = options.logs or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        fleet = Fleet(options.nodes, options.addresses, folder, arguments=options.speaker, period=PERIOD)
        chaos = Chaos(fleet, seed)
        try:
            chaos.run(options.seconds)
        except Broken as error:
            print(f"broken with --seed {seed}: {error}\n" + "\n".join(chaos.timeline))
            return 1
        finally:
            fleet.close()
    print(f"{chaos.faults} faults, nothing broken; --seed {seed}; {chaos.unjudged} times the machine was too busy")
    return 0


if __name__ == "__main__":
    sys.exit(main())

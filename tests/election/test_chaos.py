"""Random histories of a LAN, held against the promises of docs/ownership.md.

A failure prints its seed and what happened. `CHAOS_SEED=1234 pytest tests/election/test_chaos.py` runs that history
and no other; `CHAOS_RUNS=100000` runs more of them.
"""

import math
import os
from collections import Counter
from ipaddress import ip_address

import pytest

from metallb_cli.election import Mode, Wish
from metallb_cli.model import Reason
from tests.support.speakers import Lan

RUNS = int(os.environ.get("CHAOS_RUNS", "1000"))
CHUNKS = 20
WITH_BYTES = 1_000_000
"""From this seed on, the heartbeats of a history are real bytes; each of these takes much longer."""
SEEDS = [range(chunk, RUNS, CHUNKS) for chunk in range(CHUNKS)]
SEEDS += [range(seed, seed + 1) for seed in range(WITH_BYTES, WITH_BYTES + max(RUNS // 50, 1))]
if "CHAOS_SEED" in os.environ:
    SEEDS = [range(int(os.environ["CHAOS_SEED"]), int(os.environ["CHAOS_SEED"]) + 1)]
BASE = ip_address("10.0.0.0")
MOST = 1.0
"""Seconds for which two nodes may answer for one address that could hear each other."""


class Violation(AssertionError):
    pass


class History:
    """One random history; every step is checked."""

    def __init__(self, seed):
        self.seed = seed
        names = tuple("abcdef"[: 2 + seed % 5])
        mode = Mode.METALLB if seed % 7 == 3 else Mode.STICKY
        self.lan = Lan(names, seed, mode=mode, frames=seed >= WITH_BYTES, kernel=seed % 2 == 0)
        self.random = self.lan.random
        self.lan.check = self.check
        self.addresses = [BASE + n for n in range(self.random.randint(1, 30 if seed % 4 == 0 else 6))]
        self.together = {}
        self.never_silent = set()

    def fail(self, why):
        lan = self.lan
        raise Violation("\n".join([f"seed {self.seed}: {why} at {lan.now - 1000:.3f}", *lan.trace[-60:]]))

    # -- invariants of every step

    def check(self):
        lan = self.lan
        if lan.unchecked:
            lan.unchecked = False
            self.find_pairs()
            silent = [address for address in self.never_silent if not self.answerers(address)]
            if silent:
                self.fail(f"nobody answers for {silent[0]} in a planned move")
        for (address, *pair), since in self.together.items():
            if lan.now - since > MOST + lan.slack and self.hear_each_other(*pair):
                self.fail(f"{pair} both answer for {address} since {since - 1000:.3f}")

    def find_pairs(self):
        lan = self.lan
        answered = {}
        for name, speaker in lan.speakers.items():
            for address in speaker.answering:
                answered.setdefault(address, []).append(name)
        pairs = {}
        for address, names in answered.items():
            for n, one in enumerate(names):
                for other in names[n + 1 :]:
                    if self.hear_each_other(one, other):
                        key = address, *sorted((one, other))
                        pairs[key] = self.together.get(key, lan.now)
        self.together = pairs

    def hear_each_other(self, one, other):
        one, other = self.lan.speakers[one], self.lan.speakers[other]
        if one.away or other.away:
            return False
        return not one.stalled and not other.stalled and other.name in one.live and one.name in other.live

    def answerers(self, address):
        return [name for name, speaker in self.lan.speakers.items() if address in speaker.answering]

    # -- what happens

    def wish(self):
        names = self.lan.names
        nodes = names if self.random.random() < 0.7 else self.random.sample(names, self.random.randint(1, len(names)))
        return Wish(frozenset(nodes))

    def move(self, address):
        wish = self.lan.api.wishes.get(address)
        if wish is not None:
            epochs = [
                s.decision.claims[address].epoch for s in self.lan.speakers.values() if address in s.decision.claims
            ]
            target = self.random.choice(sorted(wish.candidates))
            self.lan.note(f"move {address} to {target}")
            self.lan.api.want(address, Wish(wish.candidates, target, max([wish.move_epoch, *epochs])))
            return target
        return None

    def something_bad(self):
        lan, random = self.lan, self.random
        name = random.choice(lan.names)
        address = random.choice(self.addresses)
        match random.randrange(16):
            case 0 | 1:
                lan.kill(name)
            case 2 | 3 | 4:
                lan.start(name)
            case 5:
                lan.stall(name, random.choice((0.1, 0.29, 0.35, 0.6, 1.5, 3.0)))
            case 6:
                side = set(random.sample(lan.names, random.randint(1, len(lan.names) - 1)))
                lan.note(f"partition {''.join(sorted(side))}")
                lan.blocked = {(a, b) for a in lan.names for b in lan.names if (a in side) != (b in side)}
            case 7:
                other = random.choice(lan.names)
                lan.note(f"{other} does not hear {name}")
                lan.blocked.add((name, other))
            case 8:
                lan.note("heal")
                lan.blocked.clear()
            case 9:
                lan.loss = random.choice((0.0, 0.0, 0.05, 0.3))
                lan.delay = random.choice((0.002, 0.002, 0.15))
                lan.duplicates = random.choice((0.0, 0.2))
                lan.note(f"loss {lan.loss} delay {lan.delay}")
            case 10:
                lan.leave(name, random.random() < 0.5)
            case 11:
                lan.terminate(name)
            case 12:
                wish = self.wish() if random.random() < 0.8 else None
                lan.note(f"{address} may be at {sorted(wish.candidates) if wish else None}")
                lan.api.want(address, wish)
            case 13:
                self.move(address)
            case 14:
                lan.note(f"api cut {name}")
                lan.api.cut.symmetric_difference_update({name})
                lan.api.show(name)
            case 15:
                lan.unplug(name, random.choice((0.02, 0.05, 0.15, 0.29, 0.35, 0.6, 1.5, 3.0)))

    def chaos(self, events):
        for _ in range(events):
            self.something_bad()
            self.lan.run(self.random.choice((0.0, 0.05, 0.3, 0.7, 1.5)))

    def calm(self):
        """Repair everything but dead nodes, drains and wishes; wait until everything has settled."""
        lan = self.lan
        lan.note("calm")
        lan.blocked.clear()
        lan.loss = lan.duplicates = 0.0
        lan.delay = 0.002
        lan.api.cut.clear()
        for name in lan.names:
            lan.api.show(name)
        for name in lan.names:
            if self.random.random() < 0.6:
                lan.start(name)
        lan.run(3.1)  # those who are stalled go on, those who terminate end
        if not lan.speakers:
            lan.start(self.random.choice(lan.names))
        lan.run(4.0)

    # -- what holds when everything is quiet

    def check_quiet(self):
        lan = self.lan
        for address in self.addresses:
            wish = lan.api.wishes.get(address)
            candidates = [n for n in lan.speakers if wish and n in wish.candidates]
            answerers = self.answerers(address)
            owners = {speaker.ownership.owner(address) for speaker in lan.speakers.values()}
            if len(answerers) != min(1, len(candidates)):
                self.fail(f"{address} is answered for by {answerers} of {candidates}; owners {owners}")
            if candidates and owners != set(answerers):
                self.fail(f"{address} is answered for by {answerers}, and its owner is {owners}")
            if (
                answerers
                and lan.speakers[answerers[0]].leaving
                and not all(lan.speakers[c].leaving for c in candidates)
            ):
                self.fail(f"{address} stays with {answerers[0]}, which is leaving")

    def planned(self):
        """Do something that must move nothing, or move it without a gap."""
        lan, random = self.lan, self.random
        self.never_silent = {
            address for address in self.addresses if any(address in s.answering for s in lan.speakers.values())
        }
        before = {address: self.answerers(address) for address in self.addresses}
        mark = len(lan.changes)
        name, address = random.choice(sorted(lan.speakers)), random.choice(self.addresses)
        what = random.randrange(5)
        if what == 0:
            for absent in lan.names:
                lan.start(absent)
        elif what == 1:
            lan.leave(name, not lan.speakers[name].leaving)
        elif what == 2:
            target = self.move(address)
        elif what == 3 and len([s for s in lan.speakers.values() if not s.leaving]) > 1:
            wishes = lan.api.wishes.values()
            staying = {n for n, s in lan.speakers.items() if not s.leaving and n != name}
            if all(staying & set(wish.candidates) for wish in wishes):
                lan.terminate(name)
        lan.run(3.5)
        self.never_silent = set()
        self.check_quiet()
        moved = lan.changes[mark:]
        if lan.mode is Mode.STICKY and what in (0, 4) and moved:
            causes = {Reason.MOVE_REQUESTED, Reason.OWNER_LEAVING}  # of before, for which nobody was there
            kept = [change for _, _, change in moved if before[change.address] and change.reason not in causes]
            if kept:
                self.fail(f"{kept[0]} without a cause")
        can_move = lan.mode is Mode.STICKY and what == 2 and target in lan.speakers and not lan.speakers[target].leaving
        if can_move and self.answerers(address) != [target]:
            self.fail(f"{address} did not move to {target}")

    def disturbed(self):
        """Cut off or stop some nodes for a while: what the others have must not move, nor what they took over."""
        lan, random = self.lan, self.random
        names = sorted(lan.speakers)
        before = {address: self.answerers(address) for address in self.addresses}
        steady = [a for a, wish in lan.api.wishes.items() if wish.move_to is None and self.answerers(a)]
        if lan.mode is Mode.METALLB or len(names) < 2:
            return
        if random.random() < 0.5:
            cut_off = set(random.sample(names, (len(names) - 1) // 2))
            lan.note(f"cut off {''.join(sorted(cut_off))}")
            lan.blocked = {(a, b) for a in names for b in names if (a in cut_off) != (b in cut_off)}
            seconds = random.choice((0.3, 0.6, 1.6, 3.0, 5.0))
            lan.run(seconds)
            lan.blocked.clear()
            if seconds < 1.5:  # what was taken over may go back, as it has not been away for long
                steady = [a for a in steady if not cut_off.intersection(before[a])]
        else:
            cut_off = {random.choice(names)}
            lan.stall(*cut_off, random.choice((0.2, 0.35, 0.6, 1.5, 3.0)))
            lan.run(0.1)
            while lan.speakers[min(cut_off)].stalled:
                lan.run(0.01)
        owners = {address: [name for name in self.answerers(address) if name not in cut_off] for address in steady}
        owners = {a: names for a, names in owners.items() if len(names) == 1 and not lan.speakers[names[0]].leaving}
        lan.run(3.0)
        self.check_quiet()
        for address, owner in owners.items():
            if self.answerers(address) != owner:
                self.fail(f"{address} went from {owner} to {self.answerers(address)}, though only {cut_off} were away")

    def run(self):
        lan, random = self.lan, self.random
        lan.slack = 0.35
        for name in lan.names:
            if random.random() < 0.8:
                lan.start(name)
            lan.run(random.choice((0.0, 0.0, 0.2, 3.2)))
        for address in self.addresses:
            lan.api.want(address, self.wish())
        for _ in range(random.choice((1, 1, 1, 2))):
            lan.slack = 0.5
            self.chaos(random.randint(1, 8))
            self.calm()
            lan.slack = 0.15
            self.check_quiet()
            self.planned()
            self.disturbed()


def run(seed):
    try:
        History(seed).run()
    except Violation:
        raise
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}") from error


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"from {seeds[0]}")
def test_every_history_keeps_the_promises(seeds):
    for seed in seeds:
        run(seed)


def five_addresses(seed, frames):
    """Three nodes that have been there for a while, and what each answers for."""
    lan = Lan(("a", "b", "c"), seed, frames=frames)
    for name in lan.names:
        lan.start(name)
    for n in range(5):
        lan.api.want(BASE + n, Wish(frozenset(lan.names)))
    lan.run(12.0)
    return lan, {name: speaker.answering for name, speaker in lan.speakers.items()}


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_an_interface_that_is_away_for_a_moment_changes_no_owner(seed, frames):
    lan, before = five_addresses(seed, frames)
    mark = len(lan.changes)
    for seconds in (0.005, 0.02, 0.05, 0.09):
        for flapping in (["a"], ["a", "b"], ["a", "b", "c"]):
            for name in flapping:
                lan.unplug(name, seconds)
            lan.run(1.0 + lan.random.random() / 10)
    assert lan.changes[mark:] == []
    assert {name: speaker.answering for name, speaker in lan.speakers.items()} == before


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("seconds", [0.5, 1.2, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_a_node_without_a_cable_takes_nothing_over_and_answers_afterwards_for_nothing_that_others_took(
    seed, seconds, frames
):
    lan, before = five_addresses(seed, frames)
    mark, began = len(lan.changes), lan.now
    victim = max(before, key=lambda name: len(before[name]))
    lan.unplug(victim, seconds)
    doubled = []

    def check():
        answered = Counter(address for speaker in lan.speakers.values() for address in speaker.answering)
        doubled.extend(address for address, count in answered.items() if count > 1)

    lan.check = check
    lan.run(seconds)
    changes = lan.changes[mark:]
    assert [change for _, node, change in changes if node == victim] == []
    assert {change.address for _, _, change in changes} == before[victim]
    assert max(when for when, _, _ in changes) - began <= 0.45
    lan.run(5.0)
    assert doubled == []
    assert lan.speakers[victim].answering == frozenset()


@pytest.mark.parametrize("nodes", [2, 3, 6])
def test_addresses_dealt_out_at_once_are_spread_evenly(nodes):
    lan = Lan(tuple("abcdef"[:nodes]), seed=nodes)
    for name in lan.names:
        lan.start(name)
    lan.run(4.0)
    for n in range(30):
        lan.api.want(BASE + n, Wish(frozenset(lan.names)))
    lan.run(2.0)
    held = Counter({name: len(speaker.answering) for name, speaker in lan.speakers.items()})
    assert held.total() == 30
    assert max(held.values()) <= math.ceil(1.25 * 30 / nodes)

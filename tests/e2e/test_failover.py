"""Three real speakers fail in all kinds of ways while a client asks every 10 ms who has their addresses.

Their Leases last half a minute, so what happens within seconds happens because of heartbeats.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import answers
from bench.asker import ANSWER_TIME
from bench.faults import FAULTS
from bench.fleet import Fleet
from bench.switch import INTERFACE
from metallb_cli.linux.ebpf.support import supported

pytestmark = [pytest.mark.slow, pytest.mark.live]

LONG_LEASES = ("--lease-duration", "30", "--renew", "5")
SOON = 5.0
"""Seconds: far more than takeovers take, and far less than a Lease lasts."""
LONGEST_OVERLAP = 1.3
"""Seconds: a second is promised; the rest is for measuring."""


@pytest.fixture
def start(tmp_path):
    """Starts clusters of some nodes, with a few addresses."""
    if reason := supported():
        pytest.skip(f"bpf(2): {reason}")
    with contextlib.ExitStack() as stack:

        def start(nodes, *arguments):
            fleet = Fleet(nodes, 8, tmp_path, arguments=(*LONG_LEASES, *arguments))
            stack.callback(fleet.close)
            fleet.asker.watch(fleet.addresses)
            return fleet

        yield start


@pytest.fixture
def fleet(start):
    return start(3)


def owner_of_one(owners):
    return owners[min(owners)]


def asked(fleet):
    """The questions so far, by address, when the last of them has had its time."""
    time.sleep(ANSWER_TIME + 0.1)
    questions = fleet.asker.take().questions
    assert set(questions) == set(fleet.addresses)
    return questions


def assert_nothing_lost(questions):
    assert {str(address): answers.lost(asked) for address, asked in questions.items() if answers.lost(asked)} == {}


def assert_never_two_for_long(questions, since=0.0):
    overlaps = [overlap for address, asked in questions.items() for overlap in answers.overlaps(address, asked)]
    assert [each for each in overlaps if each.end - max(each.start, since) > LONGEST_OVERLAP] == []


def test_a_killed_speaker_is_replaced_without_its_lease_and_takes_nothing_back(fleet):
    before = fleet.settle()
    victim = owner_of_one(before)
    fleet.kill(victim)
    heirs = fleet.settle(SOON, without=victim)
    assert [a for a in before if before[a] not in (victim, heirs[a])] == []  # nobody else's addresses moved
    fleet.launch(victim)
    time.sleep(1.0)
    assert fleet.settle() == heirs
    assert_never_two_for_long(asked(fleet))


def test_a_speaker_that_ends_hands_over_without_a_lost_question(fleet):
    victim = owner_of_one(fleet.settle())
    FAULTS["sigterm"].strike(fleet, victim, {})
    assert fleet.daemons[victim].status == 0
    heirs = fleet.settle(SOON, without=victim)
    fleet.launch(victim)
    assert fleet.settle() == heirs
    questions = asked(fleet)
    assert_nothing_lost(questions)
    assert_never_two_for_long(questions)


def test_all_speakers_restart_in_turn_without_a_lost_question(fleet):
    fleet.settle()
    FAULTS["rolling"].strike(fleet, "", {})
    fleet.settle()
    questions = asked(fleet)
    assert_nothing_lost(questions)
    assert_never_two_for_long(questions)


def test_a_drained_node_hands_over_without_a_lost_question_and_gets_nothing_back(fleet):
    before = fleet.settle()
    victim = owner_of_one(before)
    fleet.drain(victim)
    heirs = fleet.settle(SOON, without=victim)
    assert [a for a in before if before[a] not in (victim, heirs[a])] == []
    fleet.drain(victim, draining=False)
    time.sleep(1.0)
    assert fleet.settle() == heirs
    questions = asked(fleet)
    assert_nothing_lost(questions)
    assert_never_two_for_long(questions)


def test_the_only_node_goes_on_answering_when_it_is_drained(start):
    fleet = start(1)
    fleet.drain("node1")
    time.sleep(2.0)
    assert set(fleet.settle().values()) == {"node1"}
    assert_nothing_lost(asked(fleet))


def test_a_speaker_is_replaced_while_the_api_server_is_frozen(fleet):
    victim = owner_of_one(fleet.settle())
    fleet.freeze_api()
    time.sleep(0.5)
    fleet.kill(victim)
    heirs = fleet.settle(SOON, without=victim)
    fleet.thaw_api()
    fleet.launch(victim)
    assert fleet.settle() == heirs


@pytest.mark.parametrize("engine", ["packet", "tc"])
def test_a_speaker_that_was_stopped_answers_for_nothing_that_others_took(start, engine):
    fleet = start(3, "--l2-engine", engine)
    before = fleet.settle()
    victim = owner_of_one(before)
    fleet.pause(victim)
    heirs = fleet.settle(SOON, without=victim)
    time.sleep(1.0)
    goes_on = time.time()
    fleet.go_on(victim)
    time.sleep(1.5)
    assert fleet.settle() == heirs
    questions = asked(fleet)
    late = [q for each in questions.values() for q in each if q.answers.get(victim, 0.0) >= goes_on]
    assert late == []
    assert_never_two_for_long(questions)


def test_when_a_parted_lan_heals_one_node_is_left_for_each_address(fleet):
    before = fleet.settle()
    victim = owner_of_one(before)
    fleet.switch.part([victim])
    time.sleep(2.0)
    found = fleet.asker.sweep(fleet.addresses)
    assert all(victim in nodes and len(nodes) == 2 for nodes in found.values())  # either side has all that it needs
    healed = time.time()
    fleet.switch.heal()
    after = fleet.settle(SOON)
    assert victim not in after.values()  # what the majority has is worth more
    assert_never_two_for_long(asked(fleet), since=healed)


def test_an_interface_that_is_away_for_a_moment_moves_nothing(fleet):
    before = fleet.settle()
    victim = owner_of_one(before)
    time.sleep(1.0)  # so that what changes on the Lease is written at once
    node = fleet.switch.nodes[victim].namespace
    for away in (0.0, 0.02, 0.05):
        for down, up in (
            (lambda: fleet.switch.unplug(victim), lambda: fleet.switch.plug_in(victim)),
            (lambda: node.set_down(INTERFACE), lambda: node.set_up(INTERFACE)),
        ):
            began = time.monotonic()
            down()
            time.sleep(away)
            up()
            took = time.monotonic() - began
            time.sleep(1.5)
            assert fleet.settle() == before, f"after {took:.3f} s"
    questions = asked(fleet)
    assert {n for a, each in questions.items() for q in each for n in q.answers if n != before[a]} == set()
    # An address that is answered for again needs no proof: a probe would cost 0.8 s.
    assert max(answers.gap(each) for each in questions.values()) < 0.5


def test_a_node_that_comes_back_with_its_cable_answers_for_nothing_that_others_took(fleet):
    before = fleet.settle()
    victim = owner_of_one(before)
    fleet.switch.unplug(victim)
    heirs = fleet.settle(SOON, without=victim)
    time.sleep(2.0)
    plugged = time.time()
    fleet.switch.plug_in(victim)
    time.sleep(1.5)
    assert fleet.settle() == heirs
    late = [q for each in asked(fleet).values() for q in each if q.answers.get(victim, 0.0) >= plugged]
    assert late == []


def test_ten_seconds_of_random_faults_break_no_promise():
    command = [
        sys.executable,
        "-m",
        "bench.chaos",
        "--seconds",
        "10",
        "--seed",
        "1",
        "--nodes",
        "3",
        "--addresses",
        "10",
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

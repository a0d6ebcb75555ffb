import time

import pytest

from metallb_cli.daemon.leader import Election
from metallb_cli.reconcile.leadership import Terms
from tests.support.leases import MemoryLeases

TERMS = Terms(duration=0.9, renew_deadline=0.6, retry=0.1)


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def leases():
    return MemoryLeases()


@pytest.fixture
def elect(leases):
    running = []

    def start(identity, terms=TERMS):
        election = Election(leases, "metallb-controller", identity, terms, on_failure=lambda error: None)
        election.start()
        running.append(election)
        return election

    yield start
    leases.down = leases.frozen = False
    for election in running:
        election.stop()


def test_one_of_two_replicas_leads(elect):
    a, b = elect("a"), elect("b")
    assert until(lambda: a.leading() or b.leading())
    assert a.leading() != b.leading()


def test_a_replica_that_stops_hands_over_without_waiting_for_the_expiry(elect):
    terms = Terms(duration=600, renew_deadline=400, retry=0.1)
    a = elect("a", terms)
    assert until(a.leading)
    b = elect("b", terms)
    assert until(lambda: b.holder == "a")
    a.stop()
    assert until(b.leading)


def test_a_frozen_api_server_ends_the_leadership_although_a_call_hangs(elect, leases):
    a = elect("a")
    assert until(a.leading)
    leases.frozen = True
    assert until(lambda: not a.leading())


def test_leadership_comes_back_when_the_api_server_does(elect, leases):
    a = elect("a")
    assert until(a.leading)
    leases.down = True
    assert until(lambda: not a.leading())
    leases.down = False
    assert until(a.leading)

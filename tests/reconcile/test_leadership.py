from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import Lease
from metallb_cli.reconcile.leadership import Candidacy, Terms

TERMS = Terms(duration=15, renew_deadline=10, retry=2)


class Store:
    """The API server's part: one Lease with optimistic concurrency and a wall clock of its own."""

    def __init__(self):
        self.lease = None
        self.version = 0

    def write(self, lease, wall):
        held = self.lease.resource_version if self.lease else ""
        if lease.resource_version != held:
            return None
        self.version += 1
        self.lease = replace(lease, resource_version=str(self.version), renewed=f"{wall}")
        return self.lease


def turn(candidate, store, now):
    candidate.observe(store.lease, now)
    wanted = candidate.wanted(now)
    if wanted is not None:
        stored = store.write(wanted, now)
        if stored is not None:
            candidate.wrote(stored, now)
    return candidate.leading(now)


def test_the_first_candidate_leads_and_the_second_waits():
    store, a, b = Store(), Candidacy("l", "a", TERMS), Candidacy("l", "b", TERMS)
    assert turn(a, store, 0.0)
    assert not turn(b, store, 0.1)
    assert b.holder == "a"


def test_a_leader_that_stops_renewing_is_followed_after_the_duration_seen_by_the_other():
    store, a, b = Store(), Candidacy("l", "a", TERMS), Candidacy("l", "b", TERMS)
    turn(a, store, 0.0)
    turn(b, store, 5.0)
    assert not turn(b, store, 19.9)
    assert turn(b, store, 20.0)
    assert store.lease.transitions == 1


def test_a_frozen_store_ends_the_right_before_anyone_else_can_begin():
    store, a = Store(), Candidacy("l", "a", TERMS)
    turn(a, store, 0.0)
    assert a.leading(9.99)
    assert not a.leading(10.0)


def test_resigning_lets_the_other_lead_at_once():
    store, a, b = Store(), Candidacy("l", "a", TERMS), Candidacy("l", "b", TERMS)
    turn(a, store, 0.0)
    turn(b, store, 0.5)
    store.write(a.resign(), 1.0)
    assert not a.leading(1.0)
    assert turn(b, store, 1.1)


def test_resigning_without_the_lease_writes_nothing():
    store, a, b = Store(), Candidacy("l", "a", TERMS), Candidacy("l", "b", TERMS)
    turn(a, store, 0.0)
    turn(b, store, 0.0)
    assert b.resign() is None


def test_losing_the_lease_to_another_ends_the_right_on_the_next_read():
    a = Candidacy("l", "a", TERMS)
    a.wrote(Lease("l", "a", "1", 15, resource_version="1"), 0.0)
    a.observe(Lease("l", "b", "2", 15, resource_version="2"), 1.0)
    assert not a.leading(1.0)


def test_times_that_cannot_be_safe_are_refused():
    with pytest.raises(ValueError, match="renew deadline"):
        Terms(duration=5, renew_deadline=5, retry=1)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30), st.booleans(), st.booleans()), min_size=1, max_size=80)
)
def test_there_are_never_two_leaders(steps):
    store, now = Store(), 0.0
    candidates = {name: Candidacy("l", name, TERMS) for name in "abc"}
    for name, wait, reachable, answered in steps:
        now += wait
        candidate = candidates[name]
        if reachable:
            candidate.observe(store.lease, now)
            wanted = candidate.wanted(now)
            stored = store.write(wanted, now) if wanted is not None else None
            if stored is not None and answered:
                candidate.wrote(stored, now)
        assert sum(c.leading(now) for c in candidates.values()) <= 1

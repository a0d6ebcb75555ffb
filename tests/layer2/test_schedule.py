"""When addresses are told to everybody: the times are those of the constants, on a clock that the test turns."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.schedule import BATCH, GRATUITOUS_INTERVAL, GRATUITOUS_PERIOD, REFRESH_PERIOD, Schedule

A, B = bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("20010db8000000000000000000000002")


def take(schedule, now, limit):
    """The addresses that are told, whether new or refreshed."""
    due = schedule.take_due(now, limit)
    return [*due.new, *due.refreshed]


def times(schedule, until, limit=BATCH):
    """Turn the clock from deadline to deadline; every (time, address) that is told up to `until`."""
    told = []
    for _ in range(10_000):
        now = schedule.next_deadline()
        if now is None or now > until:
            return told
        told += [(now, ip) for ip in take(schedule, now, limit)]
    raise AssertionError("the deadline does not move on")


def test_nothing_announced_is_never_due():
    assert Schedule().next_deadline() is None
    assert take(Schedule(), 1e9, 10) == []


def test_a_new_address_is_told_at_once_and_repeated_while_it_is_new():
    schedule = Schedule()
    schedule.add([A], 100.0)
    told = times(schedule, 100 + GRATUITOUS_PERIOD)
    assert [round(now - 100, 6) for now, _ in told] == [0, 1.1, 2.2, 3.3, 4.4]


def test_afterwards_it_is_told_once_in_every_refresh_period():
    schedule = Schedule()
    schedule.add([A, B], 0.0)
    told = times(schedule, 10 * REFRESH_PERIOD)
    for address in (A, B):
        later = [now for now, ip in told if ip == address and now > GRATUITOUS_PERIOD]
        assert 9 <= len(later) <= 10
        assert later[0] <= GRATUITOUS_PERIOD + REFRESH_PERIOD
        gaps = {round(after - before, 6) for before, after in itertools.pairwise(later)}
        assert gaps == {REFRESH_PERIOD}


def test_a_refresh_is_told_from_the_repetitions_of_a_new_address():
    schedule = Schedule()
    schedule.add([A], 0.0)
    while (now := schedule.next_deadline()) <= GRATUITOUS_PERIOD:
        assert schedule.take_due(now, 10) == ([A], [])
    assert schedule.take_due(now, 10) == ([], [A])


def test_refreshes_of_many_addresses_are_spread_over_the_period():
    schedule = Schedule()
    addresses = [A[:14] + n.to_bytes(2, "big") for n in range(1000)]
    schedule.add(addresses, 0.0)
    told = [now for now, _ in times(schedule, 2 * REFRESH_PERIOD) if now > REFRESH_PERIOD]
    seconds = [sum(1 for now in told if second <= now - REFRESH_PERIOD < second + 10) for second in range(0, 80, 10)]
    assert min(seconds) > 80
    assert max(seconds) < 140


def test_a_batch_is_never_larger_than_the_limit_and_the_rest_stays_due():
    schedule = Schedule()
    schedule.add([A[:14] + n.to_bytes(2, "big") for n in range(100)], 5.0)
    assert len(take(schedule, 5.0, 30)) == 30
    assert schedule.next_deadline() == 5.0
    assert len(take(schedule, 5.0, 100)) == 70
    assert schedule.next_deadline() == 5.0 + GRATUITOUS_INTERVAL


def test_after_a_long_stop_the_refreshes_that_were_missed_are_not_made_up_for():
    schedule = Schedule()
    schedule.add([A], 0.0)
    times(schedule, 2 * REFRESH_PERIOD)
    assert len(take(schedule, 50 * REFRESH_PERIOD, 10)) == 1
    assert 50 * REFRESH_PERIOD < schedule.next_deadline() <= 51 * REFRESH_PERIOD


def test_a_withdrawn_address_is_not_told_again():
    schedule = Schedule()
    schedule.add([A, B], 0.0)
    schedule.remove([A])
    assert {ip for _, ip in times(schedule, REFRESH_PERIOD)} == {B}


def test_an_address_that_comes_back_is_new_again():
    schedule = Schedule()
    schedule.add([A], 0.0)
    times(schedule, 50)
    schedule.remove([A])
    schedule.add([A], 50.0)
    assert len(times(schedule, 50 + GRATUITOUS_PERIOD)) == 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=200))
def test_whatever_comes_and_goes_only_what_is_there_is_due(steps):
    schedule = Schedule()
    held = set()
    for now, (add, number) in enumerate(steps):
        ip = A[:15] + bytes((number,))
        if add and ip not in held:
            schedule.add([ip], float(now))
            held.add(ip)
        elif not add:
            schedule.remove([ip])
            held.discard(ip)
    assert set(take(schedule, len(steps) + 1e6, 100)) == held

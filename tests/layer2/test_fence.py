"""A node that was late itself is silent until it has heard the others as long as they wait."""

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.fence import Fence

TIMEOUT = 0.3


def test_it_is_open_as_long_as_heartbeats_leave_in_time():
    fence = Fence()
    assert not any(fence.check(now / 10 + TIMEOUT, TIMEOUT, now / 10 + 0.29) for now in range(100))


def test_a_node_alone_is_never_fenced():
    fence = Fence()
    assert not any(fence.check(None, TIMEOUT, float(now)) for now in range(100))


def test_it_closes_at_the_moment_when_others_may_take_over():
    fence = Fence()
    assert not fence.check(10.3, TIMEOUT, 10.299)
    assert fence.check(10.3, TIMEOUT, 10.3)


def test_it_opens_when_heartbeats_were_in_time_for_as_long_as_others_wait():
    fence = Fence()
    assert fence.check(10.3, TIMEOUT, 11.0)
    assert [fence.check(11.0 + step + TIMEOUT, TIMEOUT, 11.0 + step) for step in (0.01, 0.1, 0.2, 0.309, 0.32)] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_being_late_again_begins_anew():
    fence = Fence()
    assert fence.check(10.3, TIMEOUT, 11.0)
    assert fence.check(11.3, TIMEOUT, 11.1)
    assert fence.check(11.3, TIMEOUT, 11.35)
    assert fence.check(11.65, TIMEOUT, 11.4)
    assert fence.check(11.99, TIMEOUT, 11.69)
    assert not fence.check(11.99, TIMEOUT, 11.71)


def test_it_opens_also_when_the_others_have_died_meanwhile_but_not_sooner():
    fence = Fence()
    assert fence.check(10.3, TIMEOUT, 11.0)
    assert fence.check(None, TIMEOUT, 11.01)
    assert fence.check(None, TIMEOUT, 11.3)
    assert not fence.check(None, TIMEOUT, 11.32)


@given(st.lists(st.tuples(st.floats(0.001, 0.5), st.booleans()), min_size=1, max_size=100))
def test_it_is_never_open_after_a_lease_that_ran_out(steps):
    fence, now, sent = Fence(), 0.0, 0.0
    for step, sends in steps:
        now += step
        closed = fence.check(sent + TIMEOUT, TIMEOUT, now)
        assert closed or now < sent + TIMEOUT
        if sends:
            sent = now

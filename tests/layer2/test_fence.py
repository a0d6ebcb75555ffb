"""A node that was late itself is silent until it has heard the others as long as they wait."""

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.fence import Fence

TIMEOUT = 0.3


def check(fence, sent_at, now, *, peers):
    """As the link process does with one interface."""
    return fence.check(sent_at + TIMEOUT if peers else None, sent_at, TIMEOUT, now)


def closed_after_a_stall():
    """A fence that has just closed, at 11.0: the last heartbeat left at 10.0."""
    fence = Fence()
    assert check(fence, 10.0, 11.0, peers=True)
    return fence


def test_it_is_open_as_long_as_heartbeats_leave_in_time():
    fence = Fence()
    assert not any(check(fence, now / 10, now / 10 + 0.29, peers=True) for now in range(100))


def test_a_node_alone_is_never_fenced():
    fence = Fence()
    assert not any(check(fence, 0.0, float(now), peers=False) for now in range(100))
    assert not fence.check(None, None, TIMEOUT, 100.0)


def test_it_closes_at_the_moment_when_others_may_take_over():
    fence = Fence()
    assert not check(fence, 10.0, 10.299, peers=True)
    assert check(fence, 10.0, 10.3, peers=True)


def test_it_opens_when_heartbeats_were_in_time_for_as_long_as_others_wait():
    fence = closed_after_a_stall()
    closed = [check(fence, 11.0 + step, 11.0 + step, peers=True) for step in (0.01, 0.1, 0.2, 0.309, 0.32)]
    assert closed == [True, True, True, True, False]


def test_being_late_again_begins_anew():
    fence = closed_after_a_stall()
    assert check(fence, 11.0, 11.1, peers=True)
    assert check(fence, 11.0, 11.35, peers=True)
    assert check(fence, 11.35, 11.4, peers=True)
    assert check(fence, 11.65, 11.69, peers=True)
    assert not check(fence, 11.65, 11.71, peers=True)


def test_being_late_again_counts_also_when_the_others_were_not_heard_yet():
    fence = closed_after_a_stall()
    assert check(fence, 11.0, 11.1, peers=False)
    assert check(fence, 11.1, 13.0, peers=False)
    assert check(fence, 13.0, 13.1, peers=False)
    assert not check(fence, 13.4, 13.41, peers=False)


def test_it_opens_also_when_the_others_have_died_meanwhile_but_not_sooner():
    fence = closed_after_a_stall()
    assert check(fence, 11.0, 11.01, peers=False)
    assert check(fence, 11.2, 11.3, peers=False)
    assert not check(fence, 11.3, 11.32, peers=False)


def test_it_stays_closed_while_no_interface_sends():
    fence = closed_after_a_stall()
    assert fence.check(None, None, TIMEOUT, 20.0)
    assert check(fence, 20.1, 20.1, peers=False)
    assert not check(fence, 20.4, 20.41, peers=False)


def test_one_interface_that_is_late_is_enough_to_close_it():
    assert Fence().check(10.0 + TIMEOUT, 10.9, TIMEOUT, 11.0)


@given(st.lists(st.tuples(st.floats(0.001, 0.5), st.booleans(), st.booleans()), min_size=1, max_size=100))
def test_it_is_never_open_while_others_may_have_taken_over(steps):
    fence, now, sent, late = Fence(), 0.0, 0.0, -1.0
    for step, sends, peers in steps:
        now += step
        closed = check(fence, sent, now, peers=peers)
        if now >= sent + TIMEOUT and (peers or closed):
            late = now
        assert closed or late < 0 or now >= late + TIMEOUT
        if sends:
            sent = now

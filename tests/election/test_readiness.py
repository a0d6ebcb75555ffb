"""How long a node listens before it takes anything over, and when its claims are strong."""

import pytest

from metallb_cli.election.readiness import LONGEST_LISTENING, STRENGTH_AFTER, Listening, Strength


def test_listening_ends_once():
    listening = Listening(100.0, 0.5, None)
    assert not listening.ends(100.4)
    assert listening.ends(100.5)
    assert listening.settled
    assert not listening.ends(100.6)


def test_when_the_whole_cluster_starts_it_takes_another_time():
    assert Listening(100.0, 0.5, 3.0).until == 103.0


def test_news_prolong_it_up_to_a_limit():
    listening = Listening(100.0, 0.5, None)
    listening.news(100.3)
    assert listening.until == 100.8
    for tenth in range(4, 200):
        listening.news(100.0 + tenth / 10)
    assert listening.until == 100.0 + LONGEST_LISTENING


def test_news_after_it_do_not_begin_it_again_but_a_fence_does():
    listening = Listening(100.0, 0.5, None)
    assert listening.ends(101.0)
    listening.news(102.0)
    assert listening.settled
    listening.restart(103.0)
    assert not listening.settled
    assert listening.until == 103.5


def test_a_node_that_hears_more_than_half_for_long_enough_is_strong():
    strength = Strength()
    assert strength.until is None
    strength.hears(True, False, 100.0)
    assert strength.until == 100.0 + STRENGTH_AFTER
    assert not strength.begins(100.5)
    strength.hears(True, False, 100.6)
    assert strength.begins(101.0)
    assert strength.strong
    assert strength.until is None
    assert not strength.begins(101.1)


@pytest.mark.parametrize(("quorum", "until"), [(True, 101.5 + STRENGTH_AFTER), (False, None)])
def test_who_loses_a_node_is_weak_at_once_and_counts_anew_while_it_hears_enough(quorum, until):
    strength = Strength()
    strength.hears(True, False, 100.0)
    strength.begins(101.0)
    strength.hears(quorum, True, 101.5)
    assert not strength.strong
    assert strength.until == until


def test_who_was_late_counts_anew():
    strength = Strength()
    strength.restart(99.0)
    assert strength.until is None
    strength.hears(True, False, 100.0)
    strength.begins(101.0)
    strength.restart(102.0)
    assert not strength.strong
    assert strength.until == 102.0 + STRENGTH_AFTER

from metallb_cli.model import Lease
from metallb_cli.reconcile.liveness import Liveness, lease_name, node_of


def lease(node, renewed, holder="h", duration=6.0):
    return Lease(lease_name(node), holder, str(renewed), duration)


def watching(*nodes):
    liveness = Liveness("me", 6.0)
    for node in nodes:
        liveness.observe(lease(node, 0), 0.0)
    return liveness


def test_a_speaker_is_alive_while_its_lease_changes():
    liveness = watching("a")
    for second in range(2, 60, 2):
        liveness.observe(lease("a", second), float(second))
        assert liveness.suspects(float(second) + 5.9) == []
    assert liveness.live() == {"a", "me"}


def test_an_expired_lease_is_only_a_suspect_until_a_fresh_read_confirms_it():
    liveness = watching("a")
    assert liveness.suspects(6.0) == ["speaker-a"]
    assert liveness.live() == {"a", "me"}
    liveness.confirm("speaker-a", lease("a", 0), 6.1)
    assert liveness.live() == {"me"}
    assert liveness.suspects(7.0) == []


def test_a_fresh_read_that_shows_a_change_means_the_watch_lagged():
    liveness = watching("a")
    liveness.confirm("speaker-a", lease("a", 5), 6.1)
    assert liveness.live() == {"a", "me"}
    assert liveness.suspects(12.0) == []
    assert liveness.suspects(12.1) == ["speaker-a"]


def test_a_lease_given_back_ends_the_life_at_once():
    liveness = watching("a", "b")
    liveness.observe(lease("a", 1, holder=""), 1.0)
    assert liveness.live() == {"b", "me"}


def test_a_dead_speaker_that_renews_lives_again():
    liveness = watching("a")
    liveness.confirm("speaker-a", lease("a", 0), 6.1)
    liveness.observe(lease("a", 9), 9.0)
    assert liveness.live() == {"a", "me"}


def test_repeating_an_unchanged_lease_does_not_prolong_a_life():
    liveness = watching("a")
    liveness.observe(lease("a", 0), 5.0)
    assert liveness.suspects(6.0) == ["speaker-a"]


def test_after_an_outage_of_the_store_everybody_gets_the_whole_time_again():
    liveness = watching("a")
    liveness.restart_clocks(100.0)
    assert liveness.suspects(105.9) == []
    assert liveness.suspects(106.0) == ["speaker-a"]


def test_a_deleted_lease_and_one_that_vanished_before_the_fresh_read_are_forgotten():
    liveness = watching("a", "b")
    liveness.forget("speaker-a")
    liveness.confirm("speaker-b", None, 6.0)
    assert liveness.live() == {"me"}


def test_the_observer_itself_never_dies_and_waits_for_nobody_when_alone():
    liveness = watching()
    liveness.observe(lease("me", 0), 0.0)
    assert liveness.suspects(99.0) == []
    assert liveness.next_deadline() is None
    assert liveness.live() == {"me"}


def test_the_next_deadline_is_the_first_expiry():
    liveness = watching("a", "b")
    liveness.observe(lease("b", 3), 3.0)
    assert liveness.next_deadline() == 6.0


def test_other_leases_of_the_namespace_are_ignored():
    liveness = watching()
    liveness.observe(Lease("metallb-controller", "x", "1"), 0.0)
    assert liveness.live() == {"me"}
    assert node_of("speaker-") is None

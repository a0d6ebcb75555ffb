"""Who takes part in the election: the LAN first, the Lease for what the LAN cannot tell."""

from metallb_cli.election import Standing
from metallb_cli.model import Peer
from metallb_cli.reconcile.api_outage import ApiOutagePolicy, suspended
from metallb_cli.reconcile.standings import LeasedSpeaker, standings

ME = "node1"


def decide(*peers, leased=(), draining=()):
    return standings(ME, {peer.node: peer for peer in peers}, leased, draining)


def lease(node, **fields):
    return LeasedSpeaker(node, **{"live": True, "boot": 5, "tells": True, "heartbeats": True, **fields})


def test_a_node_that_is_heard_is_alive_with_the_flags_that_it_sends():
    found = decide(Peer("node2", 5, live=True, unsteady=True), Peer("node3", 5, live=True, leaving=True))
    assert found.speakers == {"node2": Standing(unsteady=True), "node3": Standing(leaving=True)}


def test_a_node_that_was_heard_and_is_not_any_more_is_dead_although_its_lease_lives():
    found = decide(Peer("node2", 5, live=False), leased=[lease("node2")])
    assert found.speakers == {}


def test_a_speaker_that_started_anew_and_was_not_heard_yet_is_judged_by_its_lease():
    found = decide(Peer("node2", 5, live=False), leased=[lease("node2", boot=6)])
    assert found.speakers == {"node2": Standing()}


def test_while_nobody_is_heard_leases_decide():
    found = decide(leased=[lease("node2"), lease("node3", live=False)])
    assert found.speakers == {"node2": Standing()}


def test_what_a_speaker_claims_that_does_not_say_so_on_its_lease_is_not_known():
    found = decide(leased=[lease("node2", tells=False, heartbeats=False)])
    assert found.speakers == {"node2": Standing(heard=False)}


def test_a_node_that_nobody_hears_is_dead_when_others_are_heard():
    found = decide(Peer("node2", 5, live=True), leased=[lease("node2"), lease("node3")])
    assert found.speakers == {"node2": Standing()}


def test_a_speaker_that_sends_no_heartbeats_is_judged_by_its_lease_even_when_others_are_heard():
    found = decide(Peer("node2", 5, live=True), leased=[lease("node3", heartbeats=False)])
    assert found.speakers == {"node2": Standing(), "node3": Standing()}


def test_a_node_that_an_operator_drains_counts_as_leaving_however_it_is_known():
    found = decide(Peer("node2", 5, live=True), leased=[lease("node3", heartbeats=False)], draining={"node2", "node3"})
    assert all(standing.leaving for standing in found.speakers.values())


def test_this_node_is_never_in_its_own_list():
    found = decide(Peer(ME, 5, live=True), leased=[lease(ME)])
    assert found.speakers == {}


class TestQuorum:
    def test_more_than_half_of_the_speakers_in_touch_this_one_counted(self):
        two_of_three = decide(Peer("node2", 5, live=True), leased=[lease(ME), lease("node2"), lease("node3")])
        assert two_of_three.quorum

    def test_half_is_not_more_than_half(self):
        one_of_two = decide(Peer("node2", 5, live=False), leased=[lease(ME), lease("node2")])
        assert not one_of_two.quorum

    def test_the_last_of_all_is_more_than_half_when_the_others_leases_ran_out(self):
        assert decide(Peer("node2", 5, live=False), leased=[lease(ME), lease("node2", live=False)]).quorum

    def test_speakers_without_heartbeats_do_not_count(self):
        assert decide(leased=[lease("node2", heartbeats=False), lease("node3", heartbeats=False)]).quorum


class TestApiOutage:
    def test_a_short_silence_is_no_outage(self):
        assert not any(suspended(policy, 5.9, 6.0, quorum=False) for policy in ApiOutagePolicy)

    def test_freeze_goes_on(self):
        assert not suspended(ApiOutagePolicy.FREEZE, 1e6, 6.0, quorum=False)

    def test_majority_goes_on_with_one(self):
        assert not suspended(ApiOutagePolicy.MAJORITY, 7.0, 6.0, quorum=True)
        assert suspended(ApiOutagePolicy.MAJORITY, 7.0, 6.0, quorum=False)

    def test_withdraw_stops(self):
        assert suspended(ApiOutagePolicy.WITHDRAW, 7.0, 6.0, quorum=True)

from dataclasses import replace

import pytest

from metallb_cli.model import Node, TrafficPolicy
from metallb_cli.reconcile.drain import STUCK_AFTER, Drain, Handover
from metallb_cli.reconcile.lease_notes import CLAIMS, SpeakerNote
from tests.reconcile.situations import DNS, WEB, A, B, cluster, speaker


def follow(*snapshots, every=0.5):
    """A drain of node1 that saw these, one every half second; and what was new in the last one."""
    drain = Drain("node1")
    news = ()
    for number, each in enumerate(snapshots):
        news = drain.observe(each, number * every)
    return drain, news


def states(drain):
    return {each.address: each.state for each in drain.addresses}


def test_a_node_that_announces_nothing_is_drained_at_once():
    drain, news = follow(cluster(speaker("node1"), speaker("node2", A)))
    assert drain.done
    assert (drain.speaker, drain.addresses, news) == (True, (), ())


def test_an_address_is_held_until_another_node_has_it_and_this_one_let_go():
    before = cluster(speaker("node1", A), speaker("node2"))
    both = cluster(speaker("node1", A), speaker("node2", A))
    after = cluster(speaker("node1"), speaker("node2", A))
    assert not follow(before)[0].done
    assert not follow(before, both)[0].done
    drain, news = follow(before, both, after, after)
    assert drain.done
    assert news == ()
    [moved] = drain.addresses
    assert (moved.address, moved.service, moved.state, moved.holders, moved.seconds) == (
        "172.30.1.96",
        "default/web",
        Handover.MOVED,
        ("node2",),
        1.0,
    )


def test_what_is_new_is_told_once():
    before = cluster(speaker("node1", A, B), speaker("node2"))
    after = cluster(speaker("node1", B), speaker("node2", A))
    assert [each.state for each in follow(before)[1]] == [Handover.HELD, Handover.HELD]
    assert [(each.address, each.state) for each in follow(before, after)[1]] == [("172.30.1.96", Handover.MOVED)]


def test_an_address_that_nobody_has_taken_yet_is_waited_for():
    before = cluster(speaker("node1", A), speaker("node2"))
    nobody = cluster(speaker("node1"), speaker("node2"))
    drain, _ = follow(before, nobody)
    assert states(drain) == {"172.30.1.96": Handover.RELEASED}
    assert not drain.done
    assert not drain.stuck


@pytest.mark.parametrize(
    "afterwards",
    [
        {"services": ()},
        {"services": (replace(WEB, ingress=()),)},
        {"pods": ()},
    ],
)
def test_an_address_that_nobody_shall_announce_any_more_is_not_waited_for(afterwards):
    before = cluster(speaker("node1", A), speaker("node2"))
    drain, _ = follow(before, cluster(speaker("node1"), speaker("node2"), **afterwards))
    assert states(drain) == {"172.30.1.96": Handover.GONE}
    assert drain.done


def test_the_last_node_that_may_answer_keeps_the_address_and_it_is_said_why():
    local = replace(WEB, traffic_policy=TrafficPolicy.LOCAL)
    stays = cluster(
        speaker("node1", A),
        speaker("node2"),
        services=(local, DNS),
        pods=("node1",),
        draining=("node1",),
        special={"node3": Node("node3", excluded=True)},
    )
    drain, _ = follow(stays)
    [kept] = drain.addresses
    assert kept.state is Handover.STAYS
    assert kept.explanation == "no other node may answer for it: node2 (noLocalEndpoints), node3 (NoSpeaker)"
    assert not drain.stuck


def test_only_when_nobody_has_been_allowed_for_a_while_the_drain_is_stuck():
    stays = cluster(speaker("node1", A), nodes=("node1",))
    drain = Drain("node1")
    drain.observe(stays, 0.0)
    drain.observe(stays, STUCK_AFTER - 0.1)
    assert not drain.stuck
    drain.observe(cluster(speaker("node1", A), speaker("node2")), STUCK_AFTER)
    drain.observe(stays, STUCK_AFTER + 1)
    assert not drain.stuck
    drain.observe(stays, 2 * STUCK_AFTER + 1)
    assert drain.stuck
    assert not drain.done
    assert drain.addresses[0].explanation == "there is no other node"


def test_as_long_as_one_address_can_move_the_drain_is_not_stuck():
    local = replace(WEB, traffic_policy=TrafficPolicy.LOCAL)
    state = cluster(speaker("node1", A, B), speaker("node2"), services=(local, DNS))
    alone = replace(
        state, endpoints={**state.endpoints, local.key: replace(state.endpoints[local.key], nodes=frozenset({"node1"}))}
    )
    drain, _ = follow(alone, alone, every=100.0)
    assert states(drain) == {"172.30.1.96": Handover.STAYS, "172.30.1.97": Handover.HELD}
    assert not drain.stuck


def test_nodes_that_are_drained_too_or_stop_are_no_heirs():
    state = cluster(
        speaker("node1", A),
        speaker("node2"),
        speaker("node3", note=SpeakerNote(leaving=True)),
        draining=("node1", "node2"),
    )
    drain, _ = follow(state)
    assert states(drain) == {"172.30.1.96": Handover.STAYS}
    assert drain.addresses[0].explanation == (
        "no other node may answer for it: node2 (nodeDraining), node3 (nodeDraining)"
    )


def test_a_node_that_may_not_answer_itself_lets_go_without_an_heir():
    state = cluster(speaker("node1", A), special={"node1": Node("node1", excluded=True, draining=True)})
    drain, _ = follow(state)
    assert states(drain) == {"172.30.1.96": Handover.HELD}


@pytest.mark.parametrize("gone", [(), (speaker("node1", A, holder=""),), (speaker("node1", A, age=60.0),)])
def test_a_node_without_a_live_speaker_announces_nothing(gone):
    drain, _ = follow(cluster(*gone, speaker("node2", A)))
    assert (drain.speaker, drain.done) == (False, True)


def test_a_speaker_that_does_not_say_what_it_announces_is_never_taken_for_empty():
    drain, _ = follow(cluster(speaker("node1", A, notes=(CLAIMS,)), speaker("node2")))
    assert not drain.done


def test_an_address_that_comes_only_after_the_beginning_is_followed_too():
    drain, news = follow(cluster(speaker("node1"), speaker("node2")), cluster(speaker("node1", B), speaker("node2")))
    assert [each.address for each in news] == ["172.30.1.97"]
    assert not drain.done

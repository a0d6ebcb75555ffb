from dataclasses import replace
from ipaddress import ip_address

import pytest

from metallb_cli.election.claims import MAX_EPOCH
from metallb_cli.errors import NotPossibleError
from metallb_cli.model import Node, Protocol, TrafficPolicy
from metallb_cli.reconcile.audit import ConfigurationState
from metallb_cli.reconcile.lease_notes import ANNOUNCING, SPEAKER, SpeakerNote
from metallb_cli.reconcile.move import MovePlan, holders, plan_move
from tests.allocator.build import pool
from tests.reconcile.situations import DNS, WEB, A, B, cluster, speaker


def refusal(snapshot, address=A, node="node2"):
    with pytest.raises(NotPossibleError) as caught:
        plan_move(address, node, snapshot)
    return str(caught.value)


def test_the_service_that_has_the_address_is_asked_at_the_epoch_of_the_owners_claim():
    state = cluster(speaker("node1", A, epoch=7), speaker("node2", B, epoch=9), speaker("node3"))
    assert plan_move(A, "node2", state) == MovePlan(A, WEB.key, "node2", ("node1",), 7)
    assert plan_move(B, "node3", state) == MovePlan(B, DNS.key, "node3", ("node2",), 9)


@pytest.mark.parametrize(("before", "epoch"), [(6, 7), (9, 9), (MAX_EPOCH, 7)])
def test_a_request_that_was_never_spent_is_not_newer(before, epoch):
    asked = replace(WEB, move_to="node3", move_epoch=before)
    state = cluster(speaker("node1", A, epoch=7), speaker("node2"), speaker("node3"), services=(asked,))
    assert plan_move(A, "node2", state).epoch == epoch


def test_what_a_dead_speaker_claimed_does_not_count():
    state = cluster(speaker("node1", A, epoch=7), speaker("node2"), speaker("node3", A, epoch=12, age=60.0))
    assert plan_move(A, "node2", state).epoch == 7


def test_an_address_that_nobody_announces_can_be_asked_for_too():
    assert plan_move(A, "node2", cluster(speaker("node1"), speaker("node2"))) == MovePlan(A, WEB.key, "node2", (), 0)


def test_of_two_that_announce_it_the_newer_claim_counts():
    state = cluster(speaker("node1", A, epoch=7), speaker("node2"), speaker("node3", A, epoch=8))
    plan = plan_move(A, "node2", state)
    assert (plan.owners, plan.epoch) == (("node1", "node3"), 8)


def test_who_has_the_address_is_what_live_speakers_say():
    before = cluster(speaker("node1", A), speaker("node2"))
    plan = plan_move(A, "node2", before)
    assert holders(plan, before) == ("node1",)
    assert holders(plan, cluster(speaker("node1", A), speaker("node2", A))) == ("node1", "node2")
    assert holders(plan, cluster(speaker("node1"), speaker("node2", A, age=60.0))) == ()


def test_an_address_that_no_service_has_is_refused():
    state = cluster(speaker("node1", A), speaker("node2"))
    assert refusal(state, ip_address("192.0.2.1")) == (
        "no Service has the address 192.0.2.1; `metallb status -n metal-system` shows those in use"
    )


def test_a_service_of_another_class_has_nothing_to_move():
    state = cluster(speaker("node1", A), speaker("node2"), services=(replace(WEB, load_balancer_class="other"),))
    assert refusal(state).startswith("no Service has the address 172.30.1.96")
    assert plan_move(A, "node2", replace(state, lb_class="other")).service == WEB.key


@pytest.mark.parametrize(
    ("name", "hint"),
    [("node22", "; did you mean node2?"), ("elsewhere", "; there are node1, node2, node3")],
)
def test_a_node_that_does_not_exist_is_refused_with_a_hint(name, hint):
    state = cluster(speaker("node1", A), speaker("node2"))
    assert refusal(state, node=name) == f"there is no Node {name}{hint}"


@pytest.mark.parametrize("target", [(), (speaker("node2", holder=""),), (speaker("node2", age=60.0),)])
def test_a_node_without_a_live_speaker_is_refused(target):
    assert refusal(cluster(speaker("node1", A), *target)).startswith("no speaker is alive on node2: kubectl -n metal")


def test_the_node_that_has_it_is_refused():
    assert refusal(cluster(speaker("node1"), speaker("node2", A))) == "node2 announces 172.30.1.96 already"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"special": {"node2": Node("node2", excluded=True)}},
            "node2 may not answer for 172.30.1.96: nodeLabeledExcludeBalancers, "
            "it has the label node.kubernetes.io/exclude-from-external-load-balancers. These may: node1",
        ),
        (
            {"special": {"node2": Node("node2", network_unavailable=True)}},
            "node2 may not answer for 172.30.1.96: nodeNetworkUnavailable, its condition NetworkUnavailable is True. "
            "These may: node1",
        ),
        (
            {"services": (replace(WEB, traffic_policy=TrafficPolicy.LOCAL),), "pods": ("node1",)},
            "node2 may not answer for 172.30.1.96: noLocalEndpoints, externalTrafficPolicy is Local, and no ready pod "
            "of default/web runs there. These may: node1",
        ),
        (
            {"pods": ()},
            "172.30.1.96 (default/web) is not announced: the Service has no ready endpoint; look at its pods: "
            "kubectl -n default get endpointslices -l kubernetes.io/service-name=web",
        ),
        (
            {"draining": ("node2",)},
            "node2 is being drained or its speaker is stopping, so it takes nothing over; "
            "`metallb drain node2 --undo` ends a drain",
        ),
    ],
)
def test_a_node_that_may_not_answer_is_refused_with_the_reason(fields, message):
    assert refusal(cluster(speaker("node1", A), speaker("node2"), **fields)) == message


def test_an_address_of_a_bgp_pool_is_refused():
    state = cluster(speaker("node1", A), speaker("node2"))
    bgp = ConfigurationState((pool("p", "172.30.1.96-172.30.1.99", protocol=Protocol.BGP),))
    assert "protocol bgp" in refusal(replace(state, configuration=bgp))


def test_with_the_election_of_metallb_nothing_can_be_moved():
    note = SpeakerNote(election="metallb")
    message = refusal(cluster(speaker("node1", A, note=note), speaker("node2", note=note)))
    assert message.startswith("the speakers run with --election=metallb, by which node")


def test_an_owner_that_does_not_write_its_claims_is_named():
    state = cluster(speaker("node1", A, notes=(ANNOUNCING, SPEAKER)), speaker("node2"))
    assert refusal(state).startswith("the speaker on node1 announces 172.30.1.96, but does not write its claim")

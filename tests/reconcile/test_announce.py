from dataclasses import replace
from ipaddress import ip_address, ip_network
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.election import elect
from metallb_cli.model import Endpoints, Node, Protocol, Reason, TrafficPolicy
from metallb_cli.reconcile.announce import ClusterState, judge
from metallb_cli.reconcile.interface_notes import Reach
from tests.allocator.build import key, pool
from tests.reconcile.build import DEFAULT, service

NODES = ("node1", "node2", "node3")
WEB = service("web", "172.30.1.96", allocated_pool="default")  # node3, then node1, then node2
LOCAL = replace(WEB, traffic_policy=TrafficPolicy.LOCAL)


def state(pods=("node1",), *, speakers=NODES, nodes=NODES, pools=(DEFAULT,), elsewhere=False, **options):
    return ClusterState(
        pools=pools,
        nodes={n if isinstance(n, str) else n.name: Node(n) if isinstance(n, str) else n for n in nodes},
        speakers=frozenset(speakers),
        endpoints={WEB.key: Endpoints(frozenset(pods), elsewhere)},
        **options,
    )


def only(verdicts):
    assert len(verdicts) == 1
    return verdicts[0]


def owner(subject, *args, **options):
    return only(judge(subject, state(*args, **options))).owner


def test_one_node_owns_the_address_as_in_metallb():
    verdict = only(judge(WEB, state()))
    assert (verdict.service, verdict.address) == (WEB.key, ip_address("172.30.1.96"))
    assert (verdict.owner, verdict.reason) == ("node3", Reason.ANNOUNCED)
    assert verdict.candidates == NODES
    assert verdict.excluded == {}
    assert verdict.protocol is Protocol.LAYER2
    assert not verdict.stranded


def test_the_next_in_the_ranking_takes_over_when_the_owner_is_gone_and_gives_it_back():
    assert owner(WEB, speakers=("node1", "node2")) == "node1"
    assert owner(WEB, speakers=("node2",)) == "node2"
    assert owner(WEB) == "node3"


def test_with_policy_cluster_any_speaker_may_own_it_as_long_as_a_pod_is_ready_somewhere():
    assert owner(WEB, pods=("elsewhere-node",)) == "node3"
    assert owner(WEB, pods=(), elsewhere=True) == "node3"


def test_without_a_ready_pod_nobody_announces():
    for subject in (WEB, LOCAL):
        verdict = only(judge(subject, state(pods=())))
        assert (verdict.owner, verdict.reason) == (None, Reason.NO_ENDPOINTS)
    unknown = replace(WEB, key=key("unknown"))
    assert only(judge(unknown, state())).reason is Reason.NO_ENDPOINTS


def test_with_policy_local_only_nodes_with_a_ready_pod_are_candidates():
    verdict = only(judge(LOCAL, state(pods=("node1", "node2"))))
    assert (verdict.owner, verdict.candidates) == ("node1", ("node1", "node2"))
    assert verdict.excluded == {"node3": Reason.NO_LOCAL_ENDPOINTS}


def test_a_node_that_is_out_for_all_services_says_so_and_not_that_it_has_no_pod():
    broken = ("node1", "node2", Node("node3", network_unavailable=True))
    verdict = only(judge(LOCAL, state(pods=("node1",), nodes=broken)))
    assert verdict.excluded == {"node2": Reason.NO_LOCAL_ENDPOINTS, "node3": Reason.NODE_NETWORK_UNAVAILABLE}


@pytest.mark.parametrize("options", [{"pods": ("node9",)}, {"pods": (), "elsewhere": True}])
def test_with_policy_local_and_pods_only_where_no_speaker_is_nobody_announces(options):
    verdict = only(judge(LOCAL, state(**options)))
    assert (verdict.owner, verdict.reason, verdict.candidates) == (None, Reason.NO_LOCAL_ENDPOINTS, ())
    assert verdict.excluded == dict.fromkeys(NODES, Reason.NO_LOCAL_ENDPOINTS)


def test_a_node_without_network_is_no_candidate_until_it_has_one_again():
    broken = ("node1", "node2", Node("node3", network_unavailable=True))
    verdict = only(judge(WEB, state(nodes=broken)))
    assert verdict.owner == "node1"
    assert verdict.excluded == {"node3": Reason.NODE_NETWORK_UNAVAILABLE}
    assert owner(WEB) == "node3"


def test_a_labelled_node_is_no_candidate_unless_the_label_is_ignored():
    labelled = ("node1", "node2", Node("node3", excluded=True))
    verdict = only(judge(WEB, state(nodes=labelled)))
    assert (verdict.owner, verdict.excluded) == ("node1", {"node3": Reason.NODE_EXCLUDED})
    assert owner(WEB, nodes=labelled, ignore_exclude_lb=True) == "node3"


def test_a_node_without_a_live_speaker_is_listed_as_such():
    verdict = only(judge(WEB, state(speakers=("node1",))))
    assert verdict.excluded == {"node2": Reason.NO_SPEAKER, "node3": Reason.NO_SPEAKER}


def test_a_live_speaker_whose_node_is_not_known_is_a_candidate():
    assert owner(WEB, nodes=()) == "node3"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"speakers": ()}, Reason.NO_SPEAKER),
        ({"nodes": [Node(n, network_unavailable=True) for n in NODES]}, Reason.NODE_NETWORK_UNAVAILABLE),
        ({"nodes": [Node(n, excluded=True) for n in NODES]}, Reason.NODE_EXCLUDED),
        (
            {"nodes": [Node("node1", excluded=True), Node("node2", network_unavailable=True)], "speakers": NODES[:2]},
            Reason.NODE_NETWORK_UNAVAILABLE,
        ),
        ({"nodes": [Node("node1", excluded=True)], "speakers": ("node1",)}, Reason.NODE_EXCLUDED),
    ],
)
def test_when_nobody_can_announce_the_reason_is_what_stops_a_live_speaker(options, reason):
    verdict = only(judge(WEB, state(**options)))
    assert (verdict.owner, verdict.reason) == (None, reason)


ON = Reach(usable=True, networks=(ip_network("172.30.1.0/24"), ip_network("2001:db8:1::/64")))
ELSEWHERE = Reach(usable=True, networks=(ip_network("10.0.0.0/8"),))
BARE = Reach(usable=True, networks=())
UNSAID = Reach(usable=True, networks=None)
NOWHERE = Reach(usable=False, networks=())
OFF_NETWORK, NO_INTERFACE = Reason.NODE_NOT_ON_NETWORK, Reason.NODE_NO_INTERFACE


@pytest.mark.parametrize(
    ("reach", "owner", "excluded"),
    [
        ({"node1": ON, "node2": ON, "node3": ON}, "node3", {}),
        ({"node1": ON, "node2": ON, "node3": ELSEWHERE}, "node1", {"node3": OFF_NETWORK}),
        ({"node1": ELSEWHERE, "node2": ON, "node3": BARE}, "node2", {"node1": OFF_NETWORK, "node3": OFF_NETWORK}),
        ({"node2": ON}, "node2", {"node1": OFF_NETWORK, "node3": OFF_NETWORK}),
        ({"node1": UNSAID, "node2": ON, "node3": UNSAID}, "node2", {"node1": OFF_NETWORK, "node3": OFF_NETWORK}),
        ({"node1": ELSEWHERE, "node2": BARE}, "node3", {}),
        ({"node1": ELSEWHERE, "node3": ELSEWHERE}, "node3", {}),
        ({"node3": NOWHERE}, "node1", {"node3": NO_INTERFACE}),
        ({"node1": ON, "node3": NOWHERE}, "node1", {"node2": OFF_NETWORK, "node3": NO_INTERFACE}),
    ],
)
def test_nodes_on_the_network_are_candidates_and_without_any_all_with_an_interface(reach, owner, excluded):
    verdict = only(judge(WEB, state(reach=reach)))
    assert (verdict.owner, verdict.excluded) == (owner, excluded)
    assert set(verdict.candidates) == set(NODES) - excluded.keys()


def test_each_family_has_networks_of_its_own():
    both = replace(WEB, ingress=(ip_address("172.30.1.96"), ip_address("2001:db8:2::1")))
    four, six = judge(both, state(reach={"node1": ON, "node2": ON}))
    assert four.candidates == ("node1", "node2")
    assert six.candidates == NODES


@pytest.mark.parametrize(
    "options",
    [
        {"speakers": ("node2", "node3")},
        {"nodes": (Node("node1", network_unavailable=True), "node2", "node3")},
        {"nodes": (Node("node1", excluded=True), "node2", "node3")},
    ],
)
def test_a_node_on_the_network_that_may_not_answer_keeps_nobody_else_from_it(options):
    verdict = only(judge(WEB, state(reach={"node1": ON, "node3": ELSEWHERE}, **options)))
    assert verdict.candidates == ("node2", "node3")


def test_a_local_pod_on_another_network_helps_nobody():
    verdict = only(judge(LOCAL, state(pods=("node3",), reach={"node1": ON, "node3": ELSEWHERE})))
    assert (verdict.owner, verdict.reason) == (None, Reason.NO_LOCAL_ENDPOINTS)
    assert verdict.excluded == {"node1": Reason.NO_LOCAL_ENDPOINTS, "node2": OFF_NETWORK, "node3": OFF_NETWORK}


def test_when_no_node_has_an_interface_nobody_announces_and_that_is_the_reason():
    verdict = only(judge(WEB, state(reach=dict.fromkeys(NODES, NOWHERE))))
    assert (verdict.owner, verdict.reason, verdict.candidates) == (None, NO_INTERFACE, ())


def test_a_stranded_address_of_ours_is_announced_on():
    for pools in ((), (pool("default", "172.30.1.96/30", avoid_buggy_ips=True, arp_network="172.30.1.96/27"),)):
        verdict = only(judge(WEB, state(pools=pools)))
        assert (verdict.owner, verdict.stranded, verdict.protocol) == ("node3", True, Protocol.LAYER2)


def test_an_address_in_no_pool_that_we_never_assigned_is_not_announced():
    verdict = only(judge(replace(WEB, allocated_pool=None), state(pools=())))
    assert (verdict.owner, verdict.reason, verdict.protocol) == (None, Reason.NOT_ALLOWED, None)


def test_an_address_in_a_pool_is_announced_before_the_controller_has_marked_it():
    assert owner(replace(WEB, allocated_pool=None)) == "node3"


def test_an_address_of_a_bgp_pool_is_not_announced_yet():
    verdict = only(judge(WEB, state(pools=(pool("default", "172.30.1.0/24", protocol=Protocol.BGP),))))
    assert (verdict.owner, verdict.reason, verdict.protocol) == (None, Reason.BGP_NOT_ANNOUNCED, Protocol.BGP)


@pytest.mark.parametrize("protocol", [Protocol.ARP, Protocol.NDP, Protocol.LAYER2])
def test_ipv6_is_judged_like_ipv4(protocol):
    six = replace(WEB, ingress=(ip_address("2001:db8::1"),))
    verdict = only(judge(six, state(pools=(pool("six", "2001:db8::/64", protocol=protocol),))))
    assert (verdict.owner, verdict.protocol) == ("node3", protocol)


def test_each_address_has_its_own_verdict():
    verdicts = judge(
        replace(WEB, ingress=(ip_address("172.30.1.96"), ip_address("203.0.113.1"))), state(pools=(DEFAULT,))
    )
    assert [(str(v.address), v.owner, v.stranded) for v in verdicts] == [
        ("172.30.1.96", "node3", False),
        ("203.0.113.1", elect(ip_address("203.0.113.1"), NODES), True),
    ]


def test_there_is_nothing_to_say_about_a_service_without_address_or_of_another_type():
    assert judge(service("web"), state()) == ()
    assert judge(replace(WEB, is_load_balancer=False), state()) == ()


node_sets = st.sets(st.sampled_from(NODES))


@given(node_sets, node_sets, node_sets, node_sets, node_sets, st.booleans(), st.booleans(), st.booleans())
def test_exactly_the_nodes_that_may_are_candidates(
    speakers, known, unavailable, labelled, pods, local, ignore, elsewhere
):
    nodes = [Node(n, n in unavailable, n in labelled) for n in known]
    subject = LOCAL if local else WEB
    verdict = only(
        judge(subject, state(pods, speakers=speakers, nodes=nodes, ignore_exclude_lb=ignore, elsewhere=elsewhere))
    )
    expected = {
        n
        for n in speakers
        if not (n in known and n in unavailable)
        and not (n in known and n in labelled and not ignore)
        and (n in pods or not local)
    }
    if not pods and not elsewhere:
        expected = set()
        assert verdict.reason is Reason.NO_ENDPOINTS
    else:
        assert set(verdict.excluded) == (speakers | known) - expected
    assert set(verdict.candidates) == expected
    assert verdict.owner == elect(verdict.address, expected)
    assert (verdict.reason is Reason.ANNOUNCED) == (verdict.owner is not None)


def test_every_node_comes_to_the_same_verdict():
    """The same facts in any order: what one speaker thinks, all think."""
    forward = state(("node1", "node2"), speakers=("node1", "node2", "node3"))
    backward = state(("node2", "node1"), speakers=("node3", "node2", "node1"), nodes=reversed(NODES))
    assert judge(WEB, forward) == judge(WEB, backward)


@pytest.mark.parametrize("networks", [None, ["10.0.0.0/8"], [f"10.0.{n}.0/24" for n in range(0, 40, 2)]])
def test_the_time_to_judge_grows_with_the_number_of_services_and_not_with_that_of_pools_too(networks):
    pools = tuple(pool(f"p{n}", f"10.0.{n}.0/24") for n in range(40))
    nodes = tuple(f"node{n}" for n in range(10))
    services = [
        replace(WEB, key=key(f"s{n}"), ingress=(ip_address("10.0.0.0") + n,), allocated_pool=f"p{n // 256}")
        for n in range(10_000)
    ]
    endpoints = {s.key: Endpoints(frozenset({nodes[n % 10]})) for n, s in enumerate(services)}
    reach = Reach(usable=True, networks=None if networks is None else tuple(map(ip_network, networks)))
    cluster = ClusterState(
        pools, {n: Node(n) for n in nodes}, frozenset(nodes), endpoints, reach=dict.fromkeys(nodes, reach)
    )

    def seconds(some, pools):
        best = float("inf")
        for _ in range(3):
            began = perf_counter()
            owners = [only(judge(s, replace(cluster, pools=pools))).owner for s in some]
            best = min(best, perf_counter() - began)
            assert set(owners) == set(nodes)
        return best

    assert seconds(services, pools) < 40 * seconds(services[:1000], pools[:4])  # 10 if linear

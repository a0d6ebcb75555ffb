import json
from dataclasses import asdict, replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import Endpoints, Interface, Lease, Node, Protocol, Reason, TrafficPolicy
from metallb_cli.reconcile.audit import ConfigurationState, ObservedLease, Snapshot, audit
from metallb_cli.reconcile.interface_notes import encode_interfaces
from tests.allocator.build import key, pool
from tests.reconcile.build import DEFAULT, SMALL, service

NODES = ("node1", "node2", "node3")
WEB = service("web", "172.30.1.96", allocated_pool="default", created=1000.0)  # node3 owns it
INTERFACES = '[{"name": "eth0", "verdict": "usable"}, {"name": "docker0", "verdict": "excludedByName"}]'


def speaker(node, announcing="", *, age=1.0, holder=None):
    annotations = (("metallb.io/interfaces", INTERFACES),)
    if announcing is not None:
        annotations += (("metallb.io/announcing", announcing),)
    return ObservedLease(
        Lease(f"speaker-{node}", node if holder is None else holder, "t", 6.0, annotations=annotations), age
    )


def speakers(**announcing):
    return tuple(speaker(node, announcing.get(node, "")) for node in NODES)


def snapshot(*services, pools=(DEFAULT,), pods=("node1",), **fields):
    fields.setdefault("speakers", speakers(node3="172.30.1.96"))
    fields.setdefault("configuration", ConfigurationState(pools))
    return Snapshot(
        namespace="metal-system",
        now=5000.0,
        services=services,
        endpoints={s.key: Endpoints(frozenset(pods)) for s in services},
        nodes={n: Node(n) for n in NODES},
        **fields,
    )


def only_row(report):
    assert len(report.services) == 1
    return report.services[0]


def problems(report):
    return [(p.reason, p.subject) for p in report.problems]


def test_a_cluster_in_which_all_is_well_is_healthy():
    report = audit(snapshot(WEB))
    assert report.healthy
    assert report.problems == ()
    assert (report.namespace, report.taken) == ("metal-system", 5000.0)
    row = only_row(report)
    assert (row.namespace, row.name, row.address) == ("default", "web", "172.30.1.96")
    assert (row.owner, row.holders, row.agrees) == ("node3", ("node3",), True)
    assert (row.reason, row.announcement, row.action) == ("nodeAssigned", "nodeAssigned", "")
    assert row.explanation == "announced by node3, chosen of node1, node2, node3"
    assert (row.pool, row.protocol, row.since) == ("default", "layer2", 1000.0)
    assert (row.candidates, row.excluded) == (NODES, {})


def test_a_report_is_ready_for_json():
    huge = pool("six", "2001:db8::/32")
    report = audit(snapshot(WEB, service("new"), pools=(DEFAULT, huge), controller=speaker("x")))
    data = json.loads(json.dumps(asdict(report)))
    assert data["pools"][1]["free_v6"] == 2**96
    assert data["services"][1]["address"] == "172.30.1.96"
    assert data["speakers"][0]["interfaces"][0] == {
        "name": "eth0",
        "verdict": "usable",
        "networks": [],
        "explanation": "answering",
    }


def test_pools_are_counted_by_what_services_have_now():
    report = audit(snapshot(WEB, service("new"), pools=(DEFAULT, SMALL)))
    counted = {p.name: (p.total_v4, p.used_v4, p.free_v4, p.total_v6) for p in report.pools}
    assert counted == {"default": (32, 1, 31, 0), "small": (2, 0, 2, 0)}
    assert report.pools[0].ranges == ("172.30.1.96-172.30.1.127",)
    assert (report.pools[0].protocol, report.pools[0].auto_assign) == ("layer2", True)


# -- speakers


def test_speakers_are_listed_with_what_their_leases_say():
    report = audit(snapshot(WEB, speakers=(speaker("node3", "172.30.1.96"), speaker("node1", age=2.5))))
    first, second = report.speakers
    assert (first.node, first.state, first.age, first.addresses) == ("node1", "live", 2.5, ())
    assert second.addresses == ("172.30.1.96",)
    assert [(i.name, i.verdict) for i in first.interfaces] == [("eth0", "usable"), ("docker0", "excludedByName")]


@pytest.mark.parametrize(
    ("age", "holder", "state"),
    [(5.9, None, "live"), (6.0, None, "dead"), (None, None, "dead"), (-3.0, None, "live"), (1.0, "", "stopped")],
)
def test_a_speaker_lives_until_its_lease_runs_out(age, holder, state):
    report = audit(snapshot(speakers=(speaker("node1", age=age, holder=holder),)))
    assert report.speakers[0].state == state
    assert ("NoSpeaker", "node1") in problems(report) or state != "dead"


def test_a_dead_speaker_owns_and_holds_nothing_and_is_reported():
    report = audit(snapshot(WEB, speakers=(speaker("node3", "172.30.1.96", age=60), speaker("node1", "172.30.1.96"))))
    row = only_row(report)
    assert (row.owner, row.holders, row.agrees) == ("node1", ("node1",), True)
    assert row.excluded == {"node2": "NoSpeaker", "node3": "NoSpeaker"}
    assert problems(report) == [("NoSpeaker", "node3")]
    assert "stopped renewing its Lease 60 s ago" in report.problems[0].message
    assert report.speakers[1].addresses == ("172.30.1.96",), "what it said last is still shown"


def test_a_speaker_that_gave_its_lease_back_is_no_problem():
    left = (speaker("node3", "", holder=""), speaker("node1", "172.30.1.96"))
    report = audit(snapshot(WEB, speakers=left))
    assert report.healthy
    assert only_row(report).owner == "node1"


def test_leases_that_are_no_speakers_are_left_out():
    report = audit(snapshot(speakers=(ObservedLease(Lease("other", "x", "t", 6.0), 1.0),)))
    assert report.speakers == ()


def on(node, *networks, verdict=Reason.USABLE, announcing="", master="", **lease):
    """A speaker whose one interface beside docker0 has these networks."""
    interfaces = (
        Interface("eth0", 2, verdict=verdict, networks=tuple(map(ip_network, networks)), master=master),
        Interface("docker0", 3, verdict=Reason.INTERFACE_EXCLUDED),
    )
    observed = speaker(node, announcing, **lease)
    notes = {**dict(observed.lease.annotations), "metallb.io/interfaces": encode_interfaces(interfaces)}
    return replace(observed, lease=replace(observed.lease, annotations=tuple(notes.items())))


def test_the_owner_is_looked_for_on_the_network_of_the_address_as_the_speakers_do():
    here, elsewhere = "172.30.1.0/24", "10.0.0.0/8"
    who = (on("node1", here, announcing="172.30.1.96"), on("node2", elsewhere), on("node3", elsewhere))
    report = audit(snapshot(WEB, speakers=who))
    assert report.healthy
    row = only_row(report)
    assert (row.owner, row.candidates) == ("node1", ("node1",))
    assert row.excluded == {"node2": "nodeNotOnNetwork", "node3": "nodeNotOnNetwork"}
    assert report.speakers[0].interfaces[0].networks == (here,)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ([["10.0.0.0/8"], ["10.0.0.0/8"]], True),
        ([["10.0.0.0/8"], ["172.30.1.0/24"]], False),
        ([["10.0.0.0/8"], []], False),
    ],
)
def test_an_address_on_no_network_of_any_node_is_told_and_no_problem(networks, told):
    first, second = networks
    who = (on("node1", *first), on("node3", *second, announcing="172.30.1.96"))
    report = audit(snapshot(WEB, speakers=who))
    assert ("no node has an IP address on its network" in only_row(report).explanation) == told
    assert report.healthy


@pytest.mark.parametrize(
    ("verdict", "master", "explanation"),
    [
        (Reason.INTERFACE_ENSLAVED, "br0", "port of br0, which answers in its place"),
        (Reason.INTERFACE_ENSLAVED, "", "port of a bridge or bond, which answers in its place"),
        (Reason.INTERFACE_NO_CARRIER, "", "no carrier: look at cable and switch"),
        (Reason.INTERFACE_DOWN, "", "switched off (ip link set eth0 up)"),
    ],
)
def test_why_an_interface_is_skipped_is_said_in_words(verdict, master, explanation):
    report = audit(snapshot(speakers=(on("node1", verdict=verdict, master=master),)))
    assert report.speakers[0].interfaces[0].explanation == explanation


def test_every_verdict_has_words_of_its_own():
    verdicts = [reason for reason in Reason if reason.name.startswith("INTERFACE_")]
    words = {audit(snapshot(speakers=(on("n", verdict=v),))).speakers[0].interfaces[0].explanation for v in verdicts}
    assert len(words) == len(verdicts) >= 8
    assert words.isdisjoint(reason.value for reason in Reason)


def test_a_live_speaker_without_usable_interface_is_a_problem_that_names_what_to_look_at():
    away = on("node3", verdict=Reason.INTERFACE_NO_CARRIER)
    report = audit(snapshot(WEB, speakers=(on("node1", announcing="172.30.1.96"), away)))
    assert only_row(report).owner == "node1"
    assert problems(report) == [("nodeNoInterface", "node3")]
    assert report.problems[0].message == (
        "the speaker on node3 has no usable interface, so it answers for nothing: "
        "eth0: no carrier: look at cable and switch"
    )
    gone = on("node3", verdict=Reason.INTERFACE_NO_CARRIER, age=60.0)
    assert problems(audit(snapshot(speakers=(gone,)))) == [("NoSpeaker", "node3")]


def test_when_no_node_has_a_usable_interface_the_service_says_so():
    report = audit(snapshot(WEB, speakers=tuple(on(n, verdict=Reason.INTERFACE_DOWN) for n in NODES)))
    row = only_row(report)
    assert (row.owner, row.reason) == (None, "nodeNoInterface")
    assert row.explanation == "not announced: the speaker has no usable interface on node1, node2, node3"
    assert ("nodeNoInterface", "default/web") in problems(report)


def test_a_local_pod_that_is_not_on_the_network_is_named():
    here = (on("node1", "172.30.1.0/24"), on("node3", "10.0.0.0/8"))
    local = replace(WEB, traffic_policy=TrafficPolicy.LOCAL)
    row = only_row(audit(snapshot(local, speakers=here, pods=("node3",))))
    assert row.explanation == (
        "not announced: externalTrafficPolicy is Local, and no ready endpoint is on node1; "
        "node3 cannot answer, not being on the network of 172.30.1.96"
    )


# -- who holds what


def test_two_holders_are_the_gravest_problem():
    report = audit(snapshot(WEB, speakers=speakers(node3="172.30.1.96", node1="172.30.1.90-172.30.1.99")))
    row = only_row(report)
    assert (row.holders, row.agrees) == (("node1", "node3"), False)
    assert report.problems[0].reason == "UnexpectedHolder"
    assert report.problems[0].message.startswith("2 nodes answer for 172.30.1.96: node1, node3; only node3 should")


def test_an_address_that_is_not_ours_is_explained_once():
    row = only_row(audit(snapshot(service("web", "203.0.113.7"), speakers=speakers())))
    assert row.explanation.startswith("it was not assigned here and is left as it is, but not announced: ")


def test_two_services_on_one_address_make_its_two_holders_one_problem():
    young = service("young", "172.30.1.96", allocated_pool="default", created=2000.0)
    report = audit(snapshot(WEB, young, speakers=speakers(node3="172.30.1.96", node1="172.30.1.96")))
    assert problems(report)[0] == ("UnexpectedHolder", "default/web")
    assert [reason for reason, _ in problems(report)].count("UnexpectedHolder") == 1


def test_an_owner_that_does_not_announce_is_a_problem():
    report = audit(snapshot(WEB, speakers=speakers()))
    assert problems(report) == [("OwnerNotHolding", "default/web")]
    assert report.problems[0].message.startswith("node3 should announce 172.30.1.96, but nobody does")
    assert only_row(report).agrees is False
    elsewhere = audit(snapshot(WEB, speakers=speakers(node1="172.30.1.96")))
    assert "but node1 does" in elsewhere.problems[0].message


@pytest.mark.parametrize("note", [None, "something new", "..."])
def test_a_speaker_that_does_not_say_what_it_holds_is_not_accused(note):
    silent = (speaker("node1"), speaker("node2"), speaker("node3", note))
    report = audit(snapshot(WEB, speakers=silent))
    assert only_row(report).agrees is None
    assert report.healthy


def test_an_address_that_nobody_should_announce_and_somebody_does_is_a_problem():
    report = audit(snapshot(WEB, pods=()))
    assert problems(report) == [("UnexpectedHolder", "default/web")]
    assert "nobody should (noEndpoints)" in report.problems[0].message


def test_addresses_that_no_service_has_are_a_problem_of_their_speaker():
    report = audit(snapshot(WEB, speakers=speakers(node3="172.30.1.96", node2="172.30.1.100-172.30.1.107")))
    assert problems(report) == [("UnexpectedHolder", "node2")]
    assert "172.30.1.104 and 3 more, which no Service has" in report.problems[0].message


# -- addresses that nobody announces


def test_a_service_without_ready_pods_is_explained_but_no_problem_of_ours():
    report = audit(snapshot(WEB, pods=(), speakers=speakers()))
    assert report.healthy
    row = only_row(report)
    assert (row.reason, row.owner, row.agrees) == ("noEndpoints", None, True)
    assert row.action.endswith("kubectl -n default get endpointslices -l kubernetes.io/service-name=web")


def test_without_any_live_speaker_there_is_one_problem_for_all_addresses():
    other = service("other", "172.30.1.97", allocated_pool="default")
    report = audit(snapshot(WEB, other, speakers=()))
    assert problems(report) == [("NoSpeaker", "speakers")]
    assert "nobody announces 172.30.1.97, 172.30.1.96" in report.problems[0].message
    assert "kubectl -n metal-system get pods -l app=metallb,component=speaker" in report.services[0].action


def judged(subject, nodes=(), **fields):
    base = snapshot(subject, **fields)
    return audit(replace(base, nodes={**base.nodes, **{n.name: n for n in nodes}}))


@pytest.mark.parametrize(
    ("subject", "fields", "reason", "explanation", "action"),
    [
        (
            replace(WEB, traffic_policy=TrafficPolicy.LOCAL),
            {"pods": ("node9",)},
            "noLocalEndpoints",
            "externalTrafficPolicy is Local, and no ready endpoint is on node1, node2, node3",
            "set externalTrafficPolicy to Cluster",
        ),
        (
            WEB,
            {"nodes": [Node(n, network_unavailable=True) for n in NODES]},
            "nodeNetworkUnavailable",
            "NetworkUnavailable is True on node1, node2, node3",
            "kubectl describe node node1",
        ),
        (
            WEB,
            {"nodes": [Node(n, excluded=True) for n in NODES]},
            "nodeLabeledExcludeBalancers",
            "exclude-from-external-load-balancers is on node1, node2, node3",
            "kubectl label node node1 node.kubernetes.io/exclude-from-external-load-balancers-",
        ),
        (
            WEB,
            {"pools": (pool("default", "172.30.1.0/24", protocol=Protocol.BGP),)},
            "BGPNotAnnounced",
            "its pool has protocol bgp, which is not announced yet",
            "move the address to a pool with protocol layer2",
        ),
        (
            service("web", "203.0.113.7"),
            {},
            "AddressNotInPool",
            "it was not assigned here and is left as it is, but not announced: 203.0.113.7 is in no pool",
            "add it to a pool, or remove it from the status of the Service to get another one",
        ),
    ],
)
def test_an_address_that_nobody_announces_is_a_problem_with_a_way_out(subject, fields, reason, explanation, action):
    report = judged(subject, speakers=speakers(), **fields)
    row = only_row(report)
    assert (row.reason, row.owner) == (reason, None)
    assert explanation in row.explanation
    assert action in row.action
    assert problems(report) == [(reason, "default/web")]
    assert explanation in report.problems[0].message
    assert action in report.problems[0].message


# -- Services without the address they should have


def test_a_service_that_the_controller_has_not_served_yet_says_what_it_would_get():
    report = audit(snapshot(WEB, service("new")))
    row = report.services[0]
    assert (row.address, row.reason, row.owner) == (None, "noIPAllocated", None)
    assert row.explanation == 'no address yet; the controller would assign 172.30.1.97 from pool "default"'
    assert "kubectl -n metal-system get pods -l app=metallb,component=controller" in row.action
    assert problems(report) == [("noIPAllocated", "default/new")]


def test_a_service_that_waits_says_why_and_its_pool_is_named():
    full = [service(f"s{n}", f"10.0.0.{n}", allocated_pool="small") for n in (1, 2)]
    report = audit(snapshot(*full, service("late"), pools=(SMALL,), pods=(), speakers=speakers()))
    row = report.services[0]
    assert (row.name, row.reason) == ("late", "PoolExhausted")
    assert row.explanation == 'no address: pool "small" (10.0.0.1-10.0.0.2) is full: 2 of 2 addresses are in use'
    assert row.action == "add addresses to a pool, or delete a Service that no longer needs one"
    assert problems(report) == [("PoolExhausted", "default/late"), ("PoolExhausted", "small")]


def test_a_pool_that_is_exactly_as_large_as_needed_is_no_problem():
    full = [service(f"s{n}", f"10.0.0.{n}", allocated_pool="small") for n in (1, 2)]
    assert audit(snapshot(*full, pools=(SMALL,), pods=(), speakers=speakers())).healthy


def test_two_services_that_wait_do_not_get_the_same_address_promised():
    report = audit(snapshot(service("a"), service("b"), pools=(SMALL,), speakers=speakers()))
    assert [row.explanation[-30:] for row in report.services] == [
        'sign 10.0.0.1 from pool "small"'[-30:],
        'sign 10.0.0.2 from pool "small"'[-30:],
    ]


def test_a_stranded_address_is_announced_and_a_problem():
    report = audit(snapshot(WEB, pools=(SMALL,)))
    row = only_row(report)
    assert (row.reason, row.announcement, row.owner, row.agrees) == ("AddressStranded", "nodeAssigned", "node3", True)
    assert (row.pool, row.protocol) == ("default", "layer2")
    assert "announced by node3" in row.explanation
    assert "it is kept, although the configuration does not allow it any more" in row.explanation
    assert "add it to a pool again" in row.action
    assert problems(report) == [("AddressStranded", "default/web")]


def test_a_wish_that_cannot_be_met_is_a_problem_while_the_old_address_is_announced():
    report = audit(snapshot(replace(WEB, requested_pool="nil")))
    row = only_row(report)
    assert (row.reason, row.owner) == ("UnknownPool", "node3")
    assert 'which it cannot have: pool "nil" does not exist' in row.explanation
    assert problems(report) == [("UnknownPool", "default/web")]


def test_an_address_that_two_services_have_is_explained_on_the_younger():
    young = service("young", "172.30.1.96", allocated_pool="default", created=2000.0)
    report = audit(snapshot(WEB, young))
    assert [(r.name, r.reason) for r in report.services] == [("web", "nodeAssigned"), ("young", "ClearAssignment")]
    assert "172.30.1.97 in its place: 172.30.1.96 is in use by default/web" in report.services[1].explanation
    assert problems(report) == [("ClearAssignment", "default/young")]


def test_a_service_of_another_class_is_listed_and_no_problem():
    report = audit(snapshot(service("web", "203.0.113.7", load_balancer_class="other"), speakers=speakers()))
    assert only_row(report).reason == "OtherLoadBalancerClass"
    assert report.healthy


def test_services_of_other_types_are_not_listed():
    assert audit(snapshot(service("dns", is_load_balancer=False), speakers=speakers())).services == ()


def test_services_are_sorted_by_name_and_each_address_has_a_row():
    two = replace(WEB, key=key("a"), ingress=(ip_address("172.30.1.98"), ip_address("172.30.1.99")))
    report = audit(snapshot(WEB, two, speakers=speakers()))
    assert [(r.name, r.address) for r in report.services] == [
        ("a", "172.30.1.98"), ("a", "172.30.1.99"), ("web", "172.30.1.96"),
    ]  # fmt: skip
    assert report.services[1].reason == "ClearAssignment"


# -- the configuration and the controller


@pytest.mark.parametrize(
    ("configuration", "state", "reason"),
    [
        (ConfigurationState(None, 3, "line 4: bad"), "invalid", "InvalidConfig"),
        (ConfigurationState(None, found=False), "missing", "ConfigMissing"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_problem_and_hides_no_owner(configuration, state, reason):
    report = audit(snapshot(replace(WEB, allocated_pool=None), service("new"), configuration=configuration))
    assert (report.configuration.state, report.configuration.problems) == (state, configuration.problems)
    new, web = report.services
    assert (new.reason, new.address) == (reason, None)
    assert (web.reason, web.owner, web.agrees) == ("nodeAssigned", "node3", True)
    assert problems(report) == [(reason, "configuration")]
    assert configuration.first_problem in report.problems[0].message


def test_warnings_in_a_good_configuration_are_counted_and_no_problem():
    report = audit(snapshot(WEB, configuration=ConfigurationState((DEFAULT,), 2, "line 1: unknown key")))
    assert (report.healthy, report.configuration.state, report.configuration.problems) == (True, "loaded", 2)


@pytest.mark.parametrize(("age", "holder", "healthy"), [(1.0, "c-1", True), (60.0, "c-1", False), (1.0, "", False)])
def test_a_controller_that_does_not_lead_any_more_is_a_problem(age, holder, healthy):
    lease = ObservedLease(Lease("metallb-controller", holder, "t", 15.0), age)
    report = audit(snapshot(WEB, controller=lease))
    assert report.healthy is healthy
    assert report.controller.holder == holder
    assert problems(report) == ([] if healthy else [("NoController", "controller")])


def test_problems_are_ordered_by_gravity():
    report = audit(
        snapshot(
            WEB,
            service("b", "172.30.1.97", allocated_pool="default"),
            service("c", "9.9.9.9", allocated_pool="gone"),
            service("late", requested=("172.30.1.97",)),
            speakers=(*speakers(node1="172.30.1.96", node3="172.30.1.96"), speaker("node4", age=99.0)),
            controller=ObservedLease(Lease("metallb-controller", "x", "t", 15.0), 99.0),
        )
    )
    assert [p.reason for p in report.problems] == [
        "UnexpectedHolder", "OwnerNotHolding", "OwnerNotHolding", "AddressStranded", "AddressInUse", "NoSpeaker",
        "NoController",
    ]  # fmt: skip


services = st.builds(
    service,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["172.30.1.96", "172.30.1.97", "10.0.0.1", "9.9.9.9", "2001:db8::1"]),
    allocated_pool=st.sampled_from([None, "default", "gone"]),
    requested_pool=st.sampled_from([None, "nil"]),
    load_balancer_class=st.sampled_from([None, "x"]),
    foreign_ingress=st.booleans(),
    traffic_policy=st.sampled_from(TrafficPolicy),
)


@given(
    st.lists(services, max_size=4, unique_by=lambda s: s.key),
    st.lists(
        st.tuples(st.sampled_from([*NODES, "node4"]), st.text(max_size=20), st.sampled_from([None, 1, 9])), max_size=4
    ),
    st.sampled_from([(DEFAULT,), (SMALL, DEFAULT), (), None]),
    st.sets(st.sampled_from([*NODES, "node4"])),
)
def test_every_snapshot_gives_a_report_that_is_consistent(subjects, leases, pools, pods):
    observed = tuple(speaker(node, note, age=age) for node, note, age in {lease[0]: lease for lease in leases}.values())
    report = audit(snapshot(*subjects, pools=pools, pods=pods, speakers=observed))
    json.dumps(asdict(report))
    assert report.healthy == (not report.problems)
    live = {s.node for s in report.speakers if s.state == "live"}
    assert {r.value for r in Reason} >= {row.reason for row in report.services} | {p.reason for p in report.problems}
    for row in report.services:
        assert row.owner is None or row.owner in live
        assert set(row.holders) <= live
        assert row.reason == Reason.ANNOUNCED.value or row.explanation
        assert row.agrees is not True or row.holders == ((row.owner,) if row.owner else ())


def test_a_drained_node_is_shown_as_such_and_is_no_problem():
    state = snapshot(WEB)
    report = audit(replace(state, nodes={**state.nodes, "node3": Node("node3", draining=True)}))
    assert [each.state for each in report.speakers] == ["live", "live", "draining"]
    assert report.speakers[2].live
    assert report.healthy


def test_a_drained_node_without_a_live_speaker_is_stopped_or_dead_all_the_same():
    leases = (speaker("node1", age=60.0), speaker("node2", holder=""))
    drained = {name: Node(name, draining=True) for name in NODES}
    assert [each.state for each in audit(replace(snapshot(speakers=leases), nodes=drained)).speakers] == [
        "dead",
        "stopped",
    ]

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metallb_cli.kube import objects
from metallb_cli.model import Endpoints, Lease, Node, Service, ServiceKey, ServicePort, TrafficPolicy

FULL = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "namespace": "metal-test",
        "name": "nginx",
        "uid": "u-1",
        "resourceVersion": "42",
        "creationTimestamp": "2026-11-23T10:00:00Z",
        "annotations": {
            "metallb.universe.tf/address-pool": "old",
            "metallb.io/address-pool": "default",
            "metallb.universe.tf/allow-shared-ip": "key",
            "metallb.io/ip-allocated-from-pool": "default",
            "metallb.io/move-to": "node2 7",
        },
    },
    "spec": {
        "type": "LoadBalancer",
        "loadBalancerClass": "metallb",
        "ipFamilies": ["IPv6", "IPv4"],
        "ipFamilyPolicy": "RequireDualStack",
        "clusterIPs": ["fd00::1", "10.96.0.1"],
        "clusterIP": "fd00::1",
        "loadBalancerIP": "172.30.1.96",
        "externalTrafficPolicy": "Local",
        "selector": {"b": "2", "a": "1"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"port": 53, "protocol": "UDP"}],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.96"}, {"ip": "2001:db8::1"}]}},
}


def test_a_service_is_read_whole():
    assert objects.service(FULL) == Service(
        key=ServiceKey("metal-test", "nginx"),
        uid="u-1",
        resource_version="42",
        is_load_balancer=True,
        load_balancer_class="metallb",
        versions=(6, 4),
        requested=("172.30.1.96",),
        requested_pool="default",
        allocated_pool="default",
        sharing_key="key",
        backend_key="a=1,b=2",
        traffic_policy=TrafficPolicy.LOCAL,
        ports=(ServicePort("TCP", 80, "http"), ServicePort("UDP", 53, "")),
        ingress=(ip_address("172.30.1.96"), ip_address("2001:db8::1")),
        created=1795428000.0,
        requires_dual_stack=True,
        move_to="node2",
        move_epoch=7,
    )


def read(spec=None, annotations=None, ingress=None):
    data = {"metadata": {"namespace": "n", "name": "s", "annotations": annotations}, "spec": spec or {}}
    return objects.service(data | {"status": {"loadBalancer": {"ingress": ingress}}})


@pytest.mark.parametrize(
    ("annotations", "pool"),
    [
        ({"metallb.universe.tf/address-pool": "old"}, "old"),
        ({"metallb.io/address-pool": "new"}, "new"),
        ({"metallb.universe.tf/address-pool": "old", "metallb.io/address-pool": "new"}, "new"),
        ({"metallb.universe.tf/address-pool": "old", "metallb.io/address-pool": ""}, None),
        ({"metallb.universe.tf/address-pool": "old", "metallb.io/address-pool": None}, "old"),
        ({}, None),
        (None, None),
    ],
)
def test_the_newer_annotation_wins_even_when_empty(annotations, pool):
    assert read(annotations=annotations).requested_pool == pool


def test_addresses_are_asked_for_by_annotation_or_by_field_and_both_is_noted():
    both = {"metallb.universe.tf/loadBalancerIPs": " 10.0.0.1 , fd00::1,"}
    assert read(annotations=both).requested == ("10.0.0.1", "fd00::1")
    assert not read(annotations=both).requested_twice
    twice = read({"loadBalancerIP": "10.0.0.2"}, both)
    assert twice.requested == ("10.0.0.1", "fd00::1")
    assert twice.requested_twice
    empty = read({"loadBalancerIP": "10.0.0.2"}, {"metallb.io/loadBalancerIPs": ""})
    assert empty.requested == ("10.0.0.2",)
    assert not empty.requested_twice


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ({"ipFamilies": ["IPv4"]}, (4,)),
        ({"ipFamilies": ["IPv4"], "clusterIPs": ["fd00::1"]}, (4,)),
        ({"ipFamilies": ["IPv9", 4, None]}, ()),
        ({"clusterIPs": ["fd00::1", "10.0.0.1"]}, (6, 4)),
        ({"clusterIP": "10.0.0.1"}, (4,)),
        ({"clusterIP": "None"}, ()),
        ({"clusterIP": ""}, ()),
        ({}, ()),
    ],
)
def test_ip_versions_come_from_families_else_from_cluster_addresses(spec, versions):
    assert read(spec).versions == versions


@pytest.mark.parametrize(
    ("ingress", "addresses", "foreign"),
    [
        (None, [], False),
        ([], [], False),
        ([{"ip": "10.0.0.1"}], ["10.0.0.1"], False),
        ([{"hostname": "lb.example.com"}], [], True),
        ([{"ip": "10.0.0.1", "hostname": "x"}], ["10.0.0.1"], False),
        ([{"ip": "10.0.0.1"}, {"ip": "10.0.0.256"}], ["10.0.0.1"], True),
        ([{"ip": "010.0.0.1"}], [], True),
        ([{"ip": "fe80::1%eth0"}], [], True),
        ([None], [], True),
        ("10.0.0.1", [], True),
    ],
)
def test_an_ingress_that_is_no_address_is_flagged(ingress, addresses, foreign):
    service = read(ingress=ingress)
    assert [str(address) for address in service.ingress] == addresses
    assert service.foreign_ingress is foreign


def test_ports_that_cannot_be_are_left_out():
    ports = [{"port": 0}, {"port": 65536}, {"port": "80"}, {"port": True}, {"port": 80.5}, None, {}, {"port": 443}]
    assert read({"ports": ports}).ports == (ServicePort("TCP", 443, ""),)


def test_only_the_type_load_balancer_is_one():
    assert read({"type": "LoadBalancer"}).is_load_balancer
    assert not read({"type": "ClusterIP"}).is_load_balancer
    assert not read({}).is_load_balancer


def test_a_service_is_the_same_when_only_its_version_differs():
    one = objects.service(FULL)
    assert objects.same_service(one, dataclasses.replace(one, resource_version="43"))
    assert not objects.same_service(one, dataclasses.replace(one, resource_version="43", uid="u-2"))


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        ("node2 7", ("node2", 7)),
        (" node2   7 ", ("node2", 7)),
        ("node2 0", ("node2", 0)),
        ("node2 4294967295", ("node2", 4294967295)),
        ("node2 4294967296", (None, 0)),
        ("node2 " + "9" * 5000, (None, 0)),
        ("node2 -1", (None, 0)),
        ("node2 \u0663", (None, 0)),
        ("node2", (None, 0)),
        ("7", (None, 0)),
        ("node2 node3 7", (None, 0)),
        ("n" * 254 + " 7", (None, 0)),
        ("", (None, 0)),
        (7, (None, 0)),
        (None, (None, 0)),
    ],
)
def test_a_request_to_move_is_a_node_and_an_epoch_and_anything_else_is_none(value, request_):
    service = read(annotations={"metallb.io/move-to": value})
    assert (service.move_to, service.move_epoch) == request_


def test_a_request_to_move_is_read_as_it_was_written():
    service = read(annotations={objects.MOVE_TO: objects.move_request("node-2.example", 41)})
    assert (service.move_to, service.move_epoch) == ("node-2.example", 41)


def test_a_new_request_to_move_makes_another_service():
    before, after = (read(annotations={"metallb.io/move-to": f"node2 {epoch}"}) for epoch in (1, 2))
    assert not objects.same_service(before, after)
    assert not objects.same_service(read(), after)


def test_half_a_surrogate_pair_does_not_get_in():
    service = objects.service(json.loads('{"metadata": {"annotations": {"metallb.io/allow-shared-ip": "a\\ud800b"}}}'))
    assert service.sharing_key == "a?b"


# -- nodes


def test_a_node_is_read():
    conditions = [{"type": "Ready", "status": "False"}, {"type": "NetworkUnavailable", "status": "True"}]
    labels = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
    data = {"metadata": {"name": "b", "labels": labels}, "status": {"conditions": conditions}}
    assert objects.node(data) == Node("b", network_unavailable=True, excluded=True)
    assert objects.node({"metadata": {"name": "b"}}) == Node("b")


@pytest.mark.parametrize(
    ("annotations", "draining"),
    [
        ({"metallb.io/drain": "true"}, True),
        ({"metallb.io/drain": ""}, True),
        ({"metallb.io/drain": "for repair"}, True),
        ({"metallb.io/drain": "false"}, False),
        ({"metallb.io/drain": None}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_node_is_draining_while_the_annotation_is_there_and_not_false(annotations, draining):
    assert objects.node({"metadata": {"name": "b", "annotations": annotations}}) == Node("b", draining=draining)


def test_a_heartbeat_does_not_change_a_node():
    def beat(when):
        condition = {"type": "NetworkUnavailable", "status": "False", "lastHeartbeatTime": when}
        return objects.node({"metadata": {"name": "b", "resourceVersion": when}, "status": {"conditions": [condition]}})

    assert beat("1") == beat("2")


# -- endpoints


def endpoint_slice(*endpoints, kind="IPv4", service="web"):
    labels = {"kubernetes.io/service-name": service} if service else {}
    metadata = {"namespace": "n", "name": "web-abc", "labels": labels}
    return objects.endpoint_slice({"metadata": metadata, "addressType": kind, "endpoints": list(endpoints)})


def endpoint(node=None, **conditions):
    return {"addresses": ["10.1.0.1"], "conditions": conditions, **({"nodeName": node} if node else {})}


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True}, True),
        ({"ready": True, "serving": False}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
    ],
)
def test_a_slices_endpoint_counts_when_ready_or_serving(conditions, counts):
    expected = Endpoints(frozenset({"a"})) if counts else Endpoints()
    assert endpoint_slice(endpoint("a", **conditions)) == (ServiceKey("n", "web"), expected)


def test_a_slice_tells_nodes_and_whether_some_endpoint_has_none():
    assert endpoint_slice(endpoint("a"), endpoint("b"), endpoint())[1] == Endpoints(frozenset({"a", "b"}), True)


def test_a_slice_of_no_service_or_of_host_names_is_left_out():
    assert endpoint_slice(endpoint("a"), service="") is None
    assert endpoint_slice(endpoint("a"), kind="FQDN") is None


def test_an_endpoint_without_an_address_does_not_count():
    assert endpoint_slice({"addresses": [], "nodeName": "a"})[1] == Endpoints()


def test_endpoints_are_the_ready_addresses():
    subsets = [
        {"addresses": [{"ip": "10.1.0.1", "nodeName": "a"}, {"ip": "10.1.0.2"}]},
        {
            "addresses": [{"ip": "10.1.0.3", "nodeName": "c"}],
            "notReadyAddresses": [{"ip": "10.1.0.4", "nodeName": "d"}],
        },
    ]
    data = {"metadata": {"namespace": "n", "name": "web"}, "subsets": subsets}
    assert objects.endpoints(data) == (ServiceKey("n", "web"), Endpoints(frozenset({"a", "c"}), True))


def test_an_address_that_any_subset_calls_not_ready_does_not_count():
    subsets = [
        {"addresses": [{"ip": "10.1.0.1", "nodeName": "a"}]},
        {"notReadyAddresses": [{"ip": "10.1.0.1", "nodeName": "a"}]},
    ]
    data = {"metadata": {"namespace": "n", "name": "web"}, "subsets": subsets}
    assert objects.endpoints(data)[1] == Endpoints()


def test_a_node_with_one_healthy_and_one_unhealthy_pod_stays():
    subsets = [
        {
            "addresses": [{"ip": "10.1.0.1", "nodeName": "a"}],
            "notReadyAddresses": [{"ip": "10.1.0.2", "nodeName": "a"}],
        }
    ]
    data = {"metadata": {"namespace": "n", "name": "web"}, "subsets": subsets}
    assert objects.endpoints(data)[1] == Endpoints(frozenset({"a"}))


# -- leases

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))


def test_a_lease_survives_being_written_and_read():
    lease = Lease("speaker-a", "me", "", 6.0, 3, "17", (("metallb.io/announcing", "10.0.0.1"),))
    body = objects.lease_body(lease, "metal-system", {"app": "metallb"}, NOW)
    assert body["metadata"]["labels"] == {"app": "metallb"}
    assert body["metadata"]["namespace"] == "metal-system"
    assert objects.lease(body) == dataclasses.replace(lease, renewed="2026-11-23T10:00:00.123456Z")


def test_a_lease_given_back_has_no_holder():
    body = objects.lease_body(Lease("x", holder="", duration=0.4), "n", {}, NOW)
    assert "holderIdentity" not in body["spec"]
    assert body["spec"]["leaseDurationSeconds"] == 1
    assert "resourceVersion" not in body["metadata"]


def test_the_time_of_a_lease_is_kept_when_it_is_given():
    assert objects.lease_body(Lease("x", renewed="then"), "n", {}, NOW)["spec"]["renewTime"] == "then"


def test_numbers_that_no_api_server_sends_count_as_not_there():
    spec = {"leaseDurationSeconds": 10**400, "leaseTransitions": True}
    assert objects.lease({"spec": spec}) == Lease("")


# -- the configuration


def test_a_config_map_without_the_key_is_an_empty_configuration():
    assert objects.config_text({"data": {"config": "address-pools: []"}}) == "address-pools: []"
    assert objects.config_text({"data": {"other": "x"}}) == ""
    assert objects.config_text({}) == ""
    assert objects.config_text({"data": {"mine": "x"}}, "mine") == "x"


# -- anything

KEYS = [
    *sorted({word for word in json.dumps(FULL).split('"') if word.isidentifier()}),
    "conditions",
    "endpoints",
    "addresses",
    "nodeName",
    "labels",
    "kubernetes.io/service-name",
    "subsets",
    "notReadyAddresses",
    "renewTime",
    "leaseDurationSeconds",
    "leaseTransitions",
    "holderIdentity",
    "data",
    "config",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["LoadBalancer", "10.0.0.1", "fd00::1", "2026-11-23T10:00:00Z", "9999-12-31T23:59:59Z", "IPv4"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner),
    max_leaves=20,
)


@given(anything)
def test_no_json_whatever_makes_reading_fail(data):
    assert isinstance(objects.service(data), Service)
    assert isinstance(objects.node(data), Node)
    assert isinstance(objects.lease(data), Lease)
    assert isinstance(objects.endpoints(data)[1], Endpoints)
    part = objects.endpoint_slice(data)
    assert part is None or isinstance(part[1], Endpoints)
    assert isinstance(objects.config_text(data), str)
    assert isinstance(objects.uid(data), str)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.dictionaries(st.sampled_from(sorted(FULL["spec"])), anything), st.lists(anything, max_size=3))
def test_a_service_with_any_spec_is_read_and_can_be_printed(spec, ingress):
    data = FULL | {"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}
    service = objects.service(data)
    assert service.key == ServiceKey("metal-test", "nginx")
    assert str(service).encode()
    assert hash(service) == hash(objects.service(data))


def test_micro_time_has_six_decimals_in_utc():
    assert objects.micro_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"

"""The rules of the lab's service proxy."""

from metallb_cli.lab.routing import Socket, as_slice, rules_for

VIP = Socket("172.30.1.96", 80)
ONE, TWO = Socket("10.244.1.2", 8080), Socket("10.244.2.2", 8080)


def service(*addresses, ports=({"name": "http", "port": 80},), kind="LoadBalancer", **spec):
    return {
        "metadata": {"namespace": "metal-test", "name": "nginx"},
        "spec": {"type": kind, "ports": list(ports), **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    }


def endpoint(address, node, ready=True):
    return {"addresses": [address], "nodeName": node, "conditions": {"ready": ready}}


def endpoint_slice(*endpoints, name="nginx", port=8080, port_name="http"):
    return {
        "metadata": {"namespace": "metal-test", "name": "any", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


BOTH = endpoint_slice(endpoint("10.244.1.2", "node1"), endpoint("10.244.2.2", "node2"))


def test_the_external_address_leads_to_every_ready_endpoint_on_every_node():
    for node in ("node1", "node2", "node3"):
        assert rules_for(node, [service("172.30.1.96")], [BOTH]) == {VIP: (ONE, TWO)}


def test_endpoints_of_several_slices_are_joined():
    slices = [endpoint_slice(endpoint("10.244.2.2", "node2")), endpoint_slice(endpoint("10.244.1.2", "node1"))]
    assert rules_for("node1", [service("172.30.1.96")], slices) == {VIP: (ONE, TWO)}


def test_an_endpoint_that_is_not_ready_gets_nothing():
    slices = [endpoint_slice(endpoint("10.244.1.2", "node1"), endpoint("10.244.2.2", "node2", ready=False))]
    assert rules_for("node1", [service("172.30.1.96")], slices) == {VIP: (ONE,)}


def test_a_service_without_endpoint_has_no_rule():
    assert rules_for("node1", [service("172.30.1.96")], []) == {}
    assert rules_for("node1", [service("172.30.1.96")], [endpoint_slice()]) == {}


def test_traffic_policy_local_uses_only_the_nodes_own_endpoints():
    local = service("172.30.1.96", externalTrafficPolicy="Local")
    assert rules_for("node2", [local], [BOTH]) == {VIP: (TWO,)}
    assert rules_for("node3", [local], [BOTH]) == {}


def test_only_ipv4_addresses_of_load_balancer_services_count():
    assert rules_for("node1", [service("172.30.1.96", kind="ClusterIP")], [BOTH]) == {}
    assert rules_for("node1", [service("2001:db8::1", "garbage", "")], [BOTH]) == {}
    assert rules_for("node1", [service()], [BOTH]) == {}


def test_each_port_leads_to_the_endpoint_port_of_the_same_name():
    ports = (
        {"name": "http", "port": 80},
        {"name": "other", "port": 81},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    )
    other = endpoint_slice(endpoint("10.244.1.2", "node1"), port=9090, port_name="other")
    assert rules_for("node1", [service("172.30.1.96", ports=ports)], [BOTH, other]) == {
        VIP: (ONE, TWO),
        Socket("172.30.1.96", 81): (Socket("10.244.1.2", 9090),),
    }


def test_slices_of_other_services_do_not_matter():
    assert rules_for("node1", [service("172.30.1.96")], [endpoint_slice(endpoint("10.0.0.1", "node1"), name="x")]) == {}


def test_endpoints_of_an_old_api_server_say_the_same_as_a_slice():
    endpoints = {
        "metadata": {"namespace": "metal-test", "name": "nginx"},
        "subsets": [
            {
                "addresses": [{"ip": "10.244.1.2", "nodeName": "node1"}],
                "notReadyAddresses": [{"ip": "10.244.2.2", "nodeName": "node2"}],
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            }
        ],
    }
    assert rules_for("node3", [service("172.30.1.96")], [as_slice(endpoints)]) == {VIP: (ONE,)}
    assert rules_for("node3", [service("172.30.1.96")], [as_slice({"metadata": endpoints["metadata"]})]) == {}

import ipaddress

import pytest

from tests.contract.conftest import service
from tests.support.raw_api import STRATEGIC

NODE_PORTS = range(30000, 32768)


def spec_of(answer):
    return answer.ok()["spec"]


def causes(answer):
    assert (answer.status, answer.reason) == (422, "Invalid"), answer.data
    return [cause["field"] for cause in answer.json["details"]["causes"]]


def test_a_load_balancer_gets_address_ports_and_defaults(api):
    spec = api.service(ports=[{"port": 80}])["spec"]
    assert ipaddress.ip_address(spec["clusterIP"]) in ipaddress.ip_network("10.96.0.0/16")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    (port,) = spec["ports"]
    assert (port["protocol"], port["targetPort"]) == ("TCP", 80)
    assert port["nodePort"] in NODE_PORTS
    assert (spec["sessionAffinity"], spec["externalTrafficPolicy"]) == ("None", "Cluster")


def test_a_service_without_type_is_a_cluster_ip(api):
    spec = api.create("services", {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})["spec"]
    assert spec["type"] == "ClusterIP"
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec


def test_a_new_service_has_an_empty_status(api):
    body = {**service(), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    assert api.create("services", body)["status"] == {"loadBalancer": {}}


def test_a_headless_service_has_no_address(api):
    spec = api.service(type="ClusterIP", clusterIP="None", ports=[])["spec"]
    assert spec["clusterIP"] == "None"


def test_two_services_never_share_address_or_node_port(api):
    one, two = api.service("a")["spec"], api.service("b")["spec"]
    assert one["clusterIP"] != two["clusterIP"]
    assert one["ports"][0]["nodePort"] != two["ports"][0]["nodePort"]
    taken = service("c", clusterIP=one["clusterIP"])
    assert api.post(api.path("services"), taken).status == 422
    taken = service("c", ports=[{"port": 80, "nodePort": one["ports"][0]["nodePort"]}])
    assert causes(api.post(api.path("services"), taken)) == ["spec.ports[0].nodePort"]


def test_what_a_deleted_service_had_can_be_taken(api):
    spec = api.service("a")["spec"]
    api.delete(api.path("services", "a")).ok()
    again = service("b", clusterIP=spec["clusterIP"], ports=[{"port": 1, "nodePort": spec["ports"][0]["nodePort"]}])
    made = api.create("services", again)["spec"]
    assert made["clusterIP"] == spec["clusterIP"]
    assert made["ports"][0]["nodePort"] == spec["ports"][0]["nodePort"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 70000}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80, "targetPort": "Bad_Name"}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "protocol": "HTTP"}]}, "spec.ports[0].protocol"),
        ({"ports": [{"port": 80, "nodePort": 80}]}, "spec.ports[0].nodePort"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "spec.ports[1]"),
        ({"ports": []}, "spec.ports"),
        ({"type": "Balanced"}, "spec.type"),
        ({"clusterIP": "192.0.2.1"}, "spec.clusterIPs"),
        ({"externalTrafficPolicy": "Nearby"}, "spec.externalTrafficPolicy"),
        ({"sessionAffinity": "Always"}, "spec.sessionAffinity"),
        ({"type": "ExternalName"}, "spec.externalName"),
    ],
)
def test_a_service_that_makes_no_sense_is_invalid(api, change, field):
    assert field in causes(api.post(api.path("services"), service(**change)))


def test_a_bad_source_range_is_invalid(api):
    answer = api.post(api.path("services"), service(loadBalancerSourceRanges=["10.0.0.0/33"]))
    assert causes(answer)[0].lower().startswith("spec.loadbalancersourceranges")


def test_the_cluster_address_cannot_change(api):
    api.service()
    answer = api.patch(api.path("services", "a"), {"spec": {"clusterIP": "10.96.1.77", "clusterIPs": ["10.96.1.77"]}})
    assert causes(answer) == ["spec.clusterIPs[0]"]


def test_a_change_of_type_gives_and_takes_node_ports(api):
    made = api.service()
    path = api.path("services", "a")
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    api.patch(path + "/status", status).ok()
    spec = spec_of(api.patch(path, {"spec": {"type": "ClusterIP"}}, STRATEGIC))
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec
    assert spec["clusterIP"] == made["spec"]["clusterIP"]
    # Whoever gave the address has to take it back: the server does not.
    assert api.get(path).ok()["status"] == status["status"]
    spec = spec_of(api.patch(path, {"spec": {"type": "NodePort"}}, STRATEGIC))
    assert spec["ports"][0]["nodePort"] in NODE_PORTS


def test_a_put_that_says_nothing_of_node_ports_keeps_them(api):
    made = api.service()
    number = made["spec"]["ports"][0].pop("nodePort")
    assert spec_of(api.put(api.path("services", "a"), made))["ports"][0]["nodePort"] == number


def test_a_local_load_balancer_has_a_health_check_port(api):
    spec = api.service(externalTrafficPolicy="Local")["spec"]
    assert spec["healthCheckNodePort"] in NODE_PORTS
    assert spec["healthCheckNodePort"] != spec["ports"][0]["nodePort"]
    path = api.path("services", "a")
    assert "healthCheckNodePort" not in spec_of(api.patch(path, {"spec": {"externalTrafficPolicy": "Cluster"}}))


def test_an_external_name_has_no_address(api):
    body = {"metadata": {"name": "a"}, "spec": {"type": "ExternalName", "externalName": "example.org"}}
    assert "clusterIP" not in api.create("services", body)["spec"]


def test_a_requested_load_balancer_address_is_kept_as_written(api):
    assert api.service(loadBalancerIP="192.0.2.9")["spec"]["loadBalancerIP"] == "192.0.2.9"


def test_the_load_balancer_class_is_kept_and_immutable(api):
    assert api.service(loadBalancerClass="example.org/a")["spec"]["loadBalancerClass"] == "example.org/a"
    answer = api.patch(api.path("services", "a"), {"spec": {"loadBalancerClass": "example.org/b"}})
    assert causes(answer) == ["spec.loadBalancerClass"]


def test_node_ports_can_be_declined(api):
    spec = api.service(allocateLoadBalancerNodePorts=False)["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_services_say_their_ip_family(api):
    spec = api.service()["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_a_dual_stack_service_gets_two_addresses(api):
    spec = api.service(ipFamilyPolicy="PreferDualStack")["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert [ipaddress.ip_address(each).version for each in spec["clusterIPs"]] == [4, 6]


# -- the status


def test_the_status_is_written_by_its_own_path_only(api):
    made = api.service()
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    unchanged = api.patch(api.path("services", "a"), {"status": status}).ok()
    assert unchanged["status"] == {"loadBalancer": {}}
    body = {"status": status, "spec": {"externalTrafficPolicy": "Local", "ports": [{"port": 99}]}}
    new = api.patch(api.path("services", "a", "status"), body).ok()
    assert new["status"] == status
    assert new["spec"] == made["spec"]
    assert api.get(api.path("services", "a", "status")).ok() == new


def test_annotations_and_labels_can_be_written_with_the_status(api):
    """So one PATCH can give the address and say from which pool it is."""
    api.service()
    body = {
        "metadata": {"annotations": {"example.org/pool": "default"}, "labels": {"x": "1"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }
    api.patch(api.path("services", "a", "status"), body).ok()
    found = api.get(api.path("services", "a")).ok()
    assert found["metadata"]["annotations"] == {"example.org/pool": "default"}
    assert found["metadata"]["labels"]["x"] == "1"
    assert found["status"] == body["status"]


@pytest.mark.parametrize("kind", ["application/merge-patch+json", STRATEGIC])
def test_a_status_patch_can_depend_on_the_version(api, kind):
    made = api.service()
    path = api.path("services", "a", "status")
    body = {"metadata": {"resourceVersion": "1"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    answer = api.patch(path, body, kind)
    assert (answer.status, answer.reason) == (409, "Conflict")
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert api.patch(path, body, kind).status == 200


def test_a_status_put_needs_the_present_version(api):
    made = api.service()
    path = api.path("services", "a", "status")
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert api.put(path, made).ok()["status"] == made["status"]
    made["status"] = {}
    assert api.put(path, made).status == 409


@pytest.mark.parametrize("kind", ["application/merge-patch+json", STRATEGIC])
def test_null_clears_the_status(api, kind):
    api.service()
    path = api.path("services", "a", "status")
    api.patch(path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}, kind).ok()
    assert api.patch(path, {"status": {"loadBalancer": {"ingress": None}}}, kind).ok()["status"] == {"loadBalancer": {}}
    api.patch(path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}, kind).ok()
    assert api.patch(path, {"status": {"loadBalancer": None}}, kind).ok()["status"] == {"loadBalancer": {}}


def test_a_status_patch_replaces_all_addresses(api):
    api.service()
    path = api.path("services", "a", "status")
    for addresses in (["192.0.2.1", "2001:db8::1"], ["192.0.2.2"]):
        ingress = [{"ip": each} for each in addresses]
        new = api.patch(path, {"status": {"loadBalancer": {"ingress": ingress}}}, STRATEGIC).ok()
        assert new["status"]["loadBalancer"]["ingress"] == ingress


def test_an_address_in_the_status_must_be_one(api):
    api.service()
    body = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.300"}]}}}
    assert causes(api.patch(api.path("services", "a", "status"), body)) == ["status.loadBalancer.ingress[0].ip"]

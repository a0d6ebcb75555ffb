"""The controller as a process, against the embedded API server and a real one."""

import base64
import time

import pytest

from tests.support.roles import until

pytestmark = pytest.mark.slow


def has(site, name, *addresses):
    return lambda: site.addresses(name) == list(addresses)


def test_a_service_gets_the_lowest_address_and_an_event_and_metrics_say_so(site):
    site.configure()
    controller = site.start("controller").ready()
    site.create("web")
    until(has(site, "web", "172.30.1.96"), what="the address")
    assert site.get("web")["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "default"
    until(lambda: ("IPAllocated", 'Assigned IP "172.30.1.96" from pool "default"') in site.events("web"), what="event")
    until(lambda: controller.metric("metallb_allocator_addresses_in_use_total") == {'{pool="default"}': 1.0})
    assert controller.metric("metallb_allocator_addresses_total") == {'{pool="default"}': 8.0}
    assert controller.stop() == 0


def test_what_exists_is_adopted_before_anything_new_is_given_out(site):
    site.configure()
    site.create("a-new-one")
    site.create("old", ip="172.30.1.96")
    site.start("controller")
    until(has(site, "a-new-one", "172.30.1.97"), what="an address for the new Service")
    assert site.addresses("old") == ["172.30.1.96"]


def test_a_restart_moves_nothing_and_writes_nothing(site):
    site.configure()
    for name in ("a", "b", "c"):
        site.create(name)
    first = site.start("controller").ready()
    until(lambda: all(site.addresses(name) for name in "abc"), what="three addresses")
    first.stop()
    before = {name: (site.addresses(name), site.get(name)["metadata"]["resourceVersion"]) for name in "abc"}
    second = site.start("controller").ready()
    until(lambda: second.metric("metallb_allocator_addresses_in_use_total") == {'{pool="default"}': 3.0})
    time.sleep(0.5)
    assert {n: (site.addresses(n), site.get(n)["metadata"]["resourceVersion"]) for n in "abc"} == before


def test_a_pending_service_gets_the_address_that_another_gives_back(site):
    site.configure("address-pools: [{name: one, protocol: layer2, addresses: [172.30.1.96/32]}]")
    site.create("first")
    site.start("controller").ready()
    until(has(site, "first", "172.30.1.96"))
    site.create("second")
    until(lambda: any(reason == "PoolExhausted" for reason, _ in site.events("second")), what="PoolExhausted")
    assert site.addresses("second") == []
    site.delete("first")
    until(has(site, "second", "172.30.1.96"), what="the freed address")


def test_a_service_that_is_no_load_balancer_any_more_gives_its_address_back(site):
    site.configure()
    site.create("web")
    site.start("controller").ready()
    until(has(site, "web", "172.30.1.96"))
    site.patch("web", {"spec": {"type": "ClusterIP"}})
    site.create("next")
    until(has(site, "next", "172.30.1.96"), what="the freed address")
    assert site.addresses("web") == []


def test_asking_for_another_address_moves_the_service(site):
    site.configure()
    site.create("web")
    site.start("controller").ready()
    until(has(site, "web", "172.30.1.96"))
    site.patch("web", {"spec": {"loadBalancerIP": "172.30.1.99"}})
    until(has(site, "web", "172.30.1.99"), what="the requested address")


def test_traffic_policy_is_left_alone(site):
    site.configure()
    site.create("web", externalTrafficPolicy="Local")
    site.start("controller").ready()
    until(has(site, "web", "172.30.1.96"))
    assert site.get("web")["spec"]["externalTrafficPolicy"] == "Local"


def test_a_broken_configuration_is_told_and_the_one_before_stays(site):
    site.configure()
    controller = site.start("controller").ready()
    site.configure("address-pools:\n- name: default\n  protocol: arp\n  cidr: [172.30.1.999/29]\n")
    until(lambda: any(r == "InvalidConfig" and "172.30.1.999" in m for r, m in site.config_events()), what="the Event")
    assert controller.metric("metallb_k8s_client_config_stale_bool") == {"": 1.0}
    site.create("web")
    until(has(site, "web", "172.30.1.96"), what="an address from the configuration before")
    site.configure()
    until(lambda: controller.metric("metallb_k8s_client_config_stale_bool") == {"": 0.0}, what="recovery")


def test_a_configuration_that_comes_late_is_used(site):
    site.create("web")
    site.start("controller")
    until(lambda: any(reason == "ConfigMissing" for reason, _ in site.config_events()), what="ConfigMissing")
    site.configure()
    until(has(site, "web", "172.30.1.96"), what="the address")


def test_an_address_that_a_new_configuration_strands_is_kept(site):
    site.configure()
    site.create("web")
    site.start("controller").ready()
    until(has(site, "web", "172.30.1.96"))
    site.configure("address-pools: [{name: other, protocol: layer2, addresses: [172.30.2.0/24]}]")
    until(lambda: any(reason == "AddressStranded" for reason, _ in site.events("web")), what="AddressStranded")
    assert site.addresses("web") == ["172.30.1.96"]
    site.create("next")
    until(has(site, "next", "172.30.2.0"), what="an address from the new pool")


def test_a_stranded_address_is_replaced_when_the_operator_wants_it(site):
    site.configure()
    site.create("web")
    site.start("controller", "--on-stranded", "reassign").ready()
    until(has(site, "web", "172.30.1.96"))
    site.configure("address-pools: [{name: other, protocol: layer2, addresses: [172.30.2.0/24]}]")
    until(has(site, "web", "172.30.2.0"), what="another address")


def test_of_two_replicas_one_works_and_the_other_takes_over(site):
    site.configure()
    first = site.start("controller").ready()
    until(lambda: first.metric("metallb_k8s_client_leadership_bool") == {"": 1.0}, what="a leader")
    second = site.start("controller").ready()
    site.create("web")
    until(has(site, "web", "172.30.1.96"))
    first.kill()
    site.create("next")
    until(has(site, "next", "172.30.1.97"), seconds=12, what="an address from the second replica")
    assert second.process.poll() is None
    assert site.addresses("web") == ["172.30.1.96"]


def test_services_of_another_class_are_left_alone(embedded_site):
    site = embedded_site
    site.configure()
    site.create("theirs", loadBalancerClass="example.com/other", ip="192.0.2.7")
    site.start("controller").ready()
    site.create("ours")
    until(has(site, "ours", "172.30.1.96"))
    assert site.addresses("theirs") == ["192.0.2.7"]


def test_the_leading_controller_makes_the_key_of_the_heartbeats_and_never_shows_it(site):
    site.configure()
    controller = site.start("controller", "--log-level", "all").ready()
    path = f"/api/v1/namespaces/{site.system}/secrets/metallb-heartbeat"
    until(lambda: site.raw.get(path).status == 200, what="the Secret")
    key = site.raw.get(path).ok()["data"]["secretkey"]
    assert len(base64.b64decode(key)) == 32
    site.create("web")
    until(has(site, "web", "172.30.1.96"), what="the address")
    assert controller.stop() == 0
    assert "made a new key for the heartbeats" in controller.log
    assert key not in controller.log
    # The next leader leaves it as it is.
    site.start("controller").ready()
    time.sleep(1)
    assert site.raw.get(path).ok()["data"]["secretkey"] == key


def test_a_secret_that_cannot_be_used_is_reported_and_keeps_no_address_back(embedded_site):
    site = embedded_site
    site.configure()
    path = f"/api/v1/namespaces/{site.system}/secrets"
    site.raw.post(path, {"metadata": {"name": "metallb-heartbeat"}, "data": {"secretkey": "c2hvcnQ="}}).ok()
    controller = site.start("controller").ready()
    site.create("web")
    until(has(site, "web", "172.30.1.96"), what="the address")
    until(lambda: "its secretkey has less than 16 bytes" in controller.log, what="the warning")
    assert "c2hvcnQ=" not in controller.log
    assert controller.stop() == 0

"""What the lab's own scheduler and controllers decide."""

import copy

from metallb_cli.lab import workloads

NOW = "2030-01-01T00:00:00Z"


def stateful_set(replicas=3, **spec):
    return {
        "metadata": {"namespace": "metal-test", "name": "http", "uid": "set-1", "generation": 2},
        "spec": {
            "replicas": replicas,
            "serviceName": "http",
            "template": {
                "metadata": {"labels": {"app": "http"}},
                "spec": {
                    "containers": [
                        {"name": "nginx", "image": "nginx", "ports": [{"name": "web", "containerPort": 8080}]}
                    ]
                },
            },
            **spec,
        },
    }


def pod(name, *, ready=True, node="node1", labels=None, address="10.244.1.2", terminating=False, owner="set-1", **spec):
    return {
        "metadata": {
            "namespace": "metal-test",
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels or {"app": "http"},
            "ownerReferences": [{"kind": "StatefulSet", "uid": owner, "controller": True}],
            **({"deletionTimestamp": NOW} if terminating else {}),
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "nginx", "ports": [{"name": "web", "containerPort": 8080}]}],
            **spec,
        },
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def node(name, *, ready=True, labels=None, **spec):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def service(**spec):
    return {
        "metadata": {"namespace": "metal-test", "name": "nginx", "uid": "service-1"},
        "spec": {"selector": {"app": "http"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}], **spec},
    }


def names(pods):
    return [each["metadata"]["name"] for each in pods]


def test_a_new_stateful_set_begins_with_its_first_pod():
    assert names(workloads.pods_to_create(stateful_set(), [])) == ["http-0"]


def test_the_next_pod_waits_until_the_one_before_is_ready():
    assert workloads.pods_to_create(stateful_set(), [pod("http-0", ready=False)]) == []
    assert names(workloads.pods_to_create(stateful_set(), [pod("http-0")])) == ["http-1"]


def test_the_next_pod_waits_while_the_one_before_is_being_deleted():
    assert workloads.pods_to_create(stateful_set(), [pod("http-0", terminating=True)]) == []


def test_a_lost_pod_is_made_again_in_its_place():
    assert names(workloads.pods_to_create(stateful_set(), [pod("http-0"), pod("http-2")])) == ["http-1"]


def test_a_parallel_stateful_set_makes_all_pods_at_once():
    parallel = stateful_set(podManagementPolicy="Parallel")
    assert names(workloads.pods_to_create(parallel, [pod("http-1", ready=False)])) == ["http-0", "http-2"]


def test_a_pod_carries_its_name_as_host_name_and_its_sets_labels_and_reference():
    [made] = workloads.pods_to_create(stateful_set(), [])
    assert made["spec"]["hostname"] == "http-0"
    assert made["spec"]["subdomain"] == "http"
    assert made["metadata"]["labels"]["app"] == "http"
    assert workloads.owned_by(stateful_set(), made)


def test_making_a_pod_does_not_change_the_template():
    owner = stateful_set()
    before = copy.deepcopy(owner)
    [made] = workloads.pods_to_create(owner, [])
    made["spec"]["containers"][0]["name"] = "changed"
    made["metadata"]["labels"]["app"] = "changed"
    assert owner == before


def test_pods_beyond_the_replicas_are_deleted_from_the_end():
    pods = [pod(f"http-{i}") for i in range(12)]
    assert workloads.pods_to_delete(stateful_set(9), pods) == ["http-11", "http-10", "http-9"]


def test_a_pod_of_somebody_else_is_not_deleted():
    assert workloads.pods_to_delete(stateful_set(1), [pod("http-5", owner="another"), pod("other")]) == ["other"]


def test_the_status_of_a_stateful_set_counts_its_ready_pods():
    status = workloads.stateful_set_status(
        stateful_set(), [pod("http-0"), pod("http-1", ready=False), pod("x", owner="y")]
    )
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (2, 1, 2)


def test_a_pod_goes_to_the_node_with_the_fewest_and_among_equals_to_the_first():
    nodes = [node("node1"), node("node2"), node("node3")]
    new = pod("new", node=None)
    assert workloads.choose_node(new, [], nodes) == "node1"
    assert workloads.choose_node(new, [pod("a")], nodes) == "node2"
    assert workloads.choose_node(new, [pod("a"), pod("b", node="node2")], nodes) == "node3"


def test_a_pod_that_is_being_deleted_does_not_count_as_load():
    nodes = [node("node1"), node("node2")]
    assert workloads.choose_node(pod("new", node=None), [pod("a", terminating=True)], nodes) == "node1"


def test_a_pod_goes_only_to_a_ready_schedulable_node_that_its_selector_allows():
    nodes = [
        node("dead", ready=False, labels={"vlan": "50"}),
        node("cordoned", labels={"vlan": "50"}, unschedulable=True),
        node("other", labels={"vlan": "51"}),
        node("right", labels={"vlan": "50"}),
    ]
    assert workloads.choose_node(pod("new", nodeSelector={"vlan": "50"}), [], nodes) == "right"
    assert workloads.choose_node(pod("new", nodeSelector={"vlan": "60"}), [], nodes) is None


def test_the_port_of_a_pod_is_the_first_that_a_container_declares_else_80():
    assert workloads.container_port(pod("a")) == 8080
    assert workloads.container_port({"spec": {"containers": [{"name": "x"}]}}) == 80


def test_the_status_of_a_pod_keeps_its_times_while_nothing_changes():
    first = workloads.pod_status(pod("a"), ready=True, address="10.244.1.2", host="172.30.1.11", restarts=0, now=NOW)
    again = workloads.pod_status(
        {**pod("a"), "status": first},
        ready=True,
        address="10.244.1.2",
        host="172.30.1.11",
        restarts=0,
        now="2031-01-01T00:00:00Z",
    )
    assert again == first
    assert workloads.is_ready({"status": first})


def test_a_pod_that_stops_answering_is_no_longer_ready():
    status = workloads.pod_status(pod("a"), ready=False, address="10.244.1.2", host="172.30.1.11", restarts=1, now=NOW)
    assert not workloads.is_ready({"status": status})
    assert status["containerStatuses"][0]["restartCount"] == 1


def test_an_endpoint_slice_holds_the_selected_pods_with_their_nodes_and_the_named_port():
    pods = [pod("http-1", node="node2", address="10.244.2.2"), pod("http-0"), pod("no", labels={"app": "other"})]
    made = workloads.endpoint_slice(service(), pods)
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "nginx"
    assert [(e["addresses"], e["nodeName"], e["conditions"]["ready"]) for e in made["endpoints"]] == [
        (["10.244.1.2"], "node1", True),
        (["10.244.2.2"], "node2", True),
    ]
    assert made["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_an_endpoint_that_is_not_ready_or_being_deleted_is_listed_as_not_ready():
    made = workloads.endpoint_slice(service(), [pod("a", ready=False), pod("b", terminating=True)])
    assert [e["conditions"]["ready"] for e in made["endpoints"]] == [False, False]
    assert made["endpoints"][1]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_pod_without_address_is_no_endpoint_yet():
    assert workloads.endpoint_slice(service(), [pod("a", address="")])["endpoints"] == []


def test_a_target_port_may_be_a_number_or_left_out():
    numbered = workloads.endpoint_slice(service(ports=[{"port": 80, "targetPort": 9090}]), [pod("a")])
    absent = workloads.endpoint_slice(service(ports=[{"port": 80}]), [pod("a")])
    assert numbered["ports"][0]["port"] == 9090
    assert absent["ports"][0]["port"] == 80


def test_a_service_without_selector_gets_no_slice():
    assert workloads.endpoint_slice(service(selector=None), [pod("a")]) is None

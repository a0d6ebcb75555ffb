"""Nodes, scheduler, kubelets and proxies together: on the embedded API server, and on a real one with controllers."""

import copy
import uuid

import pytest

from metallb_cli.errors import ApiError
from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.lab import manifests
from metallb_cli.lab.client import Client
from metallb_cli.lab.cluster import Cluster
from metallb_cli.lab.network import Lan
from metallb_cli.lab.workloads import is_ready
from tests.lab.waiting import until

VIP = "172.30.1.96"
HELLO = "Hello from a container "


class World:
    """A cluster with the example in a namespace of its own."""

    def __init__(self, api, lan, cluster):
        self.api = api
        self.lan = lan
        self.cluster = cluster
        self.client = Client(lan)
        self.namespace = f"lab-{uuid.uuid4().hex[:8]}"

    def path(self, plural, name="", group="/api/v1"):
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def stateful_set(self):
        return self.path("statefulsets", "http", "/apis/apps/v1")

    def apply_example(self):
        self.api.request("POST", "/api/v1/namespaces", body=manifests.namespace(self.namespace))
        for thing in manifests.read(manifests.example("simplehttp.yml")):
            if thing["kind"] != "Namespace":
                moved = copy.deepcopy(thing)
                moved["metadata"]["namespace"] = self.namespace
                manifests.create(self.api, moved)
        status = {"status": {"loadBalancer": {"ingress": [{"ip": VIP}]}}}
        self.api.request("PATCH", self.path("services", "nginx") + "/status", body=status, content_type=MERGE_PATCH)

    def patch(self, path, body):
        self.api.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def pods(self):
        return {pod["metadata"]["name"]: pod for pod in self.api.request("GET", self.path("pods"))["items"]}

    def ready_pods(self):
        return {pod["metadata"]["name"] for pod in self.cluster.ready_pods(self.namespace)}

    def ready_nodes(self):
        nodes = self.api.request("GET", "/api/v1/nodes")["items"]
        return {node["metadata"]["name"] for node in nodes if is_ready(node)} & set(self.lan.nodes)

    def answers(self, count=9):
        """Who answers on the service address, as often as it is asked; a failure counts as None."""
        found = set()
        for _ in range(count):
            try:
                found.add(self.client.get(f"http://{VIP}").removeprefix(HELLO))
            except OSError:
                found.add(None)
        return found


@pytest.fixture(
    params=[
        pytest.param("embedded_api", marks=pytest.mark.live),
        pytest.param("real_api", marks=[pytest.mark.live, pytest.mark.cluster, pytest.mark.slow]),
    ]
)
def world(request, tmp_path):
    server = request.getfixturevalue(request.param)
    real = request.param == "real_api"
    kubeconfig = tmp_path / "kubeconfig"
    if real:
        kubeconfig = server.kubeconfig
    else:
        server.kubeconfig(kubeconfig)
    controllers = server.start_controllers() if real else None
    api = Api.connect(str(kubeconfig))
    lan = Lan(3, name="mlbtest")
    lan.client.namespace.add_route(f"{VIP}/32", via=str(lan.nodes["node1"].address))
    cluster = Cluster(api, lan, tmp_path, controller_manager=real)
    made = World(api, lan, cluster)
    cluster.start()
    try:
        # Other tests know nodes of these names too: begin when all three are as this cluster wants them.
        until(lambda: made.ready_nodes() == set(lan.nodes), "three ready nodes")
        yield made
        cluster.check()
    finally:
        cluster.stop()
        lan.remove()
        if real:
            clean_up(api, made)
            controllers.stop()
            server.programs.remove(controllers)
        api.close()


def clean_up(api, world):
    """Leave nothing that a later test would find: its Service, above all, which the namespace would long outlive."""
    nodes = (f"/api/v1/nodes/{name}" for name in world.lan.nodes)
    for path in (world.path("services", "nginx"), *nodes, f"/api/v1/namespaces/{world.namespace}"):
        try:
            api.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise


def test_the_example_runs_on_all_nodes_follows_its_replicas_and_survives_a_dead_node(world):
    world.apply_example()
    until(lambda: world.ready_pods() == {"http-0", "http-1", "http-2"}, "three ready pods", 30)
    pods = world.pods()
    assert {pod["spec"]["nodeName"] for pod in pods.values()} == {"node1", "node2", "node3"}
    until(lambda: world.answers() == {"http-0", "http-1", "http-2"}, "an answer from each pod")

    dead = pods["http-2"]["spec"]["nodeName"]
    world.cluster.power_off(dead)
    until(lambda: world.ready_pods() == {"http-0", "http-1"}, "the dead node's pod not being ready")
    until(lambda: world.answers() == {"http-0", "http-1"}, "answers from the living pods only")
    node = world.api.request("GET", f"/api/v1/nodes/{dead}")
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["Unknown"]

    world.cluster.power_on(dead)
    until(lambda: world.answers() == {"http-0", "http-1", "http-2"}, "the pod answering again")

    world.patch(world.stateful_set(), {"spec": {"replicas": 1}})
    until(lambda: set(world.pods()) == {"http-0"}, "the other pods being gone", 30)
    until(lambda: world.answers() == {"http-0"}, "answers from the one pod that is left")

    world.api.request("DELETE", world.stateful_set(), body={"propagationPolicy": "Background"})
    until(lambda: world.pods() == {}, "all pods being gone", 30)
    until(lambda: world.answers(1) == {None}, "nobody answering")


def test_traffic_policy_local_is_served_only_where_a_pod_is(world):
    world.apply_example()
    until(lambda: world.ready_pods() == {"http-0", "http-1", "http-2"}, "three ready pods", 30)
    world.patch(world.path("services", "nginx"), {"spec": {"externalTrafficPolicy": "Local"}})
    here = [name for name, pod in world.pods().items() if pod["spec"]["nodeName"] == "node1"]
    until(lambda: world.answers() == set(here), "answers from node1's own pod only")


def test_a_deleted_pod_is_replaced_under_the_same_name(world):
    world.apply_example()
    until(lambda: "http-0" in world.ready_pods(), "the first pod being ready", 30)
    before = world.pods()["http-0"]["metadata"]["uid"]
    world.api.request("DELETE", world.path("pods", "http-0"))

    def replaced():
        pod = world.pods().get("http-0")
        return pod is not None and pod["metadata"]["uid"] != before and "http-0" in world.ready_pods()

    until(replaced, "the replacement being ready", 30)

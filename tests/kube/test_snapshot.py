import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube import objects
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.model import Endpoints, Lease, Node, ServiceKey
from tests.kube.scripted import listed, service

CONFIG = """
address-pools:
- name: default
  protocol: layer2
  addresses: [172.30.1.96/29]
"""
NAMESPACE = "/api/v1/namespaces/metal-system"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/metal-system/leases"


def lease(name, age=1.0, clock=timedelta(), **spec):
    renewed = datetime.now(UTC) + clock - timedelta(seconds=age)
    value = Lease(name, "somebody", objects.micro_time(renewed), 6.0)
    body = objects.lease_body(value, "metal-system", {}, renewed)
    body["spec"].update(spec)
    return body


def endpoint_slice(name, node):
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": node}],
    }


def cluster(clock=timedelta(), **changes):
    """A handler that serves one small cluster; `changes` replace what is at a path."""
    answers = {
        "/api/v1/services": listed([service("web", "1", ["172.30.1.96"])]),
        "/api/v1/nodes": listed([{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]),
        "/apis/discovery.k8s.io": {"versions": [{"version": "v1"}]},
        "/apis/discovery.k8s.io/v1/endpointslices": listed([endpoint_slice("1", "a"), endpoint_slice("2", "b")]),
        LEASES: listed([lease("speaker-a", clock=clock)]),
        f"{LEASES}/metallb-controller": lease("metallb-controller", age=2.0, clock=clock),
        f"{NAMESPACE}/configmaps/config": {"data": {"config": CONFIG}},
        **changes,
    }
    date = (datetime.now(UTC) + clock).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def handle(request, reply):
        answer = answers[request.path]
        if isinstance(answer, int):
            reply.status(answer, "Refused", f"refused: {request.path}")
        else:
            reply.json(answer, headers=[("date", date)])

    return handle


def test_everything_is_read(serve):
    api, server = serve(cluster())
    snapshot = read_snapshot(api, "metal-system", "config")
    assert snapshot.namespace == "metal-system"
    assert abs(snapshot.now - time.time()) < 5
    assert [(s.key, s.ingress) for s in snapshot.services] == [
        (ServiceKey("default", "web"), (ip_address("172.30.1.96"),))
    ]
    assert snapshot.endpoints == {ServiceKey("default", "web"): Endpoints(frozenset({"a", "b"}))}
    assert snapshot.nodes == {"a": Node("a"), "b": Node("b")}
    assert [pool.name for pool in snapshot.configuration.pools] == ["default"]
    assert (snapshot.configuration.problems, snapshot.configuration.found) == (0, True)
    (speaker,) = snapshot.speakers
    assert (speaker.lease.name, speaker.state) == ("speaker-a", "live")
    assert 0.5 < speaker.age < 4
    assert snapshot.controller.lease.name == "metallb-controller"
    assert 1.5 < snapshot.controller.age < 5
    (leases,) = (request for request in server.requests if request.path == LEASES)
    assert leases.query["labelSelector"] == "app=metallb,component=speaker"


@pytest.mark.parametrize("hours", [-3, 3])
def test_ages_are_counted_on_the_clusters_clock_and_not_on_ours(serve, hours):
    api, _ = serve(cluster(timedelta(hours=hours)))
    (speaker,) = read_snapshot(api, "metal-system", "config").speakers
    assert 0 <= speaker.age < 4


def test_a_lease_whose_time_cannot_be_read_has_no_age(serve):
    api, _ = serve(cluster(**{LEASES: listed([lease("speaker-a", renewTime="yesterday")])}))
    (speaker,) = read_snapshot(api, "metal-system", "config").speakers
    assert speaker.age is None


def test_an_old_cluster_is_read_through_endpoints(serve):
    subsets = [{"addresses": [{"ip": "10.1.0.1", "nodeName": "c"}]}]
    old = {"metadata": {"namespace": "default", "name": "web"}, "subsets": subsets}
    api, _ = serve(
        cluster(
            **{
                "/apis/discovery.k8s.io": {"versions": [{"version": "v1beta1"}]},
                "/api/v1/endpoints": listed([old]),
            }
        )
    )
    snapshot = read_snapshot(api, "metal-system", "config")
    assert snapshot.endpoints == {ServiceKey("default", "web"): Endpoints(frozenset({"c"}))}


def test_what_is_not_installed_is_not_there(serve):
    api, _ = serve(
        cluster(**{LEASES: listed([]), f"{LEASES}/metallb-controller": 404, f"{NAMESPACE}/configmaps/config": 404})
    )
    snapshot = read_snapshot(api, "metal-system", "config")
    assert (snapshot.speakers, snapshot.controller) == ((), None)
    assert (snapshot.configuration.found, snapshot.configuration.pools) == (False, None)


def test_an_invalid_configuration_is_found_and_its_first_error_told(serve):
    broken = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [nonsense]\n"
    api, _ = serve(cluster(**{f"{NAMESPACE}/configmaps/config": {"data": {"config": broken}}}))
    state = read_snapshot(api, "metal-system", "config").configuration
    assert state.pools is None
    assert state.found
    assert state.problems >= 1
    assert "nonsense" in state.first_problem
    assert state.first_problem.startswith("ConfigMap metal-system/config:4:")


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("/api/v1/services", "list services"),
        ("/api/v1/nodes", "list nodes"),
        ("/apis/discovery.k8s.io/v1/endpointslices", "list endpointslices"),
        (LEASES, "list leases in the namespace metal-system"),
        (f"{LEASES}/metallb-controller", "get leases in the namespace metal-system"),
        (f"{NAMESPACE}/configmaps/config", "get configmaps in the namespace metal-system"),
    ],
)
def test_a_missing_permission_is_named(serve, path, permission):
    api, _ = serve(cluster(**{path: 403}))
    with pytest.raises(ApiError, match=f"this user may not {permission}") as caught:
        read_snapshot(api, "metal-system", "config")
    assert caught.value.status == 403


def test_all_missing_permissions_are_named_at_once(serve):
    api, _ = serve(cluster(**{"/api/v1/services": 403, "/api/v1/nodes": 403}))
    with pytest.raises(ApiError, match=r"may not list services, list nodes\. Ask for a role"):
        read_snapshot(api, "metal-system", "config")


def test_another_refusal_stays_what_it_is(serve):
    api, _ = serve(cluster(**{"/api/v1/services": 500}))
    with pytest.raises(ApiError) as caught:
        read_snapshot(api, "metal-system", "config")
    assert caught.value.status == 500


def test_a_server_that_goes_away_is_unavailable(serve):
    api, server = serve(lambda request, reply: reply.reset())
    with pytest.raises(ApiUnavailableError, match=server.url):
        read_snapshot(api, "metal-system", "config")


def test_the_requests_go_out_side_by_side(serve):
    handler = cluster()

    def slow(request, reply):
        time.sleep(0.2)
        handler(request, reply)

    api, server = serve(slow)
    began = time.monotonic()
    read_snapshot(api, "metal-system", "config")
    assert len(server.requests) == 7
    assert time.monotonic() - began < 1.0  # two in a row for the endpoints, the rest beside them

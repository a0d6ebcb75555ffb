from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube import objects
from metallb_cli.kube.cluster import Leases, ServiceStatus
from metallb_cli.model import Lease, ServiceKey
from tests.kube.scripted import service

WEB = objects.service(service("web", "41"))


def test_addresses_and_pool_go_out_in_one_conditional_patch(serve):
    api, server = serve(lambda request, reply: reply.json(service("web", "42", ["10.0.0.1", "fd00::1"])))
    stored = ServiceStatus(api).write_ingress(WEB, (ip_address("10.0.0.1"), ip_address("fd00::1")), "default")
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/default/services/web/status")
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert request.json == {
        "metadata": {"resourceVersion": "41", "annotations": {"metallb.io/ip-allocated-from-pool": "default"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}},
    }
    assert (stored.resource_version, len(stored.ingress)) == ("42", 2)


def test_clearing_takes_the_status_and_the_annotation_away(serve):
    api, server = serve(lambda request, reply: reply.json(service("web", "42")))
    ServiceStatus(api).write_ingress(WEB, (), None)
    assert server.requests[0].json == {
        "metadata": {"resourceVersion": "41", "annotations": {"metallb.io/ip-allocated-from-pool": None}},
        "status": {"loadBalancer": None},
    }


@pytest.mark.parametrize("status", [404, 409, 500])
def test_a_refused_write_is_an_error_with_its_status(serve, status):
    api, server = serve(lambda request, reply: reply.status(status, "Refused"))
    with pytest.raises(ApiError) as caught:
        ServiceStatus(api).write_ingress(WEB, (), None)
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_a_write_without_an_answer_is_not_repeated_behind_the_callers_back(serve):
    api, server = serve(lambda request, reply: reply.reset())
    with pytest.raises(ApiUnavailableError):
        ServiceStatus(api).write_ingress(WEB, (), None)
    assert len(server.requests) == 1


def test_a_service_is_read_fresh(serve):
    api, server = serve(lambda request, reply: reply.json(service("web", "41")))
    assert ServiceStatus(api).read_service(ServiceKey("default", "web")) == WEB
    assert server.requests[0].path == "/api/v1/namespaces/default/services/web"


def test_a_service_that_is_gone_is_none(serve):
    api, _ = serve(lambda request, reply: reply.status(404, "NotFound"))
    assert ServiceStatus(api).read_service(ServiceKey("default", "web")) is None


# -- leases


def echo(request, reply):
    body = request.json
    body["metadata"]["resourceVersion"] = "100"
    reply.json(body)


PATH = "/apis/coordination.k8s.io/v1/namespaces/metal-system/leases"


def test_a_lease_without_a_version_is_created(serve):
    api, server = serve(echo)
    before = datetime.now(UTC)
    stored = Leases(api, "metal-system").write(Lease("speaker-a", "me", duration=6.0), 2.0)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.json["metadata"]["labels"] == {"app": "metallb", "component": "speaker"}
    assert stored.resource_version == "100"
    assert before <= datetime.fromisoformat(stored.renewed) <= datetime.now(UTC)


def test_the_lease_of_a_history_has_labels_that_no_speaker_watches_and_no_holder(serve):
    api, server = serve(echo)
    Leases(api, "metal-system").write(Lease("history-a", annotations=(("metallb.io/history", "[]"),)), 2.0)
    body = server.requests[0].json
    assert body["metadata"]["labels"] == {"app": "metallb", "metallb.io/kind": "history"}
    assert body["metadata"]["annotations"] == {"metallb.io/history": "[]"}
    assert body["spec"].keys() == {"renewTime", "leaseTransitions"}


def test_a_lease_with_a_version_is_replaced_on_that_condition(serve):
    api, server = serve(echo)
    Leases(api, "metal-system").write(Lease("metallb-controller", "me", resource_version="99", transitions=4), 2.0)
    (request,) = server.requests
    assert (request.method, request.path) == ("PUT", f"{PATH}/metallb-controller")
    assert request.json["metadata"]["resourceVersion"] == "99"
    assert request.json["metadata"]["labels"]["component"] == "controller"
    assert request.json["spec"]["leaseTransitions"] == 4


def test_a_lease_somebody_else_wrote_first_is_a_conflict(serve):
    api, _ = serve(lambda request, reply: reply.status(409, "Conflict"))
    with pytest.raises(ApiError) as caught:
        Leases(api, "metal-system").write(Lease("speaker-a", resource_version="1"), 2.0)
    assert caught.value.status == 409


def test_a_missing_lease_is_none_and_another_refusal_is_not(serve):
    answers = iter([404, 403])
    api, server = serve(lambda request, reply: reply.status(next(answers), "No"))
    leases = Leases(api, "metal-system")
    assert leases.get("speaker-a", 2.0) is None
    with pytest.raises(ApiError):
        leases.get("speaker-a", 2.0)
    assert server.requests[0].path == f"{PATH}/speaker-a"


def test_a_lease_is_read(serve):
    body = objects.lease_body(Lease("speaker-a", "me", duration=6.0), "metal-system", {}, datetime.now(UTC))
    api, _ = serve(lambda request, reply: reply.json(body))
    lease = Leases(api, "metal-system").get("speaker-a", 2.0)
    assert (lease.name, lease.holder, lease.duration) == ("speaker-a", "me", 6.0)


def test_the_timeout_of_a_lease_call_is_kept(serve):
    api, _ = serve(lambda request, reply: reply.freeze())
    with pytest.raises(ApiUnavailableError):
        Leases(api, "metal-system").get("speaker-a", 0.2)

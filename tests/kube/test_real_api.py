"""The same code against a real kube-apiserver: what scripted servers cannot vouch for."""

import queue
import uuid
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address

import pytest

from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases, ServiceStatus
from metallb_cli.kube.endpoints import discover_endpoints
from metallb_cli.kube.events import EventRecorder
from metallb_cli.kube.handover import ask_to_move, set_draining
from metallb_cli.kube.reflector import Reflector
from metallb_cli.kube.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from metallb_cli.kube.secrets import HeartbeatKeys
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.model import Lease, Notice, Reason, ServiceKey

pytestmark = pytest.mark.cluster


@pytest.fixture
def api(real_api):
    api = Api.connect(str(real_api.kubeconfig))
    yield api
    api.close()


@pytest.fixture
def namespace(api):
    name = f"kube-{uuid.uuid4().hex[:8]}"
    api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    return name


def create(api, namespace, name="web"):
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}}
    body = {"metadata": {"name": name}, "spec": spec}
    return objects.service(api.request("POST", f"/api/v1/namespaces/{namespace}/services", body=body))


def test_one_patch_of_the_status_writes_addresses_and_annotation(api, namespace):
    service = create(api, namespace)
    status = ServiceStatus(api)
    address = ip_address("172.30.1.96")
    stored = status.write_ingress(service, (address,), "default")
    fresh = status.read_service(service.key)
    assert stored == fresh
    assert (fresh.ingress, fresh.allocated_pool) == ((address,), "default")
    assert fresh.resource_version != service.resource_version


def test_a_write_on_an_old_version_is_a_conflict_and_changes_nothing(api, namespace):
    service = create(api, namespace)
    status = ServiceStatus(api)
    status.write_ingress(service, (ip_address("172.30.1.96"),), "default")
    with pytest.raises(ApiError) as caught:
        status.write_ingress(service, (ip_address("172.30.1.97"),), "default")
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    assert status.read_service(service.key).ingress == (ip_address("172.30.1.96"),)


def test_clearing_leaves_neither_address_nor_annotation(api, namespace):
    status = ServiceStatus(api)
    service = status.write_ingress(create(api, namespace), (ip_address("172.30.1.96"),), "default")
    cleared = status.write_ingress(service, (), None)
    assert (cleared.ingress, cleared.allocated_pool) == ((), None)
    raw = api.request("GET", f"/api/v1/namespaces/{namespace}/services/web")
    assert raw["status"]["loadBalancer"] == {}
    assert "annotations" not in raw["metadata"]


def test_a_lease_lives_through_creation_renewal_conflict_and_return(api, namespace):
    leases = Leases(api, namespace)
    assert leases.get("speaker-a", 5.0) is None
    notes = (("metallb.io/announcing", "172.30.1.96"),)
    created = leases.write(Lease("speaker-a", "me", duration=6.0, annotations=notes), 5.0)
    assert datetime.fromisoformat(created.renewed).tzinfo is not None
    renewed = leases.write(replace(created, renewed=""), 5.0)
    assert renewed.renewed > created.renewed
    assert renewed.annotations == notes
    with pytest.raises(ApiError) as caught:
        leases.write(replace(created, renewed=""), 5.0)
    assert caught.value.status == 409
    with pytest.raises(ApiError) as caught:
        leases.write(Lease("speaker-a", "other"), 5.0)
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")
    returned = leases.write(replace(renewed, holder="", renewed=""), 5.0)
    assert returned.holder == ""
    assert leases.get("speaker-a", 5.0) == returned


def test_events_are_taken_and_counted_up(api, namespace):
    service = create(api, namespace)
    recorder = EventRecorder(api, component="metallb-controller", namespace=namespace, config_name="config")
    recorder.start()
    notice = Notice(Reason.ALLOCATED, "assigned 172.30.1.96")
    path = f"/api/v1/namespaces/{namespace}/events"
    recorder.about_service(service, notice)
    recorder.stop()
    (event,) = api.request("GET", path)["items"]
    assert (event["reason"], event["count"], event["involvedObject"]["uid"]) == ("IPAllocated", 1, service.uid)
    again = EventRecorder(api, component="metallb-controller", namespace=namespace, config_name="config")
    again.about_service(service, notice)
    again.about_service(service, notice)
    again.about_config(notice)
    again.start()
    again.stop()
    items = api.request("GET", path)["items"]
    assert sorted((item["involvedObject"]["kind"], item["count"]) for item in items) == [
        ("ConfigMap", 1),
        ("Service", 1),
        ("Service", 2),
    ]
    assert recorder.dropped == again.dropped == 0


def test_the_reflector_follows_services_through_their_life(api, namespace):
    changes = queue.Queue()

    def changed(old, new):
        if (old or new).key.namespace == namespace:
            changes.put((old and old.ingress, new and new.ingress))

    reflector = Reflector(
        api, SERVICES, objects.service, changed, on_failure=changes.put, same=objects.same_service, watch_seconds=(2, 2)
    )
    reflector.start()
    try:
        assert reflector.synced.wait(10)
        service = create(api, namespace)
        assert changes.get(timeout=10) == (None, ())
        address = ip_address("172.30.1.96")
        ServiceStatus(api).write_ingress(service, (address,), "default")
        assert changes.get(timeout=10) == ((), (address,))
        api.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}/services/web",
            body={"metadata": {"labels": {"a": "b"}}},
            content_type="application/merge-patch+json",
        )
        api.request("DELETE", f"/api/v1/namespaces/{namespace}/services/web")
        assert changes.get(timeout=10) == ((address,), None)  # the label changed nothing of interest
        assert changes.empty()
    finally:
        reflector.stop()
    assert reflector.last_error == ""


def test_endpoints_are_found_in_the_api_that_this_version_has(api, real_api):
    expected = ENDPOINT_SLICES if real_api.version >= (1, 21) else ENDPOINTS
    assert discover_endpoints(api)[0] == expected


def test_a_snapshot_of_a_real_cluster_is_read(api, namespace):
    create(api, namespace)
    Leases(api, namespace).write(Lease("speaker-a", "me", duration=6.0), 5.0)
    snapshot = read_snapshot(api, namespace, "config")
    assert ServiceKey(namespace, "web") in {service.key for service in snapshot.services}
    (speaker,) = snapshot.speakers
    assert speaker.state == "live"
    assert snapshot.configuration.found is False


def test_a_user_without_rights_is_told_which_one_is_missing(real_api, namespace, tmp_path):
    kubeconfig = real_api.write_kubeconfig(tmp_path / "kubeconfig", real_api.token_of(namespace, "nobody"))
    api = Api.connect(str(kubeconfig))
    with pytest.raises(ApiError, match=r"may not list services, .*list nodes, .*get configmaps .*nobody.*cannot list"):
        read_snapshot(api, namespace, "config")
    api.close()


def test_wrong_credentials_are_said_to_be_wrong(real_api, tmp_path):
    api = Api.connect(str(real_api.write_kubeconfig(tmp_path / "kubeconfig", "wrong-token")))
    with pytest.raises(ApiError, match="the credentials were not accepted") as caught:
        api.request("GET", "/api/v1/services")
    assert caught.value.status == 401
    assert "wrong-token" not in str(caught.value)
    api.close()


def test_the_key_of_the_heartbeats_is_made_once(api, namespace):
    keys = HeartbeatKeys(api, namespace)
    assert keys.read() == ()
    assert [keys.ensure(), keys.ensure()] == [True, False]
    [key] = keys.read()
    assert len(key) == 32


def test_a_drain_and_a_request_to_move_are_read_as_they_were_written(api, namespace):
    name = f"node-{namespace}"
    api.request("POST", "/api/v1/nodes", body={"metadata": {"name": name, "annotations": {"other": "stays"}}})
    try:
        set_draining(api, name, draining=True)
        assert objects.node(api.request("GET", f"/api/v1/nodes/{name}")).draining
        set_draining(api, name, draining=False)
        after = api.request("GET", f"/api/v1/nodes/{name}")
        assert not objects.node(after).draining
        assert after["metadata"]["annotations"] == {"other": "stays"}
    finally:
        api.request("DELETE", f"/api/v1/nodes/{name}")
    service = create(api, namespace)
    ask_to_move(api, service.key, "node2", 7)
    moving = ServiceStatus(api).read_service(service.key)
    assert (moving.move_to, moving.move_epoch) == ("node2", 7)

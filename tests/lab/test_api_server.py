import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import urllib3
import yaml

from metallb_cli.lab.api import EmbeddedApi, Refusal, operations
from tests.support.raw_api import RawApi

SERVICES = "/api/v1/namespaces/default/services"


def service(name="a", **status):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        **({"status": status} if status else {}),
    }


@pytest.fixture
def raw(embedded_api):
    raw = RawApi(embedded_api.url)
    yield raw
    raw.close()


def test_a_new_server_has_the_standard_namespaces_and_nothing_else(embedded_api):
    names = [each["metadata"]["name"] for each in embedded_api.objects("namespaces")]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert embedded_api.objects("services") == []


def test_a_restart_keeps_port_and_objects(embedded_api, raw):
    raw.post(SERVICES, service()).ok()
    url, version = embedded_api.url, embedded_api.version
    embedded_api.stop()
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        raw.get(SERVICES)
    assert embedded_api.start() == url
    assert [item["metadata"]["name"] for item in raw.get(SERVICES).ok()["items"]] == ["a"]
    assert embedded_api.version == version
    with raw.watch(SERVICES, resourceVersion=version, timeoutSeconds=5) as watch:
        raw.delete(f"{SERVICES}/a").ok()
        assert [kind for kind, _ in watch.take(1)] == ["DELETED"]


def test_stopping_is_quick_although_clients_wait(embedded_api, raw):
    with raw.watch(SERVICES):
        embedded_api.freeze()
        waiting = RawApi(embedded_api.url)
        outcome = []

        def ask():
            try:
                waiting.get(SERVICES, timeout=100)
            except urllib3.exceptions.HTTPError as error:
                outcome.append(error)

        client = threading.Thread(target=ask)
        client.start()
        started = time.monotonic()
        embedded_api.stop()
        assert time.monotonic() - started < 30
        client.join(30)
        assert not client.is_alive()
    embedded_api.stop()


def test_what_a_frozen_server_was_asked_is_not_done_when_it_stops(embedded_api, raw):
    embedded_api.freeze()
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        raw.post(SERVICES, service(), timeout=0.2)
    embedded_api.stop()
    embedded_api.start()
    assert raw.get(SERVICES).ok()["items"] == []


def test_starting_twice_and_a_taken_port_are_errors(embedded_api):
    with pytest.raises(RuntimeError, match="runs already"):
        embedded_api.start()
    second = EmbeddedApi(embedded_api.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    with pytest.raises(RuntimeError, match="does not run"):
        second.freeze()


def test_another_server_on_the_same_port_knows_nothing(embedded_api, raw):
    for name in ("a", "b", "c"):
        raw.post(SERVICES, service(name)).ok()
    version = embedded_api.version
    embedded_api.stop()
    with EmbeddedApi(embedded_api.port):
        assert raw.get(SERVICES, query={"resourceVersion": version}).status == 504
        with raw.watch(SERVICES, resourceVersion=version) as watch:
            assert watch.status == 504


def test_a_token_is_asked_for_when_there_is_one(tmp_path):
    with EmbeddedApi(token="secret") as api:
        raw = RawApi(api.url)
        answer = raw.get(SERVICES)
        assert (answer.status, answer.reason) == (401, "Unauthorized")
        assert raw.get(SERVICES, token="wrong").status == 401
        assert raw.get(SERVICES, token="secret").status == 200
        content = yaml.safe_load(api.kubeconfig(tmp_path / "kubeconfig").read_text())
        assert content["users"][0]["user"] == {"token": "secret"}
        raw.close()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.org"}, {"Host": "example.org"}, {"Host": "example.org:80"}]
)
def test_web_pages_get_no_answer(raw, headers):
    answer = raw.post(SERVICES, service(), headers=headers)
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert raw.get(SERVICES, headers={"Host": "localhost:1"}).ok()["items"] == []


def test_the_oldest_events_make_room(embedded_api, monkeypatch):
    monkeypatch.setattr(operations, "MAX_EVENTS", 3)
    involved = {"kind": "Service", "namespace": "default", "name": "a"}
    for number in (3, 1, 4, 2, 5):
        event = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": f"e{number}"}, "involvedObject": involved}
        embedded_api.load([event])
    assert [each["metadata"]["name"] for each in embedded_api.objects("events")] == ["e2", "e4", "e5"]


def test_the_kubeconfig_is_for_its_owner_only(embedded_api, tmp_path):
    path = embedded_api.kubeconfig(tmp_path / "kubeconfig", namespace="apps")
    content = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert content["clusters"][0]["cluster"]["server"] == embedded_api.url
    (context,) = content["contexts"]
    assert (context["name"], context["context"]["namespace"]) == (content["current-context"], "apps")


def test_objects_are_loaded_with_their_status(embedded_api):
    address = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert embedded_api.load([service("a", **address), service("b")]) == 2
    one, two = embedded_api.objects("services")
    assert (one["status"], two["status"]) == (address, {"loadBalancer": {}})
    with pytest.raises(Refusal, match="already exists"):
        embedded_api.load([service("a")])
    with pytest.raises(Refusal, match="requested resource"):
        embedded_api.load([{"kind": "Nothing", "apiVersion": "v1"}])
    with pytest.raises(LookupError, match="no resource widgets"):
        embedded_api.objects("widgets")


def test_what_is_handed_out_and_in_is_a_copy(embedded_api):
    mine = service("a")
    embedded_api.load([mine])
    mine["spec"]["ports"][0]["port"] = 1
    embedded_api.objects("services")[0]["spec"]["ports"][0]["port"] = 2
    assert embedded_api.objects("services")[0]["spec"]["ports"][0]["port"] == 80


def test_requests_are_remembered(embedded_api, raw):
    raw.post(SERVICES, service(), headers={"User-Agent": "me/1"}).ok()
    raw.post(SERVICES, service())
    raw.patch(f"{SERVICES}/a/status", {"status": {}}).ok()
    raw.get(SERVICES)
    created = embedded_api.requests("create", "services")
    assert [(each.status, each.name, each.namespace) for each in created] == [
        (201, "", "default"),
        (409, "", "default"),
    ]
    assert created[0].user_agent == "me/1"
    assert [each.resource for each in embedded_api.requests("patch")] == ["services/status"]
    assert [each.verb for each in embedded_api.requests(resource="services")] == ["create", "create", "list"]
    embedded_api.forget_requests()
    assert embedded_api.requests() == []


@pytest.mark.parametrize("media_type", ["application/vnd.kubernetes.protobuf", "application/cbor"])
def test_binary_bodies_are_not_understood(raw, media_type):
    assert raw.post(SERVICES, b"k8s\x00", content_type=media_type).status == 415


@pytest.mark.parametrize(
    "body",
    [b'{"a":' * 50_000, b'{"metadata":{"name":"x"},"data":' + b"[" * 900 + b"]" * 900 + b"}", b'{"a":NaN}', b"\xff"],
)
def test_hostile_json_is_a_bad_request(raw, body):
    assert raw.post("/api/v1/namespaces/default/configmaps", body).status == 400
    assert raw.get("/healthz").status == 200


def test_yaml_aliases_are_refused(raw):
    body = b"metadata: {name: x}\ndata: &a {k: v}\nbinaryData: *a\n"
    answer = raw.post("/api/v1/namespaces/default/configmaps", body, content_type="application/yaml")
    assert (answer.status, "aliases" in answer.json["message"]) == (400, True)


def test_a_patch_cannot_double_an_object_for_ever(raw):
    path = "/api/v1/namespaces/default/configmaps"
    raw.post(path, {"metadata": {"name": "x"}, "data": {"a": "b" * 1000}}).ok()
    double = [{"op": "copy", "from": "", "path": f"/more{number}"} for number in range(60)]
    answer = raw.patch(f"{path}/x", double, "application/json-patch+json")
    assert (answer.status, "copy" in answer.json["message"]) == (400, True)


def test_an_event_is_kept_in_one_place_for_two_api_groups(embedded_api, raw):
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    body = {"metadata": {"name": "e"}, "regarding": {"namespace": "default", "name": "x"}, "note": "N", "reason": "R"}
    with raw.watch(path, timeoutSeconds=5) as watch:
        raw.post(path, body).ok()
        ((kind, seen),) = watch.take(1)
    assert (kind, seen["note"], seen["apiVersion"]) == ("ADDED", "N", "events.k8s.io/v1")
    raw.patch(f"{path}/e", {"note": "M"}).ok()
    (stored,) = embedded_api.objects("events")
    assert (stored["message"], stored["involvedObject"]["name"]) == ("M", "x")


def test_the_process_serves_until_it_is_told_to_end(tmp_path):
    data, kubeconfig = tmp_path / "data.yaml", tmp_path / "kubeconfig"
    data.write_text(yaml.safe_dump_all([service("a"), service("b")]))
    command = [sys.executable, "-m", "metallb_cli.lab.api", "--kubeconfig", str(kubeconfig), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        raw = RawApi(url)
        assert len(raw.get(SERVICES).ok()["items"]) == 2
        assert yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == url
        raw.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_process_says_why_it_cannot_serve(embedded_api, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: Service\napiVersion: v1\nmetadata: {name: UPPER}\n")
    for options, words in (
        (["--port", str(embedded_api.port)], "cannot listen on port"),
        (["--data", str(broken)], 'Service "UPPER" is invalid'),
        (["--data", os.devnull + "/none"], "Not a directory"),
    ):
        command = [sys.executable, "-m", "metallb_cli.lab.api", *options]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 1
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr

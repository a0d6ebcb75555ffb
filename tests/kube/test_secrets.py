import base64
import json
import logging

import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.client import Api
from metallb_cli.kube.secrets import HeartbeatKeys
from tests.support.raw_api import MERGE, RawApi

NEW, OLD = b"n" * 32, b"o" * 16
PATH = "/api/v1/namespaces/metal-system/secrets/metallb-heartbeat"


def b64(key):
    return base64.b64encode(key).decode()


@pytest.fixture
def keys_of(serve):
    """Keys read from a server that answers every GET with this data: `keys_of({…})`."""

    def start(data):
        api, _ = serve(lambda request, reply: reply.json({"kind": "Secret", "data": data}))
        return HeartbeatKeys(api, "metal-system")

    return start


def test_the_key_to_sign_with_comes_first(keys_of):
    assert keys_of({"secretkey": b64(NEW), "previous-secretkey": b64(OLD)}).read() == (NEW, OLD)


def test_one_key_is_enough(keys_of, caplog):
    assert keys_of({"secretkey": b64(NEW), "other": "x"}).read() == (NEW,)
    assert not caplog.records


@pytest.mark.parametrize(
    ("data", "keys", "complaint"),
    [
        ({"secretkey": b64(b"s" * 15)}, (), "its secretkey has less than 16 bytes"),
        ({"secretkey": "tell-nobody"}, (), "its secretkey is not base64"),
        ({"secretkey": "töll-nobody"}, (), "its secretkey is not base64"),
        ({"secretkey": 7}, (), "its secretkey is missing"),
        ({}, (), "its secretkey is missing"),
        (None, (), "its secretkey is missing"),
        ({"previous-secretkey": b64(OLD)}, (), "its secretkey is missing"),
        ({"secretkey": b64(NEW), "previous-secretkey": "tell-nobody"}, (NEW,), "its previous-secretkey is not base64"),
    ],
)
def test_a_key_that_cannot_be_used_is_reported_and_never_shown(keys_of, caplog, data, keys, complaint):
    found = keys_of(data)
    with caplog.at_level(logging.DEBUG):
        assert found.read() == keys
        assert found.read() == keys
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert complaint in warning.getMessage()
    assert "Secret metal-system/metallb-heartbeat" in warning.getMessage()
    assert "nobody" not in caplog.text
    assert b64(b"s" * 15) not in caplog.text
    assert "nobody" not in repr(found)


def test_without_the_secret_there_are_no_keys_and_no_complaint(serve, caplog):
    api, server = serve(lambda request, reply: reply.status(404, "NotFound"))
    assert HeartbeatKeys(api, "metal-system").read() == ()
    assert [(r.method, r.path) for r in server.requests] == [("GET", PATH)]
    assert not caplog.records


@pytest.mark.parametrize("call", [HeartbeatKeys.read, HeartbeatKeys.ensure])
def test_a_refusal_to_show_the_secret_is_an_error(serve, call):
    api, _ = serve(lambda request, reply: reply.status(403, "Forbidden", "no rights"))
    with pytest.raises(ApiError, match="no rights") as caught:
        call(HeartbeatKeys(api, "metal-system"))
    assert caught.value.status == 403


@pytest.mark.parametrize("call", [HeartbeatKeys.read, HeartbeatKeys.ensure])
def test_a_server_that_does_not_answer_costs_only_the_time_allowed(serve, call):
    api, _ = serve(lambda request, reply: reply.freeze())
    with pytest.raises(ApiUnavailableError):
        call(HeartbeatKeys(api, "metal-system"), 0.2)


def test_another_controller_that_was_faster_is_fine(serve):
    def handler(request, reply):
        reply.status(404 if request.method == "GET" else 409)

    api, server = serve(handler)
    assert HeartbeatKeys(api, "metal-system").ensure() is False
    assert [r.method for r in server.requests] == ["GET", "POST"]


def test_a_refused_secret_is_quoted_by_no_error_even_if_the_server_does(serve, caplog):
    sent = []

    def handler(request, reply):
        if request.method == "GET":
            reply.status(404)
        else:
            sent.append(request.json["data"]["secretkey"])
            reply.status(422, "Invalid", f"cannot take {request.body.decode()}")

    api, _ = serve(handler)
    with caplog.at_level(logging.DEBUG), pytest.raises(ApiError) as caught:
        HeartbeatKeys(api, "metal-system").ensure()
    assert str(caught.value) == (
        "the API server refused to create the Secret metal-system/metallb-heartbeat: 422 Invalid"
    )
    assert caught.value.__suppress_context__
    assert len(base64.b64decode(sent[0])) == 32
    assert sent[0] not in caplog.text + repr(caught.value)


def test_every_new_key_is_another_one(serve):
    sent = []

    def handler(request, reply):
        if request.method == "GET":
            reply.status(404)
        else:
            sent.append(request.json["data"]["secretkey"])
            reply.json(request.json, 201)

    api, _ = serve(handler)
    keys = HeartbeatKeys(api, "metal-system")
    assert keys.ensure()
    assert keys.ensure()
    assert len(set(sent)) == 2


# -- in front of an API server


@pytest.fixture
def cluster(embedded_api, kubeconfig):
    """Keys in a namespace of their own, and the raw API beside them."""
    raw = RawApi(embedded_api.url)
    raw.post("/api/v1/namespaces", {"metadata": {"name": "metal-system"}})
    raw.delete(PATH)
    api = Api.connect(kubeconfig(embedded_api.url))
    yield HeartbeatKeys(api, "metal-system"), raw
    api.close()
    raw.delete(PATH)


def test_the_secret_is_made_once_and_left_alone_afterwards(cluster):
    keys, raw = cluster
    assert keys.read() == ()
    assert keys.ensure() is True
    made = raw.get(PATH).ok()
    assert keys.ensure() is False
    assert raw.get(PATH).ok() == made
    assert (made["type"], made["metadata"]["labels"]) == ("Opaque", {"app": "metallb"})
    [key] = keys.read()
    assert key == base64.b64decode(made["data"]["secretkey"])
    assert len(key) == 32
    assert made["data"]["secretkey"] not in json.dumps(raw.get("/api/v1/events").ok())


def test_a_rotation_by_hand_gives_both_keys(cluster):
    keys, raw = cluster
    keys.ensure()
    [before] = keys.read()
    raw.patch(PATH, {"data": {"secretkey": b64(NEW), "previous-secretkey": b64(before)}}, MERGE).ok()
    assert keys.read() == (NEW, before)


def test_a_secret_that_was_deleted_is_made_again_with_another_key(cluster):
    keys, raw = cluster
    keys.ensure()
    before = keys.read()
    raw.delete(PATH).ok()
    assert keys.ensure() is True
    assert keys.read() != before

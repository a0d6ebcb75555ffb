import itertools
import time

import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError, NotPossibleError
from metallb_cli.kube.handover import ask_to_move, follow, set_draining
from metallb_cli.model import ServiceKey
from metallb_cli.reconcile.audit import ConfigurationState, Snapshot
from tests.kube.scripted import listed

FIRST = Snapshot("metal-system", 0.0, ConfigurationState(()), lb_class="ours", ignore_exclude_lb=True)


def patched(serve, act, status=200):
    api, server = serve(lambda request, reply: reply.json({}, status) if status == 200 else reply.status(status))
    act(api)
    [request] = server.requests
    assert (request.method, request.headers["content-type"]) == ("PATCH", "application/merge-patch+json")
    return request.path, request.json


def test_a_drain_is_one_annotation_on_the_node(serve):
    path, body = patched(serve, lambda api: set_draining(api, "node1", draining=True))
    assert (path, body) == ("/api/v1/nodes/node1", {"metadata": {"annotations": {"metallb.io/drain": "true"}}})


def test_the_end_of_a_drain_removes_it(serve):
    _, body = patched(serve, lambda api: set_draining(api, "node1", draining=False))
    assert body == {"metadata": {"annotations": {"metallb.io/drain": None}}}


def test_a_request_to_move_is_one_annotation_on_the_service(serve):
    path, body = patched(serve, lambda api: ask_to_move(api, ServiceKey("apps", "web"), "node2", 7))
    assert path == "/api/v1/namespaces/apps/services/web"
    assert body == {"metadata": {"annotations": {"metallb.io/move-to": "node2 7"}}}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda api: set_draining(api, "node1", draining=True), "there is no Node node1"),
        (lambda api: ask_to_move(api, ServiceKey("apps", "web"), "node2", 7), "the Service apps/web is gone"),
    ],
)
def test_what_is_not_there_is_said_in_words(serve, act, message):
    with pytest.raises(NotPossibleError, match=message):
        patched(serve, act, 404)
    with pytest.raises(ApiError) as caught:
        patched(serve, act, 403)
    assert caught.value.status == 403


def lease(node, holder):
    return {"metadata": {"name": f"speaker-{node}"}, "spec": {"holderIdentity": holder}}


def test_leases_are_read_again_and_again_and_the_rest_is_kept(serve):
    holders = itertools.count()
    api, server = serve(lambda request, reply: reply.json(listed([lease("node1", f"h{next(holders)}")])))
    looks = list(follow(api, FIRST, "config", 0.5))
    assert len(looks) >= 3
    assert [seen.speakers[0].lease.holder for _, seen in looks] == [f"h{n}" for n in range(len(looks))]
    assert all(seen.lb_class == "ours" and seen.ignore_exclude_lb for _, seen in looks)
    assert [seconds for seconds, _ in looks] == sorted(seconds for seconds, _ in looks)
    assert {request.path.rsplit("/", 1)[-1] for request in server.requests} == {"leases"}


def test_there_is_one_look_even_when_there_is_no_time(serve):
    api, _ = serve(lambda request, reply: reply.json(listed([])))
    assert len(list(follow(api, FIRST, "config", 0.0))) == 1


def test_a_moment_without_answer_is_waited_out(serve):
    looks = itertools.count()
    api, _ = serve(lambda request, reply: reply.reset() if next(looks) < 2 else reply.json(listed([])))
    assert list(follow(api, FIRST, "config", 1.5))


def test_an_outage_that_lasts_is_an_error_at_the_end(serve):
    api, _ = serve(lambda request, reply: reply.reset())
    started = time.monotonic()
    with pytest.raises(ApiUnavailableError):
        list(follow(api, FIRST, "config", 0.5))
    assert time.monotonic() - started < 5


def test_a_refusal_ends_it_at_once(serve):
    api, _ = serve(lambda request, reply: reply.status(403, "Forbidden"))
    with pytest.raises(ApiError):
        list(follow(api, FIRST, "config", 60.0))

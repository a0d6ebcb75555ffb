import pytest

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.listing import read_list
from metallb_cli.kube.resources import SERVICES, Resource, config_map, namespaced, speaker_leases
from tests.kube.scripted import listed, service


def name_of(item):
    return item["metadata"]["name"]


def test_pages_are_joined(serve):
    def pages(request, reply):
        token = request.query.get("continue")
        if token is None:
            reply.json(listed([service("a"), service("b")], "7", "next"))
        else:
            assert token == "next"
            reply.json(listed([service("c")], "7"))

    api, server = serve(pages)
    found, version = read_list(api, SERVICES, name_of)
    assert found == {("default", name): name for name in "abc"}
    assert version == "7"
    assert [request.query["limit"] for request in server.requests] == ["500", "500"]


def test_selectors_are_sent(serve):
    api, server = serve(lambda request, reply: reply.json(listed([])))
    read_list(api, config_map("metal-system", "config"), name_of)
    read_list(api, speaker_leases("metal-system"), name_of)
    first, second = server.requests
    assert (first.path, first.query["fieldSelector"]) == (
        "/api/v1/namespaces/metal-system/configmaps",
        "metadata.name=config",
    )
    assert (second.path, second.query["labelSelector"]) == (
        "/apis/coordination.k8s.io/v1/namespaces/metal-system/leases",
        "app=metallb,component=speaker",
    )


def test_what_decodes_to_none_is_left_out(serve):
    api, _ = serve(lambda request, reply: reply.json(listed([service("a"), service("b")])))
    found, _ = read_list(api, SERVICES, lambda item: None if name_of(item) == "a" else "kept")
    assert found == {("default", "b"): "kept"}


def test_a_snapshot_that_expired_between_pages_is_read_again_in_one(serve):
    def pages(request, reply):
        if request.query.get("continue"):
            reply.status(410, "Expired", "The provided continue parameter is too old")
        elif "limit" in request.query:
            reply.json(listed([service("gone")], "7", "next"))
        else:
            reply.json(listed([service("a")], "9"))

    api, server = serve(pages)
    assert read_list(api, SERVICES, name_of) == ({("default", "a"): "a"}, "9")
    assert len(server.requests) == 3


def test_expired_without_a_page_is_an_error_and_no_endless_loop(serve):
    api, server = serve(lambda request, reply: reply.status(410, "Expired"))
    with pytest.raises(ApiError):
        read_list(api, SERVICES, name_of)
    assert len(server.requests) == 1


def test_the_same_page_again_is_an_error_and_no_endless_loop(serve):
    api, server = serve(lambda request, reply: reply.json(listed([service("a")], "7", "same")))
    with pytest.raises(ApiUnavailableError, match="the same page"):
        read_list(api, SERVICES, name_of)
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [{}, {"items": []}, {"metadata": {}}, {"metadata": {"resourceVersion": 7}}])
def test_an_object_that_is_no_list_is_not_taken_for_an_empty_one(serve, body):
    api, _ = serve(lambda request, reply: reply.json(body))
    with pytest.raises(ApiUnavailableError, match="no list"):
        read_list(api, SERVICES, name_of)


@pytest.mark.parametrize("items", [None, {}, 7])
def test_a_list_of_nothing_is_empty(serve, items):
    api, _ = serve(lambda request, reply: reply.json({"metadata": {"resourceVersion": "7"}, "items": items}))
    assert read_list(api, SERVICES, name_of) == ({}, "7")


def test_odd_items_do_not_stop_a_list(serve):
    api, _ = serve(lambda request, reply: reply.json(listed([None, 7, [], {"metadata": 3}, service("a")])))
    found, _ = read_list(api, SERVICES, lambda item: "kept")
    assert set(found) == {("default", "a")}


def test_names_in_paths_are_quoted():
    assert namespaced("/api/v1", "a/b", "services", "c d", "status") == "/api/v1/namespaces/a%2Fb/services/c%20d/status"


def test_a_resource_prints_as_its_kind():
    assert str(SERVICES) == "services"
    assert str(Resource("/apis/x/v1/widgets")) == "widgets"

import random

import pytest

from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.endpoints import EndpointsByService, discover_endpoints
from metallb_cli.kube.resources import ENDPOINT_SLICES, ENDPOINTS
from metallb_cli.model import Endpoints, ServiceKey

WEB = ServiceKey("n", "web")
DNS = ServiceKey("n", "dns")


def on(*nodes, elsewhere=False):
    return Endpoints(frozenset(nodes), elsewhere)


class Told:
    def __init__(self):
        self.changes = []
        self.join = EndpointsByService(lambda key, endpoints: self.changes.append((key, endpoints)))

    def take(self):
        changes, self.changes = self.changes, []
        return changes


def test_slices_of_a_service_add_up():
    told = Told()
    told.join.changed(None, (WEB, on("a")))
    told.join.changed(None, (WEB, on("b")))
    assert told.take() == [(WEB, on("a")), (WEB, on("a", "b"))]


def test_a_slice_that_adds_nothing_new_is_not_told():
    told = Told()
    told.join.changed(None, (WEB, on("a")))
    told.take()
    told.join.changed(None, (WEB, on("a")))
    told.join.changed((WEB, on("a")), None)
    assert told.take() == []
    told.join.changed((WEB, on("a")), None)
    assert told.take() == [(WEB, on())]


def test_a_slice_that_changes_replaces_only_its_own_part():
    told = Told()
    told.join.changed(None, (WEB, on("a")))
    told.join.changed(None, (WEB, on("b")))
    told.take()
    told.join.changed((WEB, on("a")), (WEB, on("c", elsewhere=True)))
    assert told.take() == [(WEB, on("b", "c", elsewhere=True))]


def test_a_slice_that_moves_to_another_service_changes_both():
    told = Told()
    told.join.changed(None, (WEB, on("a")))
    told.take()
    told.join.changed((WEB, on("a")), (DNS, on("a")))
    assert sorted(told.take()) == [(DNS, on("a")), (WEB, on())]


def test_an_empty_slice_is_no_news():
    told = Told()
    told.join.changed(None, (WEB, on()))
    assert told.take() == []


def test_whatever_the_order_the_result_is_the_union():
    chance = random.Random(1)
    for _ in range(50):
        seen = {}
        join = EndpointsByService(seen.__setitem__)
        slices = {}
        for _ in range(60):
            name = chance.randrange(6)
            old = slices.get(name)
            new = chance.choice([None, (chance.choice([WEB, DNS]), on(*chance.sample("abc", chance.randrange(3))))])
            if old is None and new is None:
                continue
            join.changed(old, new)
            slices[name] = new
        for key in (WEB, DNS):
            expected = on()
            for part in slices.values():
                if part is not None and part[0] == key:
                    expected |= part[1]
            assert seen.get(key, on()) == expected


# -- which API


def group(*versions):
    return {"kind": "APIGroup", "versions": [{"groupVersion": f"discovery.k8s.io/{v}", "version": v} for v in versions]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (group("v1"), (ENDPOINT_SLICES, objects.endpoint_slice)),
        (group("v1", "v1beta1"), (ENDPOINT_SLICES, objects.endpoint_slice)),
        (group("v1beta1"), (ENDPOINTS, objects.endpoints)),
        ({}, (ENDPOINTS, objects.endpoints)),
        ({"versions": [1, None, {}]}, (ENDPOINTS, objects.endpoints)),
    ],
)
def test_slices_are_used_where_version_1_is_served(serve, answer, expected):
    api, server = serve(lambda request, reply: reply.json(answer))
    assert discover_endpoints(api) == expected
    assert server.requests[0].path == "/apis/discovery.k8s.io"


def test_a_cluster_without_the_group_has_endpoints(serve):
    api, _ = serve(lambda request, reply: reply.status(404, "NotFound"))
    assert discover_endpoints(api)[0] == ENDPOINTS


def test_another_refusal_decides_nothing(serve):
    api, _ = serve(lambda request, reply: reply.status(503, "ServiceUnavailable"))
    with pytest.raises(ApiError):
        discover_endpoints(api)

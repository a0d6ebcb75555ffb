"""One `api` fixture for two API servers: what passes on both is what clients may rely on."""

import itertools
import time

import pytest

from metallb_cli.lab.api import EmbeddedApi
from tests.support.raw_api import RawApi

NEVER = (99, 0)
DIFFERENCES = {
    # test: (first Kubernetes release where the real server passes it, why not before)
    "test_endpoint_slices_are_served_in_v1": ((1, 21), "discovery.k8s.io/v1 came with 1.21"),
    "test_an_endpoint_slice_needs_an_address_type_and_valid_addresses": ((1, 21), "discovery.k8s.io/v1"),
    "test_the_load_balancer_class_is_kept_and_immutable": ((1, 21), "loadBalancerClass came with 1.21"),
    "test_node_ports_can_be_declined": ((1, 24), "allocateLoadBalancerNodePorts is on by default since 1.22"),
    "test_a_json_patch_cannot_replace_what_is_not_there": ((1, 22), "it added the value, against RFC 6902"),
    "test_a_put_that_says_nothing_of_node_ports_keeps_them": ((1, 21), "it gave new ones"),
    "test_a_dual_stack_service_gets_two_addresses": (NEVER, "the test's cluster has one IPv4 network"),
    "test_services_say_their_ip_family": ((1, 23), "dual stack is on by default since 1.21"),
    "test_server_side_apply_fills_in_the_protocol_of_a_port": ((1, 23), "port protocol had no default in the schema"),
    "test_the_openapi_v3_document_lets_kubectl_patch": ((1, 27), "/openapi/v3 came with 1.24"),
    "test_a_watch_can_begin_with_all_objects_and_say_when_they_end": ((1, 32), "sendInitialEvents came with 1.27"),
    "test_a_watch_from_a_version_to_come_is_refused": (NEVER, "a real server lets such a watch wait"),
    "test_a_collection_of_services_can_be_deleted": ((1, 23), "deletecollection of Services came later"),
    "test_a_namespace_is_labelled_with_its_name": ((1, 21), "the label came with 1.21"),
    "test_a_version_that_is_no_number_is_a_bad_request": ((1, 21), "it was answered with 500"),
    "test_a_deleted_namespace_takes_its_objects_along": (NEVER, "kube-controller-manager does that, and does not run"),
    "test_status_and_spec_writes_have_owners_of_their_own": ((1, 22), "managedFields knew no subresources"),
}
"""Where the embedded server follows newer releases than the real one that runs in the tests, or is stricter."""

numbers = itertools.count(1)


class Server:
    """What the tests need of either server: the methods of RawApi, and a few names."""

    def __init__(self, raw, expire_history, kind):
        self.raw = raw
        self.kind = kind
        self.expire_history = expire_history
        number = f"{int(time.time() * 1000) % 10**8}-{next(numbers)}"
        self.ns = f"contract-{number}"
        self.unique = f"u{number}"
        self.post("/api/v1/namespaces", {"metadata": {"name": self.ns}}).ok()

    def __getattr__(self, name):
        return getattr(self.raw, name)

    def path(self, plural, name="", sub="", group="", version="v1", ns=None):
        """A path in the test's own namespace: path("services", "a", "status")."""
        prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        return "/".join(each for each in (prefix, f"namespaces/{ns or self.ns}", plural, name, sub) if each)

    def create(self, plural, body, **where):
        return self.post(self.path(plural, **where), body).ok()

    def service(self, name="a", labels=None, **spec):
        body = service(name, labels, **spec)
        return self.create("services", body)

    def names(self, plural, **query):
        items = self.get(self.path(plural), query=query).ok()["items"]
        return [item["metadata"]["name"] for item in items]

    def version(self, plural="services"):
        """The resourceVersion of a list."""
        return self.get(self.path(plural)).ok()["metadata"]["resourceVersion"]

    def close(self):
        """Leave no Service to the other tests of the session: the product looks at those of all namespaces."""
        for name in self.names("services"):
            self.delete(self.path("services", name))


def service(name="a", labels=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name} if labels is None else labels},
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"port": 80, "name": "http", "protocol": "TCP"}],
            "selector": {"app": name},
            **spec,
        },
    }


@pytest.fixture(scope="session")
def shared_embedded_api():
    with EmbeddedApi() as api:
        yield api


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
def api(request):
    if request.param == "embedded":
        embedded = request.getfixturevalue("shared_embedded_api")
        server = Server(RawApi(embedded.url), embedded.expire_history, "embedded")
    else:
        real = request.getfixturevalue("real_api")
        since, why = DIFFERENCES.get(request.node.originalname, ((0, 0), ""))
        if real.version < since:
            request.applymarker(pytest.mark.xfail(strict=True, reason=f"Kubernetes {real.version}: {why}"))
        server = Server(RawApi(real.url, real.token, real.ca_file), real.expire_history, "real")
    yield server
    server.close()
    server.raw.close()

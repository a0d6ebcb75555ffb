"""Whatever clients send: an answer, never a crash, and nothing half done."""

import datetime
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metallb_cli.lab.api import Refusal, operations, resources
from metallb_cli.lab.api.columns import duration
from metallb_cli.lab.api.operations import Operations, Writer
from metallb_cli.lab.api.resources import BUILT_IN, Registry
from metallb_cli.lab.api.services import ServiceRules
from metallb_cli.lab.api.store import Store
from metallb_cli.lab.api.tables import as_table, json_path
from metallb_cli.lab.api.views import show
from tests.support.raw_api import RawApi

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
WRITER = Writer("test")
NAMES = [
    "metadata", "spec", "status", "name", "namespace", "labels", "annotations", "finalizers", "ownerReferences",
    "managedFields", "fieldsV1", "manager", "generateName", "resourceVersion", "deletionTimestamp", "uid", "type",
    "ports", "port", "targetPort", "nodePort", "protocol", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy",
    "externalTrafficPolicy", "loadBalancer", "ingress", "ip", "selector", "matchLabels", "template", "containers",
    "replicas", "data", "stringData", "subsets", "addresses", "endpoints", "conditions", "addressType", "roleRef",
    "subjects", "involvedObject", "regarding", "source", "versions", "names", "plural", "kind", "group", "scope",
    "schema", "openAPIV3Schema", "served", "storage",
]  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "x", "a-b", "LoadBalancer", "NodePort", "ExternalName", "None", "10.96.0.77", "IPv4", "IPv6", "TCP"]
    )
    | st.text(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
targets = st.sampled_from(BUILT_IN)


@pytest.fixture(scope="module")
def books():
    return ServiceRules()


@pytest.fixture(scope="module")
def world(books):
    served = Operations(Store(100), Registry(), books, lambda: NOW)
    served.create(resources.NAMESPACES, "", {"metadata": {"name": "default"}}, WRITER)
    return served


def valid(resource):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    obj = {"metadata": {"name": "valid"}}
    if resource is resources.SERVICES:
        obj["spec"] = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    elif resource is resources.PODS:
        obj["spec"] = template["spec"]
    elif resource.group == "apps":
        obj["spec"] = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    elif resource is resources.ENDPOINT_SLICES:
        obj |= {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}]}
    elif resource is resources.EVENTS:
        obj["involvedObject"] = {"namespace": "default"}
    elif resource is resources.NEW_EVENTS:
        obj["regarding"] = {"namespace": "default"}
    elif resource.plural.endswith("bindings"):
        obj["roleRef"] = {"name": "r"}
    elif resource is resources.DEFINITIONS:
        obj["metadata"]["name"] = "xs.example.org"
        obj["spec"] = {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "xs", "kind": "X"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        }
    return obj


def places(value, path=()):
    """Every path in a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


@st.composite
def twisted(draw, resource):
    """A valid object in which a few things are replaced by anything, or added."""
    obj = valid(resource)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(obj), key=repr)))
        parent = obj
        for key in path[:-1]:
            parent = parent[key]
        if path:
            parent[path[-1]] = draw(values)
            parent = parent[path[-1]]
        if isinstance(parent, dict):
            parent[draw(st.sampled_from(NAMES))] = draw(values)
    return obj


def consistent(world, books, resource):
    """Everything stored can be shown, and the books about it are right."""
    table = world.store.table(resource)
    stored = list(table.scan(""))
    assert [each.key for each in stored] == sorted(table.objects)
    shown = [show(resource, each) for each in stored]
    json.dumps(as_table(resource, shown, {}, NOW, include="Object"), allow_nan=False)
    specs = [show(resources.SERVICES, each)["spec"] for each in world.store.table(resources.SERVICES).scan("")]
    addresses = [address for spec in specs for address in spec.get("clusterIPs", ()) if address != "None"]
    assert len(addresses) == len(set(addresses))
    assert {each for each in books.held if not each.startswith("port ")} == set(addresses)
    for each in shown:
        assert each["metadata"]["name"]


settled = settings(max_examples=2 * settings.default.max_examples, suppress_health_check=list(HealthCheck))


@settled
@given(st.data(), targets)
def test_any_object_is_created_or_refused(world, books, data, resource):
    obj = data.draw(objects | twisted(resource))
    namespace = "default" if resource.namespaced else ""
    before = world.store.version
    try:
        made = world.create(resource, namespace, obj, WRITER)
    except Refusal as refusal:
        assert refusal.code in (400, 403, 404, 409, 422, 500)
        assert world.store.version == before
    else:
        consistent(world, books, resource)
        world.delete(resource, namespace, made.name, {"gracePeriodSeconds": 0}, WRITER)


@settled
@given(
    st.data(),
    targets,
    st.sampled_from(["", "status"]),
    st.sampled_from([operations.MERGE_PATCH, operations.STRATEGIC_PATCH, operations.APPLY_PATCH, "put"]),
)
def test_any_change_is_made_or_refused(world, books, data, resource, subresource, kind):
    change = data.draw(objects | twisted(resource))
    namespace = "default" if resource.namespaced else ""
    name = valid(resource)["metadata"]["name"]
    if world.store.get(resource, namespace, name) is None:
        world.create(resource, namespace, valid(resource), WRITER)
    subresource = subresource if subresource in resource.subresources else ""
    before = world.store.version
    writer = Writer("other", force=True)
    try:
        if kind == "put":
            world.replace(resource, namespace, name, subresource, change, writer)
        else:
            world.patch(resource, namespace, name, subresource, kind, change, writer)
    except Refusal as refusal:
        assert refusal.code in (400, 403, 404, 409, 415, 422)
        assert world.store.version == before
    consistent(world, books, resource)


@settled
@given(objects | values, objects)
def test_any_custom_schema_is_taken_or_refused(world, books, schema, obj):
    definition = valid(resources.DEFINITIONS)
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = [{"name": "A", "jsonPath": ".spec.type"}]
    try:
        world.delete(resources.DEFINITIONS, "", "xs.example.org", {}, WRITER)
    except Refusal as refusal:
        assert refusal.code == 404
    try:
        world.create(resources.DEFINITIONS, "", definition, WRITER)
    except Refusal as refusal:
        assert refusal.code in (400, 422)
        return
    resource = world.registry.find("example.org", "v1", "xs")
    try:
        world.create(resource, "default", obj, WRITER)
    except Refusal as refusal:
        assert refusal.code in (400, 404, 409, 422, 500)
    consistent(world, books, resource)


def test_no_service_address_or_port_is_lost_or_given_twice(world, books):
    before = books.held
    body = {"spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    for number in range(20):
        world.create(resources.SERVICES, "default", {"metadata": {"name": f"s{number}"}, **body}, WRITER)
    assert len(books.held - before) == 40
    for number in range(20):
        world.delete(resources.SERVICES, "default", f"s{number}", {}, WRITER)
    assert books.held == before


@settled
@given(st.text("/ap1vnsxm?=&%.", max_size=30), st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]))
def test_any_path_gets_an_answer(hostile_server, path, method):
    answer = hostile_server.request(method, "/" + path, b"{}" if method in ("PUT", "POST", "PATCH") else None)
    assert answer.status < 500


@pytest.fixture(scope="module")
def hostile_server():
    from metallb_cli.lab.api import EmbeddedApi

    with EmbeddedApi() as api:
        raw = RawApi(api.url)
        yield raw
        raw.close()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 1800, "3h30m"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (100 * 86400, "100d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_ages_are_written_as_kubectl_writes_them(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", 1),
        (".list[1].x", 3),
        ('.list[?(@.t=="two")].x', 3),
        (".a['b']", 1),
        (".none.b", None),
        (".list[9]", None),
        ("{.a", None),
    ],
)
def test_columns_of_custom_resources_find_their_value(path, found):
    obj = {"a": {"b": 1}, "list": [{"t": "one", "x": 2}, {"t": "two", "x": 3}]}
    assert json_path(obj, path) == found

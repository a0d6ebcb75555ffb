import pytest

from tests.support.raw_api import APPLY, JSON_PATCH, MERGE, STRATEGIC


def labels(answer):
    return answer.ok()["metadata"].get("labels")


def ports(answer):
    return [(port["port"], port["name"]) for port in answer.ok()["spec"]["ports"]]


def test_a_merge_patch_merges_and_null_removes(api):
    api.service(labels={"a": "1", "b": "2"})
    answer = api.patch(api.path("services", "a"), {"metadata": {"labels": {"a": None, "c": "3"}}}, MERGE)
    assert labels(answer) == {"b": "2", "c": "3"}


def test_a_merge_patch_replaces_lists(api):
    api.service()
    answer = api.patch(api.path("services", "a"), {"spec": {"ports": [{"port": 81, "name": "alt"}]}}, MERGE)
    assert ports(answer) == [(81, "alt")]


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC])
def test_a_patch_may_be_conditional_on_the_version(api, kind):
    made = api.service()
    path = api.path("services", "a")
    change = {"metadata": {"resourceVersion": "1", "labels": {"x": "1"}}}
    answer = api.patch(path, change, kind)
    assert (answer.status, answer.reason) == (409, "Conflict")
    change["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert labels(api.patch(path, change, kind))["x"] == "1"
    assert api.patch(path, change, kind).status == 409


def test_a_strategic_patch_merges_ports_by_number(api):
    api.service()
    path = api.path("services", "a")
    answer = api.patch(path, {"spec": {"ports": [{"port": 443, "name": "https"}]}}, STRATEGIC)
    assert sorted(ports(answer)) == [(80, "http"), (443, "https")]
    answer = api.patch(path, {"spec": {"ports": [{"port": 80, "name": "web"}]}}, STRATEGIC)
    assert sorted(ports(answer)) == [(80, "web"), (443, "https")]
    answer = api.patch(path, {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}, STRATEGIC)
    assert ports(answer) == [(443, "https")]
    answer = api.patch(path, {"spec": {"ports": [{"$patch": "replace"}, {"port": 9, "name": "nine"}]}}, STRATEGIC)
    assert ports(answer) == [(9, "nine")]


def test_a_strategic_patch_can_order_a_list(api):
    api.service(ports=[{"port": n, "name": f"p{n}"} for n in (1, 2, 3)])
    order = {"spec": {"$setElementOrder/ports": [{"port": 3}, {"port": 1}, {"port": 2}]}}
    order["spec"]["ports"] = [{"port": 2, "name": "two"}]
    answer = api.patch(api.path("services", "a"), order, STRATEGIC)
    assert ports(answer) == [(3, "p3"), (1, "p1"), (2, "two")]


def test_a_strategic_patch_merges_and_trims_sets(api):
    api.create("configmaps", {"metadata": {"name": "x", "finalizers": ["example.org/a"]}})
    path = api.path("configmaps", "x")
    answer = api.patch(path, {"metadata": {"finalizers": ["example.org/b"]}}, STRATEGIC)
    assert sorted(answer.ok()["metadata"]["finalizers"]) == ["example.org/a", "example.org/b"]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.org/a"]}}
    assert api.patch(path, gone, STRATEGIC).ok()["metadata"]["finalizers"] == ["example.org/b"]
    api.patch(path, {"metadata": {"finalizers": None}}, MERGE).ok()


def test_a_strategic_patch_can_replace_a_map(api):
    api.service(labels={"a": "1"})
    answer = api.patch(api.path("services", "a"), {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}, STRATEGIC)
    assert labels(answer) == {"b": "2"}


def test_a_json_patch_does_all_operations_in_order(api):
    api.service(labels={"a": "1", "b": "2"})
    operations = [
        {"op": "test", "path": "/spec/type", "value": "LoadBalancer"},
        {"op": "add", "path": "/metadata/labels/c~1d", "value": "3"},
        {"op": "replace", "path": "/metadata/labels/a", "value": "9"},
        {"op": "move", "from": "/metadata/labels/b", "path": "/metadata/labels/e"},
        {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/f"},
        {"op": "add", "path": "/spec/ports/-", "value": {"port": 81, "name": "x"}},
        {"op": "add", "path": "/spec/ports/0", "value": {"port": 79, "name": "y"}},
        {"op": "remove", "path": "/spec/ports/1"},
    ]
    answer = api.patch(api.path("services", "a"), operations, JSON_PATCH)
    assert labels(answer) == {"a": "9", "c/d": "3", "e": "2", "f": "9"}
    assert ports(answer) == [(79, "y"), (81, "x")]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/spec/type", "value": "NodePort"},
        {"op": "remove", "path": "/spec/nothing"},
        {"op": "remove", "path": "/spec/ports/7"},
        {"op": "frobnicate", "path": "/spec"},
    ],
)
def test_a_json_patch_that_cannot_be_done_changes_nothing(api, operation):
    made = api.service()
    first = {"op": "add", "path": "/metadata/labels/x", "value": "1"}
    answer = api.patch(api.path("services", "a"), [first, operation], JSON_PATCH)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert api.get(api.path("services", "a")).ok() == made


def test_a_json_patch_cannot_replace_what_is_not_there(api):
    api.service()
    operations = [{"op": "replace", "path": "/metadata/labels/nothing", "value": "x"}]
    assert api.patch(api.path("services", "a"), operations, JSON_PATCH).status == 422


def test_a_json_patch_must_be_a_list(api):
    api.service()
    assert api.patch(api.path("services", "a"), {"op": "remove", "path": "/spec"}, JSON_PATCH).status == 400


def test_the_patch_type_must_be_known(api):
    api.service()
    answer = api.patch(api.path("services", "a"), {}, "application/json")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


def test_a_patched_object_is_checked(api):
    api.service()
    path = api.path("services", "a")
    assert api.patch(path, {"spec": {"type": "Nonsense"}}).status == 422
    assert api.patch(path, {"metadata": {"labels": {"a": 5}}}).status in (400, 422)
    assert api.patch(path, {"spec": {"ports": None}}).status == 422
    assert api.patch(path, [1]).status in (400, 422)


# -- server-side apply


def intent(**labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": labels}}


def apply(api, body, manager, **query):
    query = {"fieldManager": manager, **query}
    return api.patch(api.path("configmaps", "x"), body, APPLY, query=query)


def test_server_side_apply_creates_and_records_the_owner(api):
    answer = apply(api, intent(a="1"), "one")
    assert answer.status == 201
    (entry,) = answer.json["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    assert entry["fieldsV1"]["f:metadata"]["f:labels"]["f:a"] == {}
    assert apply(api, intent(a="1"), "one").status == 200


def test_server_side_apply_removes_what_is_no_longer_wanted(api):
    apply(api, {**intent(a="1"), "data": {"k": "v", "l": "w"}}, "one").ok()
    apply(api, {**intent(b="1"), "data": {"l": "w"}}, "two").ok()
    new = apply(api, {**intent(), "data": {}}, "one").ok()
    assert new["metadata"]["labels"] == {"b": "1"}
    assert new["data"] == {"l": "w"}


def test_server_side_apply_does_not_take_from_another_owner_unless_forced(api):
    apply(api, intent(a="1"), "one").ok()
    assert apply(api, intent(a="1"), "two").status == 200
    answer = apply(api, intent(a="2"), "two")
    assert (answer.status, answer.reason) == (409, "Conflict")
    (cause,) = answer.json["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".metadata.labels.a")
    assert 'conflict with "one"' in cause["message"]
    assert apply(api, intent(a="2"), "two", force="true").ok()["metadata"]["labels"] == {"a": "2"}
    assert apply(api, intent(a="1"), "one").status == 409


def test_an_update_takes_the_field_over(api):
    apply(api, intent(a="1"), "one").ok()
    api.patch(api.path("configmaps", "x"), {"metadata": {"labels": {"a": "2"}}}, query={"fieldManager": "edit"}).ok()
    answer = apply(api, intent(a="3"), "one")
    assert answer.status == 409
    assert 'conflict with "edit"' in answer.json["details"]["causes"][0]["message"]


def test_server_side_apply_merges_ports_by_number_and_protocol(api):
    def body(*numbers):
        ports = [{"port": number, "name": f"p{number}", "protocol": "TCP"} for number in numbers]
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}

    def send(numbers, manager):
        answer = api.patch(api.path("services", "s"), body(*numbers), APPLY, query={"fieldManager": manager})
        return sorted(port["port"] for port in answer.ok()["spec"]["ports"])

    assert send([80], "one") == [80]
    assert send([81], "two") == [80, 81]
    assert send([82], "one") == [81, 82]


def test_server_side_apply_fills_in_the_protocol_of_a_port(api):
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    answer = api.patch(api.path("services", "s"), body, APPLY, query={"fieldManager": "one"})
    assert answer.ok()["spec"]["ports"][0]["protocol"] == "TCP"


def test_server_side_apply_takes_yaml(api):
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: b\n"
    assert apply(api, body, "one").ok()["data"] == {"a": "b"}


def test_server_side_apply_needs_a_manager_and_no_managed_fields(api):
    answer = api.patch(api.path("configmaps", "x"), intent(), APPLY)
    assert answer.status in (400, 422)
    bad = intent()
    bad["metadata"]["managedFields"] = [{"manager": "x", "operation": "Apply"}]
    assert apply(api, bad, "one").status in (400, 422)


def test_status_and_spec_writes_have_owners_of_their_own(api):
    api.service()
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    api.patch(api.path("services", "a", "status"), status).ok()
    entries = api.get(api.path("services", "a")).ok()["metadata"]["managedFields"]
    assert [entry.get("subresource") for entry in entries] == [None, "status"]

import pytest

from tests.contract.conftest import service
from tests.support.raw_api import MERGE

LEASES = {"group": "coordination.k8s.io"}


def test_a_created_object_gets_what_the_server_gives(api):
    answer = api.post(api.path("services"), service())
    made = answer.json
    assert answer.status == 201
    assert (made["kind"], made["apiVersion"]) == ("Service", "v1")
    assert made["metadata"]["namespace"] == api.ns
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert int(made["metadata"]["resourceVersion"]) > 0
    assert api.get(api.path("services", "a")).ok() == made


def test_the_same_name_twice_is_a_conflict(api):
    api.service()
    answer = api.post(api.path("services"), service())
    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert answer.json["details"] == {"name": "a", "kind": "services"}


def test_a_missing_object_is_not_found(api):
    for answer in (
        api.get(api.path("services", "none")),
        api.put(api.path("services", "none"), service("none")),
        api.patch(api.path("services", "none"), {}),
        api.delete(api.path("services", "none")),
    ):
        assert (answer.status, answer.reason) == (404, "NotFound")
        assert answer.json["message"] == 'services "none" not found'
        assert answer.json["kind"] == "Status"


def test_an_unknown_resource_is_not_found(api):
    assert api.get(api.path("widgets")).status == 404
    assert api.get("/apis/nobody.example.org/v1/widgets").status == 404


def test_a_namespace_must_exist(api):
    answer = api.post(api.path("configmaps", ns="missing"), {"metadata": {"name": "x"}})
    assert (answer.status, answer.json["message"]) == (404, 'namespaces "missing" not found')


def test_the_namespace_of_path_and_object_must_agree(api):
    answer = api.post(api.path("configmaps"), {"metadata": {"name": "x", "namespace": "default"}})
    assert (answer.status, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("plural", "name"), [("services", "1a"), ("services", "A"), ("configmaps", "a_b"), ("configmaps", "-a")]
)
def test_a_bad_name_is_invalid(api, plural, name):
    answer = api.post(api.path(plural), {**service(name), "kind": None, "apiVersion": None})
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.json["details"]["causes"][0]["field"] == "metadata.name"


def test_a_name_is_required(api):
    answer = api.post(api.path("configmaps"), {"metadata": {}})
    assert answer.status == 422
    assert answer.json["details"]["causes"][0]["reason"] == "FieldValueRequired"


def test_a_generated_name_begins_as_asked(api):
    made = [api.create("configmaps", {"metadata": {"generateName": "run-"}})["metadata"]["name"] for _ in range(2)]
    assert all(name.startswith("run-") and len(name) == 9 for name in made)
    assert len(set(made)) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[1]", 400),
        (b'{"metadata":{"name":"x"},"spec":5}', 400),
        (b'{"metadata":{"name":"x"},"spec":{"ports":[{"port":"80"}]}}', 400),
        (b'{"metadata":{"name":"x","labels":{"a":1}}}', 400),
        (b'{"metadata":{"name":"x","labels":{"a b":"c"}},"spec":{"ports":[{"port":80}]}}', 422),
        (b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}', 400),
    ],
)
def test_what_is_no_service_is_refused(api, body, status):
    assert api.post(api.path("services"), body).status == status


def test_an_unknown_media_type_is_refused(api):
    answer = api.post(api.path("services"), b"x", content_type="text/plain")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


def test_yaml_is_accepted(api):
    body = b"metadata:\n  name: x\ndata:\n  day: '2020-01-01'\n"
    assert api.post(api.path("configmaps"), body, content_type="application/yaml").status == 201
    assert api.get(api.path("configmaps", "x")).ok()["data"] == {"day": "2020-01-01"}


def test_a_body_of_more_than_three_mebibytes_is_too_large(api):
    answer = api.post(api.path("configmaps"), {"metadata": {"name": "x"}, "data": {"x": "a" * (3 << 20)}})
    assert (answer.status, answer.reason) == (413, "RequestEntityTooLarge")


def test_the_method_must_fit_the_path(api):
    for method, path in (("PUT", api.path("services")), ("POST", api.path("services", "a"))):
        answer = api.request(method, path, {})
        assert (answer.status, answer.reason) == (405, "MethodNotAllowed")


def test_a_resource_version_cannot_be_given_at_creation(api):
    answer = api.post(api.path("configmaps"), {"metadata": {"name": "x", "resourceVersion": "5"}})
    assert answer.status in (400, 500)
    assert "resourceVersion should not be set" in answer.json["message"]


def test_a_put_with_a_stale_version_is_a_conflict(api):
    stale = api.service()
    api.patch(api.path("services", "a"), {"metadata": {"labels": {"z": "1"}}}).ok()
    answer = api.put(api.path("services", "a"), stale)
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert "the object has been modified" in answer.json["message"]


def test_a_put_replaces_everything_that_may_change(api):
    made = api.service()
    made["metadata"]["labels"] = {"only": "this"}
    made["metadata"]["uid_"] = "ignored"
    new = api.put(api.path("services", "a"), made).ok()
    assert new["metadata"]["labels"] == {"only": "this"}
    assert new["metadata"]["uid"] == made["metadata"]["uid"]
    assert new["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert int(new["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_put_without_version_overwrites_a_config_map(api):
    api.create("configmaps", {"metadata": {"name": "x"}, "data": {"a": "1"}})
    new = api.put(api.path("configmaps", "x"), {"metadata": {"name": "x"}, "data": {"b": "2"}}).ok()
    assert new["data"] == {"b": "2"}


def test_the_name_of_path_and_object_must_agree(api):
    api.service()
    assert api.put(api.path("services", "a"), service("b")).status == 400
    assert api.patch(api.path("services", "a"), {"metadata": {"name": "b"}}).status == 400


def test_a_write_that_changes_nothing_keeps_the_version(api):
    made = api.service()
    same = api.patch(api.path("services", "a"), {"metadata": {"labels": {"app": "a"}}}).ok()
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert api.put(api.path("services", "a"), made).ok() == made


def test_versions_grow_over_all_resources(api):
    versions = [
        int(api.create(plural, {**service(name), "kind": None, "apiVersion": None})["metadata"]["resourceVersion"])
        for plural, name in (("services", "a"), ("configmaps", "b"), ("services", "c"))
    ]
    assert versions == sorted(set(versions))


def test_a_deletion_says_what_is_gone(api):
    made = api.service()
    answer = api.delete(api.path("services", "a")).ok()
    if answer["kind"] == "Status":  # newer releases return the object
        assert answer["status"] == "Success"
        assert answer["details"] == {"name": "a", "kind": "services", "uid": made["metadata"]["uid"]}
    assert api.get(api.path("services", "a")).status == 404


@pytest.mark.parametrize("condition", [{"uid": "other"}, {"resourceVersion": "1"}])
def test_a_deletion_can_have_conditions(api, condition):
    api.service()
    answer = api.delete(api.path("services", "a"), {"preconditions": condition})
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert api.get(api.path("services", "a")).status == 200


def test_a_finalizer_holds_the_object(api):
    body = service()
    body["metadata"]["finalizers"] = ["example.org/hold"]
    api.create("services", body)
    api.delete(api.path("services", "a")).ok()
    held = api.get(api.path("services", "a")).ok()["metadata"]
    assert held["deletionTimestamp"]
    assert held["finalizers"] == ["example.org/hold"]
    more = api.patch(api.path("services", "a"), {"metadata": {"finalizers": ["example.org/hold", "example.org/more"]}})
    assert more.status == 422
    api.patch(api.path("services", "a"), {"metadata": {"finalizers": None}}, MERGE).ok()
    assert api.get(api.path("services", "a")).status == 404


def test_a_collection_can_be_deleted_by_label(api):
    for name, label in (("a", "1"), ("b", "1"), ("c", "2")):
        api.create("configmaps", {"metadata": {"name": name, "labels": {"n": label}}})
    api.delete(api.path("configmaps"), query={"labelSelector": "n=1"}).ok()
    assert set(api.names("configmaps")) - {"kube-root-ca.crt"} == {"c"}


def test_a_collection_of_services_can_be_deleted(api):
    api.service()
    assert api.delete(api.path("services")).status == 200
    assert api.names("services") == []


def test_a_dry_run_stores_nothing(api):
    query = {"dryRun": "All"}
    assert api.post(api.path("services"), service(), query=query).status == 201
    assert api.get(api.path("services", "a")).status == 404
    made = api.service("b")
    tried = api.patch(api.path("services", "b"), {"metadata": {"labels": {"x": "1"}}}, query=query).ok()
    assert tried["metadata"]["labels"]["x"] == "1"
    api.delete(api.path("services", "b"), query=query).ok()
    assert api.get(api.path("services", "b")).ok() == made
    assert api.post(api.path("services"), service("c"), query={"dryRun": "Some"}).status in (400, 422)


def test_a_lease_is_created_by_a_put(api):
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}}
    assert api.put(api.path("leases", "l", **LEASES), body).status == 201


def test_fields_are_owned_by_who_wrote_them(api):
    body = service()
    api.post(api.path("services"), body, headers={"User-Agent": "one/1.0"}).ok()
    patch = {"metadata": {"annotations": {"k": "v"}}}
    api.patch(api.path("services", "a"), patch, query={"fieldManager": "two"}).ok()
    entries = api.get(api.path("services", "a")).ok()["metadata"]["managedFields"]
    owners = {entry["manager"]: entry for entry in entries}
    assert owners["one"]["operation"] == "Update"
    assert "f:app" in owners["one"]["fieldsV1"]["f:metadata"]["f:labels"]
    assert owners["two"]["fieldsV1"]["f:metadata"]["f:annotations"]["f:k"] == {}
    assert owners["two"]["fieldsType"] == "FieldsV1"

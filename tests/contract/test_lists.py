import base64
import json

import pytest


def test_a_list_has_a_kind_and_a_version_but_its_items_have_no_kind(api):
    api.service()
    found = api.get(api.path("services")).ok()
    assert (found["kind"], found["apiVersion"]) == ("ServiceList", "v1")
    assert int(found["metadata"]["resourceVersion"]) >= int(found["items"][0]["metadata"]["resourceVersion"])
    assert "kind" not in found["items"][0]
    assert "apiVersion" not in found["items"][0]


def test_items_are_sorted_by_name(api):
    for name in ("b", "a-1", "a", "c"):
        api.service(name)
    assert api.names("services") == ["a", "a-1", "b", "c"]


def test_an_empty_list_is_a_list(api):
    assert api.get(api.path("services")).ok()["items"] == []
    assert api.get(api.path("services", ns="missing")).ok()["items"] == []


def test_a_list_over_all_namespaces_is_sorted_by_namespace(api):
    api.service()
    keys = [
        (item["metadata"]["namespace"], item["metadata"]["name"]) for item in api.get("/api/v1/services").ok()["items"]
    ]
    assert (api.ns, "a") in keys
    assert keys == sorted(keys, key="/".join)


SELECTORS = {
    "tier=web": ["a", "b"],
    "tier==web,env=test": ["b"],
    "tier!=web": ["c", "d"],
    "tier in (web, db)": ["a", "b", "c"],
    "tier notin (web)": ["c", "d"],
    "tier": ["a", "b", "c"],
    "!tier": ["d"],
    "tier,!env": ["a", "c"],
    "size>3": ["a"],
    "size<3": ["b"],
    "": ["a", "b", "c", "d"],
}


def test_label_selectors_of_every_kind(api):
    api.service("a", {"tier": "web", "size": "5"})
    api.service("b", {"tier": "web", "env": "test", "size": "1"})
    api.service("c", {"tier": "db"})
    api.service("d", {})
    assert {selector: api.names("services", labelSelector=selector) for selector in SELECTORS} == SELECTORS


def test_a_bad_label_selector_is_refused(api):
    selectors = ["a in", "a in b", "=", "a=b=c", "a in (b", "a b", ",,"]
    answers = {selector: api.get(api.path("services"), query={"labelSelector": selector}) for selector in selectors}
    assert {selector: answer.status for selector, answer in answers.items()} == dict.fromkeys(selectors, 400)


def test_field_selectors_of_every_kind(api):
    api.service("a")
    api.service("b")
    assert api.names("services", fieldSelector="metadata.name=b") == ["b"]
    assert api.names("services", fieldSelector="metadata.name!=b") == ["a"]
    assert api.names("services", fieldSelector=f"metadata.namespace={api.ns},metadata.name==a") == ["a"]
    assert api.names("services", fieldSelector="metadata.namespace=other") == []
    assert api.get(api.path("services"), query={"fieldSelector": "spec.nothing=1"}).status == 400


def test_pods_can_be_selected_by_node(api):
    spec = {"containers": [{"name": "c", "image": "i"}]}
    api.create("pods", {"metadata": {"name": "p"}, "spec": {**spec, "nodeName": "one"}})
    api.create("pods", {"metadata": {"name": "q"}, "spec": spec})
    assert api.names("pods", fieldSelector="spec.nodeName=one") == ["p"]
    assert api.names("pods", fieldSelector="spec.nodeName=") == ["q"]
    assert api.names("pods", fieldSelector="status.phase=Pending,spec.nodeName!=one") == ["q"]


def test_events_can_be_selected_by_their_object(api):
    for name, kind in (("a", "Normal"), ("b", "Warning")):
        involved = {"kind": "Service", "namespace": api.ns, "name": name}
        api.create(
            "events", {"metadata": {"name": f"e-{name}"}, "involvedObject": involved, "type": kind, "reason": "R"}
        )
    assert api.names("events", fieldSelector="involvedObject.name=a,involvedObject.kind=Service") == ["e-a"]
    assert api.names("events", fieldSelector="type=Warning") == ["e-b"]
    assert api.names("events", fieldSelector="reason=R") == ["e-a", "e-b"]


def pages(api, limit, between=None):
    query = {"limit": limit}
    while True:
        page = api.get(api.path("services"), query=query).ok()
        yield page
        if not page["metadata"].get("continue"):
            return
        query["continue"] = page["metadata"]["continue"]


def test_pages_cover_the_list_once(api):
    names = [f"s{number}" for number in range(7)]
    for name in names:
        api.service(name)
    found = list(pages(api, 3))
    assert [[item["metadata"]["name"] for item in page["items"]] for page in found] == [
        names[:3],
        names[3:6],
        names[6:],
    ]
    assert [page["metadata"].get("remainingItemCount") for page in found] == [4, 1, None]


def test_all_pages_show_one_version(api):
    for name in ("a", "b", "d", "e"):
        api.service(name)
    each = pages(api, 1)
    first = next(each)
    api.service("c")
    api.delete(api.path("services", "d")).ok()
    api.patch(api.path("services", "e"), {"metadata": {"labels": {"new": "1"}}}).ok()
    rest = list(each)
    assert [page["items"][0]["metadata"]["name"] for page in rest] == ["b", "d", "e"]
    assert {page["metadata"]["resourceVersion"] for page in rest} == {first["metadata"]["resourceVersion"]}
    assert "new" not in rest[-1]["items"][0]["metadata"]["labels"]


def test_a_continue_token_expires(api):
    api.service("a")
    api.service("b")
    token = next(pages(api, 1))["metadata"]["continue"]
    api.service("c")
    api.expire_history()
    answer = api.get(api.path("services"), query={"limit": 1, "continue": token})
    assert (answer.status, answer.reason) == (410, "Expired")


@pytest.mark.parametrize("token", ["nonsense", base64.b64encode(json.dumps({"rv": "x"}).encode()).decode()])
def test_a_forged_continue_token_is_refused(api, token):
    assert api.get(api.path("services"), query={"limit": 1, "continue": token}).status == 400


def test_a_list_from_the_future_is_refused(api):
    answer = api.get(api.path("services"), query={"resourceVersion": "99999999"})
    assert (answer.status, answer.reason) == (504, "Timeout")
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert "Too large resource version: 99999999, current: " in answer.json["message"]


def test_a_list_can_show_an_exact_version(api):
    made = api.service("a")
    api.service("b")
    query = {"resourceVersion": made["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
    assert api.names("services", **query) == ["a"]
    assert set(api.names("services", resourceVersion="0")) == {"a", "b"}  # from a cache, in any order
    query["resourceVersionMatch"] = "NotOlderThan"
    assert set(api.names("services", **query)) == {"a", "b"}


def test_a_version_that_is_no_number_is_a_bad_request(api):
    assert api.get(api.path("services"), query={"resourceVersion": "abc"}).status == 400


def test_only_metadata_can_be_asked_for(api):
    api.service()
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    found = api.get(api.path("services"), headers=accept).ok()
    assert found["kind"] == "PartialObjectMetadataList"
    assert "spec" not in found["items"][0]


def test_a_form_that_is_not_served_is_not_acceptable(api):
    answer = api.get(api.path("services"), headers={"Accept": "text/csv"})
    assert (answer.status, answer.reason) == (406, "NotAcceptable")

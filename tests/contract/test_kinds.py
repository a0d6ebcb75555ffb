import time

import pytest

LEASES = {"group": "coordination.k8s.io"}
SLICES = {"group": "discovery.k8s.io"}
APPS = {"group": "apps"}
RENEWED = "2026-01-02T03:04:05.678901Z"
POD = {"containers": [{"name": "c", "image": "i"}]}


# -- Lease


def lease(**spec):
    return {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 6, **spec}}


def test_a_lease_is_written_back_on_condition_of_its_version(api):
    made = api.create("leases", lease(renewTime=RENEWED), **LEASES)
    assert made["spec"]["renewTime"] == RENEWED
    made["spec"]["holderIdentity"] = "y"
    path = api.path("leases", "l", **LEASES)
    assert api.put(path, made).status == 200
    assert api.put(path, made).status == 409
    made["metadata"].pop("resourceVersion")
    assert api.put(path, made).status == 422


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z", "now", 5])
def test_a_lease_time_has_six_decimals(api, time):
    assert api.post(api.path("leases", **LEASES), lease(renewTime=time)).status == 400


@pytest.mark.parametrize("spec", [{"leaseDurationSeconds": 0}, {"leaseDurationSeconds": -1}, {"leaseTransitions": -1}])
def test_lease_numbers_have_limits(api, spec):
    assert api.post(api.path("leases", **LEASES), lease(**spec)).status == 422


def test_a_lease_that_nobody_holds_is_told_apart_by_its_labels(api):
    api.create("leases", {**lease(), "metadata": {"name": "l", "labels": {"app": "m", "component": "s"}}}, **LEASES)
    note = {"name": "h", "labels": {"app": "m", "metallb.io/kind": "history"}, "annotations": {"metallb.io/h": "[]"}}
    made = api.create("leases", {"metadata": note, "spec": {"renewTime": RENEWED, "leaseTransitions": 0}}, **LEASES)
    assert "holderIdentity" not in made["spec"]
    path = api.path("leases", **LEASES)
    for selector, names in (("app=m,component=s", ["l"]), ("app=m,metallb.io/kind=history", ["h"])):
        found = api.get(path, query={"labelSelector": selector}).ok()
        assert [item["metadata"]["name"] for item in found["items"]] == names
    version = made["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=version, labelSelector="app=m,component=s", timeoutSeconds=10) as watch:
        assert api.put(f"{path}/h", made).status == 200
        held = api.get(f"{path}/l").ok()
        held["spec"]["holderIdentity"] = "y"
        assert api.put(f"{path}/l", held).status == 200
        assert [event["metadata"]["name"] for _, event in watch.take(1)] == ["l"]


def test_messages_name_the_group(api):
    message = api.get(api.path("leases", "none", **LEASES)).json["message"]
    assert message == 'leases.coordination.k8s.io "none" not found'


# -- Event


def event(api, **more):
    involved = {"kind": "Service", "namespace": api.ns, "name": "a", "uid": "u"}
    return {
        "metadata": {"name": "e"},
        "involvedObject": involved,
        "reason": "R",
        "message": "M",
        "type": "Normal",
        **more,
    }


def test_an_event_is_seen_in_both_api_groups(api):
    api.create("events", event(api, count=2, source={"component": "me"}))
    new = api.get(api.path("events", "e", group="events.k8s.io")).ok()
    assert (new["kind"], new["apiVersion"]) == ("Event", "events.k8s.io/v1")
    assert (new["note"], new["regarding"]["name"], new["reason"]) == ("M", "a", "R")
    assert (new["deprecatedCount"], new["deprecatedSource"]) == (2, {"component": "me"})
    assert "message" not in new


def test_an_event_can_be_written_in_the_newer_group(api):
    body = {
        "metadata": {"name": "e"},
        "eventTime": RENEWED,
        "reportingController": "example.org/me",
        "reportingInstance": "me-1",
        "action": "Assign",
        "reason": "R",
        "regarding": {"kind": "Service", "namespace": api.ns, "name": "a"},
        "note": "M",
        "type": "Normal",
    }
    api.create("events", body, group="events.k8s.io")
    old = api.get(api.path("events", "e")).ok()
    assert (old["message"], old["involvedObject"]["name"], old["reportingComponent"]) == ("M", "a", "example.org/me")


def test_an_event_lies_in_the_namespace_of_its_object(api):
    body = event(api)
    body["involvedObject"]["namespace"] = "other"
    assert api.post(api.path("events"), body).status == 422


def test_an_event_can_be_counted_up(api):
    api.create("events", event(api, count=1))
    body = {"count": 2, "lastTimestamp": "2026-01-02T03:04:05Z"}
    assert api.patch(api.path("events", "e"), body, "application/strategic-merge-patch+json").ok()["count"] == 2


# -- Namespace


def test_a_namespace_is_active_and_has_a_finalizer(api):
    found = api.get(f"/api/v1/namespaces/{api.ns}").ok()
    assert found["status"] == {"phase": "Active"}
    assert found["spec"] == {"finalizers": ["kubernetes"]}


def test_a_namespace_is_labelled_with_its_name(api):
    found = api.get(f"/api/v1/namespaces/{api.ns}").ok()
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == api.ns


def test_the_default_namespace_cannot_be_deleted(api):
    answer = api.delete("/api/v1/namespaces/default")
    assert (answer.status, answer.reason) == (403, "Forbidden")


def test_nothing_can_be_created_in_a_namespace_that_is_being_deleted(api):
    api.create("configmaps", {"metadata": {"name": "held", "finalizers": ["example.org/hold"]}})
    path = f"/api/v1/namespaces/{api.ns}"
    api.delete(path).ok()
    found = api.get(path).ok()
    assert found["status"]["phase"] == "Terminating"
    answer = api.post(api.path("configmaps"), {"metadata": {"name": "late"}})
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert "is being terminated" in answer.json["message"]
    api.patch(api.path("configmaps", "held"), {"metadata": {"finalizers": None}}).ok()


def test_a_deleted_namespace_takes_its_objects_along(api):
    api.service()
    path = f"/api/v1/namespaces/{api.ns}"
    version = api.get("/api/v1/namespaces").ok()["metadata"]["resourceVersion"]
    with api.watch(
        "/api/v1/namespaces", resourceVersion=version, fieldSelector=f"metadata.name={api.ns}", timeout=1
    ) as w:
        api.delete(path).ok()
        assert [kind for kind, _ in w.until(lambda kind, _: kind == "DELETED")][-1] == "DELETED"
    assert api.get(path).status == 404
    assert api.names("services") == []


# -- Node


def test_a_node_keeps_the_status_that_it_registers_with(api):
    status = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    made = api.post("/api/v1/nodes", {"metadata": {"name": api.unique}, "status": status}).ok()
    path = f"/api/v1/nodes/{api.unique}"
    assert made["status"]["addresses"] == status["addresses"]
    condition = {"type": "NetworkUnavailable", "status": "True", "reason": "R", "message": "M"}
    merge = "application/strategic-merge-patch+json"
    for kind in ("Ready", "NetworkUnavailable"):
        api.patch(path + "/status", {"status": {"conditions": [{**condition, "type": kind}]}}, merge).ok()
    found = api.patch(path + "/status", {"status": {"conditions": [{**condition, "status": "False"}]}}, merge).ok()
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions == {"Ready": "True", "NetworkUnavailable": "False"}
    assert found["status"]["addresses"] == status["addresses"]
    api.delete(path).ok()
    assert api.get(path).status == 404


# -- Pod


def test_a_pod_is_pending_until_its_node_says_otherwise(api):
    body = {"metadata": {"name": "p"}, "spec": POD, "status": {"phase": "Running"}}
    made = api.create("pods", body)
    assert made["status"]["phase"] == "Pending"
    assert (made["spec"]["restartPolicy"], made["spec"]["terminationGracePeriodSeconds"]) == ("Always", 30)
    status = {"status": {"phase": "Running", "podIP": "192.0.2.1"}}
    assert api.patch(api.path("pods", "p", "status"), status).ok()["status"]["phase"] == "Running"


def test_a_pod_is_bound_to_a_node_once(api):
    api.create("pods", {"metadata": {"name": "p"}, "spec": POD})
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    path = api.path("pods", "p", "binding")
    answer = api.post(path, binding)
    assert (answer.status, answer.json["status"]) == (201, "Success")
    assert api.get(api.path("pods", "p")).ok()["spec"]["nodeName"] == "n"
    assert api.post(path, binding).status == 409
    assert api.patch(api.path("pods", "p"), {"spec": {"nodeName": "m"}}).status == 422


def test_a_pod_on_a_node_is_deleted_when_its_node_is_done(api):
    api.create("pods", {"metadata": {"name": "p"}, "spec": {**POD, "nodeName": "n"}})
    path = api.path("pods", "p")
    api.delete(path).ok()
    found = api.get(path).ok()
    assert found["metadata"]["deletionGracePeriodSeconds"] == 30
    assert found["metadata"]["deletionTimestamp"] > found["metadata"]["creationTimestamp"]
    assert api.patch(path, {"metadata": {"labels": {"x": "1"}}}).status == 200
    api.delete(path, {"gracePeriodSeconds": 0}).ok()
    assert api.get(path).status == 404


def test_a_pod_without_node_is_deleted_at_once(api):
    api.create("pods", {"metadata": {"name": "p"}, "spec": POD})
    api.delete(api.path("pods", "p")).ok()
    assert api.get(api.path("pods", "p")).status == 404


# -- workloads


def workload(name="w", **spec):
    template = {"metadata": {"labels": {"app": name}}, "spec": POD}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, "serviceName": name, **spec},
    }


def test_a_workload_counts_its_generations(api):
    made = api.create("statefulsets", workload(), **APPS)
    assert (made["metadata"]["generation"], made["spec"]["replicas"]) == (1, 1)
    path = api.path("statefulsets", "w", **APPS)
    assert api.patch(path, {"metadata": {"labels": {"a": "b"}}}).ok()["metadata"]["generation"] == 1
    assert api.patch(path, {"spec": {"replicas": 2}}).ok()["metadata"]["generation"] == 2
    status = {"status": {"replicas": 2, "readyReplicas": 1}}
    assert api.patch(path + "/status", status).ok()["metadata"]["generation"] == 2


def test_a_workload_selects_its_own_pods(api):
    wrong = workload()
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    for plural in ("statefulsets", "deployments", "daemonsets", "replicasets"):
        body = {**wrong, "spec": {key: value for key, value in wrong["spec"].items() if key != "serviceName"}}
        assert api.post(api.path(plural, **APPS), body).status == 422


def test_a_workload_is_scaled_through_its_subresource(api):
    api.create("statefulsets", workload(), **APPS)
    path = api.path("statefulsets", "w", "scale", **APPS)
    scale = api.get(path).ok()
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    scale["spec"]["replicas"] = 3
    assert api.put(path, scale).ok()["spec"]["replicas"] == 3
    assert api.patch(path, {"spec": {"replicas": 4}}).ok()["spec"]["replicas"] == 4
    assert api.get(api.path("statefulsets", "w", **APPS)).ok()["spec"]["replicas"] == 4
    assert api.put(path, scale).status == 409


# -- endpoints


def endpoint_slice(**more):
    return {
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "nodeName": "n"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        **more,
    }


def test_endpoint_slices_are_served_in_v1(api):
    made = api.create("endpointslices", endpoint_slice(), **SLICES)
    assert made["endpoints"][0]["nodeName"] == "n"
    assert made["metadata"]["generation"] == 1


def test_an_endpoint_slice_needs_an_address_type_and_valid_addresses(api):
    for wrong in (
        endpoint_slice(addressType=None),
        endpoint_slice(addressType="IPX"),
        endpoint_slice(endpoints=[{"addresses": []}]),
        endpoint_slice(endpoints=[{"addresses": ["2001:db8::1"]}]),
    ):
        assert api.post(api.path("endpointslices", **SLICES), wrong).status == 422


def test_endpoints_name_ready_addresses(api):
    subset = {"addresses": [{"ip": "192.0.2.1", "nodeName": "n"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    assert api.create("endpoints", {"metadata": {"name": "a"}, "subsets": [subset]})["subsets"] == [subset]
    wrong = {"metadata": {"name": "b"}, "subsets": [{"addresses": [{"ip": "x"}], "ports": [{"port": 80}]}]}
    assert api.post(api.path("endpoints"), wrong).status == 422


# -- others


def test_a_secret_encodes_plain_strings(api):
    made = api.create("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (made["data"], made["type"]) == ({"a": "Yg=="}, "Opaque")
    assert "stringData" not in made


def test_an_immutable_config_map_stays(api):
    api.create("configmaps", {"metadata": {"name": "x"}, "data": {"a": "1"}, "immutable": True})
    assert api.patch(api.path("configmaps", "x"), {"data": {"a": "2"}}).status == 422


def test_the_role_of_a_binding_cannot_change(api):
    group = {"group": "rbac.authorization.k8s.io"}
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}
    api.create("roles", {"metadata": {"name": "r"}, "rules": [rule]}, **group)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"kind": "ServiceAccount", "name": "s", "namespace": api.ns}
    body = {"metadata": {"name": "system:b"}, "roleRef": reference, "subjects": [subject]}
    assert api.create("rolebindings", body, **group)["roleRef"] == reference
    body["roleRef"] = {**reference, "name": "other"}
    assert api.put(api.path("rolebindings", "system:b", **group), body).status == 422


def definition(api):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                },
            },
            "status": {"type": "object", "properties": {"used": {"type": "integer"}}},
        },
    }
    group = f"{api.unique}.example.org"
    return group, {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"pools.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "pools", "singular": "pool", "kind": "Pool", "listKind": "PoolList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                }
            ],
        },
    }


def is_established(definition):
    conditions = definition.get("status", {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


def test_a_definition_adds_a_resource(api):
    group, body = definition(api)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.post(definitions, body).ok()
    path = api.path("pools", group=group)
    with api.watch(definitions, fieldSelector=f"metadata.name=pools.{group}") as watch:
        assert watch.until(lambda _, obj: is_established(obj))
    deadline = time.monotonic() + 10
    while api.get(path).status != 200:  # the real server serves it some time after it says so
        assert time.monotonic() < deadline
        time.sleep(0.02)
    made = api.post(path, {"apiVersion": f"{group}/v1", "kind": "Pool", "metadata": {"name": "p"},
                           "spec": {"size": 3, "unknown": 1}, "status": {"used": 1}}).ok()  # fmt: skip
    assert made["spec"] == {"size": 3, "mode": "a"}
    assert "status" not in made
    listed = api.get(path).ok()
    assert (listed["kind"], listed["items"][0]["kind"]) == ("PoolList", "Pool")
    invalid = {"apiVersion": f"{group}/v1", "kind": "Pool", "metadata": {"name": "q"}, "spec": {"size": 0}}
    assert api.post(path, invalid).status == 422
    assert api.patch(path + "/p", {"spec": {"size": "x"}}).status == 422
    assert api.patch(path + "/p", {}, "application/strategic-merge-patch+json").status == 415
    new = api.patch(path + "/p/status", {"status": {"used": 2}, "metadata": {"labels": {"a": "b"}}}).ok()
    assert new["status"] == {"used": 2}
    assert "labels" not in new["metadata"]
    table = api.get(path, headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}).ok()
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["p", 3]
    api.delete(f"{definitions}/pools.{group}").ok()

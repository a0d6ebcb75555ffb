import pytest

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def columns(table):
    return [column["name"] for column in table["columnDefinitions"]]


def test_the_version_is_told_with_and_without_slash(api):
    for path in ("/version", "/version/"):
        assert api.get(path).ok()["gitVersion"].startswith("v")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_one_word(api, path):
    assert api.get(path).data == b"ok"


def test_the_core_group_lists_its_resources(api):
    assert api.get("/api").ok()["versions"] == ["v1"]
    found = {each["name"]: each for each in api.get("/api/v1").ok()["resources"]}
    services = found["services"]
    assert (services["kind"], services["namespaced"], services["shortNames"]) == ("Service", True, ["svc"])
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(services["verbs"])
    assert found["services/status"]["kind"] == "Service"
    assert found["pods/binding"]["kind"] == "Binding"
    assert not found["nodes"]["namespaced"]


def test_groups_have_versions(api):
    groups = {each["name"]: each for each in api.get("/apis").ok()["groups"]}
    for name in ("apps", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "rbac.authorization.k8s.io"):
        preferred = groups[name]["preferredVersion"]
        assert preferred["groupVersion"] == f"{name}/{preferred['version']}"
        assert api.get(f"/apis/{name}").ok()["kind"] == "APIGroup"
    found = api.get("/apis/coordination.k8s.io/v1").ok()
    assert found["groupVersion"] == "coordination.k8s.io/v1"
    assert "leases" in [each["name"] for each in found["resources"]]
    assert api.get("/apis/none.example.org").status == 404
    assert api.get("/apis/apps/v99").status == 404


def test_the_openapi_v3_document_lets_kubectl_patch(api):
    index = api.get("/openapi/v3").ok()["paths"]
    document = api.get(index["apis/apps/v1"]["serverRelativeURL"]).ok()
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "StatefulSet"}
    names = {parameter["name"] for parameter in patch["parameters"]}
    assert {"fieldValidation", "fieldManager", "dryRun"} <= names


# -- tables


def test_services_are_shown_with_addresses_and_ports(api):
    made = api.service()
    table = api.get(api.path("services"), headers=TABLE).ok()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert columns(table) == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 0, 0, 0, 1]
    (row,) = table["rows"]
    number = made["spec"]["ports"][0]["nodePort"]
    name, kind, cluster_ip, external_ip, ports, age, selector = row["cells"]
    assert (name, kind, cluster_ip) == ("a", "LoadBalancer", made["spec"]["clusterIP"])
    assert (external_ip, ports, selector) == ("<pending>", f"80:{number}/TCP", "app=a")
    assert age.endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "a"
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "h.example.org"}]}}}
    api.patch(api.path("services", "a", "status"), status).ok()
    table = api.get(api.path("services", "a"), headers=TABLE).ok()
    assert table["rows"][0]["cells"][3] == "192.0.2.1,h.example.org"


def test_the_objects_of_a_table_can_be_left_out_or_whole(api):
    api.service()
    path = api.path("services")
    (row,) = api.get(path, headers=TABLE, query={"includeObject": "Object"}).ok()["rows"]
    assert row["object"]["spec"]["type"] == "LoadBalancer"
    (row,) = api.get(path, headers=TABLE, query={"includeObject": "None"}).ok()["rows"]
    assert not row.get("object")


def test_a_watch_can_send_tables(api):
    with api.watch(api.path("services"), headers=TABLE, resourceVersion=api.version()) as watch:
        api.service("a")
        api.service("b")
        (_, first), (_, second) = watch.take(2)
    assert columns(first)[:2] == ["Name", "Type"]
    assert first["rows"][0]["cells"][0] == "a"
    assert not second["columnDefinitions"]
    assert second["rows"][0]["cells"][0] == "b"


POD_SPEC = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
WORKLOAD = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}


@pytest.mark.parametrize(
    ("plural", "group", "body", "names", "cells"),
    [
        ("configmaps", "", {"data": {"a": "b"}}, ["Name", "Data"], ["x", 1]),
        ("pods", "", {"spec": POD_SPEC}, ["Name", "Ready", "Status", "Restarts"], ["x", "0/1", "Pending"]),
        ("statefulsets", "apps", {"spec": {**WORKLOAD, "serviceName": "x"}}, ["Name", "Ready"], ["x", "0/1"]),
        ("deployments", "apps", {"spec": WORKLOAD}, ["Name", "Ready", "Up-to-date", "Available"], ["x", "0/1"]),
        ("daemonsets", "apps", {"spec": WORKLOAD}, ["Name", "Desired", "Current", "Ready"], ["x", 0, 0, 0]),
        ("replicasets", "apps", {"spec": WORKLOAD}, ["Name", "Desired", "Current", "Ready"], ["x", 1, 0, 0]),
        ("leases", "coordination.k8s.io", {"spec": {"holderIdentity": "h"}}, ["Name", "Holder"], ["x", "h"]),
        ("secrets", "", {}, ["Name", "Type", "Data"], ["x", "Opaque", 0]),
        (
            "endpoints",
            "",
            {"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]},
            ["Name", "Endpoints"],
            ["x", "192.0.2.1:80"],
        ),
    ],
)
def test_every_kind_has_its_columns(api, plural, group, body, names, cells):
    api.create(plural, {"metadata": {"name": "x"}, **body}, group=group)
    table = api.get(api.path(plural, "x", group=group), headers=TABLE).ok()
    assert columns(table)[: len(names)] == names
    shown = table["rows"][0]["cells"][: len(cells)]
    assert [str(cell) for cell in shown] == [str(cell) for cell in cells]


def test_namespaces_and_events_have_their_columns(api):
    table = api.get(f"/api/v1/namespaces/{api.ns}", headers=TABLE).ok()
    assert columns(table) == ["Name", "Status", "Age"]
    assert table["rows"][0]["cells"][:2] == [api.ns, "Active"]
    involved = {"kind": "Service", "namespace": api.ns, "name": "a"}
    body = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "message": "M", "type": "Normal"}
    api.create("events", body)
    table = api.get(api.path("events"), headers=TABLE).ok()
    assert columns(table)[:4] == ["Last Seen", "Type", "Reason", "Object"]
    assert table["rows"][0]["cells"][1:4] == ["Normal", "R", "service/a"]

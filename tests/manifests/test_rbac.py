import pytest

from tests.manifests.objects import shipped
from tests.manifests.rbac import Permission, granted, missing, permission_of, unused

# -- how a request is read


@pytest.mark.parametrize(
    ("method", "target", "permission"),
    [
        ("GET", "/api/v1/services?limit=500", Permission("", "services", "list")),
        ("GET", "/api/v1/services?watch=true&resourceVersion=7", Permission("", "services", "watch")),
        ("GET", "/api/v1/services?watch=1", Permission("", "services", "watch")),
        ("GET", "/api/v1/services?watch=false", Permission("", "services", "list")),
        ("GET", "/api/v1/namespaces/a/services/b", Permission("", "services", "get", "b", "a")),
        ("PATCH", "/api/v1/namespaces/a/services/b/status", Permission("", "services/status", "patch", "b", "a")),
        ("POST", "/api/v1/namespaces/a/events", Permission("", "events", "create", "", "a")),
        (
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/m/leases/l",
            Permission("coordination.k8s.io", "leases", "update", "l", "m"),
        ),
        (
            "GET",
            "/api/v1/namespaces/m/configmaps?fieldSelector=metadata.name%3Dconfig&watch=true",
            Permission("", "configmaps", "watch", "config", "m"),
        ),
        ("GET", "/api/v1/namespaces/a", Permission("", "namespaces", "get", "a")),
        ("DELETE", "/api/v1/namespaces/a/pods", Permission("", "pods", "deletecollection", "", "a")),
        ("GET", "/apis/discovery.k8s.io/v1", None),
        ("GET", "/api", None),
        ("GET", "/version", None),
    ],
)
def test_a_request_needs_what_kubernetes_asks_for(method, target, permission):
    assert permission_of(method, target) == permission


def test_a_rule_for_one_name_or_one_namespace_lets_no_other_through():
    one = Permission("", "configmaps", "list", "config", "m")
    assert one.allows(Permission("", "configmaps", "list", "config", "m"))
    assert not one.allows(Permission("", "configmaps", "list", "", "m"))
    assert not one.allows(Permission("", "configmaps", "list", "config", "other"))
    assert not one.allows(Permission("", "configmaps", "watch", "config", "m"))
    assert Permission("", "services", "list").allows(Permission("", "services", "list", "", "m"))


def test_the_comparison_sees_a_rule_too_few_and_a_rule_too_many():
    requests = [("GET", "/api/v1/services"), ("DELETE", "/api/v1/namespaces/a/services/b"), ("GET", "/version")]
    rules = {Permission("", "services", "list"), Permission("", "secrets", "list")}
    assert missing(requests, rules) == [Permission("", "services", "delete", "b", "a")]
    assert unused(requests, rules) == [Permission("", "secrets", "list")]


# -- the rules themselves


@pytest.mark.parametrize("account", ["controller", "speaker"])
def test_no_rule_uses_a_wildcard_and_none_reaches_pods_or_rights(account):
    rules = granted(account)
    assert rules
    assert not {rule for rule in rules if "*" in (rule.group, rule.resource, rule.verb)}
    assert not {rule.resource.partition("/")[0] for rule in rules} & {"pods", "roles", "serviceaccounts"}


@pytest.mark.parametrize(
    ("account", "allowed"),
    [("controller", {"create": "", "get": "metallb-heartbeat"}), ("speaker", {"get": "metallb-heartbeat"})],
)
def test_of_all_secrets_only_the_key_of_the_heartbeats_can_be_read_and_only_the_controller_makes_it(account, allowed):
    rules = {rule for rule in granted(account) if rule.resource == "secrets"}
    assert {rule.verb: rule.name for rule in rules} == allowed
    assert {rule.namespace for rule in rules} == {"metal-system"}


def test_the_speaker_changes_nothing_outside_our_namespace_but_events():
    reading = {"get", "list", "watch"}
    assert {rule.resource for rule in granted("speaker") if rule.verb not in reading and not rule.namespace} == {
        "events"
    }


def test_no_rule_is_given_to_anybody_else():
    subjects = {subject["name"] for each in shipped() for subject in each.get("subjects", [])}
    assert subjects == {"controller", "speaker"}

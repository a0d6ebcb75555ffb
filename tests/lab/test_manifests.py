"""The example manifests, and creating them."""

import pytest
import yaml

from metallb_cli.errors import ConfigError, UsageError
from metallb_cli.lab import manifests


def test_the_example_service_comes_after_its_namespace_and_is_the_seeds():
    things = manifests.read(manifests.example("simplehttp.yml"))
    kinds = [thing["kind"] for thing in things]
    assert kinds[0] == "Namespace"
    service = next(t for t in things if t["kind"] == "Service" and t["spec"].get("type") == "LoadBalancer")
    assert service["metadata"] == {"namespace": "metal-test", "name": "nginx", "labels": {"app": "http"}}
    assert [port["port"] for port in service["spec"]["ports"]] == [80]
    [stateful_set] = [t for t in things if t["kind"] == "StatefulSet"]
    assert (stateful_set["metadata"]["name"], stateful_set["spec"]["replicas"]) == ("http", 3)
    headless = next(t for t in things if t["kind"] == "Service" and t["spec"].get("clusterIP") == "None")
    assert headless["metadata"]["name"] == stateful_set["spec"]["serviceName"]


def test_every_volume_and_selector_of_the_example_leads_somewhere():
    things = manifests.read(manifests.example("simplehttp.yml"))
    [stateful_set] = [t for t in things if t["kind"] == "StatefulSet"]
    template = stateful_set["spec"]["template"]
    labels = template["metadata"]["labels"]
    for thing in things:
        if thing["kind"] == "Service":
            assert thing["spec"]["selector"].items() <= labels.items()
    config_maps = {t["metadata"]["name"] for t in things if t["kind"] == "ConfigMap"}
    assert {v["configMap"]["name"] for v in template["spec"]["volumes"]} <= config_maps
    volumes = {v["name"] for v in template["spec"]["volumes"]}
    [container] = template["spec"]["containers"]
    assert {m["name"] for m in container["volumeMounts"]} <= volumes
    assert container["readinessProbe"]["httpGet"]["port"] == container["ports"][0]["name"]


def test_each_pod_of_the_example_answers_with_its_own_name():
    things = manifests.read(manifests.example("simplehttp.yml"))
    [config_map] = [t for t in things if t["kind"] == "ConfigMap"]
    assert 'return 200 "Hello from a container $hostname\\n";' in config_map["data"]["default.conf"]


def test_a_list_is_as_good_as_several_documents():
    text = yaml.safe_dump({"kind": "List", "items": [{"kind": "Namespace"}, {"kind": "Service"}]}) + "---\n---\n"
    assert [thing["kind"] for thing in manifests.parse(text, "x")] == ["Namespace", "Service"]


@pytest.mark.parametrize("text", ["[1, 2]", "a: b", "kind: 3", "just text", "{kind: List, items: [1]}"])
def test_what_is_no_object_is_refused_with_the_files_name(text):
    with pytest.raises(ConfigError, match=r"x\.yml: a document is no Kubernetes object"):
        manifests.parse(text, "x.yml")


def test_broken_yaml_is_refused_with_its_place():
    with pytest.raises(ConfigError, match=r"x\.yml is no YAML.*\n?.*line 2"):
        manifests.parse("a: b\n  c: [", "x.yml")


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        manifests.read(tmp_path / "nothing.yml")


def test_an_example_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match=r"the example other\.yml is not installed"):
        manifests.example("other.yml")

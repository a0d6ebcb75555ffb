"""Which configuration the lab runs with."""

import pytest

from metallb_cli.errors import ConfigError, UsageError
from metallb_cli.lab import manifests, settings

LAYER2 = """\
address-pools:
- name: default
  protocol: layer2
  addresses: [10.1.0.0/30, 2001:db8::/120]
- name: routed
  protocol: bgp
  addresses: [10.2.0.0/24]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "config.yml"
        path.write_text(text)
        return settings.settings_of(settings.read(path))

    return read


def test_the_examples_configuration_is_accepted_and_gives_out_172_30_1_96_first():
    example = settings.settings_of(settings.read(manifests.example("configmap.yml")))
    assert (example.namespace, example.name) == ("metal-system", "config")
    assert [str(r) for r in example.ranges] == ["172.30.1.96-172.30.1.111"]


def test_a_bare_configuration_becomes_the_configmap_of_the_example_deployment(read):
    found = read(LAYER2)
    assert found.config_map["data"]["config"] == LAYER2
    assert found.config_map["metadata"] == {"namespace": "metal-system", "name": "config"}


def test_only_ranges_that_are_announced_on_the_lan_count(read):
    assert [str(r) for r in read(LAYER2).ranges] == ["10.1.0.0-10.1.0.3"]


def test_a_manifest_keeps_its_namespace_name_and_labels(read):
    indented = "".join("    " + line for line in LAYER2.splitlines(keepends=True))
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: x}}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: metallb-system\n  name: pools\n  labels: {a: b}\n"
        f"data:\n  config: |\n{indented}"
    )
    found = read(text)
    assert (found.namespace, found.name) == ("metallb-system", "pools")
    assert found.config_map["metadata"]["labels"] == {"a": "b"}


def test_a_configuration_with_errors_is_refused(read):
    with pytest.raises(ConfigError, match="has errors"):
        read("address-pools: [{name: x}]")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "address-pools: [{name: x, protocol: bgp, addresses: [10.0.0.0/24]}]",
        "address-pools: [{name: x, protocol: layer2, auto-assign: false, addresses: [10.0.0.0/24]}]",
        "address-pools: [{name: x, protocol: layer2, addresses: ['2001:db8::/120']}]",
    ],
)
def test_a_configuration_that_cannot_serve_the_example_is_refused_with_the_reason(read, text):
    with pytest.raises(ConfigError, match="IPv4 address from a pool of protocol layer2"):
        read(text)


def test_two_configurations_in_one_file_are_one_too_many(read):
    with pytest.raises(ConfigError, match="holds 2 configurations"):
        read(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {config: ''}\n---\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {config: ''}\n"
        )


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        settings.read(tmp_path / "nothing.yml")

"""`metallb status` against the embedded API server: what scripts can rely on."""

import json
import socket
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner

from metallb_cli.cli import main

CONFIG = "address-pools: [{name: vlan50, protocol: arp, cidr: [172.30.1.96/28]}]"


@pytest.fixture
def cluster(embedded_api, tmp_path):
    """A cluster with a configuration and a live controller; its `run` runs `metallb status`."""
    kubeconfig = embedded_api.kubeconfig(tmp_path / "kubeconfig")
    embedded_api.load(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metal-system"}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "config", "namespace": "metal-system"},
                "data": {"config": CONFIG},
            },
        ]
    )
    embedded_api.run = lambda *arguments: CliRunner().invoke(
        main, ["status", "-n", "metal-system", "--kubeconfig", str(kubeconfig), *arguments]
    )
    return embedded_api


def pending_service():
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerIP": "192.0.2.1"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def test_a_cluster_without_problems_ends_with_0(cluster):
    result = cluster.run()
    assert result.exit_code == 0, result.output
    assert "MetalLB in metal-system: healthy" in result.output
    assert "172.30.1.96-172.30.1.111" in result.output


def test_a_problem_ends_with_1_and_says_what_to_do(cluster):
    cluster.load([pending_service()])
    result = cluster.run()
    assert result.exit_code == 1
    assert "AddressNotInPool" in result.output
    assert "ask for another address, or add it to a pool" in " ".join(result.output.split())


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_scripts_get_the_same_report_in_both_formats(cluster, output, read):
    cluster.load([pending_service()])
    result = cluster.run("-o", output)
    report = read(result.output)
    assert result.exit_code == 1
    assert report["healthy"] is False
    assert [pool["name"] for pool in report["pools"]] == ["vlan50"]
    assert report["services"][0]["address"] is None
    assert report["services"][0]["reason"] == report["problems"][0]["reason"] == "AddressNotInPool"


def speaker_lease(node, **note):
    told = {"boot": 1, "election": "sticky", "api_outage": "freeze", "interval": 0.1, "misses": 3}
    annotations = {
        "metallb.io/announcing": "",
        "metallb.io/claims": "4c:172.30.1.96" if node == "node1" else "",
        "metallb.io/peers": "1:",
        "metallb.io/speaker": json.dumps(told | {"contested": ["172.30.1.96 02:00:00:00:00:07"]} | note),
    }
    renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"speaker-{node}",
            "namespace": "metal-system",
            "labels": {"app": "metallb", "component": "speaker"},
            "annotations": annotations,
        },
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 60, "renewTime": renewed},
    }


def test_scripts_find_ownership_under_stable_keys(cluster):
    service = pending_service() | {"status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.96"}]}}}
    service["spec"].pop("loadBalancerIP")
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "nodeName": "node1"}],
    }
    cluster.load([service, endpoints, speaker_lease("node1"), speaker_lease("node2", unsteady=True)])
    report = json.loads(cluster.run("-o", "json").output)
    row = report["services"][0]
    assert row["reason"] == "AddressConflict", row
    assert (row["owner"], row["holders"]) == ("node1", [])
    assert row["claim"] == {"epoch": 4, "strong": True, "contested": True, "mac": "02:00:00:00:00:07"}
    one, two = report["speakers"]
    assert (one["heartbeat_interval"], one["heartbeat_misses"], one["lease_duration"]) == (0.1, 3, 60.0)
    assert (one["live_peers"], one["expected_peers"], one["peers"]) == (1, 1, [])
    assert (one["election"], one["api_outage"], one["renew"], one["started"]) == ("sticky", "freeze", None, 1e-09)
    assert [one[key] for key in ("leaving", "unsteady", "fenced")] == [False, False, False]
    assert two["unsteady"] is True


def test_wrong_usage_ends_with_2(cluster):
    assert cluster.run("-o", "xml").exit_code == 2


def test_an_api_server_that_is_not_there_ends_with_3_and_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "current-context": "c",
            }
        )
    )
    result = CliRunner().invoke(main, ["status", "--kubeconfig", str(kubeconfig)])
    assert result.exit_code == 3
    assert result.output.count("\n") == 1
    assert str(port) in result.output

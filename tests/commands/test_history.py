"""`metallb history` against the embedded API server, with Leases as speakers write them."""

import json
import time
from ipaddress import ip_address

import pytest
from click.testing import CliRunner

from metallb_cli.cli import main
from metallb_cli.daemon.recorder import Recorder
from metallb_cli.election import Change
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases
from metallb_cli.kube.listing import read_list
from metallb_cli.kube.resources import speaker_leases
from metallb_cli.model import Lease, Reason
from metallb_cli.reconcile.history import Stages
from metallb_cli.reconcile.history_note import HISTORY

NAMESPACE = "metal-system"
A, B = "172.30.1.96", "172.30.1.97"


def change(address, reason, before, after, epoch=1):
    return Change(ip_address(address), reason, before, after, epoch)


@pytest.fixture
def cluster(embedded_api, tmp_path):
    """A cluster; `record` writes as the speaker of a node does, `run` runs `metallb history`."""
    path = tmp_path / "kubeconfig"
    kubeconfig = embedded_api.kubeconfig(path)
    embedded_api.load([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    embedded_api.client = Api.connect(str(path))
    embedded_api.leases = Leases(embedded_api.client, NAMESPACE)

    def record(node, *told):
        failures = []
        recorder = Recorder(embedded_api.leases, node, failures.append)
        for changes, stages, at in told:
            recorder.record(changes, stages, at)
        recorder.start()
        recorder.stop()
        assert failures == []

    embedded_api.record = record
    embedded_api.run = lambda *arguments: CliRunner().invoke(
        main, ["history", "-n", NAMESPACE, "--kubeconfig", str(kubeconfig), *arguments], env={"COLUMNS": "100"}
    )
    yield embedded_api
    embedded_api.client.close()


@pytest.fixture
def moved(cluster):
    """node3 had two addresses, one of which moved to node1 on request, and all to node2 when node1 died."""
    now = time.time()
    cluster.record(
        "node3",
        ([change(A, Reason.CLAIMED, None, "node3"), change(B, Reason.CLAIMED, None, "node3")], Stages(), now - 7300),
        ([change(A, Reason.BETTER_CLAIM, "node3", "node1", 2)], Stages(), now - 3599),
    )
    cluster.record(
        "node1",
        ([change(A, Reason.MOVE_REQUESTED, "node3", "node1", 2)], Stages(None, 0.001, 0.02), now - 3600),
    )
    cluster.record("node2", ([change(A, Reason.OWNER_DIED, "node1", "node2", 3)], Stages(0.3, 0.002, 0.008), now - 60))
    return cluster


def test_the_tales_of_all_nodes_are_one_history_newest_last(moved):
    result = moved.run()
    assert result.exit_code == 0, result.output
    rows = [line.split()[2:] for line in result.output.splitlines()[2:]]
    assert rows == [
        [f"{A}-{B}", "-", "node3", "Claimed", "-"],
        [A, "node3", "node1", "MoveRequested", "-"],
        [A, "node1", "node2", "OwnerDied", "0.31s"],
    ]


def test_the_history_of_one_address(moved):
    result = moved.run(B)
    assert result.exit_code == 0, result.output
    (row,) = result.output.splitlines()[2:]
    assert row.split()[2:] == [B, "-", "node3", "Claimed", "-"]


def test_scripts_get_numbers_under_stable_names(moved):
    report = json.loads(moved.run("-o", "json", A).output)
    assert (report["namespace"], report["nodes"]) == (NAMESPACE, ["node1", "node2", "node3"])
    last = report["changes"][-1]
    assert abs(time.time() - 60 - last.pop("time")) < 30
    assert round(last.pop("gap"), 6) == 0.31
    assert last == {
        "addresses": [A],
        "complete": True,
        "from": "node1",
        "to": "node2",
        "reason": "OwnerDied",
        "stages": {"detect": 0.3, "decide": 0.002, "announce": 0.008},
        "epoch": 3,
        "recorded_by": "node2",
    }
    assert [each["gap"] for each in report["changes"][:-1]] == [None, None]


def test_only_what_is_new_enough_and_only_so_many(moved):
    def reasons(*arguments):
        return [each["reason"] for each in json.loads(moved.run("-o", "json", *arguments).output)["changes"]]

    assert reasons("--since", "1h30m") == ["MoveRequested", "OwnerDied"]
    assert reasons("--limit", "1") == ["OwnerDied"]
    assert reasons("--since", "1s") == []
    assert "2 older, not shown" in moved.run("--limit", "1").output
    empty = moved.run("--since", "1s")
    assert (empty.exit_code, empty.output.split(";")[0]) == (0, "Nothing changed hands in that time")


def test_a_cluster_without_histories_is_no_error(cluster):
    result = cluster.run()
    assert result.exit_code == 0
    assert "no speaker has run there yet" in " ".join(result.output.split())
    assert json.loads(cluster.run("-o", "json").output) == {"namespace": NAMESPACE, "nodes": [], "changes": []}


@pytest.mark.parametrize("address", ["10.9.9.9", "172.30.1", "nginx", "::1%eth0"])
def test_an_address_without_a_history_ends_with_1_and_one_line(moved, address):
    result = moved.run(address)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert address in result.output


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--since", "-1h"], ["--limit", "0"], ["-o", "yaml"]])
def test_wrong_usage_ends_with_2(cluster, arguments):
    result = cluster.run(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_an_api_server_that_does_not_answer_ends_with_3(cluster):
    cluster.stop()
    result = cluster.run()
    assert result.exit_code == 3
    assert result.output.count("\n") == 1


def test_a_history_that_nobody_understands_hides_no_other(moved):
    moved.leases.write(Lease("history-odd", annotations=((HISTORY, "[[[\x1b[2J"),)), 2.0)
    moved.leases.write(Lease("history-older", annotations=()), 2.0)
    result = moved.run()
    assert result.exit_code == 0
    assert "OwnerDied" in result.output
    assert "\x1b" not in result.output


def test_the_speakers_are_not_shown_each_others_histories(moved):
    moved.leases.write(Lease("speaker-node1", "me", duration=6.0), 2.0)
    found, _ = read_list(moved.client, speaker_leases(NAMESPACE), lambda item: item)
    assert [name for _, name in found] == ["speaker-node1"]


def test_more_nodes_than_one_page_are_all_read(cluster, monkeypatch):
    monkeypatch.setattr("metallb_cli.kube.listing.PAGE", 3)
    for number in range(8):
        cluster.record(f"n{number}", ([change(A, Reason.CLAIMED, None, f"n{number}")], Stages(), 1000.0 + 100 * number))
    report = json.loads(cluster.run("-o", "json").output)
    assert [each["to"] for each in report["changes"]] == [f"n{number}" for number in range(8)]

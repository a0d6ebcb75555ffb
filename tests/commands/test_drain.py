"""`metallb drain` against the embedded API server; the test plays the speakers."""

import signal
import subprocess

import pytest

from tests.commands.handover import less_than, squeezed
from tests.manifests.objects import kubectl
from tests.support.roles import Role, until

WEB, DNS = "172.30.1.96", "172.30.1.97"
NODE1 = "/api/v1/nodes/node1"
DRAIN = "metallb.io/drain"


@pytest.fixture
def busy(scene):
    """Three nodes; node1 announces both addresses."""
    scene.node("node1", "node2", "node3")
    scene.service("web", WEB, "node1", "node2")
    scene.service("dns", DNS, "node1")
    scene.speaker("node1", WEB, DNS)
    scene.speaker("node2")
    scene.speaker("node3")
    return scene


def asked(scene):
    return lambda: scene.annotations(NODE1).get(DRAIN) == "true"


def hand_over(scene):
    scene.speaker("node2", WEB, epoch=2)
    scene.speaker("node3", DNS, epoch=2)
    scene.speaker("node1")


def test_every_address_is_shown_with_its_new_owner_and_the_end_is_said(busy):
    busy.when(asked(busy), lambda: hand_over(busy))
    result = busy.run("drain", "node1")
    assert result.exit_code == 0, result.output
    lines = [squeezed(line) for line in result.output.splitlines()]
    assert lines[0] == "node1 hands over 2 addresses"
    assert [line.rsplit(" ", 2)[0] for line in lines[1:3]] == [
        f"✓ {WEB} {busy.apps}/web node1 → node2",
        f"✓ {DNS} {busy.apps}/dns node1 → node3",
    ]
    assert lines[3:] == ["node1 announces nothing any more; `metallb drain node1 --undo` ends the drain"]
    assert "\x1b" not in result.output


def test_scripts_get_one_object(busy):
    busy.when(asked(busy), lambda: hand_over(busy))
    code, report = busy.json("drain", "node1")
    assert code == 0
    assert (report["node"], report["draining"], report["done"], report["speaker"]) == ("node1", True, True, True)
    assert [(a["address"], a["state"], a["holders"]) for a in report["addresses"]] == [
        (WEB, "moved", ["node2"]),
        (DNS, "moved", ["node3"]),
    ]
    assert all(0 <= a["seconds"] <= report["seconds"] for a in report["addresses"])


def test_the_node_is_marked_and_not_cordoned_and_kubectl_shows_it(busy):
    assert busy.run("drain", "node1", "--no-wait").exit_code == 0
    node = busy.raw.get(NODE1).ok()
    assert node["metadata"]["annotations"] == {DRAIN: "true"}
    assert not node["spec"].get("unschedulable")
    command = [kubectl(), "--kubeconfig", busy.kubeconfig, "get", "node", "node1", "-o"]
    shown = subprocess.run(
        [*command, r"jsonpath={.metadata.annotations.metallb\.io/drain}"],
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert shown.stdout == "true"
    status = busy.run("status")
    assert "draining" in next(line for line in status.output.splitlines() if line.startswith("node1"))


def test_the_end_of_a_drain_takes_only_our_annotation_away(busy):
    busy.raw.patch(NODE1, {"metadata": {"annotations": {"other": "stays"}}}, "application/merge-patch+json").ok()
    busy.run("drain", "node1", "--no-wait")
    result = busy.run("drain", "node1", "--undo")
    assert result.exit_code == 0
    assert result.output.startswith("node1 may be chosen again")
    assert busy.annotations(NODE1) == {"other": "stays"}
    assert busy.json("drain", "node1", "--undo") == (0, {"node": "node1", "draining": False})


@pytest.mark.slow
def test_an_address_that_only_this_node_may_answer_for_stays_and_it_is_said_why(scene):
    scene.node("node1", "node2")
    scene.service("web", WEB, "node1", policy="Local")
    scene.speaker("node1", WEB)
    scene.speaker("node2")
    with less_than(15):
        result = scene.run("drain", "node1")
    assert result.exit_code == 1
    assert (
        f"✗ {WEB} {scene.apps}/web stays on node1: no other node may answer for it: node2 (noLocalEndpoints)"
        in squeezed(result.output)
    )
    assert "Let another node answer for what stays" in result.output
    code, report = scene.json("drain", "node1")
    assert code == 1
    assert [(a["state"], a["explanation"]) for a in report["addresses"]] == [
        ("stays", "no other node may answer for it: node2 (noLocalEndpoints)")
    ]


def test_a_pod_that_comes_on_another_node_in_time_lets_the_address_go(scene):
    scene.node("node1", "node2")
    scene.service("web", WEB, "node1", policy="Local")
    scene.speaker("node1", WEB)
    scene.speaker("node2")

    def pod_comes():
        part = f"/apis/discovery.k8s.io/v1/namespaces/{scene.apps}/endpointslices/web"
        body = scene.raw.get(part).ok()
        body["endpoints"].append({"addresses": ["10.0.0.2"], "nodeName": "node2", "conditions": {"ready": True}})
        scene.raw.put(part, body).ok()
        scene.speaker("node2", WEB, epoch=2)
        scene.speaker("node1")

    scene.when(asked(scene), pod_comes)
    code, report = scene.json("drain", "node1")
    assert (code, report["addresses"][0]["state"]) == (0, "moved")


def test_a_node_that_does_not_let_go_in_time_is_said_with_what_is_left(busy):
    busy.when(asked(busy), lambda: busy.speaker("node2", WEB, epoch=2))
    result = busy.run("drain", "node1", "--timeout", "1")
    assert result.exit_code == 1
    assert f"✗ {DNS} {busy.apps}/dns nobody has taken it over yet" in squeezed(result.output)
    assert "Not done after 1 s" in result.output


def test_a_node_without_speaker_is_done_at_once(scene):
    scene.node("node1")
    result = scene.run("drain", "node1")
    assert result.exit_code == 0
    assert "node1 announces nothing any more, having no live speaker" in result.output


@pytest.mark.parametrize("arguments", [(), ("--no-wait",)])
def test_a_node_that_does_not_exist_is_one_line_with_a_hint(busy, arguments):
    result = busy.run("drain", "node11", *arguments)
    assert (result.exit_code, result.output) == (1, "Error: there is no Node node11; did you mean node1?\n")


@pytest.mark.parametrize("name", ["nobody", "../../v1/nodes/node1", "a b"])
def test_the_drain_of_a_node_that_does_not_exist_cannot_be_ended(busy, name):
    result = busy.run("drain", name, "--undo")
    assert (result.exit_code, result.output) == (1, f"Error: there is no Node {name}\n")


@pytest.mark.slow
def test_an_outage_while_waiting_ends_with_3_and_says_how_things_are(busy, embedded_api):
    busy.when(asked(busy), embedded_api.freeze)
    result = busy.run("drain", "node1", "--timeout", "1")
    assert result.exit_code == 3
    assert result.output.splitlines()[-1].endswith("node1 goes on handing over; `metallb drain node1 --undo` ends that")


def test_ctrl_c_says_how_things_are(busy, tmp_path):
    drain = Role(tmp_path, "drain", "drain", "node1", "-n", busy.system, "--kubeconfig", busy.kubeconfig)
    until(asked(busy), what="the annotation")
    until(lambda: "hands over" in drain.log, what="the first line")
    drain.process.send_signal(signal.SIGINT)
    assert drain.process.wait(15) == 130
    assert "Interrupted: node1 goes on handing over; `metallb drain node1 --undo` ends that." in drain.log
    assert "Traceback" not in drain.log

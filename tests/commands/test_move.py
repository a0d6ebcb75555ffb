"""`metallb move` against the embedded API server; the test plays the speakers."""

import signal

import pytest

from tests.commands.handover import squeezed
from tests.support.roles import Role, until

WEB = "172.30.1.96"
MOVE_TO = "metallb.io/move-to"


@pytest.fixture
def busy(scene):
    """Two nodes; node1 announces the address, at epoch 4."""
    scene.node("node1", "node2")
    scene.service("web", WEB, "node1")
    scene.speaker("node1", WEB, epoch=4)
    scene.speaker("node2")
    return scene


def asked(scene):
    return lambda: scene.annotations(scene.path("web")).get(MOVE_TO)


def take_over(scene):
    scene.speaker("node2", WEB, epoch=5)
    scene.speaker("node1")


def test_the_request_names_node_and_epoch_and_the_end_names_the_time(busy):
    busy.when(asked(busy), lambda: take_over(busy))
    result = busy.run("move", WEB, "node2")
    assert result.exit_code == 0, result.output
    assert squeezed(result.output).rsplit(" ", 2)[0] == f"✓ {WEB} {busy.apps}/web node1 → node2"
    assert result.output.endswith(" s\n")
    assert busy.annotations(busy.path("web"))[MOVE_TO] == "node2 4"


def test_scripts_get_one_object(busy):
    busy.when(asked(busy), lambda: take_over(busy))
    code, report = busy.json("move", WEB, "node2")
    assert code == 0
    assert 0 < report.pop("seconds") < 10
    assert "node2" in report.pop("holders")
    assert report == {
        "address": WEB,
        "service": f"{busy.apps}/web",
        "from": ["node1"],
        "to": "node2",
        "epoch": 4,
        "done": True,
    }


def test_without_waiting_the_request_is_all(busy):
    result = busy.run("move", WEB, "node2", "--no-wait")
    assert result.exit_code == 0
    assert result.output == f"node2 is asked to take {WEB} ({busy.apps}/web) over from node1\n"
    assert asked(busy)() == "node2 4"


def test_a_request_that_nobody_follows_ends_with_1_and_stays(busy):
    result = busy.run("move", WEB, "node2", "--timeout", "0.5")
    assert result.exit_code == 1
    assert f"{WEB} ({busy.apps}/web) is announced by node1 after" in squeezed(result.output)
    assert "not by node2: look at the logs" in squeezed(result.output)
    code, report = busy.json("move", WEB, "node2", "--timeout", "0")
    assert (code, report["done"], report["holders"]) == (1, False, ["node1"])


@pytest.mark.parametrize(
    ("address", "node", "message"),
    [
        ("172.30.1.99", "node2", "no Service has the address 172.30.1.99"),
        (WEB, "node3", "there is no Node node3"),
        (WEB, "node1", f"node1 announces {WEB} already"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(busy, address, node, message):
    result = busy.run("move", address, node)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {message}")
    assert result.output.count("\n") == 1
    assert asked(busy)() is None


def test_a_drained_node_takes_nothing_over(busy):
    busy.run("drain", "node2", "--no-wait")
    result = busy.run("move", WEB, "node2")
    assert result.exit_code == 1
    assert "`metallb drain node2 --undo` ends a drain" in result.output


def test_a_node_without_pod_may_not_answer_for_a_local_service(busy):
    busy.raw.patch(busy.path("web"), {"spec": {"externalTrafficPolicy": "Local"}}, "application/merge-patch+json").ok()
    result = busy.run("move", WEB, "node2")
    assert result.exit_code == 1
    assert "noLocalEndpoints" in result.output


def test_what_is_no_address_is_wrong_usage(busy):
    result = busy.run("move", "web", "node2")
    assert result.exit_code == 2
    assert "'web' is no IPv4 or IPv6 address" in result.output


def test_ctrl_c_says_how_things_are(busy, tmp_path):
    move = Role(tmp_path, "move", "move", WEB, "node2", "-n", busy.system, "--kubeconfig", busy.kubeconfig)
    until(asked(busy), what="the annotation")
    until(lambda: move.process.poll() is None, what="the process")
    move.process.send_signal(signal.SIGINT)
    assert move.process.wait(15) == 130
    assert "node2" in move.log
    assert "Interrupted:" in move.log
    assert "Traceback" not in move.log

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from metallb_cli.cli import main

MISTAKES = {
    "an empty node": (["--node", ""], "--node '' is not the name of a Node"),
    "a node of another alphabet": (["--node", "nöde"], "is not the name of a Node"),
    "upper case": (["--node", "Node1"], "is not the name of a Node"),
    "a node that makes no name of a Lease": (["--node", "n" * 250], "is not the name of a Node"),
    "heartbeats as slow as the Lease": (
        ["--node", "n", "--heartbeat-interval", "1", "--heartbeat-misses", "6"],
        "6 heartbeats that are 1 s apart take 6 s: that must be less than --lease-duration, 6 s",
    ),
    "a Lease that bears no lost renewal": (["--node", "n", "--lease-duration", "3"], "at most half of it"),
    "no regular expression": (["--node", "n", "--exclude", "("], "'(' is no regular expression"),
    "too rare": (["--node", "n", "--heartbeat-interval", "5"], "0.02<=x<=1"),
    "one miss": (["--node", "n", "--heartbeat-misses", "1"], "2<=x<=100"),
    "a probe in the past": (["--node", "n", "--probe-interval", "-1"], "0<=x<=10"),
    "an unknown policy": (["--node", "n", "--on-api-outage", "panic"], "'freeze', 'majority', 'withdraw'"),
}


@pytest.mark.parametrize("arguments, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_on_the_command_line_is_told_before_anything_is_started(arguments, told, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/dev/null/none")
    result = CliRunner().invoke(main, ["speaker", *arguments])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("node", ["node-1.example.org", "n" * 245])
def test_what_kubernetes_takes_for_the_name_of_a_node_is_taken(node, tmp_path):
    command = [sys.executable, "-m", "metallb_cli", "speaker", "--node", node, "--probe-interval", "0"]
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "kubeconfig" in done.stderr, "the next thing that is looked at"

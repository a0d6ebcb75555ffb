"""`metallb lab` as a user runs it: a process of its own, with real namespaces, daemons and sockets."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from metallb_cli.lab.workspace import remove_leftovers
from tests.lab.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.slow]

METALLB = [sys.executable, "-m", "metallb_cli", "lab"]
TIMEOUT = 90.0
NO_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
NO_NETWORK_CAPABILITIES = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"]
"""A user without rights, but still uid 0, which reads every Python: CAP_SETFCAP is what the kernel asks of a
uid 0 that maps itself into a user namespace (user_namespaces(7)), and no other right."""


class RunningLab:
    """A lab under way. `output` grows."""

    def __init__(self, folder, *arguments, prefix=()):
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
        environment.pop("SUDO_USER", None)
        self.folder = folder
        self.process = subprocess.Popen(
            [*prefix, *METALLB, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.output = ""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, text, timeout=TIMEOUT):
        def there():
            assert self.process.poll() is None or text in self.output, self.output
            return text in self.output

        until(there, f"{text!r} in the output", timeout)

    def end(self, timeout=TIMEOUT):
        """The exit code."""
        try:
            code = self.process.wait(timeout)
        finally:
            self.close()
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.thread.join(10)
        self.process.stdout.close()

    def left_running(self):
        """Command lines of processes that belong to the lab, the lab itself left out."""
        marks = (f"METALLB_LAB={self.folder}".encode(), f"/proc/{self.process.pid}/fd/".encode())
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            except OSError:
                continue
            if process.name != str(self.process.pid) and (marks[0] in environment or marks[1] in command):
                found.append(command.replace(b"\0", b" ").decode())
        return found

    def assert_nothing_left(self):
        until(lambda: not self.left_running(), f"the end of {self.left_running()}", 5)
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def lab(tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    started = []

    def start(*arguments, prefix=()):
        started.append(RunningLab(folder, *arguments, prefix=prefix))
        return started[-1]

    yield start
    for each in started:
        each.close()
        until(lambda lab=each: not lab.left_running(), f"the end of {each.left_running()}", 5)


def test_the_tour_shows_an_address_three_pods_and_a_failover_in_half_a_minute(lab):
    began = time.monotonic()
    run = lab()
    assert run.end() == 0, run.output
    took = time.monotonic() - began
    row = r"nginx   LoadBalancer   10\.\d+\.\d+\.\d+ +172\.30\.1\.96   80:3\d{4}/TCP   \d+s"
    assert re.search(row, run.output), run.output
    for number in range(3):
        assert f"    Hello from a container http-{number}\n" in run.output
    moved = re.search(r"node death +(node\d) -> (node\d) in (\d+\.\d+) s", run.output)
    assert moved, run.output
    assert moved[1] == "node3"  # MetalLB's election order for 172.30.1.96: node3, node1, node2
    assert moved[2] == "node1"
    assert 0.1 < float(moved[3]) < 5.0, "heartbeats are missed long before the Lease of 6 s has expired"
    assert re.search(r"probes +\d+ lost of \d+", run.output)
    assert took < 45, f"{took:.0f} s"
    run.assert_nothing_left()


def test_ctrl_c_in_the_middle_leaves_nothing(lab):
    run = lab()
    run.wait_for("kubectl create -f simplehttp.yml")
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end(20) == 128 + signal.SIGINT, run.output
    assert "nothing is left of it" in run.output
    run.assert_nothing_left()


@pytest.mark.parametrize("text", ["embedded in this process", "LAN with", "node3 dies"])
def test_sigterm_at_any_time_leaves_nothing(lab, text):
    run = lab()
    run.wait_for(text)
    run.process.terminate()
    assert run.end(20) == 128 + signal.SIGTERM, run.output
    run.assert_nothing_left()


def test_a_killed_lab_leaves_no_process_and_the_next_one_removes_its_folder(lab, monkeypatch):
    run = lab()
    run.wait_for("MetalLB: controller and 3 speakers")
    assert run.left_running()
    run.process.kill()
    run.end()
    until(lambda: not run.left_running(), "the end of all its processes", 10)
    [folder] = run.folder.iterdir()
    monkeypatch.setattr("tempfile.tempdir", str(run.folder))
    assert remove_leftovers() == [folder]
    run.assert_nothing_left()


def test_a_kept_lab_can_be_used_as_it_says(lab):
    run = lab("--keep", "--nodes", "2")
    run.wait_for("All of it is gone")
    commands = [line.strip().removeprefix("$ ") for line in run.output.splitlines() if line.strip().startswith("$ ")]
    environment = {**os.environ, "KUBECONFIG": find(commands, "export KUBECONFIG=").removeprefix("export KUBECONFIG=")}
    status = find(commands, " status ")
    shown = subprocess.run(status, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "172.30.1.96" in shown.stdout
    assert "node2" in shown.stdout
    curl = find(commands, "nsenter", "curl")
    if shutil.which("curl"):
        answer = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=30, check=True).stdout
        assert answer.startswith("Hello from a container http-")
    kubectl = shutil.which("kubectl") or str(Path(sys.executable).with_name("kubectl"))
    if os.access(kubectl, os.X_OK):
        arguments = find(commands, "kubectl get svc -A").split()[1:]
        table = subprocess.run(
            [kubectl, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        assert re.search(r"metal-test +nginx +LoadBalancer +\S+ +172\.30\.1\.96 ", table), table
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end(20) == 0, run.output
    run.assert_nothing_left()


def find(commands, *parts):
    return next(command for command in commands if all(part in command for part in parts))


def test_a_daemon_that_dies_is_reported_at_once_with_the_end_of_its_log(lab):
    run = lab("--keep", "--nodes", "1")
    run.wait_for("All of it is gone")
    [victim] = [pid for pid in pids_of(run) if "metallb_cli\0controller" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(victim, signal.SIGKILL)
    assert run.end(20) == 1, run.output
    assert "Error: controller ended with signal SIGKILL" in run.output
    logs = re.search(r"All logs stay in (\S+)", run.output)[1]
    assert re.search(rf"The end of {logs}/controller\.log:\n +\S", run.output), run.output
    assert {"controller.log", "speaker-node1.log", "http-0.log"} <= {path.name for path in Path(logs).iterdir()}


def pids_of(run):
    mark = f"METALLB_LAB={run.folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                yield int(process.name)
        except OSError:
            continue


def test_a_lab_of_one_node_with_an_own_configuration_outside_the_lans_network(lab, tmp_path):
    config = tmp_path / "mine.yml"
    config.write_text("address-pools: [{name: mine, protocol: layer2, addresses: [10.99.7.8/30]}]")
    run = lab("--nodes", "1", "--config", str(config))
    assert run.end() == 0, run.output
    assert "10.99.7.8 of pool mine, answered for by node1" in run.output
    assert "dies" not in run.output
    run.assert_nothing_left()


def test_without_rights_it_uses_a_user_namespace(lab):
    run = lab("--nodes", "2", prefix=NO_NETWORK_CAPABILITIES)
    assert run.end() == 0, run.output
    assert "node death" in run.output
    run.assert_nothing_left()


def test_where_no_right_can_be_had_it_says_which_and_how_to_get_them(lab):
    run = lab(prefix=NO_CAPABILITIES)
    assert run.end() == 1, run.output
    assert "CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN" in run.output
    assert "sudo metallb lab" in run.output
    assert "Traceback" not in run.output
    run.assert_nothing_left()


def test_a_configuration_with_errors_is_shown_with_its_lines_before_anything_starts(lab, tmp_path):
    config = tmp_path / "bad.yml"
    config.write_text("address-pools:\n- name: x\n  protocol: layer2\n  addresses: [nonsense]\n")
    run = lab("--config", str(config))
    assert run.end() == 1
    assert f"{config}:4:" in run.output
    assert "embedded" not in run.output
    run.assert_nothing_left()


@pytest.mark.parametrize("arguments", [("--nodes", "0"), ("--nodes", "21"), ("--config", "/nowhere.yml")])
def test_wrong_usage_is_exit_code_2(lab, arguments):
    run = lab(*arguments)
    assert run.end() == 2
    assert "Traceback" not in run.output

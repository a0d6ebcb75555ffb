"""Child processes: none outlives the lab, whatever ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metallb_cli.lab.processes import Child, ChildDiedError, stop_all
from tests.lab.waiting import until

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
GRANDPARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("up", child.pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab is for Linux")


@pytest.fixture
def start(tmp_path):
    children = []

    def start(name, code, environment=()):
        child = Child(name, [sys.executable, "-c", code], tmp_path / f"{name}.log", dict(environment))
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()


def up(child):
    return until(child.tail, f"{child.name} being up")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_process_that_runs_passes_its_check_and_logs_to_its_file(start):
    child = start("sleeper", SLEEP)
    assert up(child) == ["up"]
    child.check()
    assert child.status is None


def test_a_process_that_dies_is_reported_with_its_name_and_exit_status(start):
    child = start("short", "print('the reason'); raise SystemExit(7)")
    until(lambda: child.status is not None, "its end")
    with pytest.raises(ChildDiedError, match="short ended with exit status 7") as caught:
        child.check()
    assert caught.value.child.tail() == ["the reason"]


def test_a_killed_process_is_reported_with_the_signals_name(start):
    child = start("victim", SLEEP)
    up(child)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: child.status is not None, "its end")
    with pytest.raises(ChildDiedError, match="victim ended with signal SIGKILL"):
        child.check()


@pytest.mark.parametrize("by_itself", [True, False])
def test_what_a_process_started_ends_with_it(start, by_itself):
    child = start("parent", GRANDPARENT)
    grandchild = int(up(child)[0].split()[1])
    assert runs(grandchild)
    if by_itself:
        os.kill(child.pid, signal.SIGKILL)
        until(lambda: child.status is not None, "its end")
    else:
        child.kill()
    until(lambda: not runs(grandchild), "the end of what it started")


def test_stopping_asks_first_and_then_insists(start, monkeypatch):
    monkeypatch.setattr("metallb_cli.lab.processes.STOP_TIMEOUT", 0.5)
    polite, stubborn = start("polite", SLEEP), start("stubborn", STUBBORN)
    up(polite)
    up(stubborn)
    stop_all([polite, stubborn])
    assert polite.status == -signal.SIGTERM
    assert stubborn.status == -signal.SIGKILL
    polite.stop()
    stubborn.kill()


def test_processes_have_the_given_environment_in_addition(start):
    child = start("env", "import os; print(os.environ['MARK'], 'PATH' in os.environ)", {"MARK": "here"})
    assert up(child) == ["here True"]


LAB = """
import sys, time
from pathlib import Path
from metallb_cli.lab.processes import Child
child = Child("orphan", [sys.executable, "-c", "import time; time.sleep(60)"], Path(sys.argv[1]), {})
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_process_ends_when_the_lab_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", LAB, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True) as lab:
        orphan = int(lab.stdout.readline())
        started = b"-c\0import time; time.sleep(60)\0"
        until(lambda: Path(f"/proc/{orphan}/cmdline").read_bytes().endswith(started), "the process")
        lab.kill()
        lab.wait()
    until(lambda: not runs(orphan), "the orphan's end")

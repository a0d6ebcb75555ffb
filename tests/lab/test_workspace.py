"""The lab's folder, and removing what a killed lab left."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from metallb_cli.lab.workspace import VARIABLE, Workspace, remove_leftovers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab is for Linux")

LAB = """
import os, subprocess, sys, time
from metallb_cli.lab.workspace import Workspace
workspace = Workspace()
child = subprocess.Popen(["sleep", "60"], env={**os.environ, **workspace.environment}, start_new_session=True)
print(workspace.folder, child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def other_lab(tmp_path):
    """Another process's lab: (process, folder, process id of something that it started)."""
    process = subprocess.Popen([sys.executable, "-c", LAB], stdout=subprocess.PIPE, text=True)
    folder, child = process.stdout.readline().split()
    yield process, tmp_path / folder, int(child)
    process.kill()
    process.wait()
    process.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(child), signal.SIGKILL)


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_workspace_is_gone_after_its_end():
    workspace = Workspace()
    workspace.log("speaker").write_text("x")
    assert workspace.folder.stat().st_mode & 0o077 == 0
    workspace.close(keep=False)
    workspace.close(keep=False)
    assert not workspace.folder.exists()


def test_logs_that_are_to_be_kept_survive_the_end_and_the_next_lab():
    workspace = Workspace()
    workspace.log("speaker").write_text("the reason")
    workspace.close(keep=True)
    assert remove_leftovers() == []
    assert (workspace.folder / "speaker.log").read_text() == "the reason"


def test_the_end_kills_what_the_lab_started_and_nothing_else():
    workspace, other = Workspace(), Workspace()
    with (
        subprocess.Popen(["sleep", "60"], env=workspace.environment) as ours,
        subprocess.Popen(["sleep", "60"], env=other.environment) as theirs,
    ):
        workspace.close(keep=False)
        assert ours.wait(timeout=10) == -signal.SIGKILL
        assert theirs.poll() is None
        other.close(keep=False)
        assert theirs.wait(timeout=10) == -signal.SIGKILL


def test_a_living_lab_is_left_alone(other_lab):
    _, folder, child = other_lab
    assert remove_leftovers() == []
    assert folder.exists()
    assert exists(child)


def test_what_a_killed_lab_left_is_removed(other_lab):
    process, folder, child = other_lab
    process.kill()
    process.wait()
    assert exists(child)
    assert remove_leftovers() == [folder]
    assert not folder.exists()
    assert remove_leftovers() == []


def test_folders_that_are_no_labs_are_left_alone(tmp_path):
    (tmp_path / "metallb-lab-notes").mkdir()
    (tmp_path / "metallb-lab-file").write_text("x")
    target = tmp_path / "precious"
    target.mkdir()
    (target / "alive").write_text("")
    (tmp_path / "metallb-lab-link").symlink_to(target)
    assert remove_leftovers() == []
    assert target.exists()
    assert VARIABLE == "METALLB_LAB"

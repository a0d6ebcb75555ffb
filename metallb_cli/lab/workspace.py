"""The lab's folder of logs and its kubeconfig, and what a lab that was killed left behind.

A folder holds a file `alive`, which its lab keeps locked. The kernel drops the lock when the lab ends, however it ends,
so a folder with an unlocked `alive` belonged to a lab that could not clean up. Everything that a lab starts has the
folder in its environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from pathlib import Path

VARIABLE = "METALLB_LAB"
"""Environment variable of every process of a lab: its folder."""
PREFIX = "metallb-lab-"


class Workspace:
    """A new folder, readable by this user only, or with sudo by all.

    Attributes:
        folder: the path.
        environment: what to give to every process of the lab.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        if "SUDO_USER" in os.environ:
            self.folder.chmod(0o755)  # the user is to read logs and kubeconfig without sudo; neither holds a secret
        self.environment = {VARIABLE: str(self.folder)}
        self._alive = self.folder / "alive"
        unlocked = self.folder / "new"
        self._lock = os.open(unlocked, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self._alive)  # there is no moment in which it is unlocked

    def log(self, name: str) -> Path:
        """Where the log of a process goes."""
        return self.folder / f"{name}.log"

    @property
    def kubeconfig(self) -> Path:
        """Where the kubeconfig goes."""
        return self.folder / "kubeconfig"

    def close(self, *, keep: bool) -> None:
        """End what still runs, and remove the folder, or keep it for its logs. Can be called twice."""
        if self._lock < 0:
            return
        _end_processes(self.folder)
        if keep:
            self._alive.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def remove_leftovers() -> list[Path]:
    """End the processes and remove the folders of this user's labs that were killed; returns those folders."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / "alive", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: that lab lives
                _end_processes(folder)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
            finally:
                os.close(lock)
    return removed


def _end_processes(folder: Path) -> None:
    """Kill every process that was started by the lab of this folder, by its id."""
    mark = os.fsencode(f"{VARIABLE}={folder}")
    for environ in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environ.parent.name)
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if pid != os.getpid() and mark in environ.read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)

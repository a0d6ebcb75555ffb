"""Child processes of the lab: each with a log file, none outliving the lab."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from metallb_cli.errors import MetalLBError

STOP_TIMEOUT = 3.0
"""Seconds that a process gets to end after SIGTERM."""
TAIL_LINES = 15


class ChildDiedError(MetalLBError):
    """A process of the lab ended by itself.

    Attributes:
        child: which; its log says why.
    """

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended with {_ending(child.status)}")
        self.child = child


class Child:
    """A process, and all that it starts: they are one session, and get signals together.

    Attributes:
        name: for messages.
        log: the file with its standard output and error.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        """Start it.

        Call this from a thread that lives as long as the process should: when the thread ends, the kernel kills it.

        Args:
            name: for messages.
            command: the program's absolute path, then its arguments.
            log: gets its standard output and error, at the end.
            environment: in addition to this process's own.
        """
        self.name = name
        self.log = log
        self._swept = False
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "metallb_cli.lab.tether", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its session."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """None while it runs; its exit status, or minus the number of the signal that ended it.

        When it has ended, what it had started is ended too.
        """
        status = self._process.poll()
        if status is not None and not self._swept:
            self._swept = True  # once, as the session's id may become somebody else's afterwards
            self._signal(signal.SIGKILL)
        return status

    def check(self) -> None:
        """Raise ChildDiedError unless it runs."""
        if self.status is not None:
            raise ChildDiedError(self)

    def kill(self) -> None:
        """End it and what it started, at once and without a chance to clean up. Can be called twice."""
        if self.status is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._swept = True

    def stop(self) -> None:
        """End it and what it started: SIGTERM, and SIGKILL after STOP_TIMEOUT seconds. Can be called twice."""
        stop_all([self])

    def tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines of the log."""
        return tail(self.log, lines)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def stop_all(children: Sequence[Child]) -> None:
    """Stop processes side by side; takes STOP_TIMEOUT seconds at most, and not much more."""
    for child in children:
        if child.status is None:
            child._process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child._process.wait(max(0.0, deadline - time.monotonic()))
        child.kill()


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log file; none when there is no file."""
    with contextlib.suppress(OSError):
        return log.read_text(errors="replace").splitlines()[-lines:]
    return []


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"

"""How late the last reply of the `tc` engine is: after the deadline of its lease, or after the death of its process.

    python -m bench.fence           about a quarter of a minute

In a flood, and in microseconds: while the process runs, when it is stopped (SIGSTOP), when it is killed and its
programs are pinned in a bpf file system, and when it is killed and they are not; then the kernel detaches them, and
what counts is the time since the kill. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.arp import questions
from bench.cable import NODE_MAC, ROOT, Cable
from bench.flood_programs import ROWS
from bench.rounds import require_bpf
from metallb_cli.linux.ebpf.engine import TcEngine

COUNT = 100
LEASE = 0.15
"""Seconds until it ends, or the process: in the middle of the flood."""
TRIAL = 16 * ROWS
"""Frames of a first flood, which shows how many the machine sends in a second."""
LONG = 3.0
"""How many times the lease a flood lasts, as long as it is answered: it is over sooner when nobody answers any more."""
BATCH = 4
"""Frames at a time; many would wait to be read as a whole."""
MOUNT = 'mount -t bpf bench "$0" && echo mounted && exec cat'


def lateness(repeat: int) -> dict[str, float]:
    """The latest of so many, in microseconds, by what happened to the process."""
    with bpf_file_system() as (mounts, pins):
        cases: dict[str, Callable[[Cable, int], float]] = {
            "the process runs": _running,
            "the process is stopped": lambda cable, flood: _with_process(cable, flood, signal.SIGSTOP),
        }
        if pins:
            cases["the process is killed, its programs are pinned"] = lambda cable, flood: _with_process(
                cable, flood, signal.SIGKILL, ["nsenter", f"--mount={mounts}"], pins
            )
        cases["the process is killed, its programs are not: after the kill"] = _detached
        flood = _long_enough()
        latest = {}
        for case, measure in cases.items():
            times = []
            for _ in range(repeat):
                with _cable() as cable:
                    times.append(measure(cable, flood))
            latest[case] = max(times)
        return latest


def table(latest: dict[str, float]) -> str:
    """The table in Markdown."""
    lines = ["| last reply in a flood, after the deadline of the lease | latest µs |", "|---|---:|"]
    lines += [f"| {case} | {late:+,.1f} |" for case, late in latest.items()]
    return "\n".join(lines)


@contextlib.contextmanager
def bpf_file_system() -> Iterator[tuple[str, str]]:
    """A bpf file system that only its own mount namespace sees, and that goes with it.

    Yields:
        A path of the mount namespace, and the directory in it; both empty where mounting is not permitted.
    """
    with tempfile.TemporaryDirectory(prefix="metallb-bench-") as folder:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, folder]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **pipes, text=True) as holder:
            mounted = holder.stdout.readline() == "mounted\n"
            yield (f"/proc/{holder.pid}/ns/mnt", folder) if mounted else ("", "")
            holder.stdin.close()


def _cable() -> contextlib.closing[Cable]:
    return contextlib.closing(Cable("fence", questions(COUNT), stamp=True))


@contextlib.contextmanager
def _engine(cable: Cable) -> Iterator[TcEngine]:
    """An engine of this process that answers for the addresses of the cable."""
    engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
    try:
        cable.node.run(engine.announce, cable.questions.addresses)
        yield engine
    finally:
        engine.close()


def _long_enough() -> int:
    """Frames of a flood in the midst of which a lease ends, on this machine."""
    with _cable() as cable, _engine(cable) as engine:
        engine.renew(time.monotonic() + 3600)
        pace = cable.flood(cable.own, TRIAL, batch=BATCH).nanoseconds
    return max(TRIAL, math.ceil(LONG * LEASE * 1e9 / pace))


def _running(cable: Cable, flood: int) -> float:
    with _engine(cable) as engine:
        return _flood_over(cable, flood, engine.renew)


def _with_process(cable: Cable, flood: int, number: int, prefix: Sequence[str] = (), pins: str = "") -> float:
    """Of a process that gets the signal when it has renewed the lease."""
    with _answering(cable, prefix, pins) as process:

        def renew_and_signal(deadline: float) -> None:
            _renew(process, deadline)
            process.send_signal(number)

        return _flood_over(cable, flood, renew_and_signal)


def _detached(cable: Cable, flood: int) -> float:
    """Of a process that dies in the flood, and whose lease would go on."""
    killed = 0.0
    with _answering(cable) as process:
        _renew(process, time.monotonic() + 3600)

        def kill() -> None:
            nonlocal killed
            killed = time.monotonic()
            process.kill()

        timer = threading.Timer(LEASE, kill)
        timer.start()
        cable.flood(cable.own, flood, batch=BATCH)
        timer.join()
    return _since(cable, killed)


@contextlib.contextmanager
def _answering(cable: Cable, prefix: Sequence[str] = (), pins: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that answers for the addresses of the cable; killed at the end."""
    command = [*prefix, sys.executable, "-m", "bench.fence", "--answer", str(cable.index), "--pins", pins]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with cable.node.popen(command, **pipes, text=True, cwd=ROOT) as process:
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the process with the tc engine does not answer")
            yield process
        finally:
            process.kill()


def _renew(process: subprocess.Popen[str], deadline: float) -> None:
    print(deadline, file=process.stdin, flush=True)
    process.stdout.readline()


def _flood_over(cable: Cable, flood: int, renew: Callable[[float], None]) -> float:
    """Let the lease end in the middle of a flood."""
    deadline = time.monotonic() + LEASE
    renew(deadline)
    cable.flood(cable.own, flood, batch=BATCH)
    return _since(cable, deadline)


def _since(cable: Cable, moment: float) -> float:
    """Microseconds from a time of the monotonic clock to the last reply of the flood that has just ended."""
    if time.monotonic() < moment + 0.1:  # so long does waiting for the last replies take
        raise RuntimeError("the flood ended too early")
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return (cable.flooder.last_reply - asleep - moment * 1e9) / 1000


def answer(index: int, pins: str) -> None:
    """Be a process with an engine that renews as it is told on standard input."""
    engine = TcEngine(index, NODE_MAC, pins=Path(pins) if pins else None)
    engine.announce(questions(COUNT).addresses)
    print("ready", flush=True)
    for line in sys.stdin:
        engine.renew(float(line))
        print("renewed", flush=True)
    engine.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pins", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer is not None:
        answer(options.answer, options.pins)
        return 0
    require_bpf()
    print(table(lateness(6)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

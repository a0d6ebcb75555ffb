"""How long the command takes to start, and how much memory, against a Python that does nothing.

Each row is run in turn, round after round, so that all of them meet the same noise; the table shows the fastest and the
median round. The last row is what every command would cost if the API client were imported at once.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROUNDS = 15
ROOT = Path(__file__).parents[1]
METALLB = str(Path(sys.executable).with_name("metallb"))

CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "metallb --help": [METALLB, "--help"],
    "metallb --version": [METALLB, "--version"],
    "metallb validate-config": [METALLB, "validate-config", str(ROOT / "examples" / "configmap.yml")],
    "metallb status --help": [METALLB, "status", "--help"],
    "metallb controller --help": [METALLB, "controller", "--help"],
    "metallb speaker --help": [METALLB, "speaker", "--help"],
    "python -c 'import kubernetes.client'": [sys.executable, "-c", "import kubernetes.client"],
}


@dataclass
class Runs:
    """Wall time in seconds and peak memory in MiB of each round."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def run(arguments: list[str]) -> tuple[float, float]:
    """Run once; returns wall time in seconds and peak memory in MiB."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    pid = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=silent)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print the table."""
    results = {name: Runs() for name in CASES}
    for arguments in CASES.values():  # once unmeasured: file caches and .pyc
        run(arguments)
    for _ in range(ROUNDS):
        for name, arguments in CASES.items():
            seconds, memory = run(arguments)
            results[name].seconds.append(seconds)
            results[name].memory.append(memory)
    baseline = min(results["python -c pass"].seconds)
    print(f"{ROUNDS} rounds\n")
    print("| start-up | fastest ms | median ms | × python | peak MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, runs in results.items():
        fastest, median = min(runs.seconds), statistics.median(runs.seconds)
        times = f"{fastest * 1000:.0f} | {median * 1000:.0f} | {fastest / baseline:.1f}"
        print(f"| `{name}` | {times} | {max(runs.memory):.0f} |")


if __name__ == "__main__":
    main()

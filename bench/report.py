"""Runs the benchmarks one after the other, each in a process of its own, and prints their tables.

    python -m bench.report            all of them
    python -m bench.report startup    only the named ones

Every figure comes with what it was compared with in the same run: ratios hold on other machines, seconds do not.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "report", "layer2", "chaos"}  # layer2 runs several others, chaos measures nothing
LIMIT_S = 1800


def benchmarks() -> list[str]:
    """The names of the benchmarks, in the order of the alphabet: every module here that can be run."""
    names = [path.stem for path in sorted(FOLDER.glob("*.py")) if path.stem not in NOT_BENCHMARKS]
    return [name for name in names if '__name__ == "__main__"' in (FOLDER / f"{name}.py").read_text()]


def machine() -> str:
    """What the figures were measured on, in one line."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    cpu = models[0] if models else platform.machine()
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores {cpu}, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def main(wanted: list[str]) -> int:
    """Run them; returns how many failed."""
    known = benchmarks()
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    print(f"Measured: {machine()}\n", flush=True)
    failed = []
    for name in wanted or known:
        print(f"## {name}\n", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=FOLDER.parent, check=False, timeout=LIMIT_S)
        print(f"\n({time.monotonic() - started:.0f} s)\n", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

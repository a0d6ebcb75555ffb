"""What speakers cost when nothing happens: processor time and memory of both processes."""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path

from bench.fleet import Fleet

SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


def steady(fleet: Fleet, seconds: float = SECONDS) -> dict[str, float]:
    """Medians over the nodes: percent of a processor and MiB, of the control and of the link process."""
    pids = [fleet.processes(node) for node in fleet.switch.nodes]
    time.sleep(1.0)  # what happened before comes to rest
    before, began = [[_cpu(pid) for pid in pair] for pair in pids], time.monotonic()
    time.sleep(seconds)
    after, elapsed = [[_cpu(pid) for pid in pair] for pair in pids], time.monotonic() - began
    found = {}
    for place, name in enumerate(("control", "link")):
        spent = [(late[place] - early[place]) / elapsed for early, late in zip(before, after, strict=True)]
        found[f"{name}_cpu"] = statistics.median(spent)
        found[f"{name}_mib"] = statistics.median(_rss(pair[place]) for pair in pids)
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0

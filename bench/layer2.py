"""All benchmarks of layer 2 in one run: tables, and a plot of the ratios to the kernel.

    make bench-l2                       about a quarter of an hour: prints tables, draws docs/benchmarks-l2.svg
    make bench-l2 ARGS=--docs           also writes the tables into docs/benchmarks.md
    make bench-l2 ARGS=--quick          a quarter of a minute: shows that everything works; the figures mean little
    METALLB_SPEAKER=/path/to/speaker    also measures this MetalLB speaker, v0.4.6 to v0.12 (ARP)

What is measured: replies per second in floods and with a window of 64 questions; the latency of one question after the
other; loss in a storm of foreign frames, and what these cost; how late the last reply is after the end of the lease;
the burst of gratuitous frames; TCP through the interface. Every reply is checked. Needs root, and a machine without
other work. Frames stay in network namespaces that are made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import arp, burst, fence, ndp, page, tc
from bench.page import PAGE
from bench.report import machine
from bench.rounds import FULL, QUICK, require_bpf, table

PLOT = PAGE.with_name("benchmarks-l2.svg")
COMMAND = "make bench-l2 ARGS=--docs"


def measure(*, quick: bool) -> dict[str, Any]:
    """Everything: when and on what, with what effort, and the figures of each part."""
    work = QUICK if quick else FULL
    return {
        "machine": machine(),
        "efforts": {"ARP": str(work), "NDP": str(ndp.shorter(work))},
        "ARP": arp.measure(work),
        "NDP": ndp.measure(ndp.shorter(work)),
        "fence": fence.lateness(1 if quick else 6),
        "costs": tc.costs(quick=quick) | burst.costs(quick=quick) | ndp.costs(work.counts[-1]),
    }


def markdown(found: dict[str, Any]) -> str:
    """All tables."""
    parts = [f"Measured: {found['machine']}."]
    for protocol in ("ARP", "NDP"):
        parts += [f"{protocol}: {found['efforts'][protocol]}", table(protocol, found[protocol])]
    return "\n\n".join([*parts, fence.table(found["fence"]), tc.table(found["costs"])])


def main() -> int:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.layer2", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of a minute; draws only where --plot says")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw there instead of docs/benchmarks-l2.svg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if options.quick and options.docs:
        parser.error("--docs is for figures that mean something, so not with --quick")
    require_bpf()
    path = options.plot or (None if options.quick else PLOT)
    if path is not None:
        try:
            from bench import plot  # noqa: PLC0415 - before a quarter of an hour is spent, and only where it is needed
        except ModuleNotFoundError as error:
            sys.exit(f"the plot needs {error.name}: pip install '.[bench]', as make bench-l2 does")
    found = measure(quick=options.quick)
    text = markdown(found)
    print(text)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if path is not None:
        plot.draw(path, {protocol: found[protocol] for protocol in ("ARP", "NDP")}, found["machine"])
    if options.docs:
        page.write(PAGE, COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

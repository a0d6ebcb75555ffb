"""How fast ARP is answered: the link process, the kernel itself, a naive responder and scapy, in the same run.

    python -m bench.arp                 about three minutes
    python -m bench.arp --quick         shorter rounds: less exact
    python -m bench.arp --json          the figures for a program

Each responder has a cable of its own. The asking side keeps one processor, the answering process the other; the kernel
answers on the asking side's, because that is where a frame arrives on a virtual cable. Rounds are interleaved, medians
are shown. Needs root, or `unshare -Urn python -m bench.arp`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict

from bench.load_responders import CASES, Packet, Responder, pin

ROUNDS = 3
FOREIGN_RATE = 50_000
STORM_OWN = 0.02
COUNTS = (1, 100, 10_000)


class Figures:
    """Samples by responder and measure."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, case: str, measure: str, value: float) -> None:
        self.samples[case][measure].append(value)

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            case: {measure: statistics.median(values) for measure, values in measures.items()}
            for case, measures in self.samples.items()
        }


def measure(responder: Responder, case: str, figures: Figures, seconds: float) -> None:
    """One round with one responder."""
    client = responder.client
    times = client.ask_one_by_one(seconds, most=1500)
    figures.add(case, "p50_us", statistics.median(times))
    figures.add(case, "p99_us", statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0])
    figures.add(case, "replies_per_s", client.flood(seconds).per_second)
    storm = client.flood(seconds, own=STORM_OWN)
    figures.add(case, "storm_frames_per_s", storm.sent / storm.seconds)
    figures.add(case, "storm_answered", storm.answered)
    before = responder.cpu_ns()
    foreign = client.flood(seconds, own=0.0, rate=FOREIGN_RATE)
    figures.add(case, "foreign_cpu_ns", (responder.cpu_ns() - before) / foreign.sent)


def run(counts: tuple[int, ...], cases: list[str], seconds: float) -> dict[int, dict[str, dict[str, float]]]:
    """Measure everything; returns count of addresses -> responder -> measure -> median."""
    processors = sorted(os.sched_getaffinity(0))
    responders: dict[tuple[int, str], Responder] = {}
    figures = {count: Figures() for count in counts}
    try:
        for count in counts:
            for case in cases:
                responders[count, case] = responder = CASES[case](count)
                if isinstance(responder, Packet):
                    figures[count].add(case, "start_ms", 1e3 * responder.start_s)
                    figures[count].add(case, "announce_ms", 1e3 * responder.announce_s)
        pin(0, processors[0])
        for responder in responders.values():
            responder.pin(processors[-1])
        settled = [r.settled_at for r in responders.values() if isinstance(r, Packet)]
        time.sleep(max(0.0, max(settled, default=0.0) - time.monotonic()))
        for _ in range(ROUNDS):
            for (count, case), responder in responders.items():
                measure(responder, case, figures[count], seconds)
        for (count, case), responder in responders.items():
            figures[count].add(case, "rss_mib", responder.memory())
    finally:
        for responder in responders.values():
            responder.close()
        os.sched_setaffinity(0, set(processors))
    return {count: figures[count].medians() for count in counts}


def add_ratios(results: dict[int, dict[str, dict[str, float]]]) -> None:
    """Say of each responder how it compares with the kernel in the same run."""
    for cases in results.values():
        kernel = cases.get("kernel")
        if kernel is None:
            continue
        for figures in cases.values():
            for name in ("replies_per_s", "p50_us", "p99_us"):
                figures[f"{name}_vs_kernel"] = figures[name] / kernel[name]


def show(results: dict[int, dict[str, dict[str, float]]]) -> None:
    """Print one table."""
    print("| addresses | responder | replies/s | × kernel | × scapy | p50 × kernel | p99 × kernel | CPU ns per foreign")
    print("| own answered in a storm | MiB |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for count, cases in results.items():
        scapy = cases.get("scapy", {}).get("replies_per_s")
        for case, figures in cases.items():
            rate = figures["replies_per_s"]
            columns = [
                f"{count}",
                case,
                f"{rate:,.0f}",
                _times(figures.get("replies_per_s_vs_kernel")),
                _times(rate / scapy if scapy else None),
                _times(figures.get("p50_us_vs_kernel")),
                _times(figures.get("p99_us_vs_kernel")),
                f"{figures['foreign_cpu_ns']:,.0f}",
                f"{100 * figures['storm_answered']:.1f} %",
                f"{figures['rss_mib']:.0f}" if figures["rss_mib"] else "",
            ]
            print(f"| {' | '.join(columns)} |")
    packet = {count: cases["packet"] for count, cases in results.items() if "packet" in cases}
    rate = statistics.median(f["storm_frames_per_s"] for cases in results.values() for f in cases.values())
    print(f"\nstorm: {rate:,.0f} frames/s, {100 * STORM_OWN:.0f} % of them for the responder; ", end="")
    print(f"foreign: {FOREIGN_RATE:,} frames/s")
    for count, figures in packet.items():
        start, announce = figures["start_ms"], figures["announce_ms"]
        print(f"link process with {count} addresses: start {start:.0f} ms, a new set in force after {announce:.0f} ms")


def _times(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.arp", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="short rounds, under 40 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="how many addresses")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="responders")
    options = parser.parse_args()
    results = run(tuple(options.counts), options.only, 0.1 if options.quick else 1.0)
    add_ratios(results)
    if options.json:
        json.dump(results, sys.stdout, indent=1)
        print()
    else:
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast ARP is answered by the link process, by the kernel itself, by a naive responder and by scapy.

    python -m bench.arp                 about two minutes
    python -m bench.arp --quick         fewer and shorter rounds: less exact
    python -m bench.arp --json          the figures for a program

Each has a virtual cable of its own. The asking side keeps one processor and the answering process the other; the kernel
answers on the asking side's, because that is where a frame arrives on such a cable. Rounds are interleaved and medians
shown; every reply is checked. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.cable import NODE_MAC, Cable, pin, with_kernel
from bench.flood import ROWS, Flood
from bench.tc import ASKER, CLIENT_MAC, FOREIGN, VIRTUAL, questions
from metallb_cli.layer2 import arp
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD
from metallb_cli.linux.ebpf.support import supported
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.model import AddressRange

COUNTS = (1, 100, 10_000)
STORM_SHARE = 64
"""One question in so many is for us."""
Figures = dict[str, float]


class Subject:
    """One cable with a responder, and what it did there.

    Attributes:
        pid: of the process that answers; None when the kernel does.
        slow: milliseconds for an answer; fewer are asked for.
        start: what was measured while it started.
    """

    slow = False

    def __init__(self, count: int) -> None:
        self.cable = Cable(type(self).__name__.lower(), questions(count))
        self.pid: int | None = None
        self.start: Figures = {}
        self.storm: Figures = {}
        self.settled_at = time.monotonic()
        addresses = self.cable.questions.addresses
        foreign = [arp.request(CLIENT_MAC, ASKER.packed, (FOREIGN + n).packed) for n in range(ROWS)]
        own = [self.cable.questions.frames[n % count] for n in range(ROWS // STORM_SHARE)]
        self.foreign = self.cable.flooder.prepare(foreign)
        self.mixed = self.cable.flooder.prepare([*own, *foreign[len(own) :]])
        try:
            self.run(addresses)
        except BaseException:
            self.cable.close()
            raise
        if self.pid is not None:
            pin(self.pid, max(os.sched_getaffinity(0)))

    def run(self, addresses: list) -> None:
        raise NotImplementedError

    def cpu_ns(self) -> int:
        """Processor time of the answering process so far."""
        if self.pid is None:
            return 0
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{self.pid}/task").glob("*/schedstat"))

    def memory(self) -> float:
        """Resident memory of the answering process in MiB."""
        if self.pid is None:
            return 0.0
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def flood(self, prepared: tuple[int, int], sent: int) -> Flood:
        """Flood, and wait until the responder is idle: a slow one has a queue to work through."""
        flood = self.cable.flood(prepared, sent)
        if flood.wrong:
            raise RuntimeError(f"{type(self).__name__}: {flood.wrong} wrong replies")
        for _ in range(100):
            busy = self.cpu_ns()
            time.sleep(0.1)
            if self.cpu_ns() - busy < 1e7:
                break
        return flood


class Kernel(Subject):
    """The addresses are on the interface, and Linux answers by itself."""

    def run(self, addresses: list) -> None:
        with_kernel(self.cable)


class Packet(Subject):
    """The link process with its packet engine; what the kernel does with ours is measured by `bench.tc`."""

    def run(self, addresses: list) -> None:
        announced = threading.Event()
        link = LinkProcess(
            self.cable.node.reference,
            on_state=lambda state: announced.set() if state.announced else None,
            l2_engine="packet",
            log_level="error",
        )
        began = time.monotonic()
        link.start()
        self.start["start_ms"] = 1e3 * (time.monotonic() - began)
        self.cable.stack.callback(link.stop)
        began = time.monotonic()
        link.announce(AnnouncementSet(1, tuple(addresses), (AddressRange(addresses[0], addresses[-1]),)))
        if not announced.wait(30):
            raise RuntimeError("the link process does not answer")
        self.start["announce_ms"] = 1e3 * (time.monotonic() - began)
        # It tells everybody first, and again when the kernel has let the new interface transmit for good.
        self.settled_at = time.monotonic() + 1.5 + GRATUITOUS_PERIOD
        self.pid = link.pid


class Script(Subject):
    """A small Python program, told the interface, its MAC and how many addresses there are."""

    program = ""

    def run(self, addresses: list) -> None:
        argv = [sys.executable, "-c", self.program, "lan0", NODE_MAC.hex(":"), str(VIRTUAL), str(len(addresses))]
        process = self.cable.node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.cable.stack.callback(process.communicate)
        self.cable.stack.callback(process.kill)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{type(self).__name__} did not start")
        self.pid = process.pid


class Naive(Script):
    """What one writes first: takes every ARP frame, and looks through a list."""

    program = """
import socket, struct, sys
from ipaddress import IPv4Address
name, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
addresses = [(IPv4Address(sys.argv[3]) + n).packed for n in range(int(sys.argv[4]))]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
sock.bind((name, 0x0806))
print("ready", flush=True)
while True:
    frame = sock.recv(2048)
    kind, sha, spa, tha, tpa = struct.unpack("!H6s4s6s4s", frame[20:42])
    if kind != 1:
        continue
    for address in addresses:
        if address == tpa:
            head = struct.pack("!6s6sHHHBBH", sha, mac, 0x0806, 1, 0x0800, 6, 4, 2)
            sock.send(head + mac + address + sha + spa)
            break
"""


class Scapy(Script):
    """scapy's AnsweringMachine for ARP. It gets a set of addresses, which it looks up faster than its own networks."""

    slow = True
    program = """
import logging, sys
logging.getLogger("scapy").setLevel(logging.CRITICAL)
from ipaddress import IPv4Address
from scapy.layers.l2 import ARP_am
name, mac, first, count = sys.argv[1], sys.argv[2], IPv4Address(sys.argv[3]), int(sys.argv[4])
machine = ARP_am(IP_addr={str(first + n) for n in range(count)}, ARP_addr=mac, iface=name, verbose=False)
machine.defoptsniff["filter"] = None  # it would need libpcap; only ARP comes down this cable
machine.defoptsniff["started_callback"] = lambda: print("ready", flush=True)
machine()
"""


CASES: dict[str, Callable[[int], Subject]] = {"kernel": Kernel, "packet": Packet, "naive": Naive, "scapy": Scapy}


def measure(subject: Subject, floods: int, asks: int) -> Figures:
    """One round with one responder."""
    if subject.slow:
        return measure_slow(subject, asks // 10)
    times = subject.cable.ask_one_by_one(asks)
    flood = subject.flood(subject.cable.own, floods * ROWS)
    mixed = subject.flood(subject.mixed, floods * ROWS)
    began, before = time.perf_counter(), subject.cpu_ns()
    foreign = subject.cable.flood(subject.foreign, floods * ROWS)
    between = subject.cpu_ns()
    time.sleep(time.perf_counter() - began)
    cpu = max(0, 2 * between - before - subject.cpu_ns())  # beyond what it takes anyway
    return {
        "replies_per_s": flood.rate,
        **latencies(times),
        "storm_answered": mixed.right / (mixed.sent / STORM_SHARE),
        "storm_frames_per_s": 1e9 / mixed.nanoseconds,
        "foreign_cpu_ns": cpu / foreign.sent,
    }


def measure_slow(subject: Subject, asks: int) -> Figures:
    """The same for one that needs milliseconds for an answer: its rate is that of one question after the other."""
    times = subject.cable.ask_one_by_one(asks)
    if not subject.storm:  # once only: it takes seconds to work through what is left in its queue
        before = subject.cpu_ns()
        mixed = subject.flood(subject.mixed, ROWS)
        subject.storm = {
            "storm_answered": mixed.right / (mixed.sent / STORM_SHARE),
            "storm_frames_per_s": 1e9 / mixed.nanoseconds,
            "foreign_cpu_ns": (subject.cpu_ns() - before) / mixed.sent,
        }
    return {"replies_per_s": 1e6 / statistics.mean(times), **latencies(times), **subject.storm}


def latencies(times: list[float]) -> Figures:
    """Median and 99th percentile."""
    return {"p50_us": statistics.median(times), "p99_us": statistics.quantiles(times, n=100)[98]}


def run(count: int, cases: list[str], number: int, floods: int, asks: int) -> dict[str, Figures]:
    """Measure some responders with so many addresses, in turn; returns medians."""
    subjects: dict[str, Subject] = {}
    samples: dict[str, dict[str, list[float]]] = {case: defaultdict(list) for case in cases}
    try:
        for case in cases:
            subjects[case] = CASES[case](count)
        time.sleep(max(0.0, max(subject.settled_at for subject in subjects.values()) - time.monotonic()))
        for subject in subjects.values():  # once unmeasured
            subject.cable.ask_one_by_one(20)
            if not subject.slow:
                subject.flood(subject.cable.own, ROWS)
        for _ in range(number):
            for case, subject in subjects.items():
                for name, value in measure(subject, floods, asks).items():
                    samples[case][name].append(value)
        medians = {case: {name: statistics.median(v) for name, v in own.items()} for case, own in samples.items()}
        for case, subject in subjects.items():
            medians[case] |= {"rss_mib": subject.memory(), **subject.start}
    finally:
        for subject in subjects.values():
            subject.cable.close()
    for case in cases if "kernel" in cases else ():
        for name in ("replies_per_s", "p50_us", "p99_us"):
            pairs = zip(samples[case][name], samples["kernel"][name], strict=True)
            medians[case][f"{name}_vs_kernel"] = statistics.median(own / kernel for own, kernel in pairs)
    return medians


def show(results: dict[int, dict[str, Figures]]) -> None:
    """Print one table and what belongs to the link process alone."""
    heads = ["addresses", "", "replies/s", "× kernel", "× scapy", "p50 × kernel", "p99 × kernel"]
    heads += ["CPU ns per foreign ARP", "answered in a storm", "MiB"]
    print(f"| {' | '.join(heads)} |\n|---:|---" + "|---:" * (len(heads) - 2) + "|")
    for count, cases in results.items():
        for case, figures in cases.items():
            scapy = cases.get("scapy", {}).get("replies_per_s")
            cells = [
                f"{count:,}",
                case,
                f"{figures['replies_per_s']:,.0f}",
                _times(figures.get("replies_per_s_vs_kernel")),
                _times(figures["replies_per_s"] / scapy if scapy else None),
                _times(figures.get("p50_us_vs_kernel")),
                _times(figures.get("p99_us_vs_kernel")),
                f"{figures['foreign_cpu_ns']:,.0f}",
                f"{100 * figures['storm_answered']:.2f} %",
                f"{figures['rss_mib']:.0f}" if figures["rss_mib"] else "",
            ]
            print(f"| {' | '.join(cells)} |")
    rates = [figures["storm_frames_per_s"] for cases in results.values() for figures in cases.values()]
    print(f"\nStorm: {min(rates):,.0f} to {max(rates):,.0f} frames/s, one in {STORM_SHARE} of them for us.")
    for count, cases in results.items():
        if (own := cases.get("packet")) is not None:
            times = f"start {own['start_ms']:.0f} ms, a new set in force after {own['announce_ms']:.0f} ms"
            print(f"Link process, {count:,} addresses: {times}.")


def _times(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--counts", type=int, nargs="+", metavar="N", help="how many addresses")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="responders")
    options = parser.parse_args()
    if reason := supported():
        print(f"the flood needs eBPF: {reason}", file=sys.stderr)
        return 1
    counts = options.counts or ((1, 10_000) if options.quick else COUNTS)
    number, floods, asks = (3, 12, 300) if options.quick else (5, 50, 1500)
    results = {count: run(count, options.only, number, floods, asks) for count in counts}
    if options.json:
        json.dump(results, sys.stdout, indent=1)
        print()
    else:
        print(f"Medians of {number} interleaved rounds of {floods * ROWS:,} questions; every reply was checked.\n")
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

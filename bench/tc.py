"""How fast the kernel answers ARP by the `tc` engine's program, against Linux's own ARP and the `packet` engine.

    python -m bench.tc             about two minutes
    python -m bench.tc --quick     fewer and shorter rounds: less exact

Then what the engine costs beside: installing and renewing, gratuitous frames, other traffic; and how late the last
reply is after the deadline of the lease. Needs root.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from bench.cable import (
    CLIENT_MAC,
    FOREVER,
    NODE_MAC,
    ROOT,
    Cable,
    Questions,
    pin,
    run_cases,
    table,
    with_kernel,
    with_tc,
)
from bench.flood import ROWS, Expected
from metallb_cli.layer2 import arp
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.responder import Responder
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD
from metallb_cli.linux.driver import Driver
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.engine import TcEngine
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease
from metallb_cli.linux.ebpf.programs import arp_program, ndp_program
from metallb_cli.linux.ebpf.support import supported
from metallb_cli.linux.ebpf.syscalls import PROGRAM_TC
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.netns import Namespace, namespaces
from metallb_cli.linux.packet_socket import ArpSocket
from metallb_cli.model import AddressRange

VIRTUAL, ASKER, FOREIGN = IPv4Address("10.77.0.1"), IPv4Address("10.78.0.1"), IPv4Address("198.18.0.0")
MANY = 10_000
STORM_SHARE = 100
"""One question in so many is for us."""


def questions(count: int) -> Questions:
    """Requests of one asker for each of `count` addresses."""
    addresses = [VIRTUAL + n for n in range(count)]
    frames = [arp.request(CLIENT_MAC, ASKER.packed, address.packed) for address in addresses]
    reply = arp.reply(NODE_MAC, bytes(4), CLIENT_MAC, ASKER.packed)
    marks = {0: CLIENT_MAC, 12: reply[12:14], 20: reply[20:22]}
    fixed = {6: reply[6:12], 14: reply[14:20], 22: reply[22:28], 32: reply[32:]}
    expected = Expected(42, marks, fixed, 28, int(VIRTUAL), count)
    return Questions(addresses, frames, expected, f"{ASKER + 1}/16")


def with_link_process(cable: Cable) -> None:
    """The `packet` engine in its link process, on the other processor."""
    announced = threading.Event()
    link = LinkProcess(
        cable.node.reference,
        (),
        lambda state: announced.set() if state.announced else None,
        log_level="error",
        l2_engine="packet",
    )
    link.start()
    cable.stack.callback(link.stop)
    addresses = tuple(cable.questions.addresses)
    link.announce(AnnouncementSet(1, addresses, (AddressRange(addresses[0], addresses[-1]),)))
    if not announced.wait(30) or link.pid is None:
        raise RuntimeError("the link process does not answer")
    pin(link.pid, 1)
    time.sleep(GRATUITOUS_PERIOD + 0.5)  # it tells everybody first
    cable.require_programs(attached=False)  # else the kernel answers, and this would be another row of tc


def lateness(repeat: int) -> tuple[list[float], list[float]]:
    """Microseconds from the deadline to the last reply in a flood: of a running, and of a stopped process."""
    running, stopped = [], []
    cable = Cable("fence", questions(100), stamp=True)
    try:
        engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
        cable.node.run(engine.announce, cable.questions.addresses)
        for _ in range(repeat):
            running.append(_flood_over(cable, engine.renew))
        engine.close()
        command = [sys.executable, "-m", "bench.tc", "--answer", str(cable.index)]
        with cable.node.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:

            def renew_and_stop(deadline: float) -> None:
                print(deadline, file=process.stdin, flush=True)
                process.stdout.readline()
                process.send_signal(signal.SIGSTOP)

            process.stdout.readline()
            for _ in range(repeat):
                stopped.append(_flood_over(cable, renew_and_stop))
                process.send_signal(signal.SIGCONT)
            process.stdin.close()
    finally:
        cable.close()
    return running, stopped


def _flood_over(cable: Cable, renew: Callable[[float], None]) -> float:
    """Let the lease end in the middle of a flood of small batches; a large one would wait to be read as a whole."""
    deadline = time.monotonic() + 0.15
    renew(deadline)
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    cable.flood(cable.own, 48 * ROWS, batch=4)
    if time.monotonic() < deadline + 0.1:  # so long does waiting for the last replies take
        raise RuntimeError("the flood ended before the lease")
    return (cable.flooder.last_reply - asleep - deadline * 1e9) / 1000


def answer(index: int) -> None:
    """Be a process with an engine that renews as it is told on standard input."""
    engine = TcEngine(index, NODE_MAC)
    engine.announce(questions(100).addresses)
    print("ready", flush=True)
    for line in sys.stdin:
        engine.renew(float(line))
        print("renewed", flush=True)
    engine.close()


def storm(repeat: int) -> dict[str, tuple[float, float]]:
    """Answered share of our own questions, and frames per second, with 99 of 100 questions foreign."""
    own = questions(MANY)
    foreign = [arp.request(CLIENT_MAC, ASKER.packed, (FOREIGN + n).packed) for n in range(ROWS)]
    ours = ROWS // STORM_SHARE
    mixed = [*own.frames[:ours], *foreign[ours:]]
    results = {}
    for name, start in {"tc": with_tc, "packet": with_link_process}.items():
        cable = Cable(f"storm-{name}", own)
        try:
            start(cable)
            prepared = cable.flooder.prepare(mixed)
            floods = [cable.flood(prepared, 50 * ROWS) for _ in range(repeat)]
        finally:
            cable.close()
        shares = [flood.right / (50 * ours) for flood in floods]
        results[name] = min(shares), statistics.median(1e9 / flood.nanoseconds for flood in floods)
    return results


def costs(repeat: int) -> dict[str, str]:
    """What the engine costs beside answering; medians."""
    lines = {}
    cable = Cable("costs", questions(MANY))
    try:
        addresses = cable.questions.addresses
        attach, install, withdraw, change, detach = [], [], [], [], []
        for _ in range(repeat):
            engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
            for times, announced in (
                (attach, addresses[:1]),
                (install, addresses),
                (change, addresses[1:]),
                (withdraw, addresses[1:2]),
                (detach, ()),
            ):
                times.append(cable.node.run(_milliseconds, functools.partial(engine.announce, announced)))
            engine.close()
        lines["the first address: load and attach the program"] = f"{statistics.median(attach):.1f} ms"
        lines[f"install {MANY:,} addresses"] = f"{statistics.median(install):.1f} ms"
        lines["withdraw one of them"] = f"{statistics.median(change):.1f} ms"
        lines["withdraw all but one"] = f"{statistics.median(withdraw):.1f} ms"
        lines["the last one: detach the program"] = f"{statistics.median(detach):.1f} ms"
        engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
        cable.node.run(engine.announce, addresses)
        many = range(20_000)
        renewals = _milliseconds(lambda: [engine.renew(FOREVER) for _ in many])
        lines["renew the lease of all"] = f"{renewals * 1e6 / len(many):,.0f} ns, no system call into the maps"
        reading = statistics.median(_milliseconds(engine.take_counts) for _ in range(20))
        lines["read all counters, nothing new"] = f"{reading:.2f} ms"
        burst = [_gratuitous_burst(cable) for _ in range(repeat)]
        lines[f"gratuitous frames for {MANY:,} addresses, 2 each, by the packet engine"] = (
            f"{statistics.median(burst):.0f} ms until the last is out (dropped at the other end)"
        )
        engine.close()
    finally:
        cable.close()
    return lines


def _gratuitous_burst(cable: Cable) -> float:
    """All first gratuitous frames, as the link process sends them, without anything else to do in between."""

    def send() -> float:
        sock = ArpSocket("lan0", cable.index, ())
        engine = Responder(NODE_MAC)
        driver = Driver(sock, engine)
        now = time.monotonic()
        started = time.perf_counter()
        engine.announce(cable.questions.addresses, now)
        while (deadline := engine.next_deadline()) is not None and deadline <= now:
            driver.tick(now)
        elapsed = (time.perf_counter() - started) * 1000
        sock.close()
        if driver.send_errors:
            raise RuntimeError(f"{driver.send_errors} gratuitous frames were not sent")
        return elapsed

    cable.flooder.drop(everything=True)
    try:
        return cable.node.run(send)
    finally:
        cable.flooder.drop(everything=False)


def run_costs() -> dict[str, str]:
    """What one run costs on frames that are not answered, compared with a program that does nothing."""
    lease, hits, addresses = Lease(), Hits(MANY), Addresses(4, MANY)
    addresses.add([address.packed for address in questions(MANY).addresses], range(MANY))
    maps = {"addresses": addresses.fd, "hits": hits.fd, "lease": lease.fd, "slots": MANY}
    programs = {
        "nothing": assemble("w0 = -1\nexit"),
        "arp": arp_program(NODE_MAC, **maps),
        "ndp": ndp_program(NODE_MAC, **maps),
    }
    loaded = {name: syscalls.program_load(PROGRAM_TC, code, "bench_cost") for name, code in programs.items()}
    broadcast = bytes(6) + CLIENT_MAC  # BPF_PROG_TEST_RUN uses the loopback interface, whose address is zero
    frames = {
        "IPv4 packet": broadcast + b"\x08\x00" + bytes(48),
        "ARP for a foreign address": broadcast + arp.request(CLIENT_MAC, ASKER.packed, FOREIGN.packed)[12:],
        "ARP for ours when the lease is over": broadcast + arp.request(CLIENT_MAC, ASKER.packed, VIRTUAL.packed)[12:],
    }
    lines = {}
    for what, frame in frames.items():
        floor, own = (
            min(syscalls.run_program(loaded[name], frame, repeat=200_000).duration for _ in range(5))
            for name in ("nothing", "arp")
        )
        lines[what] = f"{own - floor} ns more than nothing ({floor} ns)"
    for name in ("arp", "ndp"):
        lines[f"the {name.upper()} program"] = f"{len(programs[name]) // 8} instructions"
    for fd in loaded.values():
        os.close(fd)
    for made in (addresses, hits, lease):
        made.close()
    return lines


def tcp(repeat: int, seconds: float) -> dict[str, float]:
    """Gbit/s of one TCP connection to the node, with and without both programs on its interface."""
    samples: dict[str, list[float]] = {"without": [], "with": []}
    with namespaces("mlbn", "tcp-client", "tcp-node") as (client, node):
        client.add_veth("lan0", "lan0", node, peer_mac=NODE_MAC)
        for namespace, address in ((client, "10.79.0.1/24"), (node, "10.79.0.2/24")):
            namespace.set_up("lan0")
            namespace.add_address("lan0", address)
        index = node.run(socket.if_nametoindex, "lan0")
        for _ in range(repeat):
            samples["without"].append(_bulk(client, node, seconds))
            engine = node.run(TcEngine, index, NODE_MAC)
            node.run(engine.announce, [VIRTUAL, IPv6Address("fd00::77")])
            engine.renew(FOREVER)
            samples["with"].append(_bulk(client, node, seconds))
            engine.close()
    return {name: statistics.median(values) for name, values in samples.items()}


def _bulk(client: Namespace, node: Namespace, seconds: float) -> float:
    server = node.run(socket.create_server, ("10.79.0.2", 5001))

    def sink() -> None:
        connection, _ = server.accept()
        buffer = bytearray(1 << 20)
        with connection:
            while connection.recv_into(buffer):
                pass

    receiver = threading.Thread(target=sink)
    receiver.start()
    data = bytes(1 << 20)
    with client.run(socket.create_connection, ("10.79.0.2", 5001), 5) as source:
        started, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < seconds:
            sent += source.send(data)
    receiver.join(10)
    server.close()
    return sent * 8 / elapsed / 1e9


def _milliseconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer is not None:
        answer(options.answer)
        return 0
    if reason := supported():
        print(f"the tc engine cannot be measured: {reason}", file=sys.stderr)
        return 1
    quick = options.quick
    counts = (1, MANY) if quick else (1, 100, MANY)
    cases = {"kernel": with_kernel, "tc": with_tc, "packet": with_link_process}
    number, floods, asks = (3, 12, 300) if quick else (5, 50, 1500)
    print(f"Medians of {number} interleaved rounds of {floods * ROWS:,} questions; every reply was checked.\n")
    print(table("ARP", run_cases(counts, questions, cases, number=number, floods=floods, asks=asks)))
    print("\n| storm at 10 000 addresses, 1 % for us | answered, worst round | frames/s |\n|---|---:|---:|")
    for name, (answered, rate) in storm(2 if quick else 4).items():
        print(f"| {name} | {100 * answered:.2f} % | {rate:,.0f} |")
    running, stopped = lateness(2 if quick else 6)
    print("\n| last reply after the deadline of the lease, in a flood | latest µs |\n|---|---:|")
    print(f"| the process runs | {max(running):+.1f} |\n| the process is stopped | {max(stopped):+.1f} |")
    print("\n| cost | |\n|---|---|")
    for what, cost in (costs(3 if quick else 5) | run_costs()).items():
        print(f"| {what} | {cost} |")
    speeds = tcp(3 if quick else 7, 0.25)
    ratio = speeds["with"] / speeds["without"]
    print(f"| TCP to the node, both programs attached | {speeds['with']:.1f} Gbit/s, {ratio:.2f} × without |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A virtual cable between a client and a node, who or what answers at the node's end, and rounds of measuring."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import statistics
import struct
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.flood import ROWS, Expected, Flood, Flooder, enable_napi
from metallb_cli.linux.ebpf.engine import TcEngine
from metallb_cli.linux.ebpf.syscalls import ATTACH_TCX_INGRESS, _call
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import IPAddress

CLIENT_MAC = bytes.fromhex("020000000009")
NODE_MAC = bytes.fromhex("020000000001")
FOREVER = 1e6

Samples = dict[str, dict[str, list[float]]]
"""Figures of every round, by who answers and measure."""

_SO_TIMESTAMPNS = 35
_PROG_QUERY = 16  # of bpf(2)
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Questions:
    """What is asked about some addresses, and what a right reply is."""

    addresses: Sequence[IPAddress]
    frames: Sequence[bytes]
    expected: Expected
    way_back: str
    """An address of the node in the askers' network, with its prefix length: the kernel wants a route to them."""


class Cable:
    """Two namespaces, a veth pair `lan0` between them, and the flooder at the client's end."""

    def __init__(self, name: str, questions: Questions, *, stamp: bool = False) -> None:
        self.questions = questions
        self.stack = contextlib.ExitStack()
        self.client, self.node = (
            self.stack.enter_context(Namespace.create(f"mlbn-{os.getpid()}-{name}-{end}")) for end in "cn"
        )
        self.client.add_veth("lan0", "lan0", self.node, mac=CLIENT_MAC, peer_mac=NODE_MAC)
        self.client.set_sysctl("net/ipv6/conf/lan0/disable_ipv6", 1)  # it has nothing to say itself
        self.node.set_sysctl("net/ipv6/conf/lan0/accept_dad", 0)
        for namespace in (self.client, self.node):
            namespace.set_up("lan0")
            namespace.run(enable_napi, "lan0")
        self.index = self.node.run(socket.if_nametoindex, "lan0")
        self.flooder = self.client.run(Flooder, "lan0", questions.expected, stamp=stamp)
        self.stack.callback(self.flooder.close)
        self.own = self.flooder.prepare(questions.frames)
        self.pid: int | None = None

    def flood(self, prepared: tuple[int, int], sent: int, *, batch: int = 64) -> Flood:
        """Flood from the client's end, on processor 0."""
        return self.client.run(_on_processor, 0, lambda: self.flooder.run(prepared, sent, batch=batch))

    def ask_one_by_one(self, count: int) -> list[float]:
        """Ask, wait for the reply, ask again; microseconds from before the send to the kernel's stamp on the reply."""
        return self.client.run(_on_processor, 0, lambda: _ask(self.questions.frames, count))

    def require_programs(self, *, attached: bool) -> None:
        """Make sure that a row measures what its name says: tc programs answer at the node's end, or none is there.

        Raises:
            RuntimeError: it is the other way round.
        """
        room = ctypes.create_string_buffer(64)
        query = struct.pack("=4IQI36x", self.index, ATTACH_TCX_INGRESS, 0, 0, ctypes.addressof(room), 16)
        result, answer = self.node.run(_call, _PROG_QUERY, query)
        (count,) = struct.unpack_from("=I", answer, 24)
        if result < 0 or bool(count) is not attached:
            raise RuntimeError(
                f"{count} tc programs are attached where there should be {'some' if attached else 'none'}"
            )

    def close(self) -> None:
        """Remove everything."""
        self.stack.close()


def with_kernel(cable: Cable) -> None:
    """The addresses are on the interface, and Linux answers by itself."""
    cable.node.add_address("lan0", cable.questions.way_back)
    bits, flags = ("32", "") if cable.questions.addresses[0].version == 4 else ("128", " nodad")
    batch = "".join(f"addr add {address}/{bits} dev lan0{flags}\n" for address in cable.questions.addresses)
    with cable.node.popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as process:
        process.communicate(batch, timeout=60)
    if process.returncode:
        raise RuntimeError("ip could not add the addresses")
    cable.require_programs(attached=False)


def with_tc(cable: Cable) -> None:
    """The tc engine."""
    engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
    cable.stack.callback(engine.close)
    cable.node.run(engine.announce, cable.questions.addresses)
    engine.renew(FOREVER)
    cable.require_programs(attached=True)


def pin(pid: int, processor: int) -> None:
    """Keep every thread of a process on one processor."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {processor})


def rounds(cables: dict[str, Cable], number: int, floods: int, asks: int) -> Samples:
    """Measure each cable in turn, so that all meet the same noise; the figures of all rounds by cable and measure.

    Raises:
        RuntimeError: a reply was wrong.
    """
    samples: Samples = {name: defaultdict(list) for name in cables}
    for _ in range(number):
        for name, cable in cables.items():
            sent = floods * ROWS
            flood = cable.flood(cable.own, sent)
            if flood.wrong:
                raise RuntimeError(f"{name}: {flood.wrong} wrong replies")
            times = cable.ask_one_by_one(asks)
            figures = {
                "rate": flood.rate,
                "answered": flood.right / flood.sent,
                "ns": flood.nanoseconds,
                "p50": statistics.median(times),
                "p99": statistics.quantiles(times, n=100)[98],
            }
            for measure, value in figures.items():
                samples[name][measure].append(value)
    return samples


def table(title: str, results: dict[int, Samples]) -> str:
    """One table in Markdown. A ratio is the median of the rounds' ratios to the kernel in the same round."""
    heads = [title, "addresses", "replies/s", "× kernel", "answered", "ns/question"]
    heads += ["p50 µs", "× kernel", "p99 µs", "× kernel"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    median = statistics.median
    for count, samples in results.items():
        for name, own in samples.items():
            ratio = {
                measure: median(x / y for x, y in zip(own[measure], samples["kernel"][measure], strict=True))
                for measure in ("rate", "p50", "p99")
            }
            cells = [
                f"{median(own['rate']):,.0f}",
                f"**{ratio['rate']:.2f}**",
                f"{100 * min(own['answered']):.2f} %",
                f"{median(own['ns']):,.0f}",
                f"{median(own['p50']):.1f}",
                f"{ratio['p50']:.2f}",
                f"{median(own['p99']):.1f}",
                f"{ratio['p99']:.2f}",
            ]
            lines.append(f"| {name} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run_cases(
    counts: Iterable[int],
    questions: Callable[[int], Questions],
    cases: dict[str, Callable[[Cable], None]],
    *,
    number: int,
    floods: int,
    asks: int,
) -> dict[int, Samples]:
    """All rounds for each number of addresses."""
    results = {}
    for count in counts:
        with contextlib.ExitStack() as stack:
            cables: dict[str, Cable] = {}
            for name, start in cases.items():
                cables[name] = Cable(name, questions(count))
                stack.callback(cables[name].close)
                start(cables[name])
            for cable in cables.values():  # once unmeasured: caches, and the compiler of programs
                cable.flood(cable.own, ROWS)
                cable.ask_one_by_one(20)
            results[count] = rounds(cables, number, floods, asks)
    return results


def _on_processor(processor: int, function: Callable[[], object]) -> object:
    """Call it with this thread, which is made for it, kept on one processor."""
    os.sched_setaffinity(0, {processor})
    return function()


def _ask(frames: Sequence[bytes], count: int) -> list[float]:
    times = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("lan0", 3))
        sock.settimeout(1.0)
        for number in range(count):
            frame = frames[number % len(frames)]
            sent = time.clock_gettime_ns(time.CLOCK_REALTIME)
            sock.send(frame)
            for _ in range(5000):  # gratuitous frames come in between
                answer, ancillary, _, source = sock.recvmsg(256, 64)
                if source[2] != socket.PACKET_OUTGOING and answer[:6] == CLIENT_MAC and answer[12:14] == frame[12:14]:
                    break
            else:
                raise RuntimeError("no reply to a question")
            seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
            times.append((seconds * 1_000_000_000 + nanoseconds - sent) / 1000)
    return times

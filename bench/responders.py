"""Who answers at the node's end of a cable: the kernel, the product's two engines, a naive program, scapy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.cable import NODE_MAC, Cable, pin
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD
from metallb_cli.linux.ebpf.engine import TcEngine
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.poller import MAX_SPIN
from metallb_cli.model import AddressRange

FOREVER = 1e6


@dataclass(frozen=True)
class Responder:
    """What answers on a cable.

    Attributes:
        pids: of the processes that answer, which have the last processor; none when the kernel answers.
        slow: it takes milliseconds for an answer, and cannot be flooded.
        settled_at: from this time of the monotonic clock on it only answers.
        start: milliseconds of what was measured while it started.
    """

    pids: tuple[int, ...] = ()
    slow: bool = False
    settled_at: float = 0.0
    start: dict[str, float] = field(default_factory=dict)

    def cpu_ns(self) -> int:
        """Processor time of the answering processes so far."""
        threads = [path for pid in self.pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(path.read_text().split()[0]) for path in threads)

    def memory(self) -> float:
        """Resident memory of the answering processes in MiB."""
        lines = [line for pid in self.pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def wait_until_idle(self) -> None:
        """A slow one has a queue to work through after a flood."""
        for _ in range(100 if self.pids else 0):
            busy = self.cpu_ns()
            time.sleep(0.1)
            if self.cpu_ns() - busy < 1e7:
                return


Start = Callable[[Cable], Responder]


def kernel(cable: Cable) -> Responder:
    """The addresses are on the interface, and Linux answers by itself."""
    cable.node.add_address("lan0", cable.questions.way_back)
    bits, flags = ("32", "") if cable.questions.addresses[0].version == 4 else ("128", " nodad")
    batch = "".join(f"addr add {address}/{bits} dev lan0{flags}\n" for address in cable.questions.addresses)
    with cable.node.popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as process:
        process.communicate(batch, timeout=60)
    if process.returncode:
        raise RuntimeError("ip could not add the addresses")
    cable.require_programs(attached=False)
    return Responder()


def tc(cable: Cable) -> Responder:
    """The `tc` engine."""
    engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
    cable.stack.callback(engine.close)
    cable.node.run(engine.announce, cable.questions.addresses)
    engine.renew(FOREVER)
    cable.require_programs(attached=True)
    return Responder()


def packet(cable: Cable, spin: int = 0) -> Responder:
    """The `packet` engine in its link process, on the other processor."""
    announced = threading.Event()
    link = LinkProcess(
        cable.node.reference,
        on_state=lambda state: announced.set() if state.announced else None,
        l2_engine="packet",
        spin=spin,
        log_level="error",
    )
    addresses = tuple(cable.questions.addresses)
    began = time.perf_counter()
    link.start()
    cable.stack.callback(link.stop)
    started = time.perf_counter()
    link.announce(AnnouncementSet(1, addresses, (AddressRange(addresses[0], addresses[-1]),)))
    if not announced.wait(30) or link.pid is None:
        raise RuntimeError("the link process does not answer")
    times = {"start_ms": 1e3 * (started - began), "announce_ms": 1e3 * (time.perf_counter() - started)}
    cable.require_programs(attached=False)  # else the kernel answers, and this would be another row of tc
    own_processor(link.pid)
    # It tells everybody first, and again when the kernel has let the new interface transmit for good.
    return Responder((link.pid,), settled_at=time.monotonic() + 1.5 + GRATUITOUS_PERIOD, start=times)


def packet_spin(cable: Cable) -> Responder:
    """The same, awake for as long as may be after each answer."""
    return packet(cable, MAX_SPIN)


def naive(cable: Cable) -> Responder:
    """What one writes first: takes every frame of the protocol, and looks through a list."""
    return _script(cable, _NAIVE_ARP if cable.questions.addresses[0].version == 4 else _NAIVE_NDP)


ALL: dict[str, Start] = {"kernel": kernel, "tc": tc, "packet": packet, "naive": naive}
"""Who answers for both families."""


def scapy(cable: Cable) -> Responder:
    """The AnsweringMachine of scapy for ARP. It gets a set of addresses, which is faster than its own networks."""
    return _script(cable, _SCAPY, slow=True)


def own_processor(pid: int) -> None:
    """Keep a process away from the processor that asks, where there are two."""
    pin(pid, max(os.sched_getaffinity(0)))


def _script(cable: Cable, program: str, *, slow: bool = False) -> Responder:
    """A small Python program, told the interface, its MAC, the first address and how many there are."""
    addresses = cable.questions.addresses
    argv = [sys.executable, "-c", program, "lan0", NODE_MAC.hex(":"), str(addresses[0]), str(len(addresses))]
    process = cable.node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    cable.stack.callback(process.communicate)
    cable.stack.callback(process.kill)
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{cable.name} did not start")
    own_processor(process.pid)
    return Responder((process.pid,), slow)


_NAIVE_ARP = """
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

_NAIVE_NDP = """
import socket, struct, sys
from ipaddress import IPv6Address
name, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
addresses = [(IPv6Address(sys.argv[3]) + n).packed for n in range(int(sys.argv[4]))]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
sock.bind((name, 0x86DD))
print("ready", flush=True)
while True:
    frame = sock.recv(2048)
    if len(frame) < 78 or frame[20] != 58 or frame[54] != 135:
        continue
    target = frame[62:78]
    for address in addresses:
        if address == target:
            body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + address + b"\\2\\1" + mac
            words = struct.unpack("!36H", address + frame[22:38] + struct.pack("!II", 32, 58) + body)
            total = sum(words)
            total = (total & 0xFFFF) + (total >> 16)
            total = ~(total + (total >> 16)) & 0xFFFF
            head = frame[6:12] + mac + struct.pack("!HIHBB", 0x86DD, 0x60000000, 32, 58, 255) + address + frame[22:38]
            sock.send(head + body[:2] + struct.pack("!H", total) + body[4:])
            break
"""

_SCAPY = """
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

"""What is compared: four ways to answer ARP for many addresses, each in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench.load_generator import ASKERS, VIRTUAL, Client
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import AddressRange

MAC = bytes.fromhex("024d4c420001")


class Responder:
    """A cable, a client at one end, and at the other end something that answers for `count` addresses.

    Attributes:
        pid: the process that answers; None when the kernel does.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.pid: int | None = None
        self.node = Namespace.create("mlbt-bench-node")
        self.far = Namespace.create("mlbt-bench-client")
        self.node.add_veth("lan0", "lan0", self.far, mac=MAC)
        for namespace in (self.node, self.far):
            namespace.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            namespace.set_up("lan0")
        self.client = Client(self.far, MAC, count)
        self.start()

    def start(self) -> None:
        raise NotImplementedError

    def pin(self, cpu: int) -> None:
        if self.pid is not None:
            pin(self.pid, cpu)

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

    def close(self) -> None:
        self.client.close()
        self.node.remove()
        self.far.remove()


class Kernel(Responder):
    """The addresses are on the interface, and Linux answers by itself."""

    def start(self) -> None:
        self.node.add_address("lan0", f"{ASKERS + 254}/16")  # the way back to those who ask
        batch = "".join(f"addr add {VIRTUAL + n}/32 dev lan0\n" for n in range(self.count))
        with self.node.popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as process:
            process.communicate(batch, timeout=60)
        if process.returncode:
            raise RuntimeError("ip could not add the addresses")


class Packet(Responder):
    """The link process."""

    def start(self) -> None:
        self.states = threading.Event()
        began = time.monotonic()
        self.link = LinkProcess(self.node.reference, on_state=self._on_state, log_level="error")
        self.link.start()
        self.start_s = time.monotonic() - began
        self.pid = self.link.pid
        addresses = tuple(VIRTUAL + n for n in range(self.count))
        began = time.monotonic()
        self.link.announce(AnnouncementSet(1, addresses, (AddressRange(addresses[0], addresses[-1]),)))
        self.states.wait(30)
        self.announce_s = time.monotonic() - began
        # A new set is told to everybody for 5 s; what is measured is what comes after.
        self.settled_at = time.monotonic() + GRATUITOUS_PERIOD + 0.5

    def _on_state(self, state: object) -> None:
        if getattr(state, "announced", ()):
            self.states.set()

    def close(self) -> None:
        self.link.stop()
        super().close()


class Script(Responder):
    """A small Python program, told the interface, its MAC and how many addresses there are."""

    program = ""

    def start(self) -> None:
        argv = [sys.executable, "-c", self.program, "lan0", MAC.hex(":"), str(VIRTUAL), str(self.count)]
        self.process = self.node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pid = self.process.pid
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            self.process.communicate()
            raise RuntimeError(f"{type(self).__name__} did not start")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        super().close()


class Scapy(Script):
    """scapy's AnsweringMachine for ARP. It gets a set of addresses, which it looks up faster than its own networks."""

    program = """
import logging, sys
logging.getLogger("scapy").setLevel(logging.CRITICAL)
from ipaddress import IPv4Address
from scapy.config import conf
from scapy.layers.l2 import ARP_am
name, mac, first, count = sys.argv[1], sys.argv[2], IPv4Address(sys.argv[3]), int(sys.argv[4])
addresses = {str(first + n) for n in range(count)}
machine = ARP_am(IP_addr=addresses, ARP_addr=mac, iface=name, verbose=False)
machine.defoptsniff["filter"] = None  # it would need libpcap; only ARP comes down this cable
machine.defoptsniff["started_callback"] = lambda: print("ready", flush=True)
machine()
"""


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


def pin(pid: int, cpu: int) -> None:
    """Keep a process (0: this one) on one processor, before all others there if that is permitted."""
    os.sched_setaffinity(pid, {cpu})
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)


CASES: dict[str, type[Responder]] = {"kernel": Kernel, "packet": Packet, "naive": Naive, "scapy": Scapy}

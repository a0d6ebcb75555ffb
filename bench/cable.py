"""A virtual cable between a client and a node, and the ways to ask over it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.flood import Flood, Flooder, Table, enable_napi
from bench.flood_programs import Expected
from metallb_cli.linux.ebpf.syscalls import ATTACH_TCX_INGRESS, _call
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import IPAddress

CLIENT_MAC = bytes.fromhex("020000000009")
NODE_MAC = bytes.fromhex("020000000001")
ROOT = Path(__file__).parents[1]

_SO_TIMESTAMPNS = 35
_PROG_QUERY = 16  # of bpf(2)


@dataclass(frozen=True)
class Questions:
    """What is asked about some addresses, and what a right reply is."""

    addresses: Sequence[IPAddress]
    frames: Sequence[bytes]
    foreign: Sequence[bytes]
    """About addresses that the node does not have."""
    expected: Expected
    way_back: str
    """An address of the node in the askers' network, with its prefix length: the kernel wants a route to them."""


class Cable:
    """Two namespaces, a veth pair `lan0` between them, and the flooder at the client's end."""

    def __init__(self, name: str, questions: Questions, *, stamp: bool = False) -> None:
        self.name = name
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

    def flood(self, table: Table, sent: int, *, batch: int = 64) -> Flood:
        """Flood from the client's end, on processor 0. Raises RuntimeError for a wrong reply."""
        return self._checked(self.client.run(_on_processor, 0, lambda: self.flooder.run(table, sent, batch=batch)))

    def window(self, size: int, replies: int) -> Flood:
        """Keep so many of the own questions out until so many replies have come.

        Raises:
            RuntimeError: a reply was wrong.
        """
        run = self.flooder.run_window
        return self._checked(self.client.run(_on_processor, 0, lambda: run(self.own, size, replies)))

    def _checked(self, flood: Flood) -> Flood:
        if flood.wrong:
            raise RuntimeError(f"{self.name}: {flood.wrong} wrong replies")
        return flood

    def ask_one_by_one(self, count: int) -> list[float]:
        """Ask, wait for the reply, ask again; microseconds from before the send to the kernel's stamp on the reply.

        Raises:
            RuntimeError: a reply was wrong, was for another address, or did not come.
        """
        right, wrong = self.flooder.replies()
        times = self.client.run(_on_processor, 0, lambda: _ask(self.questions, count))
        after, wrong_after = self.flooder.replies()
        if wrong_after > wrong or after < right + count:
            raise RuntimeError(f"{self.name}: {after - right} right and {wrong_after - wrong} wrong of {count} replies")
        return times

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


def pin(pid: int, processor: int) -> None:
    """Keep every thread of a process on one processor."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {processor})


def _on_processor(processor: int, function: Callable[[], object]) -> object:
    """Call it with this thread, which is made for it, kept on one processor."""
    os.sched_setaffinity(0, {processor})
    return function()


def _ask(questions: Questions, count: int) -> list[float]:
    times, at = [], questions.expected.address
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("lan0", 3))
        sock.settimeout(1.0)
        for number in range(count):
            place = number % len(questions.frames)
            frame, tail = questions.frames[place], questions.addresses[place].packed[-4:]
            sent = time.clock_gettime_ns(time.CLOCK_REALTIME)
            sock.send(frame)
            for _ in range(5000):  # gratuitous frames come in between
                answer, ancillary, _, source = sock.recvmsg(256, 64)
                if source[2] == socket.PACKET_OUTGOING or answer[:6] != CLIENT_MAC or answer[12:14] != frame[12:14]:
                    continue
                if answer[at : at + 4] == tail:
                    break
            else:
                raise RuntimeError("no reply to the question")
            seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
            times.append((seconds * 1_000_000_000 + nanoseconds - sent) / 1000)
    return times

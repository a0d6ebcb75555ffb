"""A client that asks by ARP who has some addresses, over and over, and keeps who answered which question when.

One thread with an absolute timetable. Questions about one address come from SENDERS addresses in turn, and an answer
repeats to which, so that a late answer is not taken for one to a later question. (Many more senders do not fit into
the neighbour table of a kernel that answers itself.) Times are seconds on CLOCK_REALTIME: the kernel stamps answers
with it.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import select
import socket
import struct
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address

from bench.answers import Question, Record
from bench.switch import INTERFACE, NETWORK, Host
from metallb_cli.layer2 import arp
from metallb_cli.layer2.socket_filter import Instruction
from metallb_cli.linux.packet_socket import attach_filter

PERIOD = 0.01
"""Seconds between two questions about an address."""
ANSWER_TIME = 0.3
"""Seconds within which an answer comes, if it comes."""

_ETHERTYPE_ARP = 0x0806
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_STAMP = struct.Struct("@qq")
_BUFFER = 8 << 20
_AT_ONCE = 4096  # frames, before the next questions
SENDERS = 64
_FIRST_SENDER = int(NETWORK[256 * 202])
_SWEEP_SENDER = NETWORK[256 * 201].packed
_SWEEP_PACE = 100  # questions, then a millisecond of rest


class Asker:
    """Asks from a machine for the addresses that `watch` names, until it is closed.

    Attributes:
        late: seconds that a round of questions has been behind its timetable, at most, since the last `take`.
    """

    def __init__(self, host: Host, names: dict[int, str], period: float = PERIOD) -> None:
        """Start with nothing to ask for.

        Args:
            host: the machine.
            names: of the nodes, by number.
            period: seconds between two questions about one address.
        """
        self.late = 0.0
        self._mac, self._names, self._period = host.mac, names, period
        self._open = contextlib.ExitStack()
        self._socket, self._sweeper = (self._open.enter_context(host.namespace.run(_socket, host.mac)) for _ in "12")
        self._lock = threading.Lock()
        self._wanted: Sequence[IPv4Address] = ()
        self._turn = 0
        self._out: dict[tuple[int, bytes], int] = {}
        self._begin(0)
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._thread.start()

    def _begin(self, base: int) -> None:
        self._base = base
        self._sent = array("d")
        self._about: list[IPv4Address] = []
        self._answers: list[tuple[int, int, float]] = []

    def watch(self, addresses: Collection[IPv4Address]) -> None:
        """Ask for these from now on, each once a period."""
        self._wanted = tuple(addresses)

    def take(self) -> Record:
        """Return everything since the last time, but for the questions to which an answer may still come."""
        with self._lock:
            sent, about, answers, base = self._sent, self._about, self._answers, self._base
            whole = bisect.bisect_left(sent, time.time() - ANSWER_TIME)
            self._begin(base + whole)
            self._sent, self._about = sent[whole:], about[whole:]
            self._answers = [answer for answer in answers if answer[0] >= self._base]
            late, self.late = self.late, 0.0
        if self.failure is not None:
            raise RuntimeError(f"the asking thread ended: {self.failure}") from self.failure
        given: dict[int, dict[str, float]] = defaultdict(dict)
        for number, source, at in answers:
            given[number - base].setdefault(self._name(source), at)
        record: dict[IPv4Address, list[Question]] = defaultdict(list)
        for place in range(whole):
            record[about[place]].append(Question(sent[place], given.get(place, {})))
        return Record(dict(record), late)

    def _name(self, source: int) -> str:
        return self._names.get(source, f"a MAC that ends in {source:02x}")

    def sweep(self, addresses: Collection[IPv4Address], patience: float = 0.1) -> dict[IPv4Address, set[str]]:
        """Ask once for each and return who answers, at most `patience` seconds after the last question."""
        found: dict[IPv4Address, set[str]] = {address: set() for address in addresses}
        for _ in _receive(self._sweeper):
            pass  # late answers to the sweep before
        for place, address in enumerate(addresses):
            self._sweeper.send(arp.request(self._mac, _SWEEP_SENDER, address.packed))
            if place % _SWEEP_PACE == _SWEEP_PACE - 1:
                time.sleep(0.001)
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._sweeper], [], [], left)[0]:
                break
            for frame, _ in _receive(self._sweeper):
                if frame[38:42] == _SWEEP_SENDER and (about := IPv4Address(frame[28:32])) in found:
                    found[about].add(self._name(frame[11]))
        return found

    def close(self) -> None:
        """End. Can be called twice."""
        self._stop.set()
        self._thread.join(5)
        self._open.close()

    def _run(self) -> None:
        try:
            # All nodes share this machine's processors: a client that waited for one would see what it asks late.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            due = time.monotonic()
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= due:
                    with self._lock:
                        self.late = max(self.late, now - due)
                        self._ask()
                    due += self._period * (1 + (now - due) // self._period)  # never a burst to catch up
                select.select([self._socket], [], [], max(0.0, due - time.monotonic()))
                with self._lock:
                    self._hear()
        except BaseException as error:
            self.failure = error

    def _ask(self) -> None:
        self._turn = (self._turn + 1) % SENDERS
        sender = (_FIRST_SENDER + self._turn).to_bytes(4, "big")
        for address in self._wanted:
            self._out[self._turn, address.packed] = self._base + len(self._sent)
            self._about.append(address)
            self._sent.append(time.time())
            with contextlib.suppress(BlockingIOError):
                self._socket.send(arp.request(self._mac, sender, address.packed))

    def _hear(self) -> None:
        for frame, at in _receive(self._socket):
            turn = int.from_bytes(frame[38:42], "big") - _FIRST_SENDER
            number = self._out.get((turn, frame[28:32]), -1)  # none when it answers a sweep
            if number >= self._base:
                self._answers.append((number, frame[11], at))


def _socket(mac: bytes) -> socket.socket:
    """A socket on the interface that receives ARP replies to this MAC address, with the kernel's stamps."""
    program = [
        Instruction(0x28, 0, 0, 20),  # ldh [20]: the operation
        Instruction(0x15, 0, 5, arp.REPLY),
        Instruction(0x20, 0, 0, 0),  # ld [0], ldh [4]: the destination
        Instruction(0x15, 0, 3, int.from_bytes(mac[:4], "big")),
        Instruction(0x28, 0, 0, 4),
        Instruction(0x15, 0, 1, int.from_bytes(mac[4:], "big")),
        Instruction(0x06, 0, 0, 64),
        Instruction(0x06, 0, 0, 0),
    ]
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    attach_filter(sock, program)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.bind((INTERFACE, _ETHERTYPE_ARP))
    return sock


def _receive(sock: socket.socket) -> Iterator[tuple[bytes, float]]:
    """What has arrived, with the time."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(_AT_ONCE):
            frame, ancillary, _, _ = sock.recvmsg(64, 64)
            if len(frame) >= arp.FRAME_LENGTH and ancillary:
                seconds, nanoseconds = _STAMP.unpack_from(ancillary[0][2])
                yield frame, seconds + nanoseconds / 1e9

"""Asks one ARP responder as fast as it goes, or one question at a time, and checks every reply.

An open-loop flood is a table of prebuilt requests sent by sendmmsg(2), 512 per call. Its replies are checked and
counted by classic BPF in the kernel, so that counting takes no time from sending: one socket counts the replies that
are right in every field, another all that come to us. A right reply names the address that was asked for: the asker's
address ends in the same six bits.
"""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from metallb_cli.layer2 import arp
from metallb_cli.layer2.socket_filter import Instruction
from metallb_cli.linux.netns import Namespace
from metallb_cli.linux.packet_socket import ETHERTYPE_ARP

VIRTUAL = IPv4Address("10.77.0.0")
"""The first address that is asked for."""

ASKERS = IPv4Address("10.78.0.0")
"""The first of 64 addresses that ask."""

FOREIGN = IPv4Address("198.18.0.0")
"""The first of many addresses that nobody has."""

_SLOTS = 16384
_PER_CALL = 512
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_DRAIN_S = 10.0
_WORD, _HALF, _EQUAL, _AT_LEAST, _MORE, _AND, _EQUAL_X, _TO_X, _RETURN = (
    *(0x20, 0x28, 0x15, 0x35, 0x25),
    *(0x54, 0x1D, 0x07, 0x06),
)
_libc = ctypes.CDLL(None, use_errno=True)


class Client:
    """The asking end of a cable.

    Args:
        namespace: with the interface `lan0` in it.
        mac: of the responder.
        count: how many addresses the responder has, from VIRTUAL on.
    """

    def __init__(self, namespace: Namespace, mac: bytes, count: int) -> None:
        self._count = count
        self._responder = mac
        self.mac = namespace.mac("lan0")
        self._right = self._counter(namespace, right_reply(self.mac, mac, count))
        self._any = self._counter(namespace, any_reply(self.mac))
        self._namespace = namespace
        self._send = namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._send.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self._send.bind(("lan0", 0))
        self._random = random.Random(7)  # the same questions in every run
        self._tables: dict[float, Table] = {}

    @staticmethod
    def _counter(namespace: Namespace, program: list[Instruction]) -> socket.socket:
        sock = namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
        attach_filter(sock, program)
        # Nothing is read from it: the kernel counts a frame for which there is no room as well.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.bind(("lan0", ETHERTYPE_ARP))
        return sock

    def request(self, number: int | None) -> bytes:
        """A question for the address of this number, or for a foreign one."""
        if number is None:
            target = FOREIGN + self._random.randrange(1 << 16)
            asker = ASKERS + self._random.randrange(64)
        else:
            target, asker = VIRTUAL + number, ASKERS + number % 64
        return arp.request(self.mac, asker.packed, target.packed).ljust(60, b"\0")

    def _table(self, own: float) -> Table:
        """Requests of which this share is for the responder, in random order; each address comes up equally often."""
        if own not in self._tables:
            ours = [n % self._count for n in range(round(_SLOTS * own))]
            numbers: list[int | None] = [*ours, *[None] * (_SLOTS - len(ours))]
            self._random.shuffle(numbers)
            self._tables[own] = Table([self.request(n) for n in numbers], [n is not None for n in numbers])
        return self._tables[own]

    def flood(self, seconds: float, *, own: float = 1.0, rate: float | None = None) -> Flood:
        """Send for so long, as fast as it goes or at a rate of frames per second; then wait for the last replies."""
        table = self._table(own)
        self._read_counters()
        sent = asked = 0
        fd = self._send.fileno()
        began = now = time.perf_counter()
        size = _PER_CALL if rate is None else max(1, min(_PER_CALL, int(rate / 2000)))
        while now - began < seconds:
            if rate is None or sent < (now - began) * rate:
                start = sent % _SLOTS
                done = table.send(fd, start, min(size, _SLOTS - start))
                sent += done
                asked += table.ours_between(start, start + done)
            now = time.perf_counter()
        elapsed = now - began
        in_time, everything = self._read_counters()
        late, more = self._drain()
        return Flood(elapsed, sent, asked, in_time, in_time + late, everything + more)

    def _drain(self) -> tuple[int, int]:
        """Wait until no reply has come for 50 ms."""
        right = everything = 0
        deadline = time.perf_counter() + _DRAIN_S
        while time.perf_counter() < deadline:
            time.sleep(0.05)
            more_right, more = self._read_counters()
            right, everything = right + more_right, everything + more
            if not more:
                return right, everything
        raise RuntimeError(f"replies were still coming {_DRAIN_S:.0f} s after the last question")

    def _read_counters(self) -> tuple[int, int]:
        """Right replies and all replies since the last call."""
        return _statistics(self._right), _statistics(self._any)

    def ask_one_by_one(self, seconds: float, most: int) -> list[float]:
        """Ask, wait for the reply, check every field, ask again. Returns microseconds from the send to the reply."""
        with self._namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            attach_filter(sock, any_reply(self.mac))
            sock.bind(("lan0", ETHERTYPE_ARP))
            sock.settimeout(1.0)
            return self._ask(sock, seconds, most)

    def _ask(self, sock: socket.socket, seconds: float, most: int) -> list[float]:
        times = []
        end = time.perf_counter() + seconds
        for number in range(most):
            target = self._random.randrange(self._count)
            question = self.request(target)
            wanted = arp.reply(self._responder, question[38:42], self.mac, question[28:32])
            began = time.perf_counter()
            sock.send(question)
            try:
                answer = sock.recv(64)
            except TimeoutError:
                raise RuntimeError(f"question {number} was not answered") from None
            times.append(1e6 * (time.perf_counter() - began))
            if answer[:42] != wanted:
                raise RuntimeError(f"wrong reply {answer.hex()} to {question.hex()}")
            if time.perf_counter() > end:
                break
        return times

    def close(self) -> None:
        for sock in (self._right, self._any, self._send):
            sock.close()


class Flood:
    """What a flood brought.

    Attributes:
        seconds: how long it was sent.
        sent, asked: frames, and those of them that the responder should answer.
        in_time, right, replies: right replies while it was sent, right ones in all, and all replies.
    """

    def __init__(self, seconds: float, sent: int, asked: int, in_time: int, right: int, replies: int) -> None:
        self.seconds, self.sent, self.asked = seconds, sent, asked
        self.in_time, self.right, self.replies = in_time, right, replies
        if replies != right or right > asked:
            raise RuntimeError(f"{asked} questions brought {replies} replies, of which {right} are right")

    @property
    def per_second(self) -> float:
        return self.in_time / self.seconds

    @property
    def answered(self) -> float:
        return self.right / self.asked


class Table:
    """Prebuilt frames as an array of `struct mmsghdr`."""

    def __init__(self, frames: Sequence[bytes], ours: Sequence[bool]) -> None:
        stride = 64
        self._frames = ctypes.create_string_buffer(b"".join(frame.ljust(stride, b"\0") for frame in frames))
        base = ctypes.addressof(self._frames)
        vectors = b"".join(struct.pack("@PN", base + stride * n, len(frame)) for n, frame in enumerate(frames))
        self._vectors = ctypes.create_string_buffer(vectors)
        base = ctypes.addressof(self._vectors)
        # struct msghdr: name, its length, iovec, how many, control, its length, flags; then the length sent.
        headers = b"".join(struct.pack("@PIPNPNi4xI4x", 0, 0, base + 16 * n, 1, 0, 0, 0, 0) for n in range(len(frames)))
        self._size = len(headers) // len(frames)
        self._headers = ctypes.create_string_buffer(headers)
        self._address = ctypes.addressof(self._headers)
        self._ours_before = [0]
        for mine in ours:
            self._ours_before.append(self._ours_before[-1] + mine)

    def send(self, fd: int, start: int, count: int) -> int:
        """Send some of the frames. Returns how many went out."""
        done = _libc.sendmmsg(fd, ctypes.c_void_p(self._address + self._size * start), count, 0)
        return max(0, done)

    def ours_between(self, start: int, end: int) -> int:
        return self._ours_before[end] - self._ours_before[start]


def any_reply(mac: bytes) -> list[Instruction]:
    """A program that lets pass every ARP reply that was sent to us alone."""
    return _all_of(_sent_to(mac))


def right_reply(mac: bytes, responder: bytes, count: int) -> list[Instruction]:
    """A program that lets pass the replies that are right in every field."""
    return _all_of(
        [
            *_sent_to(mac),
            *_mac(6, responder),
            (_WORD, 14, _EQUAL, 0x0001_0800),
            (_HALF, 18, _EQUAL, 0x0604),
            *_mac(22, responder),
            *_mac(32, mac),
            (_WORD, 28, _AT_LEAST, int(VIRTUAL)),
            (_WORD, 28, _MORE, int(VIRTUAL) + count - 1),
        ],
        [
            Instruction(_WORD, 0, 0, 38),
            Instruction(_AND, 0, 0, 0xFFFFFFC0),
            (_EQUAL, int(ASKERS)),
            Instruction(_WORD, 0, 0, 38),
            Instruction(_AND, 0, 0, 63),
            Instruction(_TO_X, 0, 0, 0),
            Instruction(_WORD, 0, 0, 28),
            Instruction(_AND, 0, 0, 63),
            (_EQUAL_X, 0),
        ],
    )


def _sent_to(mac: bytes) -> list[tuple[int, int, int, int]]:
    return [(_HALF, 12, _EQUAL, ETHERTYPE_ARP), (_HALF, 20, _EQUAL, arp.REPLY), *_mac(0, mac)]


def _mac(offset: int, mac: bytes) -> list[tuple[int, int, int, int]]:
    return [
        (_WORD, offset, _EQUAL, int.from_bytes(mac[:4], "big")),
        (_HALF, offset + 4, _EQUAL, int.from_bytes(mac[4:], "big")),
    ]


def _all_of(
    comparisons: list[tuple[int, int, int, int]], tail: Sequence[Instruction | tuple[int, int]] = ()
) -> list[Instruction]:
    """Let a frame pass when every comparison holds (_MORE: does not hold) and every pair in the tail as well."""
    steps: list[Instruction | tuple[int, int]] = []
    for load, offset, comparison, value in comparisons:
        steps += [Instruction(load, 0, 0, offset), (comparison, value)]
    steps += tail
    program = []
    for number, step in enumerate(steps):
        if isinstance(step, Instruction):
            program.append(step)
        else:
            no = len(steps) - number  # to the last instruction, which turns the frame down
            program.append(Instruction(step[0], *((no, 0) if step[0] == _MORE else (0, no)), step[1]))
    return [*program, Instruction(_RETURN, 0, 0, 64), Instruction(_RETURN, 0, 0, 0)]


def _statistics(sock: socket.socket) -> int:
    """Frames that passed the socket's filter since the last call, queued or not."""
    return int(struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[0])

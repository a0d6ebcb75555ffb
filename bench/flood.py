"""A flood of prebuilt frames from one end of a virtual cable, and a check of every reply, both inside the kernel.

BPF_PROG_TEST_RUN with live frames runs a small XDP program the way a network card hands over packets: it takes the next
frame of a table and sends it (XDP_TX). Another XDP program at the same end looks at what comes back: every constant
field, that the address is one of those asked for, and the checksum. Both run on the calling thread's processor, and so
does the answering kernel, so that elapsed time per frame compares kernels. A process that answers has a processor more.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.syscalls import (
    ATTACH_XDP,
    MAP_ARRAY,
    MMAPABLE,
    PROGRAM_XDP,
    MapInfo,
    link_create,
    map_create,
    map_update,
    program_load,
    run_program,
)

ROWS = 4096
"""Frames in a table. A flood that is a multiple of this sends each equally often."""

_LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
_IN_THE_DRIVER = 4  # XDP_FLAGS_DRV_MODE
_BATCH = 64
_SETTLE = 0.05  # seconds without a reply
_SYMBOLS = {"LOOKUP": 1, "CSUM_DIFF": 28, "KTIME_BOOT": 125, "XDP_DROP": 1, "XDP_PASS": 2, "XDP_TX": 3}
_SYMBOLS |= {"ROWS": ROWS, "BATCH": _BATCH}

_MEMORY = ("RIGHT", "WRONG", "LAST", "VERDICT", "CURSOR", "BEGAN", "NOW", "ASKED_NOW", "RIGHT_NOW")
"""The numbers of 64 bits that the programs share with this process, in order."""

_GENERATOR = """
    r7 = *(u32 *)(r1 + 0)               # struct xdp_md: data
    r3 = *(u32 *)(r1 + 4)               # data_end
    r4 = r7
    r4 += LENGTH
    if r4 > r3 goto drop
    r9 = map[MEMORY][0]+0
    r8 = *(u64 *)(r9 + CURSOR)
    r4 = r8
    r4 += 1
    *(u64 *)(r9 + CURSOR) = r4
    if w8 & BATCH - 1 goto copy
    call KTIME_BOOT                     # at the start of a batch: the time, and how far both sides are
    if r8 != 0 goto later
    *(u64 *)(r9 + BEGAN) = r0
later:
    *(u64 *)(r9 + NOW) = r0
    *(u64 *)(r9 + ASKED_NOW) = r8
    r4 = *(u64 *)(r9 + RIGHT)
    *(u64 *)(r9 + RIGHT_NOW) = r4
copy:
    w8 &= ROWS - 1
    *(u32 *)(r10 - 4) = r8
    r1 = map[FRAMES]
    r2 = r10
    r2 += -4
    call LOOKUP
    if r0 == 0 goto drop
{copy}
    w0 = XDP_TX
    exit
drop:
    w0 = XDP_DROP
    exit
"""

_CHECKER = """
    r6 = *(u32 *)(r1 + 0)               # data
    r3 = *(u32 *)(r1 + 4)               # data_end
    r9 = map[MEMORY][0]+0
    r4 = r6
    r4 += LENGTH
    if r4 > r3 goto pass
{check}
    r4 = *(u32 *)(r6 + ADDRESS)
    r4 = be32 r4
    w4 -= FIRST
    if w4 >= COUNT goto wrong
{stamp}
    r1 = 1
    lock *(u64 *)(r9 + RIGHT) += r1
    goto done
wrong:
    r1 = 1
    lock *(u64 *)(r9 + WRONG) += r1
done:
    r0 = *(u64 *)(r9 + VERDICT)
    exit
pass:
    w0 = XDP_PASS
    exit
"""

_STAMP = """
    call KTIME_BOOT
    *(u64 *)(r9 + LAST) = r0
"""

_CHECKSUM = """
    w1 = 0
    w2 = 0
    r3 = r6
    r3 += {offset}
    w4 = {length}
    w5 = {start}
    call CSUM_DIFF
    r1 = r0
    r1 >>= 16
    r0 &= 0xffff
    r0 += r1
    r1 = r0
    r1 >>= 16
    r0 += r1
    r0 &= 0xffff
    if r0 != 0xffff goto wrong
"""


@dataclass(frozen=True)
class Expected:
    """What a right reply looks like.

    Attributes:
        length: of the part that is looked at; shorter frames are not counted at all.
        marks: bytes by their offset that make a frame a reply to us; without them, as gratuitous frames or the node's
            own questions are, it is not counted either.
        fixed: bytes by their offset that every right reply has.
        address: offset of the last four bytes of the announced address, which are one of `count` numbers from `first`.
        checksum: offset and length of what must sum up to 0xffff with the third, a number as a program loads it.
    """

    length: int
    marks: dict[int, bytes]
    fixed: dict[int, bytes]
    address: int
    first: int
    count: int
    checksum: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Flood:
    """What came of one.

    Attributes:
        sent: questions.
        right: replies that were, in the end.
        wrong: other replies to us.
        rate: right replies per second while questions were sent. The kernel's own preparation and tidying of a flood
            take about 25 ms and do not count.
        nanoseconds: from one question to the next.
    """

    sent: int
    right: int
    wrong: int
    rate: float
    nanoseconds: float


class Flooder:
    """Checks the replies at an interface of the calling thread's namespace, and floods from it.

    Args:
        name: of the interface.
        expected: what is checked.
        stamp: keep the time of the last right reply, which costs 50 ns for each.
    """

    def __init__(self, name: str, expected: Expected, *, stamp: bool = False) -> None:
        self.index = socket.if_nametoindex(name)
        self._open: list[int] = []
        self._memory_fd = self._keep(map_create(MapInfo(MAP_ARRAY, 4, 8 * len(_MEMORY), 1, MMAPABLE), "bench_memory"))
        self._memory = memoryview(mmap.mmap(self._memory_fd, mmap.PAGESIZE)).cast("Q")
        self.drop(everything=False)
        self._attach_checker(expected, stamp=stamp)

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def _symbols(self, **more: int) -> dict[str, int]:
        offsets = {name: 8 * place for place, name in enumerate(_MEMORY)}
        return _SYMBOLS | offsets | {"MEMORY": self._memory_fd} | more

    def _attach_checker(self, expected: Expected, *, stamp: bool) -> None:
        fields = [(at, data, "pass") for at, data in expected.marks.items()]
        fields += [(at, data, "wrong") for at, data in expected.fixed.items()]
        check = [
            f"r4 = *(u{8 * length} *)(r6 + {start + at})\nif w4 != {value} goto {otherwise}"
            for start, data, otherwise in fields
            for at, length, value in _pieces(data)
        ]
        if expected.checksum is not None:
            offset, length, start = expected.checksum
            check.append(_CHECKSUM.format(offset=offset, length=length, start=start))
        symbols = self._symbols(
            LENGTH=expected.length,
            ADDRESS=expected.address,
            FIRST=expected.first,
            COUNT=expected.count,
        )
        code = assemble(_CHECKER.format(check="\n".join(check), stamp=_STAMP if stamp else ""), symbols)
        program = self._keep(program_load(PROGRAM_XDP, code, "bench_checker"))
        self._keep(link_create(program, self.index, ATTACH_XDP, _IN_THE_DRIVER))

    def prepare(self, frames: Sequence[bytes]) -> tuple[int, int]:
        """Make a table of these frames, in random order, each about equally often. Returns what `run` wants."""
        length = len(frames[0])
        row = -(-length // 8) * 8
        table = self._keep(map_create(MapInfo(MAP_ARRAY, 4, row, ROWS, 0), "bench_frames"))
        rows = [frames[i % len(frames)].ljust(row, b"\0") for i in range(ROWS)]
        if len(frames) > ROWS:
            rows = [frame.ljust(row, b"\0") for frame in random.Random(1).sample(frames, ROWS)]
        random.Random(2).shuffle(rows)
        map_update(table, [struct.pack("=I", i) for i in range(ROWS)], b"".join(rows))
        copy, at = [], 0
        while at < length:
            size = next(size for size in (8, 4, 2, 1) if at + size <= length)
            copy.append(f"r1 = *(u{8 * size} *)(r0 + {at})\n*(u{8 * size} *)(r7 + {at}) = r1")
            at += size
        code = assemble(_GENERATOR.format(copy="\n".join(copy)), self._symbols(LENGTH=length, FRAMES=table))
        return self._keep(program_load(PROGRAM_XDP, code, "bench_flood")), max(length, 60)

    def run(self, prepared: tuple[int, int], sent: int, *, batch: int = _BATCH) -> Flood:
        """Send so many frames as fast as it goes, `batch` at a time, and wait for the last replies."""
        program, size = prepared
        self._set("CURSOR", 0)
        right, wrong = self._get("RIGHT"), self._get("WRONG")
        self.drop(everything=True)
        context = struct.pack("=6I", 0, size, 0, self.index, 0, 0)
        run_program(program, bytes(size), context=context, repeat=sent, flags=_LIVE_FRAMES, batch=batch)
        self._wait_for_the_last()
        self.drop(everything=False)
        elapsed = self._get("NOW") - self._get("BEGAN")
        return Flood(
            sent,
            self._get("RIGHT") - right,
            self._get("WRONG") - wrong,
            (self._get("RIGHT_NOW") - right) / elapsed * 1e9,
            elapsed / self._get("ASKED_NOW"),
        )

    def _wait_for_the_last(self) -> None:
        """Until no reply has come for a while, so that none is taken for the answer to a later question."""
        for _ in range(100):
            before = self._get("RIGHT")
            time.sleep(_SETTLE)
            if self._get("RIGHT") == before:
                return
        raise RuntimeError("replies keep coming")

    def _get(self, name: str) -> int:
        return int(self._memory[_MEMORY.index(name)])

    def _set(self, name: str, value: int) -> None:
        self._memory[_MEMORY.index(name)] = value

    def drop(self, *, everything: bool) -> None:
        """Whether replies, and any frame that looks like one, end here instead of going on to the kernel."""
        self._set("VERDICT", _SYMBOLS["XDP_DROP" if everything else "XDP_PASS"])

    @property
    def last_reply(self) -> int:
        """When the last right reply came, in nanoseconds of CLOCK_BOOTTIME."""
        return self._get("LAST")

    def close(self) -> None:
        """Detach."""
        for fd in reversed(self._open):
            os.close(fd)
        self._open.clear()


def enable_napi(name: str) -> None:
    """Switch GRO on: only then a virtual cable's end takes XDP frames from the other (`veth_xdp_xmit`)."""
    value = ctypes.create_string_buffer(struct.pack("=II", 0x2C, 1))  # ETHTOOL_SGRO
    request = struct.pack("16sP", name.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL


def _pieces(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, size and value of the largest parts that one comparison takes."""
    at = 0
    while at < len(data):
        size = next(size for size in (4, 2, 1) if at + size <= len(data))
        yield at, size, int.from_bytes(data[at : at + size], sys.byteorder)
        at += size

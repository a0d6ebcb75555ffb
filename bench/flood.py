"""Questions from one end of a virtual cable, and a check of every reply, both inside the kernel.

`run` is the open loop: BPF_PROG_TEST_RUN with live frames runs a small XDP program the way a network card hands over
packets: it takes the next frame of a table and sends it (XDP_TX). Another XDP program at the same end looks at what
comes back: every constant field, that the address is one of those asked for, and the checksum. Both run on the calling
thread's processor, and so does the answering kernel, so that elapsed time per frame compares kernels. A process that
answers has a processor more.

`run_window` is the closed loop: so many questions are out, and the program that has checked a reply turns it into the
next question. There the asking side follows the answering one onto its processor: one does everything.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import flood_programs
from bench.flood_programs import BATCH, DROP, MEMORY, PASS, ROWS, Expected
from metallb_cli.linux.ebpf.syscalls import (
    ATTACH_XDP,
    MAP_ARRAY,
    MMAPABLE,
    PROGRAM_XDP,
    MapInfo,
    link_create,
    link_update,
    map_create,
    map_update,
    program_load,
    run_program,
)

_LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
_IN_THE_DRIVER = 4  # XDP_FLAGS_DRV_MODE
_SETTLE = 0.05  # seconds without a reply
_PATIENCE = 60.0  # seconds for a whole window


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


@dataclass(frozen=True)
class Table:
    """Frames to send. Descriptors of their map and of the program that floods with them; bytes of a frame."""

    frames: int
    program: int
    length: int


class Flooder:
    """Checks the replies at an interface of the calling thread's namespace, and floods from it.

    Args:
        name: of the interface.
        expected: what is checked.
        stamp: keep the time of the last right reply, which costs 50 ns for each.
    """

    def __init__(self, name: str, expected: Expected, *, stamp: bool = False) -> None:
        self.index = socket.if_nametoindex(name)
        self._expected = expected
        self._open: list[int] = []
        self._memory_fd = self._keep(map_create(MapInfo(MAP_ARRAY, 4, 8 * len(MEMORY), 1, MMAPABLE), "bench_memory"))
        self._memory = memoryview(mmap.mmap(self._memory_fd, mmap.PAGESIZE)).cast("Q")
        self.drop(everything=False)
        code = flood_programs.checker(self._memory_fd, expected, stamp=stamp)
        self._checker = self._keep(program_load(PROGRAM_XDP, code, "bench_checker"))
        self._link = self._keep(link_create(self._checker, self.index, ATTACH_XDP, _IN_THE_DRIVER))

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def prepare(self, frames: Sequence[bytes]) -> Table:
        """Make a table of these frames, in random order, each about equally often."""
        length = len(frames[0])
        row = -(-length // 8) * 8
        table = self._keep(map_create(MapInfo(MAP_ARRAY, 4, row, ROWS, 0), "bench_frames"))
        rows = [frames[i % len(frames)].ljust(row, b"\0") for i in range(ROWS)]
        if len(frames) > ROWS:
            rows = [frame.ljust(row, b"\0") for frame in random.Random(1).sample(frames, ROWS)]
        random.Random(2).shuffle(rows)
        map_update(table, [struct.pack("=I", i) for i in range(ROWS)], b"".join(rows))
        code = flood_programs.generator(self._memory_fd, table, length)
        return Table(table, self._keep(program_load(PROGRAM_XDP, code, "bench_flood")), length)

    def run(self, table: Table, sent: int, *, batch: int = BATCH) -> Flood:
        """Send so many frames as fast as it goes, `batch` at a time, and wait for the last replies."""
        right, wrong = self.replies()
        self.drop(everything=True)
        self._send(table, sent, batch)
        self._wait_for_the_last()
        self.drop(everything=False)
        return self._outcome(sent, right, wrong, asked=self._get("ASKED_NOW"))

    def run_window(self, table: Table, size: int, replies: int) -> Flood:
        """Keep `size` questions out until so many right replies have come, at least 4 * BATCH, and wait for the last.

        A lost question makes the window smaller for good; `right` is then less than `sent`.
        """
        code = flood_programs.window(self._memory_fd, self._expected, table.frames, table.length, self.index)
        program = program_load(PROGRAM_XDP, code, "bench_window")
        right, wrong = self.replies()
        self._set("LIMIT", right + replies)
        self.drop(everything=True)
        link_update(self._link, program)
        try:
            self._send(table, size, size)
            self._wait_for_the_last()
        finally:
            link_update(self._link, self._checker)
            os.close(program)
            self.drop(everything=False)
        return self._outcome(size + replies, right, wrong, asked=self._get("RIGHT_NOW") - right)

    def _outcome(self, sent: int, right: int, wrong: int, *, asked: int) -> Flood:
        """What came of it. `right` and `wrong`: replies before; `asked`: questions when the time was last taken."""
        elapsed = max(1, self._get("NOW") - self._get("BEGAN"))
        rate = (self._get("RIGHT_NOW") - right) / elapsed * 1e9
        right_now, wrong_now = self.replies()
        return Flood(sent, right_now - right, wrong_now - wrong, rate, elapsed / max(1, asked))

    def _send(self, table: Table, sent: int, batch: int) -> None:
        self._set("CURSOR", 0)
        size = max(table.length, 60)
        context = struct.pack("=6I", 0, size, 0, self.index, 0, 0)
        run_program(table.program, bytes(size), context=context, repeat=sent, flags=_LIVE_FRAMES, batch=batch)

    def _wait_for_the_last(self) -> None:
        """Until no reply has come for a while, so that none is taken for the answer to a later question."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            before = self._get("RIGHT")
            time.sleep(_SETTLE)
            if self._get("RIGHT") == before:
                return
        raise RuntimeError("replies keep coming")

    def _get(self, name: str) -> int:
        return int(self._memory[MEMORY.index(name)])

    def _set(self, name: str, value: int) -> None:
        self._memory[MEMORY.index(name)] = value

    def drop(self, *, everything: bool) -> None:
        """Whether replies, and any frame that looks like one, end here instead of going on to the kernel."""
        self._set("VERDICT", DROP if everything else PASS)

    def replies(self) -> tuple[int, int]:
        """How many right and wrong replies have come so far, whoever asked."""
        return self._get("RIGHT"), self._get("WRONG")

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

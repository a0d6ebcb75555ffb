"""A flood of prebuilt frames from one end of a veth pair, and a check of every reply, both in the kernel.

BPF_PROG_TEST_RUN with live frames runs a small XDP program as a network card would hand over packets: it copies a
random one of the prebuilt frames and sends it (XDP_TX). Another XDP program at the same end checks and counts what
comes back. Both run on the CPU of the calling thread, so that elapsed time per packet is what the answering machine's
kernel costs.
"""

import ctypes
import fcntl
import mmap
import os
import random
import socket
import struct
import time
from dataclasses import dataclass

from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.syscalls import (
    ATTACH_XDP,
    MAP_ARRAY,
    MAP_HASH,
    MMAPABLE,
    PROGRAM_XDP,
    MapInfo,
    link_create,
    map_create,
    map_update,
    program_load,
    run_program,
)

LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
NATIVE = 4  # XDP_FLAGS_DRV_MODE
TABLE = 4096
BATCH = 64

GENERATOR = """
    r7 = *(u32 *)(r1 + 0)       # struct xdp_md: data
    r3 = *(u32 *)(r1 + 4)       # data_end
    r4 = r7
    r4 += LENGTH
    if r4 > r3 goto drop
    call PRANDOM
    w0 &= TABLE - 1
    *(u32 *)(r10 - 4) = r0
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

COUNTER = """
    r6 = *(u32 *)(r1 + 0)       # data
    r3 = *(u32 *)(r1 + 4)       # data_end
    r9 = map[TALLY][0]+0
    r4 = r6
    r4 += LENGTH
    if r4 > r3 goto pass
    r4 = *(u16 *)(r6 + 12)
    if w4 != ETHERTYPE goto pass
{check}
    r1 = map[ADDRESSES]
    r2 = r6
    r2 += ADDRESS
    call LOOKUP
    if r0 == 0 goto wrong
    call KTIME
    *(u64 *)(r9 + 16) = r0      # when the last one came, CLOCK_BOOTTIME
    r1 = 1
    lock *(u64 *)(r9 + 0) += r1
    goto done
wrong:
    r1 = 1
    lock *(u64 *)(r9 + 8) += r1
done:
    r0 = *(u64 *)(r9 + 24)      # XDP_DROP while flooding, XDP_PASS else
    exit
pass:
    w0 = XDP_PASS
    exit
"""

HELPERS = {"LOOKUP": 1, "PRANDOM": 7, "CSUM_DIFF": 28, "KTIME": 125, "XDP_DROP": 1, "XDP_PASS": 2, "XDP_TX": 3}


@dataclass(frozen=True)
class Expected:
    """What a right reply looks like.

    fixed: bytes that every one has, by offset; length: of the part looked at; address: offset of the announced address,
    which must be one of `addresses`; checksum: offset, length and start value for what must sum up to 0xffff.
    """

    length: int
    fixed: dict[int, bytes]
    address: int
    addresses: list[bytes]
    checksum: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Flood:
    sent: int
    received: int
    wrong: int
    seconds: float

    @property
    def rate(self):
        return self.received / self.seconds

    @property
    def nanoseconds(self):
        return self.seconds * 1e9 / self.sent


def words(data):
    """Split into the largest pieces that a compare takes: (offset, size, value as a program loads it)."""
    at = 0
    while at < len(data):
        size = 4 if len(data) - at >= 4 else 2 if len(data) - at >= 2 else 1
        yield at, size, int.from_bytes(data[at : at + size], os.sys.byteorder)
        at += size


class Flooder:
    """Both programs, at one interface of the calling thread's namespace."""

    def __init__(self, name, frames, expected):
        self.index = socket.if_nametoindex(name)
        self.length = len(frames[0])
        self._open = []
        self.tally = self._memory("tally", 32)
        self.tally[3] = HELPERS["XDP_PASS"]
        self._program_counter(expected)
        self._program_generator(frames)

    def _memory(self, name, size):
        fd = self._keep(map_create(MapInfo(MAP_ARRAY, 4, size, 1, MMAPABLE), name))
        self.tally_fd = fd
        return memoryview(mmap.mmap(fd, mmap.PAGESIZE)).cast("Q")

    def _keep(self, fd):
        self._open.append(fd)
        return fd

    def _program_counter(self, expected):
        addresses = self._keep(
            map_create(MapInfo(MAP_HASH, len(expected.addresses[0]), 1, len(expected.addresses), 0), "addresses")
        )
        map_update(addresses, expected.addresses, [b"\1"] * len(expected.addresses))
        check = []
        for start, data in expected.fixed.items():
            for at, size, value in words(data):
                check += [f"r4 = *(u{8 * size} *)(r6 + {start + at})", f"if w4 != {value} goto wrong"]
        if expected.checksum:
            at, length, start = expected.checksum
            check += ["r1 = 0", "w2 = 0", "r3 = r6", f"r3 += {at}", f"w4 = {length}", f"w5 = {start}"]
            check += ["call CSUM_DIFF", "r1 = r0", "r1 >>= 16", "r0 &= 0xffff", "r0 += r1", "r1 = r0"]
            check += ["r1 >>= 16", "r0 &= 0xffff", "r0 += r1", "if r0 != 0xffff goto wrong"]
        (ethertype,) = struct.unpack("=H", expected.fixed[12][:2])
        symbols = HELPERS | {
            "LENGTH": expected.length,
            "ETHERTYPE": ethertype,
            "ADDRESS": expected.address,
            "TALLY": self.tally_fd,
            "ADDRESSES": addresses,
        }
        code = assemble(COUNTER.format(check="\n".join(check)), symbols)
        program = self._keep(program_load(PROGRAM_XDP, code, "bench_count"))
        self._keep(link_create(program, self.index, ATTACH_XDP, NATIVE))

    def _program_generator(self, frames):
        row = -(-self.length // 8) * 8
        table = self._keep(map_create(MapInfo(MAP_ARRAY, 4, row, TABLE, 0), "frames"))
        choose = random.Random(1)
        rows = [choose.choice(frames).ljust(row, b"\0") for _ in range(TABLE)]
        map_update(table, [struct.pack("=I", i) for i in range(TABLE)], rows)
        copy = []
        at = 0
        while at < self.length:
            size = next(size for size in (8, 4, 2, 1) if at + size <= self.length)
            copy += [f"r1 = *(u{8 * size} *)(r0 + {at})", f"*(u{8 * size} *)(r7 + {at}) = r1"]
            at += size
        symbols = HELPERS | {"LENGTH": self.length, "TABLE": TABLE, "FRAMES": table}
        code = assemble(GENERATOR.format(copy="\n".join(copy)), symbols)
        self._generator = self._keep(program_load(PROGRAM_XDP, code, "bench_flood"))

    def run(self, count, settle=0.05):
        """Send this many frames as fast as it goes, wait for the last replies, and return what came of them."""
        size = max(self.length, 60)
        before = self.tally[0], self.tally[1]
        self.tally[3] = HELPERS["XDP_DROP"]
        context = struct.pack("=6I", 0, size, 0, self.index, 0, 0)
        start = time.monotonic()
        run_program(self._generator, bytes(size), context=context, repeat=count, flags=LIVE_FRAMES, batch=BATCH)
        seconds = time.monotonic() - start
        time.sleep(settle)
        self.tally[3] = HELPERS["XDP_PASS"]
        return Flood(count, self.tally[0] - before[0], self.tally[1] - before[1], seconds)

    @property
    def last_reply(self):
        """When the last right reply came, in nanoseconds of CLOCK_BOOTTIME."""
        return self.tally[2]

    def close(self):
        for fd in reversed(self._open):
            os.close(fd)
        self._open.clear()


def enable_napi(name):
    """Switch GRO on: a veth end takes XDP frames from its peer only then (veth_xdp_xmit)."""
    value = ctypes.create_string_buffer(struct.pack("=II", 0x2C, 1))  # ETHTOOL_SGRO
    request = struct.pack("16sP", name.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL

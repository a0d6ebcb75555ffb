"""The programs of a flood: one sends frames of a table, one checks what comes back, and one does both, for a window."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.programs import FOLD

ROWS = 4096
"""Frames in a table. A flood that is a multiple of this sends each equally often."""

BATCH = 64
MEMORY = ("RIGHT", "WRONG", "LAST", "VERDICT", "CURSOR", "BEGAN", "NOW", "ASKED_NOW", "RIGHT_NOW", "LIMIT")
"""The numbers of 64 bits that the programs share with the process that floods, in order."""

DROP, PASS = 1, 2  # XDP_DROP, XDP_PASS
_SYMBOLS = {
    "LOOKUP": 1,
    "REDIRECT": 23,
    "CSUM_DIFF": 28,
    "KTIME_BOOT": 125,
    "XDP_DROP": DROP,
    "XDP_PASS": PASS,
    "XDP_TX": 3,
}
_SYMBOLS |= {"ROWS": ROWS, "BATCH": BATCH} | {name: 8 * place for place, name in enumerate(MEMORY)}

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
{then}
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

_ASK_AGAIN = """
    r8 = *(u64 *)(r9 + RIGHT)
    r4 = *(u64 *)(r9 + LIMIT)
    if r8 > r4 goto done
    if w8 & BATCH - 1 goto next
    call KTIME_BOOT
    *(u64 *)(r9 + NOW) = r0
    *(u64 *)(r9 + RIGHT_NOW) = r8
next:
    w8 &= ROWS - 1
    *(u32 *)(r10 - 4) = r8
    r1 = map[FRAMES]
    r2 = r10
    r2 += -4
    call LOOKUP
    if r0 == 0 goto done
    r7 = r6
{copy}
    r1 = INTERFACE                      # XDP_TX would wake the other end only if it had an XDP program too
    r2 = 0
    call REDIRECT
    exit
"""

_CHECKSUM = """
    w1 = 0
    w2 = 0
    r3 = r6
    r3 += {offset}
    w4 = {length}
    w5 = {start}
    call CSUM_DIFF
{fold}    r0 &= 0xffff
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


def generator(memory: int, frames: int, length: int) -> bytes:
    """Send the next frame of a table, at each run. Arguments: descriptors of the two maps, bytes of a frame."""
    symbols = _SYMBOLS | {"MEMORY": memory, "FRAMES": frames, "LENGTH": length}
    return assemble(_GENERATOR.format(copy=_copy(length)), symbols)


def checker(memory: int, expected: Expected, *, stamp: bool) -> bytes:
    """Count right and wrong replies; with `stamp`, keep the time of the last right one."""
    return _checker(expected, {"MEMORY": memory}, stamp=_STAMP if stamp else "")


def window(memory: int, expected: Expected, frames: int, length: int, interface: int) -> bytes:
    """Count as `checker` does, and send the next question for every right reply until LIMIT of them have come."""
    symbols = {"MEMORY": memory, "FRAMES": frames, "INTERFACE": interface}
    return _checker(expected, symbols, then=_ASK_AGAIN.format(copy=_copy(length)))


def _checker(expected: Expected, symbols: dict[str, int], *, stamp: str = "", then: str = "goto done") -> bytes:
    fields = [(at, data, "pass") for at, data in expected.marks.items()]
    fields += [(at, data, "wrong") for at, data in expected.fixed.items()]
    check = [
        f"r4 = *(u{8 * length} *)(r6 + {start + at})\nif w4 != {value} goto {otherwise}"
        for start, data, otherwise in fields
        for at, length, value in _pieces(data)
    ]
    if expected.checksum is not None:
        offset, length, start = expected.checksum
        check.append(_CHECKSUM.format(fold=FOLD, offset=offset, length=length, start=start))
    symbols = _SYMBOLS | symbols | {"LENGTH": expected.length, "ADDRESS": expected.address}
    symbols |= {"FIRST": expected.first, "COUNT": expected.count}
    return assemble(_CHECKER.format(check="\n".join(check), stamp=stamp, then=then), symbols)


def _copy(length: int) -> str:
    """From a table's row at r0 to a packet at r7."""
    lines, at = [], 0
    while at < length:
        size = next(size for size in (8, 4, 2, 1) if at + size <= length)
        lines.append(f"r1 = *(u{8 * size} *)(r0 + {at})\n*(u{8 * size} *)(r7 + {at}) = r1")
        at += size
    return "\n".join(lines)


def _pieces(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, size and value of the largest parts that one comparison takes."""
    at = 0
    while at < len(data):
        size = next(size for size in (4, 2, 1) if at + size <= len(data))
        yield at, size, int.from_bytes(data[at : at + size], sys.byteorder)
        at += size

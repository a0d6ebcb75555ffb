"""Compiles address ranges into a classic BPF program that keeps foreign ARP away from the process.

The kernel runs the program for each ARP frame before it queues it on the socket; a frame that it turns down costs this
process nothing. It lets pass ARP for IPv4 over Ethernet whose target address is in a range (a question for us) or whose
sender address is (somebody else's claim to one of ours), that came to the interface itself and was meant for this host.
The address is looked at first: the way of a foreign frame is two loads and two searches.

The ranges become a balanced binary search. Instruction set and limits: linux/bpf_common.h, linux/filter.h.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from metallb_cli.model import AddressRange, merge_ranges

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS. The kernel refuses a longer program."""

MAX_RANGES = 960
"""What fits into MAX_INSTRUCTIONS: four instructions each, and the jumps that bridge long distances."""

SNAP_LENGTH = 64
"""Bytes of a frame that are handed over: an ARP frame with the padding of the shortest Ethernet frame."""

_LD_WORD, _LD_HALF, _JUMP, _JEQ, _JGT, _JGE, _RETURN = 0x20, 0x28, 0x05, 0x15, 0x25, 0x35, 0x06
_PACKET_TYPE, _INTERFACE = 0xFFFFF000 + 4, 0xFFFFF000 + 8  # SKF_AD_PKTTYPE, SKF_AD_IFINDEX
_PACKET_BROADCAST = 1  # 0 is for this host, 1 broadcast; 2 multicast, 3 for another host
_ETHERTYPE, _HARDWARE, _LENGTHS, _SENDER, _TARGET = 12, 14, 18, 28, 38  # offsets in the frame
_FARTHEST = 255


class Instruction(NamedTuple):
    """One `struct sock_filter`: a conditional jump skips `when_true` or `when_false` instructions."""

    code: int
    when_true: int
    when_false: int
    value: int


def compile_filter(
    ranges: Iterable[AddressRange], *, interface: int | None = None, max_ranges: int = MAX_RANGES
) -> list[Instruction]:
    """Build the program.

    Args:
        ranges: in any order, overlapping or not; IPv6 ones are left out. Without any, nothing passes.
        interface: index of the interface that a frame must have come to. A socket on a link also sees the frames of
            its VLAN sub-interfaces, which are not its own.
        max_ranges: when there are more after merging, those with the smallest gaps between them are joined, so that
            some foreign frames pass. Nothing that should pass is ever turned down.
    """
    intervals = _intervals(ranges, max(1, max_ranges))
    code = _Backwards()
    turn_down = code.give_back(0)
    if not intervals:
        return code.program()
    # Last in the program, because only frames that concern us get there: is it really one for this interface?
    passing = code.give_back(SNAP_LENGTH)
    checks = [
        (_LD_HALF, _LENGTHS, 0x0604),
        (_LD_WORD, _HARDWARE, 0x0001_0800),
        (_LD_HALF, _ETHERTYPE, 0x0806),
    ]
    if interface is not None:
        checks.append((_LD_WORD, _INTERFACE, interface))
    for load, offset, expected in checks:
        code.jump(_JEQ, expected, passing, turn_down)
        passing = code.load(load, offset)
    code.jump(_JGT, _PACKET_BROADCAST, turn_down, passing)
    passing = code.load(_LD_WORD, _PACKET_TYPE)

    code.search(intervals, passing, turn_down)
    sender = code.load(_LD_WORD, _SENDER)
    code.search(intervals, passing, sender)
    code.load(_LD_WORD, _TARGET)
    return code.program()


def encode(program: list[Instruction]) -> bytes:
    """The program as an array of `struct sock_filter` in this machine's byte order."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _intervals(ranges: Iterable[AddressRange], limit: int) -> list[tuple[int, int]]:
    """The IPv4 ranges as sorted integers, at most `limit` of them."""
    merged = merge_ranges([r for r in ranges if r.version == 4])
    intervals = [(int(r.first), int(r.last)) for r in merged]
    if len(intervals) <= limit:
        return intervals
    gaps = ((intervals[i][0] - intervals[i - 1][1], i) for i in range(1, len(intervals)))
    cuts = [0, *sorted(i for _, i in heapq.nlargest(limit - 1, gaps)), len(intervals)]
    return [(intervals[a][0], intervals[b - 1][1]) for a, b in pairwise(cuts)]


class _Backwards:
    """Writes a program from its end: all jumps are forward, so their targets exist already.

    A position counts from the end. A conditional jump reaches 255 instructions; a farther target gets a bridge: a copy
    of a RETURN, or an unconditional jump, which reaches everything.
    """

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._bridges: dict[int, int] = {}

    def program(self) -> list[Instruction]:
        return self._code[::-1]

    def give_back(self, length: int) -> int:
        return self._add(Instruction(_RETURN, 0, 0, length))

    def load(self, code: int, offset: int) -> int:
        """Load from the frame and go on with what was written last."""
        return self._add(Instruction(code, 0, 0, offset))

    def jump(self, code: int, value: int, when_true: int, when_false: int) -> int:
        when_true = self._near(when_true, spare=1)  # a bridge to the other target would push this one away
        when_false = self._near(when_false)
        here = len(self._code)
        return self._add(Instruction(code, here - when_true - 1, here - when_false - 1, value))

    def search(self, intervals: list[tuple[int, int]], found: int, missing: int, *, above_first: bool = False) -> int:
        """Go to `found` when the loaded value lies in an interval, else to `missing`.

        With `above_first`, the value is known not to lie before the first interval.
        """
        if len(intervals) == 1:
            first, last = intervals[0]
            if first == last:
                return self.jump(_JEQ, first, found, missing)
            entry = self.jump(_JGT, last, missing, found)
            return entry if above_first else self.jump(_JGE, first, entry, missing)
        middle = len(intervals) // 2
        right = self.search(intervals[middle:], found, missing, above_first=True)
        left = self.search(intervals[:middle], found, missing, above_first=above_first)
        return self.jump(_JGE, intervals[middle][0], right, left)

    def _near(self, target: int, spare: int = 0) -> int:
        """A position within a conditional jump's reach that leads to the target."""
        nearest = self._bridges.get(target, target)
        here = len(self._code)
        if here - nearest - 1 + spare <= _FARTHEST:
            return nearest
        instruction = self._code[target]
        if instruction.code != _RETURN:
            instruction = Instruction(_JUMP, 0, 0, here - target - 1)
        self._bridges[target] = self._add(instruction)
        return self._bridges[target]

    def _add(self, instruction: Instruction) -> int:
        self._code.append(instruction)
        return len(self._code) - 1

"""Compiles IPv6 ranges into a classic BPF program that keeps foreign IPv6 traffic away from the process.

The sibling of `socket_filter` for a socket on ETH_P_IPV6, which sees every IPv6 packet of the interface: the first two
instructions turn down all that is no ICMPv6. What passes is a neighbour solicitation or advertisement with hop limit
255, for this interface, whose target is in a range (a question, or somebody else's claim), or a solicitation whose
source is (a claim too).

An address is four words, so a range is cut where a word changes: everything between two words, and what is left of the
words at both ends. The pieces make a tree of at most four levels, each a balanced binary search on one word.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter

from metallb_cli.layer2.ndp import ADVERTISEMENT, ETHERTYPE, HOP_LIMIT, NEXT_HEADER_ICMPV6, SOLICITATION
from metallb_cli.layer2.socket_filter import Instruction, _Backwards
from metallb_cli.model import AddressRange, merge_ranges

SNAP_LENGTH = 190
"""Bytes of a frame that are handed over: a message with 14 options, where one or two are usual. A longer message is cut
and so refused. With the kernel's header a frame then fits into 256 bytes of a packet ring."""

MAX_TRANSLATED = 2400
"""Instructions that the program may grow to when the kernel translates it to eBPF (measured on Linux 6.18: a load
becomes 14, a jump 1.5). A socket's filter must fit into net.core.optmem_max, 20 KiB on kernels before 6.9, else ENOMEM.
"""

_LOADS = _LD_BYTE, _LD_HALF, _LD_WORD = 0x30, 0x28, 0x20
_JEQ, _JGT, _JGE = 0x15, 0x25, 0x35
_PACKET_TYPE, _INTERFACE = 0xFFFFF000 + 4, 0xFFFFF000 + 8  # SKF_AD_PKTTYPE, SKF_AD_IFINDEX
_PACKET_TYPES = (2, 0, 1)  # multicast, for this host, broadcast; 3 is for another host
_ETHERTYPE, _NEXT_HEADER, _HOP_LIMIT, _SOURCE, _TYPE, _TARGET = 12, 20, 21, 22, 54, 62  # offsets in the frame

_Tree = list[tuple[int, int, "_Tree | None"]]
"""(first, last, inner) of a word's values: inner is None when every address that starts so is in a range."""


def compile_ndp_filter(ranges: Iterable[AddressRange], *, interface: int | None = None) -> list[Instruction]:
    """Build the program.

    Args:
        ranges: in any order, overlapping or not; IPv4 ones are left out. Without any, nothing passes. When the program
            gets too long (from about 30 ranges in networks of their own), those with the smallest gaps between them are
            joined, so that some foreign messages pass. Nothing that should pass is ever turned down.
        interface: index of the interface that a frame must have come to, so that those of its VLAN sub-interfaces do
            not pass.
    """
    merged = merge_ranges([r for r in ranges if r.version == 6])
    intervals = [(int(r.first), int(r.last)) for r in merged]
    program = _compile(intervals, interface)
    while _translated(program) > MAX_TRANSLATED:
        intervals = _join(intervals, len(intervals) * 7 // 8)
        program = _compile(intervals, interface)
    return program


def _translated(program: list[Instruction]) -> float:
    return sum(14 if instruction.code in _LOADS else 1.5 for instruction in program)


def _compile(intervals: list[tuple[int, int]], interface: int | None) -> list[Instruction]:
    code = _Backwards()
    turn_down = code.give_back(0)
    if not intervals:
        return code.program()
    # Written from the end: what the program does first stands last here.
    passing = code.give_back(SNAP_LENGTH)
    if interface is not None:
        passing = _check(code, _LD_WORD, _INTERFACE, [interface], passing, turn_down)
    tree = _tree(intervals, 128)
    source = _search(code, tree, _SOURCE, passing, turn_down)
    foreign = _check(code, _LD_BYTE, _TYPE, [SOLICITATION], source, turn_down)
    step = _search(code, tree, _TARGET, passing, foreign)
    step = _check(code, _LD_WORD, _PACKET_TYPE, _PACKET_TYPES, step, turn_down)
    step = _check(code, _LD_BYTE, _HOP_LIMIT, [HOP_LIMIT], step, turn_down)
    step = _check(code, _LD_BYTE, _TYPE, [SOLICITATION, ADVERTISEMENT], step, turn_down)
    step = _check(code, _LD_HALF, _ETHERTYPE, [ETHERTYPE], step, turn_down)
    _check(code, _LD_BYTE, _NEXT_HEADER, [NEXT_HEADER_ICMPV6], step, turn_down)
    return code.program()


def _check(code: _Backwards, load: int, offset: int, accepted: Sequence[int], then: int, otherwise: int) -> int:
    """Go on at `then` if a field has one of the accepted values."""
    for value in reversed(accepted):
        otherwise = code.jump(_JEQ, value, then, otherwise)
    return code.load(load, offset)


def _tree(intervals: list[tuple[int, int]], bits: int) -> _Tree:
    """Cut sorted intervals of numbers of this many bits by their first word."""
    rest = bits - 32
    everything = (1 << rest) - 1
    whole: list[tuple[int, int]] = []
    partly: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for first, last in intervals:
        low, low_rest = first >> rest, first & everything
        high, high_rest = last >> rest, last & everything
        if low == high and (low_rest, high_rest) != (0, everything):
            partly[low].append((low_rest, high_rest))
            continue
        if low_rest:
            partly[low].append((low_rest, everything))
            low += 1
        if high_rest != everything:
            partly[high].append((0, high_rest))
            high -= 1
        if low <= high:
            whole.append((low, high))
    return [(low, high, None) for low, high in whole] + [(w, w, _tree(inner, rest)) for w, inner in partly.items()]


def _search(code: _Backwards, tree: _Tree, offset: int, found: int, missing: int) -> int:
    """Go to `found` if the address at this offset of the frame lies in the tree, else to `missing`."""
    targets = [
        (first, last, found if inner is None else _search(code, inner, offset + 4, found, missing))
        for first, last, inner in sorted(tree, key=itemgetter(0))
    ]
    _switch(code, targets, missing)
    return code.load(_LD_WORD, offset)


def _switch(code: _Backwards, targets: list[tuple[int, int, int]], missing: int, *, above_first: bool = False) -> int:
    """Go where the interval leads that holds the loaded word. `above_first`: it is not before the first interval."""
    first, last, target = targets[0]
    if len(targets) > 1:
        middle = len(targets) // 2
        right = _switch(code, targets[middle:], missing, above_first=True)
        left = _switch(code, targets[:middle], missing, above_first=above_first)
        return code.jump(_JGE, targets[middle][0], right, left)
    if first == last:
        return code.jump(_JEQ, first, target, missing)
    entry = code.jump(_JGT, last, missing, target)
    return entry if above_first else code.jump(_JGE, first, entry, missing)


def _join(intervals: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """At most `limit` intervals that cover these, by closing the smallest gaps."""
    gaps = ((intervals[i][0] - intervals[i - 1][1], i) for i in range(1, len(intervals)))
    cuts = [0, *sorted(i for _, i in heapq.nlargest(limit - 1, gaps)), len(intervals)]
    return [(intervals[a][0], intervals[b - 1][1]) for a, b in pairwise(cuts)]

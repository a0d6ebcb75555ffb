"""The programs that answer ARP requests and neighbour solicitations in the kernel, at tc ingress (tcx).

Each decides as the engines in `layer2` do, and its answer is theirs byte for byte. What it does not answer goes on to
the other programs and sockets of the interface as if it did not exist, so that an engine behind a packet socket can
deal with everything rare: duplicate detection, unusual options, conflicts.

A frame is copied to the stack, looked at and changed there, and written back only as an answer. That costs 20 ns more
than working in the packet, and leaves other traffic alone: for a program with one direct write the kernel makes every
cloned packet of the interface private first (`bpf_unclone_prologue`), which TCP over veth pays for.

`map[LEASE]` holds one number, the time on CLOCK_BOOTTIME (which goes on while the machine sleeps) from which on nothing
is answered. `map[ADDRESSES]` leads from an announced address to a slot in `map[HITS]`, where answers are counted.
"""

from __future__ import annotations

import sys

from metallb_cli.linux.ebpf.assembler import assemble

HELPERS = {
    "LOOKUP": 1,
    "STORE_BYTES": 9,
    "REDIRECT": 23,
    "LOAD_BYTES": 26,
    "CSUM_DIFF": 28,
    "CHANGE_TAIL": 38,
    "KTIME_BOOT": 125,
}
"""Numbers of `enum bpf_func_id` in linux/bpf.h."""

CONTEXT = {"LENGTH": 0, "PACKET_TYPE": 4, "PROTOCOL": 16, "VLAN_PRESENT": 20, "IFINDEX": 40}
"""Offsets in `struct __sk_buff` of linux/bpf.h."""

# r6 the packet, r7 its length, r8 the slot of the address. FRAME is 2 modulo 8, which aligns most fields.

ARP = """
    r4 = *(u32 *)(r1 + PROTOCOL)
    if w4 != ETHERTYPE goto pass            # all that other traffic costs
    r4 = *(u32 *)(r1 + PACKET_TYPE)
    if w4 > 1 goto pass                     # not for this host (0) nor broadcast (1)
    r4 = *(u32 *)(r1 + VLAN_PRESENT)
    if w4 != 0 goto pass                    # belongs to a VLAN on top of this interface
    r6 = r1
    w2 = 0
    r3 = r10
    r3 += -FRAME
    w4 = 42
    call LOAD_BYTES
    if r0 != 0 goto pass                    # shorter
    r4 = *(u32 *)(r10 - FRAME + 14)
    if w4 != ETHERNET_IPV4 goto pass
    r4 = *(u32 *)(r10 - FRAME + 18)
    if w4 != REQUEST goto pass
    r4 = *(u8 *)(r10 - FRAME + 22)
    if w4 & 1 goto pass                     # the sender's MAC is a group
    r1 = map[ADDRESSES]
    r2 = r10
    r2 += -FRAME
    r2 += 38                                # target address
    call LOOKUP
    if r0 == 0 goto pass
    r8 = r0
    r1 = *(u16 *)(r10 - FRAME + 28)         # sender address
    r2 = *(u16 *)(r10 - FRAME + 30)
    *(u16 *)(r10 - SENDER) = r1
    *(u16 *)(r10 - SENDER + 2) = r2
    r1 = map[ADDRESSES]
    r2 = r10
    r2 += -SENDER
    call LOOKUP
    if r0 != 0 goto pass                    # claims one of ours: a conflict to report
    r1 = map[LEASE][0]+0
    r9 = *(u64 *)(r1 + 0)
    call KTIME_BOOT
    if r0 >= r9 goto pass                   # the lease is over

    r1 = *(u16 *)(r10 - FRAME + 22)         # to the sender's MAC
    r2 = *(u16 *)(r10 - FRAME + 24)
    r3 = *(u16 *)(r10 - FRAME + 26)
    *(u16 *)(r10 - FRAME + 0) = r1
    *(u16 *)(r10 - FRAME + 2) = r2
    *(u16 *)(r10 - FRAME + 4) = r3
    *(u16 *)(r10 - FRAME + 32) = r1
    *(u16 *)(r10 - FRAME + 34) = r2
    *(u16 *)(r10 - FRAME + 36) = r3
    *(u32 *)(r10 - FRAME + 6) = MAC_0_4     # from ours
    *(u16 *)(r10 - FRAME + 10) = MAC_4_6
    *(u32 *)(r10 - FRAME + 22) = MAC_0_4
    *(u16 *)(r10 - FRAME + 26) = MAC_4_6
    *(u16 *)(r10 - FRAME + 20) = REPLY
    r1 = *(u16 *)(r10 - FRAME + 38)         # the addresses change places
    r2 = *(u16 *)(r10 - FRAME + 40)
    *(u16 *)(r10 - FRAME + 28) = r1
    *(u16 *)(r10 - FRAME + 30) = r2
    r1 = *(u32 *)(r10 - SENDER)
    *(u32 *)(r10 - FRAME + 38) = r1
    w4 = 42
    goto send
"""

FOLD = """
    r1 = r0
    r1 >>= 16
    r0 &= 0xffff
    r0 += r1
    r1 = r0
    r1 >>= 16
    r0 += r1
"""
"""Makes an Internet checksum (RFC 1071) of the sum in r0: its lower 16 bits. Changes r1."""

NDP = f"""
    r4 = *(u32 *)(r1 + PROTOCOL)
    if w4 != ETHERTYPE goto pass            # all that other traffic costs
    r7 = *(u32 *)(r1 + LENGTH)
    if w7 == 86 goto long                   # with the source link-layer address option
    if w7 != 78 goto pass                   # without: the reachability probes of some
long:
    r4 = *(u32 *)(r1 + PACKET_TYPE)
    if w4 > 2 goto pass                     # for another host
    r4 = *(u32 *)(r1 + VLAN_PRESENT)
    if w4 != 0 goto pass                    # belongs to a VLAN on top of this interface
    r6 = r1
    *(u64 *)(r10 - FRAME + 78) = 0
    w2 = 0
    r3 = r10
    r3 += -FRAME
    w4 = 78
    if w7 == 78 goto load
    w4 = 86
load:
    call LOAD_BYTES
    if r0 != 0 goto pass
    r4 = *(u8 *)(r10 - FRAME + 14)
    w4 &= 0xf0
    if w4 != 0x60 goto pass
    r4 = *(u16 *)(r10 - FRAME + 20)
    if w4 != ICMPV6_255 goto pass           # next header and hop limit: never from beyond a router
    r4 = *(u16 *)(r10 - FRAME + 54)
    if w4 != SOLICITATION goto pass         # type and code
    r4 = *(u16 *)(r10 - FRAME + 18)
    r4 = be16 r4
    w4 += 54
    if w4 != w7 goto pass                   # the payload does not fill the frame
    r4 = *(u8 *)(r10 - FRAME + 6)
    if w4 & 1 goto pass                     # the sender's MAC is a group
    r4 = *(u8 *)(r10 - FRAME + 22)
    if w4 == 0xff goto pass                 # so is its address
    r4 = *(u64 *)(r10 - FRAME + 22)
    r5 = *(u64 *)(r10 - FRAME + 30)
    r4 |= r5
    if r4 == 0 goto pass                    # unspecified: duplicate detection
    r1 = map[ADDRESSES]
    r2 = r10
    r2 += -FRAME
    r2 += 62                                # target
    call LOOKUP
    if r0 == 0 goto pass
    r8 = r0
    r1 = map[ADDRESSES]
    r2 = r10
    r2 += -FRAME
    r2 += 22                                # source
    call LOOKUP
    if r0 != 0 goto pass                    # claims one of ours: a conflict to report
    r1 = map[LEASE][0]+0
    r9 = *(u64 *)(r1 + 0)
    call KTIME_BOOT
    if r0 >= r9 goto pass                   # the lease is over

    r5 = *(u16 *)(r10 - FRAME + 18)
    r5 += NEXT_HEADER
    w1 = 0
    w2 = 0
    r3 = r10
    r3 += -FRAME
    r3 += 22
    w4 = 64
    call CSUM_DIFF                          # pseudo-header and message; zero bytes add nothing
{FOLD}    r0 &= 0xffff
    if r0 != 0xffff goto pass               # wrong checksum

    if w7 == 78 goto grow
    r4 = *(u16 *)(r10 - FRAME + 78)
    if w4 != SOURCE_OPTION goto pass
    r4 = *(u8 *)(r10 - FRAME + 80)
    if w4 & 1 goto pass                     # a group
    r1 = *(u16 *)(r10 - FRAME + 80)         # to the option's MAC
    r2 = *(u16 *)(r10 - FRAME + 82)
    r3 = *(u16 *)(r10 - FRAME + 84)
    goto answer
grow:
    r1 = r6
    w2 = 86
    w3 = 0
    call CHANGE_TAIL
    if r0 != 0 goto pass
    r1 = *(u16 *)(r10 - FRAME + 6)          # to the frame's source
    r2 = *(u16 *)(r10 - FRAME + 8)
    r3 = *(u16 *)(r10 - FRAME + 10)
answer:
    *(u16 *)(r10 - FRAME + 0) = r1
    *(u16 *)(r10 - FRAME + 2) = r2
    *(u16 *)(r10 - FRAME + 4) = r3
    *(u32 *)(r10 - FRAME + 6) = MAC_0_4     # from ours
    *(u16 *)(r10 - FRAME + 10) = MAC_4_6
    *(u32 *)(r10 - FRAME + 14) = VERSION_6
    *(u16 *)(r10 - FRAME + 18) = PAYLOAD
    r1 = *(u64 *)(r10 - FRAME + 22)
    r2 = *(u64 *)(r10 - FRAME + 30)
    *(u64 *)(r10 - FRAME + 38) = r1
    *(u64 *)(r10 - FRAME + 46) = r2
    r1 = *(u64 *)(r10 - FRAME + 62)
    r2 = *(u64 *)(r10 - FRAME + 70)
    *(u64 *)(r10 - FRAME + 22) = r1
    *(u64 *)(r10 - FRAME + 30) = r2
    *(u32 *)(r10 - FRAME + 54) = ADVERTISEMENT
    *(u32 *)(r10 - FRAME + 58) = FLAGS
    *(u16 *)(r10 - FRAME + 78) = TARGET_OPTION
    *(u16 *)(r10 - FRAME + 80) = MAC_0_2
    *(u32 *)(r10 - FRAME + 82) = MAC_2_6
    w1 = 0
    w2 = 0
    r3 = r10
    r3 += -FRAME
    r3 += 22
    w4 = 64
    w5 = PAYLOAD + NEXT_HEADER
    call CSUM_DIFF
{FOLD}    r0 ^= 0xffff
    *(u16 *)(r10 - FRAME + 56) = r0
    w4 = 86
    goto send
"""

SEND = """
send:
    r1 = r6
    w2 = 0
    r3 = r10
    r3 += -FRAME
    w5 = 0
    call STORE_BYTES
    if r0 != 0 goto pass
    r2 = *(u32 *)(r8 + 0)                   # the slot of the address
    if r2 >= SLOTS goto pass                # never; the verifier wants to see it
    r2 <<= 3
    r1 = map[HITS][0]+0
    r1 += r2
    r2 = 1
    lock *(u64 *)(r1 + 0) += r2
    r1 = *(u32 *)(r6 + IFINDEX)
    w2 = 0
    call REDIRECT                           # out of the interface it came in by
    exit
pass:
    w0 = -1                                 # TC_ACT_UNSPEC: on to the next
    exit
"""


def wire(data: bytes) -> int:
    """The number that a program loads where these bytes stand in a frame."""
    return int.from_bytes(data, sys.byteorder)


def arp_program(mac: bytes, *, addresses: int, hits: int, lease: int, slots: int) -> bytes:
    """Assemble the ARP program.

    Args:
        mac: what every answer gives, six bytes.
        addresses: descriptor of the hash map from four bytes of an address, in network order, to a slot (u32).
        hits: of the array map with one element, `slots` counters (u64).
        lease: of the array map with one element, the deadline (u64).
        slots: how many.
    """
    symbols = {
        "FRAME": 46,
        "SENDER": 52,
        "ETHERTYPE": wire(b"\x08\x06"),
        "ETHERNET_IPV4": wire(b"\x00\x01\x08\x00"),
        "REQUEST": wire(b"\x06\x04\x00\x01"),
        "REPLY": wire(b"\x00\x02"),
    }
    maps = {"ADDRESSES": addresses, "HITS": hits, "LEASE": lease, "SLOTS": slots}
    return assemble(ARP + SEND, symbols | maps | _parts(mac) | HELPERS | CONTEXT)


def ndp_program(mac: bytes, *, addresses: int, hits: int, lease: int, slots: int) -> bytes:
    """Assemble the NDP program. See `arp_program`; the addresses have 16 bytes."""
    symbols = {
        "FRAME": 94,
        "ETHERTYPE": wire(b"\x86\xdd"),
        "ICMPV6_255": wire(b"\x3a\xff"),
        "SOLICITATION": wire(b"\x87\x00"),
        "ADVERTISEMENT": wire(b"\x88\x00\x00\x00"),
        "FLAGS": wire(b"\x60\x00\x00\x00"),
        "SOURCE_OPTION": wire(b"\x01\x01"),
        "TARGET_OPTION": wire(b"\x02\x01"),
        "VERSION_6": wire(b"\x60\x00\x00\x00"),
        "PAYLOAD": wire(b"\x00\x20"),
        "NEXT_HEADER": wire(b"\x00\x3a"),
    }
    maps = {"ADDRESSES": addresses, "HITS": hits, "LEASE": lease, "SLOTS": slots}
    return assemble(NDP + SEND, symbols | maps | _parts(mac) | HELPERS | CONTEXT)


def _parts(mac: bytes) -> dict[str, int]:
    """The MAC address in the pieces that alignment allows to store."""
    return {f"MAC_{first}_{end}": wire(mac[first:end]) for first, end in ((0, 4), (4, 6), (0, 2), (2, 6))}

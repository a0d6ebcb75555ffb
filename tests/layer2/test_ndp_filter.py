"""The classic BPF filter for NDP, run by a small interpreter here and accepted by the kernel."""

import ctypes
import socket
import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.ndp import (
    ALL_NODES,
    Advertisement,
    Solicitation,
    encode_advertisement,
    encode_solicitation,
    solicited_node,
)
from metallb_cli.layer2.ndp_filter import SNAP_LENGTH, compile_ndp_filter
from metallb_cli.layer2.socket_filter import encode
from metallb_cli.linux.netns import namespaces
from metallb_cli.model import AddressRange, parse_address

SO_ATTACH_FILTER = 26
MAC, ASKER_MAC = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
ASKER = IPv6Address("fe80::99")


def v6(text):
    first, _, last = text.partition("-")
    return AddressRange(parse_address(first), parse_address(last or first))


def steps(program, frame, *, packet_type=2, interface=7):
    """The instructions that the kernel runs for the frame, in order; the last is the return."""
    ancillary = {4: packet_type, 8: interface}
    accumulator, at = 0, 0
    run = []
    for _ in range(len(program)):
        code, when_true, when_false, value = program[at]
        run.append(program[at])
        at += 1
        if code in (0x20, 0x28, 0x30):
            size = {0x20: 4, 0x28: 2, 0x30: 1}[code]
            if value >= 0xFFFFF000:
                accumulator = ancillary[value - 0xFFFFF000]
            elif value + size > len(frame):
                return [*run, (0x06, 0, 0, 0)]
            else:
                accumulator = int.from_bytes(frame[value : value + size], "big")
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return run
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            at += when_true if holds else when_false
    raise AssertionError("the program does not end")


def run(program, frame, **context):
    """How many bytes are handed over; 0 for a frame turned down."""
    return steps(program, frame, **context)[-1][3]


def question(target, source=ASKER):
    target = IPv6Address(target).packed
    packet = Solicitation(
        b"\x33\x33" + target[12:], ASKER_MAC, IPv6Address(source).packed, solicited_node(target), target, ASKER_MAC
    )
    return encode_solicitation(packet)


def claim(target):
    target = IPv6Address(target).packed
    return encode_advertisement(Advertisement(MAC, ASKER_MAC, target, ALL_NODES, target, ASKER_MAC, 0x20))


POOL = compile_ndp_filter([v6("2001:db8::10-2001:db8::20"), v6("fd00::-fd00:0:0:1:ffff:ffff:ffff:ffff")], interface=7)


class TestWhatPasses:
    @pytest.mark.parametrize("target", ["2001:db8::10", "2001:db8::1f", "2001:db8::20", "fd00::", "fd00:0:0:1::5"])
    def test_a_question_about_an_address_in_a_range(self, target):
        assert run(POOL, question(target)) == SNAP_LENGTH

    @pytest.mark.parametrize("target", ["2001:db8::f", "2001:db8::21", "2001:db9::10", "fd00:0:0:2::", "::", "::1"])
    def test_no_question_about_any_other(self, target):
        assert run(POOL, question(target)) == 0

    def test_somebody_elses_claim(self):
        assert run(POOL, claim("2001:db8::10")) == SNAP_LENGTH
        assert run(POOL, claim("2001:db8::9")) == 0
        assert run(POOL, question("2001:db8::9", source="2001:db8::10")) == SNAP_LENGTH

    def test_a_short_solicitation_without_options(self):
        assert run(POOL, question("2001:db8::10")[:78]) == SNAP_LENGTH
        assert run(POOL, question("2001:db8::10")[:70]) == 0

    @pytest.mark.parametrize(
        ("offset", "value"),
        [(12, b"\x08\x00"), (20, b"\x06"), (21, b"\x40"), (54, b"\x80"), (54, b"\x85"), (54, b"\x89")],
        ids=["IPv4", "TCP", "forwarded", "echo", "router solicitation", "redirect"],
    )
    def test_nothing_but_neighbour_discovery(self, offset, value):
        frame = question("2001:db8::10")
        assert run(POOL, frame[:offset] + value + frame[offset + len(value) :]) == 0

    @pytest.mark.parametrize(("packet_type", "passes"), [(0, True), (1, True), (2, True), (3, False), (4, False)])
    def test_only_what_is_meant_for_this_host(self, packet_type, passes):
        assert bool(run(POOL, question("2001:db8::10"), packet_type=packet_type)) is passes

    def test_only_what_came_to_the_interface_itself(self):
        assert run(POOL, question("2001:db8::10"), interface=8) == 0

    def test_without_ranges_nothing(self):
        assert run(compile_ndp_filter([]), question("2001:db8::10")) == 0
        assert run(compile_ndp_filter([v6("10.0.0.0-10.0.0.9")]), question("2001:db8::10")) == 0

    def test_tcp_costs_two_instructions_and_the_return(self):
        load, compare = POOL[:2]
        assert (load.code, load.value) == (0x30, 20)
        assert (compare.code, compare.value) == (0x15, 58)
        assert POOL[2 + compare.when_false] == (0x06, 0, 0, 0)


# Numbers in which whole words are often all zero or all one, so that ranges end on the boundaries between words.
words = st.sampled_from([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
numbers = st.tuples(words, words, words, words).map(lambda w: w[0] << 96 | w[1] << 64 | w[2] << 32 | w[3])
ranges = st.tuples(numbers, numbers).map(lambda ends: AddressRange(*map(IPv6Address, sorted(ends))))


class TestSearch:
    @given(st.lists(ranges, max_size=12), st.data())
    def test_exactly_the_addresses_in_a_range_pass(self, pools, data):
        program = compile_ndp_filter(pools)
        ends = [int(end) + near for pool in pools for end in (pool.first, pool.last) for near in (-1, 0, 1)]
        candidates = numbers | st.sampled_from(ends).filter(lambda n: 0 <= n < 1 << 128) if ends else numbers
        for target in data.draw(st.lists(candidates, min_size=1, max_size=10)):
            address = IPv6Address(target)
            expected = any(address in pool for pool in pools) or any(ASKER in pool for pool in pools)
            assert bool(run(program, question(address))) is expected

    @pytest.mark.parametrize(("count", "exact"), [(1, True), (10, True), (30, True), (100, False), (400, False)])
    def test_ranges_in_networks_of_their_own(self, count, exact):
        program = compile_ndp_filter([v6(f"2001:db8:{n:x}::10-2001:db8:{n:x}::20") for n in range(count)], interface=7)
        assert all(run(program, question(f"2001:db8:{n:x}::{last}")) for n in range(count) for last in (10, 18, 20))
        assert exact is not any(run(program, question(f"2001:db8:{n:x}::21")) for n in range(count))
        assert run(program, question("2001:db7::10")) == 0

    def test_too_many_ranges_are_joined_over_the_smallest_gaps(self):
        near = [v6(f"2001:db8::{2 * n:x}") for n in range(3000)]
        program = compile_ndp_filter([*near, v6("fd00::1")])
        assert all(run(program, question(r.first)) for r in near)
        assert run(program, question("fd00::1"))
        assert not run(program, question("fd00::"))

    def test_a_foreign_question_takes_few_steps_however_many_ranges_there_are(self):
        program = compile_ndp_filter([v6(f"2001:db8::{n:x}:10-2001:db8::{n:x}:20") for n in range(100)])
        assert len(steps(program, question("2001:db8::50:9"))) < 60


def attach(program):
    """Hand the program to the kernel; how many instructions it then holds (SO_GET_FILTER)."""
    code = ctypes.create_string_buffer(encode(program))
    length = ctypes.c_uint32(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("HL", len(program), ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, request)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_ATTACH_FILTER, None, ctypes.byref(length))
    return length.value


def many(count):
    return compile_ndp_filter([v6(f"2001:db8:{n:x}::10-2001:db8:{n:x}::20") for n in range(count)], interface=1)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_the_kernel_accepts_the_program(count):
    assert attach(many(count)) == len(many(count))


@pytest.mark.live
def test_the_longest_program_fits_into_the_socket_memory_of_old_kernels():
    with namespaces("mlbn", "optmem") as (namespace,):
        namespace.set_sysctl("net.core.optmem_max", 20480)
        for count in range(25, 60):
            assert namespace.run(attach, many(count)) == len(many(count))

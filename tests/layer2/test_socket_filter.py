"""The socket filter against a model that simply looks: does the address lie in a range?"""

import math
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metallb_cli.layer2 import arp
from metallb_cli.layer2.arp import ArpFrame
from metallb_cli.layer2.socket_filter import (
    MAX_INSTRUCTIONS,
    MAX_RANGES,
    SNAP_LENGTH,
    compile_filter,
    encode,
)
from metallb_cli.model import AddressRange
from tests.support.cbpf import run, verify

MAC = bytes.fromhex("020000000001")
FOREIGN = IPv4Address("198.51.100.1")
HOST, BROADCAST, MULTICAST, OTHER_HOST = range(4)

# Few distinct numbers, so that ranges touch, overlap and are hit at their edges.
numbers = st.one_of(st.integers(0, 40), st.integers(0xFFFFFFFF - 20, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
ranges = st.lists(
    st.tuples(numbers, numbers).map(lambda ends: AddressRange(IPv4Address(min(ends)), IPv4Address(max(ends)))),
    max_size=12,
)


def span(first, last=None):
    return AddressRange(IPv4Address(first), IPv4Address(last or first))


def question(target, sender=FOREIGN, operation=arp.REQUEST):
    return ArpFrame(
        arp.BROADCAST, MAC, operation, MAC, IPv4Address(sender).packed, bytes(6), IPv4Address(target).packed
    ).encode()


def passes(program, frame, **packet):
    return run(program, frame, **packet)[0] == SNAP_LENGTH


@given(ranges, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_a_frame_passes_exactly_when_its_target_or_its_sender_is_in_a_range(wanted, pairs):
    program = compile_filter(wanted)
    verify(program)
    for sender, target in [*pairs, *((int(r.first), int(r.last) + 1 & 0xFFFFFFFF) for r in wanted)]:
        expected = any(IPv4Address(number) in r for number in (sender, target) for r in wanted)
        assert passes(program, question(target, sender)) is expected


@settings(max_examples=settings.default.max_examples // 4)
@given(st.integers(1, 1500), st.integers(1, 1000), st.integers(0, 500), st.randoms(use_true_random=False))
def test_with_very_many_ranges_everything_in_them_passes_and_little_else(count, gap, width, random):
    wanted, start = [], 0
    for _ in range(count):
        start += random.randint(1, gap) + 1
        wanted.append(span(start, start + random.randint(0, width)))
        start += width
    program = compile_filter(wanted, interface=1)
    verify(program)
    for r in random.sample(wanted, min(count, 30)):
        assert passes(program, question(r.first))
        assert passes(program, question(FOREIGN, r.last))
    assert not passes(program, question(wanted[-1].last + 1))
    if count <= MAX_RANGES:
        for r in random.sample(wanted, min(count, 30)):
            between = r.first - 1
            if not any(between in other for other in wanted):
                assert not passes(program, question(between))


@pytest.mark.parametrize("width", [0, 50])
def test_the_longest_program_is_as_long_as_the_kernel_allows_and_no_longer(width):
    wanted = [span(n * 200, n * 200 + width) for n in range(1, MAX_RANGES + 1)]
    program = compile_filter(wanted, interface=1)
    verify(program)
    assert MAX_INSTRUCTIONS * 0.9 < len(program) <= MAX_INSTRUCTIONS


def test_when_there_are_too_many_ranges_the_nearest_ones_are_joined():
    near = [span(1000 + 2 * n) for n in range(3)]
    program = compile_filter([*near, span(5000), span(9000)], max_ranges=3)
    assert [n for n in range(900, 10_000) if passes(program, question(n))] == [*range(1000, 1005), 5000, 9000]


def test_a_foreign_frame_is_turned_down_after_few_instructions():
    for count in (1, 10, 100, 900):
        program = compile_filter([span(n * 1000, n * 1000 + 10) for n in range(1, count + 1)], interface=1)
        steps = max(run(program, question(n * 1000 + 500, FOREIGN))[1] for n in range(1, count + 1))
        # two loads, two searches that end with one comparison more, the bridges on the way, one return
        assert steps <= 3 + 2 * (math.ceil(math.log2(count)) + 2) + count // 60


def test_without_ranges_nothing_passes():
    program = compile_filter([])
    verify(program)
    assert not passes(program, question("10.0.0.1"))


def test_ipv6_ranges_do_not_matter():
    v6 = AddressRange(IPv6Address("::"), IPv6Address("ffff::"))
    assert compile_filter([v6, span("10.0.0.1")]) == compile_filter([span("10.0.0.1")])


def test_every_address_can_be_in_a_range():
    program = compile_filter([span("0.0.0.0", "255.255.255.255")])
    verify(program)
    assert passes(program, question("0.0.0.0"))
    assert passes(program, question("255.255.255.255"))


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_requests_and_replies_pass_alike(operation):
    program = compile_filter([span("10.0.0.1")])
    assert passes(program, question("10.0.0.1", operation=operation))
    assert passes(program, question(FOREIGN, "10.0.0.1", operation=operation))


@pytest.mark.parametrize(("offset", "value"), [(12, 0x0800), (14, 6), (16, 0x86DD), (18, 0x0806)])
def test_only_arp_for_ipv4_over_ethernet_passes(offset, value):
    program = compile_filter([span("10.0.0.1")])
    frame = question("10.0.0.1")
    assert passes(program, frame)
    assert not passes(program, frame[:offset] + value.to_bytes(2, "big") + frame[offset + 2 :])


@pytest.mark.parametrize(
    ("packet_type", "expected"), [(HOST, True), (BROADCAST, True), (MULTICAST, False), (OTHER_HOST, False)]
)
def test_frames_for_other_hosts_do_not_pass(packet_type, expected):
    program = compile_filter([span("10.0.0.1")])
    assert passes(program, question("10.0.0.1"), packet_type=packet_type) is expected


def test_frames_of_a_vlan_sub_interface_do_not_pass():
    program = compile_filter([span("10.0.0.1")], interface=7)
    assert passes(program, question("10.0.0.1"), interface=7)
    assert not passes(program, question("10.0.0.1"), interface=8)


@given(st.binary(max_size=64))
def test_no_frame_is_too_short_or_too_strange(data):
    accepted, _ = run(compile_filter([span(0, "127.255.255.255")]), data)
    assert accepted in (0, SNAP_LENGTH)
    if accepted:
        assert arp.parse(data) is not None


def test_the_program_is_encoded_as_the_kernels_structure():
    code = encode(compile_filter([span("10.0.0.1")]))
    assert len(code) % 8 == 0
    assert code[-8:] == bytes([0x06, 0, 0, 0, 0, 0, 0, 0])

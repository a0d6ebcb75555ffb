"""The programs against the engines they stand for: the same frame in, the same answer out, byte for byte.

BPF_PROG_TEST_RUN runs them on frames of an interface in a namespace, so that nothing is sent anywhere.
"""

import os
import re
import socket
import time
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, in6_chksum
from scapy.layers.l2 import ARP, Ether

from metallb_cli.layer2 import arp
from metallb_cli.layer2.ndp import (
    ALL_NODES_MAC,
    UNSPECIFIED,
    Advertisement,
    Solicitation,
    encode_advertisement,
    encode_solicitation,
    group_mac,
    parse,
    solicited_node,
)
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.layer2.responder import Responder
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.disassembler import disassemble
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease
from metallb_cli.linux.ebpf.programs import arp_program, ndp_program
from metallb_cli.linux.ebpf.syscalls import PROGRAM_TC
from metallb_cli.linux.netns import namespaces
from tests.linux.ebpf.conftest import CLIENT_MAC, NODE_MAC, skb_context

pytestmark = pytest.mark.live

PASS, REDIRECT = 0xFFFFFFFF, 7  # TC_ACT_UNSPEC, TC_ACT_REDIRECT
SLOTS = 8

OURS4 = [IPv4Address("10.9.1.1"), IPv4Address("10.9.1.2")]
OURS6 = [IPv6Address("fd00:9::100"), IPv6Address("fd00:9::200")]
OTHER_MAC = bytes.fromhex("020000000042")
ASKER4, ASKER6 = IPv4Address("10.9.0.1").packed, IPv6Address("fd00:9::1").packed


class Program:
    """One loaded program, its maps, and the interface its frames seem to come from."""

    def __init__(self, namespace, index, assemble, ours):
        self.namespace, self.index = namespace, index
        self.lease, self.hits = Lease(), Hits(SLOTS)
        self.addresses = Addresses(len(ours[0].packed), SLOTS)
        self.addresses.add([address.packed for address in ours], range(3, 3 + len(ours)))
        self.code = assemble(NODE_MAC, addresses=self.addresses.fd, hits=self.hits.fd, lease=self.lease.fd, slots=SLOTS)
        self.fd = syscalls.program_load(PROGRAM_TC, self.code, "test_answers")
        self.lease.renew(time.monotonic() + 3600)

    def run(self, frame):
        return self.namespace.run(syscalls.run_program, self.fd, frame, context=skb_context(self.index))

    def close(self):
        os.close(self.fd)
        for made in (self.addresses, self.hits, self.lease):
            made.close()


@pytest.fixture(scope="module")
def programs():
    with namespaces("mlbn", "testrun") as (namespace,):
        namespace.add_veth("a0", "a1", mac=NODE_MAC)
        namespace.set_up("a0")
        index = namespace.run(socket.if_nametoindex, "a0")
        made = {
            4: Program(namespace, index, arp_program, OURS4),
            6: Program(namespace, index, ndp_program, OURS6),
        }
        yield made
        for program in made.values():
            program.close()


@pytest.fixture
def arp_tc(programs):
    return programs[4]


@pytest.fixture
def ndp_tc(programs):
    return programs[6]


def engine_answer(engine, ours, frame):
    """What the engine in user space sends for the frame; None when it drops it."""
    engine.announce(ours, 0.0)
    if engine.receive_frame(frame, 1.0) is not None:
        return None
    (answer,) = engine.frames_to_send()
    return answer


def request(**changes):
    fields = {
        "destination": arp.BROADCAST,
        "source": CLIENT_MAC,
        "operation": arp.REQUEST,
        "sender_mac": CLIENT_MAC,
        "sender_ip": ASKER4,
        "target_mac": bytes(6),
        "target_ip": OURS4[0].packed,
    }
    return arp.ArpFrame(**(fields | changes)).encode()


def question(**changes):
    target = OURS6[0].packed
    packet = Solicitation(
        group_mac(solicited_node(target)), CLIENT_MAC, ASKER6, solicited_node(target), target, CLIENT_MAC
    )
    return encode_solicitation(packet._replace(**changes))


def mended(frame):
    """With the right checksum again, so that something else decides."""
    header = IPv6(frame[14:54])
    checksum = in6_chksum(58, header, frame[54:56] + bytes(2) + frame[58 : 54 + header.plen])
    return frame[:56] + checksum.to_bytes(2, "big") + frame[58:]


def replaced(frame, offset, data):
    return mended(frame[:offset] + data + frame[offset + len(data) :])


class TestVerifier:
    """What the kernel says of the programs. The counts are stated so that a change of them is noticed."""

    @pytest.mark.parametrize(("version", "instructions", "stack"), [(4, 85, 56), (6, 153, 96)])
    def test_the_programs_are_as_long_as_documented(self, programs, version, instructions, stack):
        program = programs[version]
        assert len(program.code) // 8 == instructions
        log = syscalls.verifier_log(PROGRAM_TC, program.code, "test_answers")
        assert f"stack depth {stack}" in log

    @pytest.mark.parametrize("version", [4, 6])
    def test_other_traffic_costs_two_instructions_and_the_end(self, programs, version):
        text = disassemble(programs[version].code)
        assert text[0] == "r4 = *(u32 *)(r1 + 16)"
        assert re.fullmatch(r"if w4 != \d+ goto \+\d+", text[1])
        skip = int(text[1].rpartition("+")[2])
        assert disassemble(programs[version].code[(2 + skip) * 8 :]) == ["w0 = -1", "exit"]


class TestArp:
    def test_an_answer_is_what_scapy_and_the_engine_build(self, arp_tc):
        before = arp_tc.hits.read()[3]
        run = arp_tc.run(request())
        expected = Ether(src=NODE_MAC.hex(":"), dst=CLIENT_MAC.hex(":")) / ARP(
            op=2,
            hwsrc=NODE_MAC.hex(":"),
            psrc="10.9.1.1",
            hwdst=CLIENT_MAC.hex(":"),
            pdst="10.9.0.1",
        )
        assert (run.value, run.packet) == (REDIRECT, bytes(expected))
        assert run.packet == engine_answer(Responder(NODE_MAC), OURS4, request())
        assert arp_tc.hits.read()[3] == before + 1

    def test_padding_stays_as_it_is(self, arp_tc):
        run = arp_tc.run(request() + b"trailer of 18 bytes")
        assert run.packet == engine_answer(Responder(NODE_MAC), OURS4, request()) + b"trailer of 18 bytes"

    @pytest.mark.parametrize(
        "changes",
        [
            {"operation": arp.REPLY},
            {"target_ip": b"\x0a\x09\x01\x03"},
            {"sender_ip": OURS4[0].packed},
            {"sender_ip": OURS4[1].packed},
            {"sender_mac": b"\x03\0\0\0\0\x09"},
            {"destination": OTHER_MAC},
            {"destination": b"\x01\0\x5e\0\0\1"},
        ],
        ids=["reply", "foreign", "gratuitous", "conflict", "group sender", "other host", "multicast"],
    )
    def test_what_is_left_alone(self, arp_tc, changes):
        before = arp_tc.hits.read()
        run = arp_tc.run(request(**changes))
        assert (run.value, run.packet) == (PASS, request(**changes))
        assert arp_tc.hits.read() == before

    @pytest.mark.parametrize("deadline", [0.0, 1e-9, -5.0], ids=["given back", "long ago", "negative"])
    def test_after_the_deadline_nothing_is_answered(self, arp_tc, ndp_tc, deadline):
        for program, frame in ((arp_tc, request()), (ndp_tc, question())):
            program.lease.renew(deadline)
            try:
                assert program.run(frame).value == PASS
            finally:
                program.lease.renew(time.monotonic() + 3600)
            assert program.run(frame).value == REDIRECT


class TestNdp:
    @pytest.mark.parametrize(
        ("changes", "mac"),
        [
            ({}, CLIENT_MAC),
            ({"ethernet_destination": NODE_MAC, "destination": OURS6[0].packed}, CLIENT_MAC),
            ({"link_address": OTHER_MAC}, OTHER_MAC),
            ({"link_address": None}, CLIENT_MAC),
            ({"link_address": None, "ethernet_source": OTHER_MAC}, OTHER_MAC),
        ],
        ids=["multicast", "unicast", "other link address", "no option", "no option, by the source"],
    )
    def test_an_answer_is_what_scapy_and_the_engine_build(self, ndp_tc, changes, mac):
        before = ndp_tc.hits.read()[3]
        run = ndp_tc.run(question(**changes))
        expected = (
            Ether(src=NODE_MAC.hex(":"), dst=mac.hex(":"))
            / IPv6(src="fd00:9::100", dst="fd00:9::1", hlim=255)
            / ICMPv6ND_NA(tgt="fd00:9::100", R=0, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=NODE_MAC.hex(":"))
        )
        assert (run.value, run.packet) == (REDIRECT, bytes(expected))
        assert run.packet == engine_answer(NdpResponder(NODE_MAC), OURS6, question(**changes))
        assert ndp_tc.hits.read()[3] == before + 1

    def test_a_question_that_scapy_asks(self, ndp_tc):
        frame = bytes(
            Ether(src=CLIENT_MAC.hex(":"), dst="33:33:ff:00:02:00")
            / IPv6(src="fe80::1234", dst="ff02::1:ff00:200", hlim=255, tc=0xC0, fl=0x12345)
            / ICMPv6ND_NS(tgt="fd00:9::200")
            / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC.hex(":"))
        )
        run = ndp_tc.run(frame)
        assert (run.value, run.packet) == (REDIRECT, engine_answer(NdpResponder(NODE_MAC), OURS6, frame))

    @pytest.mark.parametrize(
        "frame",
        [
            question(source=UNSPECIFIED, link_address=None),
            question() + b"padding",
            question(target=IPv6Address("fd00:9::300").packed),
            question(source=OURS6[0].packed),
            question(source=OURS6[1].packed),
            question(source=IPv6Address("ff02::1").packed),
            question(ethernet_source=b"\x03\0\0\0\0\x09"),
            question(link_address=ALL_NODES_MAC),
            question(ethernet_destination=OTHER_MAC),
            question()[:21] + b"\xfe" + question()[22:],
            question()[:56] + bytes((question()[56] ^ 1,)) + question()[57:],
            question()[:14] + b"\x50" + question()[15:],
            question()[:12] + b"\x08\x00" + question()[14:],
            replaced(question(), 54, b"\x85"),
            replaced(question(), 55, b"\x01"),
            replaced(question(), 78, b"\x0e"),
            question(link_address=None) + b"\1\1\2\0\0\0\xfc\xfe",  # adds nothing to the sum
            encode_advertisement(
                Advertisement(ALL_NODES_MAC, OTHER_MAC, OURS6[0].packed, ASKER6, OURS6[0].packed, OTHER_MAC, 0x20)
            ),
            bytes(Ether(dst=NODE_MAC.hex(":")) / IPv6(src="fd00:9::1", dst="fd00:9::100") / (b"a" * 32)),
        ],
        ids=[
            "duplicate detection",
            "trailing bytes",
            "foreign",
            "claim",
            "conflict",
            "group source",
            "group sender",
            "group option",
            "other host",
            "forwarded",
            "checksum",
            "version",
            "ethertype",
            "router solicitation",
            "code",
            "another option",
            "an option after the end",
            "advertisement",
            "other protocol of the same length",
        ],
    )
    def test_what_is_left_alone(self, ndp_tc, frame):
        before = ndp_tc.hits.read()
        run = ndp_tc.run(frame)
        assert (run.value, run.packet) == (PASS, frame)
        assert ndp_tc.hits.read() == before


# -- the same frame to both, whatever it is

macs = st.sampled_from([CLIENT_MAC, NODE_MAC, OTHER_MAC, arp.BROADCAST, b"\x33\x33\xff\0\1\0", bytes(6)])
ips4 = st.sampled_from([ASKER4, bytes(4), *(address.packed for address in OURS4), b"\x0a\x09\x01\x07"])
ips6 = st.sampled_from([ASKER6, UNSPECIFIED, *(a.packed for a in OURS6), solicited_node(OURS6[0].packed), b"\xff" * 16])
flips = st.just([]) | st.lists(st.tuples(st.integers(12, 85), st.integers(1, 255)), max_size=2)
tails = st.just(b"") | st.sampled_from([bytes(18), b"x", bytes(200)])


def damaged(frame, changes):
    frame = bytearray(frame)
    for offset, difference in changes:
        if offset < len(frame):
            frame[offset] ^= difference
    return bytes(frame)


def varied(build, **fields):
    """Frames of which each field is the usual one or drawn, half of the time each."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda changes: build(**changes))


requests = varied(
    request,
    destination=macs,
    source=macs,
    operation=st.sampled_from([1, 2, 3]),
    sender_mac=macs,
    sender_ip=ips4,
    target_mac=macs,
    target_ip=ips4,
)
solicitations = varied(
    question,
    ethernet_destination=macs,
    ethernet_source=macs,
    source=ips6,
    destination=ips6,
    target=ips6,
    link_address=st.none() | macs,
)
advertisements = st.builds(
    Advertisement, macs, macs, ips6, ips6, ips6, st.none() | macs, st.sampled_from([0, 0x20, 0x60])
).map(encode_advertisement)

many = settings(
    max_examples=4 * settings.default.max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@given(requests, flips, tails)
def test_the_arp_program_and_the_engine_always_agree(arp_tc, frame, changes, tail):
    frame = damaged(frame, changes) + tail
    answer = engine_answer(Responder(NODE_MAC), OURS4, frame)
    run = arp_tc.run(frame)
    if answer is None:
        assert (run.value, run.packet) == (PASS, frame)
    else:
        assert (run.value, run.packet) == (REDIRECT, answer + frame[42:])


@many
@given(solicitations | advertisements, flips, st.booleans(), tails)
def test_the_ndp_program_answers_as_the_engine_or_leaves_it_to_it(ndp_tc, frame, changes, mend, tail):
    frame = damaged(frame, changes)
    frame = (mended(frame) if mend else frame) + tail
    answer = engine_answer(NdpResponder(NODE_MAC), OURS6, frame)
    run = ndp_tc.run(frame)
    if answer is None or left_to_the_engine(frame):
        assert (run.value, run.packet) == (PASS, frame)
    else:
        assert (run.value, run.packet) == (REDIRECT, answer)


def left_to_the_engine(frame):
    """What is rare: duplicate detection, another option or several, bytes after the packet."""
    packet = parse(frame)
    usual = len(frame) == 78 or (len(frame) == 86 and packet.link_address is not None)
    return packet.source == UNSPECIFIED or not usual or 54 + int.from_bytes(frame[18:20], "big") != len(frame)


@many
@given(st.binary(min_size=60, max_size=120), st.sampled_from([b"\x08\x06", b"\x86\xdd"]))
def test_noise_is_left_alone(programs, noise, ethertype):
    frame = noise[:12] + ethertype + noise[14:]
    for program in programs.values():
        run = program.run(frame)
        assert (run.value, run.packet) == (PASS, frame)

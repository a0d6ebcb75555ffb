"""The NDP codec against scapy, both ways, and against RFC 4861 rule by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    in6_chksum,
)
from scapy.layers.l2 import Ether

from metallb_cli.layer2.ndp import (
    ALL_NODES,
    ALL_NODES_MAC,
    OVERRIDE_FLAG,
    ROUTER_FLAG,
    SOLICITED_FLAG,
    UNSPECIFIED,
    Advertisement,
    Advertiser,
    Solicitation,
    encode_advertisement,
    encode_solicitation,
    group_mac,
    parse,
    solicited_node,
)

OURS = bytes.fromhex("20010db8000000000000000000000001")
ASKER = bytes.fromhex("fe800000000000000000000000000099")
MAC, ASKER_MAC = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
QUESTION = Solicitation(
    group_mac(solicited_node(OURS)), ASKER_MAC, ASKER, solicited_node(OURS), OURS, link_address=ASKER_MAC
)

macs = st.binary(min_size=6, max_size=6).map(lambda mac: bytes((mac[0] & 0xFE,)) + mac[1:])
unicast = st.binary(min_size=16, max_size=16).filter(lambda a: a[0] != 0xFF and a != UNSPECIFIED)
solicitations = st.builds(
    Solicitation, macs, macs, unicast, st.binary(min_size=16, max_size=16), unicast, st.none() | macs
)
advertisements = st.builds(
    Advertisement,
    macs,
    macs,
    unicast,
    unicast,
    unicast,
    st.none() | macs,
    st.sampled_from([0, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0]),
)


def text(address):
    return IPv6(bytes(8) + address + bytes(16)).src


def scapy_solicitation(packet):
    message = ICMPv6ND_NS(tgt=text(packet.target))
    if packet.link_address is not None:
        message /= ICMPv6NDOptSrcLLAddr(lladdr=packet.link_address.hex(":"))
    ethernet = Ether(dst=packet.ethernet_destination.hex(":"), src=packet.ethernet_source.hex(":"))
    return bytes(ethernet / IPv6(src=text(packet.source), dst=text(packet.destination), hlim=255) / message)


def scapy_advertisement(packet):
    flags = packet.flags
    message = ICMPv6ND_NA(tgt=text(packet.target), R=flags >> 7, S=flags >> 6 & 1, O=flags >> 5 & 1)
    if packet.link_address is not None:
        message /= ICMPv6NDOptDstLLAddr(lladdr=packet.link_address.hex(":"))
    ethernet = Ether(dst=packet.ethernet_destination.hex(":"), src=packet.ethernet_source.hex(":"))
    return bytes(ethernet / IPv6(src=text(packet.source), dst=text(packet.destination), hlim=255) / message)


def with_checksum(frame):
    """The frame with the right ICMPv6 checksum by scapy, whatever else is wrong with it."""
    header = IPv6(frame[14:54])
    zeroed = frame[54:56] + bytes(2) + frame[58 : 54 + header.plen]
    checksum = in6_chksum(58, header, zeroed)
    return frame[:56] + checksum.to_bytes(2, "big") + frame[58:]


def changed(frame, offset, value):
    return with_checksum(frame[:offset] + value + frame[offset + len(value) :])


class TestAgainstScapy:
    @given(solicitations)
    def test_scapy_builds_the_same_solicitation(self, packet):
        assert encode_solicitation(packet) == scapy_solicitation(packet)

    @given(advertisements)
    def test_scapy_builds_the_same_advertisement(self, packet):
        assert encode_advertisement(packet) == scapy_advertisement(packet)

    @given(solicitations)
    def test_what_scapy_asks_is_understood(self, packet):
        assert parse(scapy_solicitation(packet)) == packet

    @given(advertisements)
    def test_what_scapy_advertises_is_understood(self, packet):
        assert parse(scapy_advertisement(packet)) == packet

    @given(unicast, macs, unicast, macs)
    def test_a_precomputed_answer_is_the_frame_that_scapy_builds(self, target, mac, asker, asker_mac):
        flags = SOLICITED_FLAG | OVERRIDE_FLAG
        expected = Advertisement(asker_mac, mac, target, asker, target, mac, flags)
        assert Advertiser(mac).answer(target, asker_mac, asker) == scapy_advertisement(expected)

    @given(unicast, macs)
    def test_the_unsolicited_advertisement_is_the_frame_that_scapy_builds(self, target, mac):
        expected = Advertisement(ALL_NODES_MAC, mac, target, ALL_NODES, target, mac, OVERRIDE_FLAG)
        assert Advertiser(mac).unsolicited(target) == scapy_advertisement(expected)

    def test_a_sum_of_zero_is_sent_as_scapy_and_the_kernel_send_it(self):
        # The asker's address that makes the rest of the packet sum to 0xffff: the one case of two representations.
        advertiser = Advertiser(MAC)
        asker = bytes(14) + advertiser.answer(OURS, MAC, UNSPECIFIED)[56:58]
        expected = scapy_advertisement(Advertisement(MAC, MAC, OURS, asker, OURS, MAC, 0x60))
        assert expected[56:58] == b"\0\0"
        assert advertiser.answer(OURS, MAC, asker) == expected


class TestRules:
    """RFC 4861 §7.1.1 and §7.1.2, one test for each rule."""

    FRAME = encode_solicitation(QUESTION)

    def test_a_valid_solicitation(self):
        assert parse(self.FRAME) == QUESTION

    def test_padding_after_the_packet_is_ignored(self):
        assert parse(self.FRAME + b"padding") == QUESTION

    def test_the_hop_limit_must_be_255(self):
        assert parse(changed(self.FRAME, 21, b"\xfe")) is None

    @given(st.integers(0, 31), st.integers(1, 255))
    def test_the_checksum_must_be_right(self, offset, difference):
        frame = bytearray(self.FRAME)
        frame[54 + offset] ^= difference
        assert parse(bytes(frame)) is None

    def test_a_changed_address_of_the_pseudo_header_is_noticed(self):
        assert parse(self.FRAME[:37] + b"\x98" + self.FRAME[38:]) is None

    def test_the_code_must_be_0(self):
        assert parse(changed(self.FRAME, 55, b"\1")) is None

    def test_the_message_must_have_24_bytes(self):
        assert parse(changed(self.FRAME, 18, b"\0\x10")) is None

    def test_the_target_must_not_be_multicast(self):
        assert parse(changed(self.FRAME, 62, b"\xff")) is None

    def test_an_option_must_not_be_of_length_zero(self):
        assert parse(changed(self.FRAME, 79, b"\0")) is None

    def test_an_option_must_not_reach_over_the_end(self):
        assert parse(changed(self.FRAME, 79, b"\2")) is None

    def test_a_payload_longer_than_the_frame_is_invalid(self):
        assert parse(self.FRAME[:18] + b"\0\x28" + self.FRAME[20:]) is None

    def test_a_payload_that_ends_within_an_option_is_invalid(self):
        assert parse(changed(self.FRAME, 18, b"\0\x1c")) is None

    def test_from_the_unspecified_address_only_to_a_solicited_node_group(self):
        question = QUESTION._replace(source=UNSPECIFIED, link_address=None)
        assert parse(encode_solicitation(question)) == question
        assert parse(encode_solicitation(question._replace(destination=ALL_NODES))) is None
        assert parse(encode_solicitation(question._replace(destination=OURS))) is None

    def test_from_the_unspecified_address_never_with_a_link_address(self):
        assert parse(encode_solicitation(QUESTION._replace(source=UNSPECIFIED))) is None

    def test_an_advertisement_to_a_group_is_never_solicited(self):
        news = Advertisement(ALL_NODES_MAC, MAC, OURS, ALL_NODES, OURS, MAC, OVERRIDE_FLAG)
        assert parse(encode_advertisement(news)) == news
        assert parse(encode_advertisement(news._replace(flags=SOLICITED_FLAG))) is None
        assert parse(encode_advertisement(news._replace(flags=SOLICITED_FLAG, destination=ASKER))) is not None

    def test_reserved_bits_beside_the_flags_are_ignored(self):
        news = Advertisement(ALL_NODES_MAC, MAC, OURS, ALL_NODES, OURS, MAC, OVERRIDE_FLAG | ROUTER_FLAG)
        assert parse(changed(encode_advertisement(news), 58, b"\xbf\xff\xff\xff")) == news

    @pytest.mark.parametrize(
        "question",
        [
            QUESTION._replace(source=ALL_NODES),
            QUESTION._replace(ethernet_source=ALL_NODES_MAC),
            QUESTION._replace(link_address=ALL_NODES_MAC),
        ],
        ids=["IPv6 source", "Ethernet source", "option"],
    )
    def test_a_multicast_sender_is_invalid(self, question):
        assert parse(encode_solicitation(question)) is None

    @pytest.mark.parametrize(("offset", "value"), [(12, b"\x08\x00"), (14, b"\x40"), (20, b"\x06"), (54, b"\x85")])
    def test_other_protocols_are_not_ours(self, offset, value):
        assert parse(changed(self.FRAME, offset, value)) is None


class TestOptions:
    def frame(self, options):
        bare = encode_solicitation(QUESTION._replace(link_address=None))
        return with_checksum(bare[:18] + (24 + len(options)).to_bytes(2, "big") + bare[20:] + options)

    def test_unknown_options_are_skipped(self):
        nonce = b"\x0e\1nonce!"
        assert parse(self.frame(nonce + b"\1\1" + ASKER_MAC)) == QUESTION

    def test_the_target_option_says_nothing_in_a_solicitation(self):
        assert parse(self.frame(b"\2\1" + ASKER_MAC)) == QUESTION._replace(link_address=None)

    def test_of_two_link_addresses_the_first_counts(self):
        assert parse(self.frame(b"\1\1" + ASKER_MAC + b"\1\1" + MAC)) == QUESTION

    def test_a_link_address_longer_than_a_mac_is_invalid(self):
        assert parse(self.frame(b"\1\2" + ASKER_MAC + bytes(8))) is None

    @given(st.binary(max_size=64))
    def test_any_options_are_skipped_understood_or_refused(self, options):
        packet = parse(self.frame(options))
        assert packet is None or packet._replace(link_address=None) == QUESTION._replace(link_address=None)


class TestAnyBytes:
    @given(st.binary(max_size=200))
    def test_random_bytes_are_refused(self, frame):
        assert parse(frame) is None or len(frame) >= 78

    @given(st.binary(min_size=78, max_size=120), st.sampled_from([135, 136]))
    def test_headers_over_random_bytes_never_raise(self, noise, kind):
        length = len(noise) - 54
        frame = noise[:12] + b"\x86\xdd\x60\0\0\0" + length.to_bytes(2, "big") + b"\x3a\xff" + noise[22:]
        frame = changed(frame, 54, bytes((kind, 0)))
        packet = parse(frame)
        assert packet is None or packet.target == frame[62:78]

    @given(st.integers(0, 85))
    def test_a_frame_cut_short_is_refused(self, length):
        assert parse(encode_solicitation(QUESTION)[:length]) is None

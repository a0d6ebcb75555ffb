"""The frames of heartbeats: byte by byte against docs/ownership.md, and against any bytes."""

import hashlib
import hmac
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2 import heartbeat
from metallb_cli.layer2.heartbeat import (
    LEAVING,
    MAX_FRAME,
    MAX_PAYLOAD,
    MAX_TAGS,
    NO_SECTION,
    UNSTEADY,
    Heartbeat,
    Ignored,
    decode,
    decode_section,
    encode,
    encode_section,
)
from metallb_cli.model import Claim, Section

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
MAC = bytes.fromhex("020000000001")
VIP, VIP6 = IPv4Address("192.0.2.10"), IPv6Address("2001:db8::10")


def section(*claims, first="0.0.0.0", last="255.255.255.255", family=IPv4Address):
    return encode_section(Section(family(first), family(last), claims))


def beat(**changes):
    plain = Heartbeat(MAC, 0, 7, 9, 100, 3, "node-1", b"", section((VIP, Claim(5))))
    return plain._replace(**changes)


def sign(body, key=KEY, source=MAC):
    return hmac.new(key, source + body, hashlib.sha256).digest()[:16]


class TestLayout:
    def test_every_byte_is_where_the_protocol_says(self):
        said = beat(
            flags=LEAVING | UNSTEADY,
            boot=0x0102030405060708,
            sequence=0x1112131415161718,
            tags=b"AAAABBBB",
            section=section(
                (VIP, Claim(0x01020304, strong=True, contested=True)), first="192.0.2.0", last="192.0.2.255"
            ),
        )
        body = bytes.fromhex(
            "01"  # version
            "03"  # leaving, unsteady
            "004b"  # length, 75
            "0102030405060708"
            "1112131415161718"
            "0064 03"  # 100 ms, 3 misses
            "06 6e6f64652d31"
            "02 41414141 42424242"
            "04 c0000200 c00002ff"
            "0001 c000020a 01020304 03"
        )
        frame = encode(said, KEY)
        assert frame[:14] == bytes.fromhex("034d4c420001 020000000001 88b5")
        assert frame[14:-16] == body
        assert frame[-16:] == sign(body)
        assert len(frame) - 14 == 75

    def test_an_ipv6_section_has_addresses_of_16_bytes(self):
        found = section((VIP6, Claim(1, strong=False)), first="::", last="ffff::", family=IPv6Address)
        assert found == bytes.fromhex(
            "06" + "00" * 16 + "ffff" + "00" * 14 + "0001" + "20010db8000000000000000000000010" + "00000001" + "00"
        )

    def test_a_tag_is_the_start_of_a_hash_of_name_and_boot(self):
        assert heartbeat.tag("node-1", 7) == hashlib.sha256(b"node-1" + (7).to_bytes(8, "big")).digest()[:4]
        assert heartbeat.tag("node-1", 8) != heartbeat.tag("node-1", 7)

    def test_the_destination_is_a_group_address_of_local_administration(self):
        assert heartbeat.GROUP[0] & 3 == 3

    def test_the_longest_name_and_all_tags_leave_room_for_a_few_claims(self):
        claims = [(VIP6 + n, Claim(1)) for n in range(6)]
        said = beat(
            node="n" * 253,
            tags=b"tttt" * MAX_TAGS,
            section=section(*claims, first="::", last="ffff::", family=IPv6Address),
        )
        frame = encode(said, KEY)
        assert len(frame) <= MAX_FRAME
        assert decode(frame, [KEY]) == said

    def test_more_than_fits_is_refused(self):
        too_long = section(*((VIP + n, Claim(1)) for n in range(200)))
        with pytest.raises(ValueError, match="limit 1232"):
            encode(beat(section=too_long), KEY)

    @pytest.mark.parametrize("length", [1, 20, 253])
    @pytest.mark.parametrize("tags", [0, 5, MAX_TAGS])
    def test_room_is_exactly_what_is_left(self, length, tags):
        room = heartbeat.room(length, tags)
        fixed = len(encode(beat(node="n" * length, tags=b"tttt" * tags, section=NO_SECTION), KEY)) - len(NO_SECTION)
        assert fixed - 14 + room == MAX_PAYLOAD


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=253)
claims4 = st.dictionaries(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.builds(Claim, st.integers(0, 2**32 - 1), st.booleans(), st.booleans()),
    max_size=40,
).map(lambda found: Section(IPv4Address(0), IPv4Address(2**32 - 1), tuple(sorted(found.items()))))
claims6 = st.dictionaries(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.builds(Claim, st.integers(0, 2**32 - 1), st.booleans(), st.booleans()),
    max_size=20,
).map(lambda found: Section(IPv6Address(0), IPv6Address(2**128 - 1), tuple(sorted(found.items()))))
beats = st.builds(
    Heartbeat,
    source=st.binary(min_size=6, max_size=6),
    flags=st.integers(0, 255),
    boot=st.integers(0, 2**64 - 1),
    sequence=st.integers(0, 2**64 - 1),
    interval=st.integers(1, 65535),
    misses=st.integers(1, 255),
    node=names,
    tags=st.lists(st.binary(min_size=4, max_size=4), max_size=50).map(b"".join),
    section=st.one_of(st.just(NO_SECTION), claims4.map(encode_section), claims6.map(encode_section)),
)


class TestReading:
    @given(beats, st.binary(max_size=60))
    def test_what_was_said_is_read_whatever_the_padding(self, said, padding):
        assert decode(encode(said, KEY) + padding, [OTHER_KEY, KEY]) == said

    @given(st.one_of(claims4, claims6))
    def test_a_section_is_read_as_it_was_written(self, said):
        encoded = encode_section(said)
        assert heartbeat.well_formed(encoded)
        assert decode_section(encoded) == said
        assert len(heartbeat.bounds(encoded)) == (9 if said.first.version == 4 else 33)

    @given(st.binary(max_size=1500))
    def test_any_bytes_are_refused_and_never_an_error(self, frame):
        assert isinstance(decode(frame, [KEY]), Ignored)

    @given(st.binary(max_size=1300))
    def test_any_bytes_behind_a_right_start_are_refused(self, rest):
        start = heartbeat.GROUP + MAC + bytes.fromhex("88b501")
        assert isinstance(decode(start + rest, [KEY]), Ignored)

    @given(st.binary(min_size=23, max_size=300), st.integers(0, 100))
    def test_any_bytes_with_a_right_length_and_signature_are_a_heartbeat_or_malformed(self, rest, excess):
        body = b"\1\0" + (len(rest) + 4 + 16 + excess % 3).to_bytes(2, "big") + rest
        found = decode(heartbeat.GROUP + MAC + b"\x88\xb5" + body + sign(body), [KEY])
        assert isinstance(found, Heartbeat) or found in (Ignored.MALFORMED, Ignored.SIGNATURE)
        if isinstance(found, Heartbeat):
            heartbeat.well_formed(found.section)

    @given(beats, st.data())
    def test_one_changed_bit_is_noticed(self, said, data):
        frame = bytearray(encode(said, KEY))
        at = data.draw(st.integers(0, len(frame) * 8 - 1))
        frame[at // 8] ^= 1 << at % 8
        assert isinstance(decode(bytes(frame), [KEY]), Ignored)

    @given(beats, st.data())
    def test_a_frame_that_is_cut_off_is_noticed(self, said, data):
        frame = encode(said, KEY)
        assert isinstance(decode(frame[: data.draw(st.integers(0, len(frame) - 1))], [KEY]), Ignored)

    @given(st.binary(max_size=60))
    def test_any_bytes_claim_to_be_from_somebody_and_repeat_nothing(self, frame):
        earlier = encode(beat(), KEY)
        for cut in (frame, earlier[:14] + frame):
            assert isinstance(heartbeat.sender(cut), str)
            assert heartbeat.decode_repetition(cut, earlier, [KEY]) is None
            assert heartbeat.decode_repetition(cut, b"", [KEY]) is None

    def test_a_repetition_differs_in_its_sequence_only(self):
        earlier = encode(beat(sequence=1), KEY)
        later = encode(beat(sequence=7), KEY)
        assert heartbeat.sender(later) == beat().node
        assert heartbeat.decode_repetition(later, earlier, [OTHER_KEY, KEY]) == 7
        assert heartbeat.decode_repetition(later, earlier, [OTHER_KEY]) is None
        for changed in ({"flags": 1}, {"boot": 2}, {"interval": 7}, {"tags": b"abcd"}, {"source": b"abcdef"}):
            assert heartbeat.decode_repetition(encode(beat(sequence=7, **changed), KEY), earlier, [KEY]) is None

    def test_each_of_the_keys_verifies_and_no_other(self):
        frame = encode(beat(), KEY)
        assert decode(frame, [OTHER_KEY, KEY]) == beat()
        assert decode(frame, [OTHER_KEY]) is Ignored.SIGNATURE
        assert decode(frame, []) is Ignored.SIGNATURE

    def test_a_source_address_that_was_changed_is_noticed(self):
        frame = encode(beat(), KEY)
        assert decode(frame[:6] + bytes.fromhex("020000000002") + frame[12:], [KEY]) is Ignored.SIGNATURE

    def test_another_version_and_another_protocol_are_foreign(self):
        frame = encode(beat(), KEY)
        assert decode(frame[:14] + b"\2" + frame[15:], [KEY]) is Ignored.FOREIGN
        assert decode(b"\xff" * 6 + frame[6:], [KEY]) is Ignored.FOREIGN
        assert decode(frame[:12] + b"\x88\xb6" + frame[14:], [KEY]) is Ignored.FOREIGN

    @pytest.mark.parametrize(
        "changes", [{"interval": 0}, {"misses": 0}, {"node": ""}, {"node": "ü"}, {"node": "n" * 254}]
    )
    def test_a_signed_frame_with_a_value_that_means_nothing_is_malformed(self, changes):
        assert decode(encode(beat(**changes), KEY), [KEY]) is Ignored.MALFORMED

    @pytest.mark.parametrize("wrong", [b"\5\0\0", b"\0\0\1", b"\4" + bytes(8) + b"\0\1", b"\0\0", b""])
    def test_a_section_whose_length_is_not_that_of_its_claims_is_malformed(self, wrong):
        assert decode(encode(beat(section=wrong), KEY), [KEY]) is Ignored.MALFORMED


class TestSections:
    @pytest.mark.parametrize(
        ("claims", "first", "last"),
        [
            ([VIP + 1, VIP], "0.0.0.0", "255.255.255.255"),
            ([VIP, VIP], "0.0.0.0", "255.255.255.255"),
            ([VIP], "192.0.2.11", "255.255.255.255"),
            ([VIP], "0.0.0.0", "192.0.2.9"),
            ([], "0.0.0.2", "0.0.0.1"),
        ],
        ids=["unsorted", "twice", "below", "above", "backwards"],
    )
    def test_claims_out_of_order_or_out_of_bounds_are_not_well_formed(self, claims, first, last):
        assert not heartbeat.well_formed(section(*((a, Claim(1)) for a in claims), first=first, last=last))

    def test_sections_overlap_when_they_share_an_address(self):
        def span(first, last):
            return heartbeat.bounds(section(first=first, last=last))

        middle = span("10.0.0.10", "10.0.0.20")
        assert heartbeat.overlap(middle, span("10.0.0.20", "10.0.0.30"))
        assert heartbeat.overlap(middle, span("10.0.0.0", "10.0.0.255"))
        assert not heartbeat.overlap(middle, span("10.0.0.21", "10.0.0.30"))
        assert not heartbeat.overlap(middle, heartbeat.bounds(section(first="::", last="ffff::", family=IPv6Address)))

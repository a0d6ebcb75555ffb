import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import Interface, Reason
from metallb_cli.reconcile.lease_notes import (
    MAX_ADDRESSES,
    MAX_ANNOUNCING,
    MAX_INTERFACES,
    InterfaceNote,
    decode_addresses,
    decode_interfaces,
    encode_addresses,
    encode_interfaces,
)


def some(*texts):
    return frozenset(map(ip_address, texts))


def test_addresses_are_written_sorted_and_runs_as_ranges():
    text = encode_addresses(
        [ip_address(a) for a in ("2001:db8::1", "10.0.0.6", "10.0.0.5", "10.0.0.1", "10.0.0.4", "10.0.0.4")]
    )
    assert text == "10.0.0.1,10.0.0.4-10.0.0.6,2001:db8::1"
    assert decode_addresses(text).addresses == some("10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.6", "2001:db8::1")


def test_no_addresses_are_an_empty_note():
    assert encode_addresses([]) == ""
    assert decode_addresses("") == decode_addresses(" , ")
    assert decode_addresses("").complete
    assert decode_addresses("").addresses == frozenset()


@given(st.sets(st.one_of(st.ip_addresses(), st.integers(0, 40).map(lambda n: ip_address("10.0.0.0") + n)), max_size=40))
def test_what_was_written_is_read_back(addresses):
    decoded = decode_addresses(encode_addresses(addresses))
    assert decoded.addresses == addresses
    assert decoded.complete


def test_a_note_that_grows_too_long_is_cut_and_says_so():
    addresses = [ip_address("10.0.0.0") + 2 * n for n in range(30_000)]
    text = encode_addresses(addresses)
    assert MAX_ANNOUNCING - 40 < len(text) <= MAX_ANNOUNCING
    decoded = decode_addresses(text)
    assert not decoded.complete
    assert decoded.addresses == set(addresses[: len(decoded.addresses)])


@pytest.mark.parametrize("text", ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255,10.0.0.1"])
def test_a_huge_claim_is_read_up_to_a_limit(text):
    decoded = decode_addresses(text)
    assert len(decoded.addresses) == MAX_ADDRESSES
    assert not decoded.complete


def test_garbage_is_left_out_and_what_is_readable_is_kept():
    decoded = decode_addresses("10.0.0.1, 10.0.0.3 - 10.0.0.4 ,nonsense,10.0.0.9-10.0.0.8,10.0.0.1-::1,1-2-3,10.0.0.7-")
    assert decoded.addresses == some("10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.7")
    assert not decoded.complete


@given(st.one_of(st.text(), st.text(alphabet="0123456789.:-,a /%", max_size=60)))
def test_no_text_makes_reading_addresses_fail(text):
    decoded = decode_addresses(text)
    assert decode_addresses(encode_addresses(decoded.addresses)).addresses == decoded.addresses


def test_a_very_long_note_is_read_up_to_its_limit():
    decoded = decode_addresses("10.0.0.1," * (MAX_ANNOUNCING // 3))
    assert (decoded.addresses, decoded.complete) == (some("10.0.0.1"), False)


def test_interfaces_are_written_as_json_with_name_and_verdict():
    text = encode_interfaces([Interface("eth0", 2), Interface("docker0", 3, verdict=Reason.INTERFACE_EXCLUDED)])
    assert json.loads(text) == [
        {"name": "eth0", "verdict": "usable"},
        {"name": "docker0", "verdict": "excludedByName"},
    ]
    assert decode_interfaces(text) == (InterfaceNote("eth0", "usable"), InterfaceNote("docker0", "excludedByName"))


def test_very_many_interfaces_are_cut_to_a_note_that_can_be_read():
    text = encode_interfaces(Interface(f"veth{n:08}", n) for n in range(10_000))
    assert len(text) <= MAX_INTERFACES
    assert len(decode_interfaces(text)) > 300


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("", ()),
        ("{}", ()),
        ("[1, null, {}, {\"name\": 1, \"verdict\": \"x\"}, {\"name\": \"eth0\"}]", ()),
        ('[{"name": "eth0", "verdict": "brandNew", "more": 1}]', (InterfaceNote("eth0", "brandNew"),)),
        ("[" * 19_000, ()),
        ("[1" * 30_000, ()),
    ],
)  # fmt: skip
def test_interfaces_that_cannot_be_understood_are_left_out(text, notes):
    assert decode_interfaces(text) == notes


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["name", "verdict", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.one_of(st.text(), json_values.map(json.dumps)))
def test_no_text_makes_reading_interfaces_fail(text):
    assert all(isinstance(note, InterfaceNote) for note in decode_interfaces(text))

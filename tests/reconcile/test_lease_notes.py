import json
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import Claim, Conflict, Lease
from metallb_cli.reconcile.lease_notes import (
    CLAIMS,
    MAX_ADDRESSES,
    MAX_ANNOUNCING,
    MAX_CLAIMS,
    MAX_CONTESTED,
    MAX_PEERS,
    MAX_PEERS_TEXT,
    MAX_SPEAKER,
    PEERS,
    PeersNote,
    SpeakerNote,
    decode_addresses,
    decode_claims,
    decode_contested,
    decode_peers,
    decode_speaker,
    encode_addresses,
    encode_claims,
    encode_contested,
    encode_peers,
    encode_speaker,
    says_the_same,
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


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["name", "verdict", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


# -- claims


def test_claims_are_written_by_epoch_and_mark_and_runs_as_ranges():
    one = dict.fromkeys((ip_address("10.0.0.1") + n for n in range(9)), Claim(1))
    others = {
        ip_address("10.0.0.12"): Claim(1),
        ip_address("10.0.0.10"): Claim(3),
        ip_address("10.0.0.13"): Claim(3, strong=False),
        ip_address("10.0.0.14"): Claim(3, contested=True),
        ip_address("2001:db8::1"): Claim(20, strong=False, contested=True),
    }
    text = encode_claims(one | others)
    assert text == "1:10.0.0.1-10.0.0.9,10.0.0.12;3:10.0.0.10;3c:10.0.0.14;3w:10.0.0.13;20wc:2001:db8::1"
    assert decode_claims(text).claims == one | others


def test_no_claims_are_an_empty_note():
    assert encode_claims({}) == ""
    assert decode_claims("").claims == {}
    assert decode_claims("").complete


some_claims = st.dictionaries(
    st.one_of(st.ip_addresses(), st.integers(0, 40).map(lambda n: ip_address("10.0.0.0") + n)),
    st.builds(Claim, st.integers(0, 3) | st.integers(0, 2**32 - 1), st.booleans(), st.booleans()),
    max_size=40,
)


@given(some_claims)
def test_claims_that_were_written_are_read_back(claims):
    decoded = decode_claims(encode_claims(claims))
    assert decoded.claims == claims
    assert decoded.complete


def test_claims_that_grow_too_long_are_cut_and_say_so():
    claims = {ip_address("10.0.0.0") + 2 * n: Claim(n % 7) for n in range(30_000)}
    text = encode_claims(claims)
    assert MAX_CLAIMS - 40 < len(text) <= MAX_CLAIMS
    decoded = decode_claims(text)
    assert not decoded.complete
    assert len(decoded.claims) > 3000
    assert all(claims[address] == claim for address, claim in decoded.claims.items())


def test_even_with_every_epoch_another_the_claims_of_a_large_node_fit():
    claims = {ip_address("172.30.100.0") + 2 * n: Claim(2_000_000_000 + n) for n in range(2000)}
    assert decode_claims(encode_claims(claims)).complete


@pytest.mark.parametrize(
    "text", ["7:::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "7:0.0.0.0-255.255.255.255;8:10.0.0.1"]
)
def test_a_huge_range_of_claims_is_read_up_to_a_limit(text):
    decoded = decode_claims(text)
    assert len(decoded.claims) == MAX_ADDRESSES
    assert not decoded.complete


@pytest.mark.parametrize("group", ["x:10.0.0.9", "4294967296:10.0.0.9", "1cw:10.0.0.9", "-1:10.0.0.9", "1", ":", "..."])
def test_a_group_of_claims_that_is_not_understood_is_left_out_and_said(group):
    decoded = decode_claims(f" 1 : 10.0.0.1 ; {group} ; 2w:10.0.0.2,nonsense")
    assert decoded.claims == {ip_address("10.0.0.1"): Claim(1), ip_address("10.0.0.2"): Claim(2, strong=False)}
    assert not decoded.complete


@given(st.one_of(st.text(), st.text(alphabet="0123456789.:-,;wc /%", max_size=60)))
def test_no_text_makes_reading_claims_fail(text):
    claims = decode_claims(text).claims
    assert decode_claims(encode_claims(claims)).claims == claims


# -- the speaker itself


def test_what_a_speaker_says_of_itself_is_read_back():
    note = SpeakerNote(
        boot=1795428000123456789,
        election="sticky",
        api_outage="freeze",
        interval=0.1,
        misses=3,
        leaving=True,
        unsteady=True,
        fenced=True,
        renew=2.0,
        contested=("172.30.1.96 02:00:00:00:00:07",),
    )
    text = encode_speaker(note)
    assert json.loads(text)["interval"] == 0.1
    assert decode_speaker(text) == note
    assert decode_speaker(encode_speaker(SpeakerNote())) == SpeakerNote()


def test_of_very_many_peers_some_are_named_and_all_are_counted():
    names = tuple(f"{n:04}".ljust(253, "x") for n in range(3000))
    text = encode_peers(names)
    assert len(text) <= MAX_PEERS_TEXT
    assert decode_peers(text) == PeersNote(3000, names[:MAX_PEERS])


@pytest.mark.parametrize("names", [(), ("node2",), ("node10", "node2")])
def test_who_is_heard_is_read_back(names):
    assert decode_peers(encode_peers(names)) == PeersNote(len(names), names)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", PeersNote()),
        ("3", PeersNote(3)),
        ("x:a,b", PeersNote(2, ("a", "b"))),
        ("-1:a", PeersNote(1, ("a",))),
        ("9999999999:a,,\x00,b", PeersNote(2, ("a", "b"))),
        ("²:a", PeersNote(1, ("a",))),
        (f"1:{'a,' * 20_000}", PeersNote(MAX_PEERS, ("a",) * MAX_PEERS)),
    ],
)
def test_of_a_note_about_peers_that_is_not_in_order_what_can_be_read_counts(text, note):
    assert decode_peers(text) == note


def test_who_is_heard_is_nothing_that_speakers_act_on():
    one = Lease("speaker-a", "x", "t1", annotations=((CLAIMS, "1:10.0.0.1"), (PEERS, "2:b,c")))
    assert says_the_same(one, replace(one, renewed="t2", annotations=((CLAIMS, "1:10.0.0.1"), (PEERS, "1:b"))))
    assert says_the_same(one, replace(one, annotations=((CLAIMS, "1:10.0.0.1"),)))
    assert not says_the_same(one, replace(one, annotations=((CLAIMS, "2:10.0.0.1"), (PEERS, "2:b,c"))))
    assert not says_the_same(one, replace(one, holder=""))


def test_contested_addresses_are_written_with_the_mac_address_of_the_host_that_has_them():
    conflicts = [
        Conflict(ip_address(a), bytes.fromhex("02000000000" + d), 4) for a, d in (("10.0.0.1", "7"), ("::1", "8"))
    ]
    texts = encode_contested(conflicts)
    assert texts == ("10.0.0.1 02:00:00:00:00:07", "::1 02:00:00:00:00:08")
    assert decode_contested(texts) == {
        ip_address("10.0.0.1"): "02:00:00:00:00:07",
        ip_address("::1"): "02:00:00:00:00:08",
    }


def test_of_very_many_contested_addresses_the_first_are_listed_and_the_note_stays_readable():
    conflicts = [Conflict(ip_address("2001:db8:1111:2222:3333:4444:5555:6600") + n, bytes(6), 1) for n in range(3000)]
    text = encode_speaker(SpeakerNote(contested=encode_contested(conflicts)))
    assert len(text) <= MAX_SPEAKER
    note = decode_speaker(text)
    assert note is not None
    assert list(decode_contested(note.contested)) == [conflict.address for conflict in conflicts[:MAX_CONTESTED]]


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1", "10.0.0.1 ", "x 02:00:00:00:00:07", "10.0.0.1 02:00", "10.0.0.1 02:00:00:00:00:07 x"]
)
def test_a_contest_that_is_not_understood_is_left_out(text):
    assert decode_contested([text, "10.0.0.2 02:00:00:00:00:07"]) == {ip_address("10.0.0.2"): "02:00:00:00:00:07"}


def test_a_key_of_another_version_and_a_value_of_another_type_are_passed_over():
    known = '"boot": "x", "misses": true, "interval": 1, "leaving": 1, "fenced": true, "election": "\\ud800"'
    text = f'{{{known}, "contested": ["a", 1, "\\ud800"], "new": [{{}}]}}'
    assert decode_speaker(text) == SpeakerNote(interval=1, fenced=True, contested=("a",))


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "{", "[" * 19_000, '{"a": ' * 20_000])
def test_what_is_no_object_says_nothing_of_a_speaker(text):
    assert decode_speaker(text) is None


facts = st.dictionaries(
    st.sampled_from(["boot", "election", "interval", "misses", "contested", "leaving", "x"]),
    json_values | st.floats() | st.just(10**400),
)


@given(st.one_of(st.text(), facts.map(json.dumps), json_values.map(json.dumps)))
def test_no_text_makes_reading_about_a_speaker_fail(text):
    note = decode_speaker(text)
    assert note is None or decode_speaker(encode_speaker(note)) == note

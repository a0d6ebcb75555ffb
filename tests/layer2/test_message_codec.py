"""The stream between the control process and the link process: any message, any cut, any bytes."""

import dataclasses
import json
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.errors import LinkError
from metallb_cli.layer2 import message_codec
from metallb_cli.layer2.message_codec import MAX_MESSAGE, MessageReader, encode
from metallb_cli.layer2.message_fields import MAX_ADDRESSES
from metallb_cli.layer2.messages import (
    AnnouncementSet,
    HeartbeatSettings,
    LinkReport,
    PeerClaims,
    PeersReport,
    Refusal,
    Stop,
)
from metallb_cli.model import (
    AddressCounters,
    AddressRange,
    Claim,
    Conflict,
    Interface,
    Peer,
    Reason,
    Section,
)

counts = st.integers(0, 2**62)
v4 = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)).map(IPv4Address)
v6 = st.one_of(st.integers(0, 40), st.integers(0, 2**128 - 1)).map(IPv6Address)
addresses = st.one_of(v4, v6)


claims = st.builds(Claim, epoch=st.integers(0, 2**32 - 1), strong=st.booleans(), contested=st.booleans())


def span(one, two):
    return AddressRange(min(one, two), max(one, two))


address_sets = st.tuples(st.frozensets(v4, max_size=50), st.frozensets(v6, max_size=20)).map(
    lambda families: (*sorted(families[0]), *sorted(families[1]))
)
announcements = st.builds(
    AnnouncementSet,
    generation=counts,
    addresses=address_sets,
    ranges=st.lists(st.one_of(st.builds(span, v4, v4), st.builds(span, v6, v6)), max_size=5).map(tuple),
    probe=address_sets,
    yielding=address_sets,
    claims=st.tuples(address_sets, st.lists(claims, min_size=70, max_size=70)).map(
        lambda both: dict(zip(both[0], both[1], strict=False))
    ),
    leaving=st.booleans(),
    unsteady=st.booleans(),
)
seconds = st.floats(0, 1e6)
heartbeats = st.builds(
    HeartbeatSettings,
    node=st.text("abc-.019", min_size=1, max_size=253),
    boot=st.integers(0, 2**64 - 1),
    keys=st.lists(st.binary(max_size=32), min_size=1, max_size=4).map(tuple),
    interval=st.floats(0.001, 65),
    misses=st.integers(1, 255),
)
peers = st.builds(
    Peer,
    node=st.text(max_size=20),
    boot=counts,
    live=st.booleans(),
    leaving=st.booleans(),
    unsteady=st.booleans(),
    interfaces=st.lists(st.text(max_size=15), max_size=2).map(tuple),
    silence=seconds,
)
sections = st.one_of(
    *(
        st.builds(
            lambda ends, claimed: Section(
                min(ends), max(ends), tuple((a, c) for a, c in sorted(claimed.items()) if min(ends) <= a <= max(ends))
            ),
            st.tuples(family, family),
            st.dictionaries(family, claims, max_size=20),
        )
        for family in (v4, v6)
    )
)
interfaces = st.builds(
    Interface,
    name=st.text(max_size=15),
    index=counts,
    mac=st.binary(max_size=8),
    verdict=st.sampled_from(Reason),
    networks=st.lists(st.sampled_from([ip_network("10.0.0.0/8"), ip_network("2001:db8::/64")])).map(tuple),
    master=st.text(max_size=15),
)
conflicts = st.lists(st.builds(Conflict, addresses, st.binary(min_size=6, max_size=6), counts), max_size=3).map(tuple)
reports = st.builds(
    LinkReport,
    generation=counts,
    interfaces=st.lists(interfaces, max_size=4).map(tuple),
    answering=st.lists(st.sampled_from([4, 6]), max_size=2).map(tuple),
    counts=st.dictionaries(addresses, st.builds(AddressCounters, counts, counts, counts), max_size=20),
    drops=st.dictionaries(st.text(max_size=20), counts, max_size=5),
    last_error=st.text(max_size=50),
    conflicts=conflicts,
    probing=address_sets,
    contested=conflicts,
    released=address_sets,
    fenced=st.booleans(),
)
any_message = st.one_of(
    announcements,
    heartbeats,
    reports,
    st.builds(PeersReport, st.lists(peers, max_size=3).map(tuple)),
    st.builds(PeerClaims, node=st.text(max_size=20), boot=counts, section=sections),
    st.builds(Stop, st.text()),
    st.builds(Refusal, st.text()),
)


def framed(body):
    return len(body).to_bytes(4, "big") + body


@given(st.lists(any_message, max_size=5), st.lists(st.integers(1, 200), min_size=1))
def test_every_message_arrives_as_it_was_sent_however_the_stream_is_cut(sent, cuts):
    stream = b"".join(map(encode, sent))
    reader, received, number = MessageReader(), [], 0
    while stream:
        size = cuts[number % len(cuts)]
        received += reader.feed(stream[:size])
        stream, number = stream[size:], number + 1
    assert received == sent


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_messages_or_a_link_error(data, size):
    reader = MessageReader()
    try:
        for start in range(0, len(data), size):
            for message in reader.feed(data[start : start + size]):
                assert isinstance(message, AnnouncementSet | LinkReport | Stop | Refusal)
    except LinkError as error:
        assert "link socket" in str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(any_message, st.data())
def test_any_json_of_nearly_the_right_form_is_a_message_or_a_link_error(message, data):
    fields = json.loads(encode(message)[4:])
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(json_values)
    try:
        (read,) = MessageReader().feed(framed(json.dumps(fields).encode()))
    except LinkError:
        return
    assert encode(read)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"type":"announce"}',
        b'{"type":"unheard"}',
        b'{"type":["stop"]}',
        b'{"type":"announce","generation":true,"addresses":{"4":[],"6":[]},"ranges":[]}',
        b'{"type":"announce","generation":0,"addresses":{"4":[[4294967295,2]],"6":[]},"ranges":[]}',
        b'{"type":"announce","generation":0,"addresses":{"4":[],"6":[]},"ranges":[[4,9,1]]}',
        b'{"type":"announce","generation":' + b"9" * 5000 + b',"addresses":{"4":[],"6":[]},"ranges":[]}',
    ],
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(LinkError, match="malformed message"):
        MessageReader().feed(framed(body))


def test_a_few_bytes_cannot_ask_for_endless_memory():
    run = {"4": [[0, MAX_ADDRESSES + 1]], "6": []}
    body = json.dumps({"type": "announce", "generation": 0, "addresses": run, "ranges": []}).encode()
    with pytest.raises(LinkError, match="more than"):
        MessageReader().feed(framed(body))


def test_a_message_that_is_too_long_is_refused_before_it_arrives():
    with pytest.raises(LinkError, match="limit"):
        MessageReader().feed((MAX_MESSAGE + 1).to_bytes(4, "big"))


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(LinkError, match="too large"):
        encode(Stop("x" * (MAX_MESSAGE + 1)))


def test_100_000_scattered_addresses_fit_into_a_message():
    scattered = AnnouncementSet(1, tuple(IPv4Address(2 * number) for number in range(100_000)))
    assert MessageReader().feed(encode(scattered)) == [scattered]


def test_every_kind_of_message_can_be_written_and_read():
    assert set(message_codec._ENCODERS) == {
        AnnouncementSet,
        HeartbeatSettings,
        Stop,
        LinkReport,
        PeersReport,
        PeerClaims,
        Refusal,
    }
    assert len(message_codec._DECODERS) == len(message_codec._ENCODERS)


@pytest.mark.parametrize(
    "changes",
    [
        {"node": ""},
        {"node": "n" * 254},
        {"node": "ü"},
        {"boot": 2**64},
        {"keys": ()},
        {"keys": (b"k",) * 5},
        {"interval": 0.0},
        {"interval": 66.0},
        {"misses": 0},
        {"misses": 256},
    ],
)
def test_heartbeats_that_cannot_be_sent_are_malformed(changes):
    good = HeartbeatSettings("node", 1, (b"k",))
    assert MessageReader().feed(encode(good)) == [good]
    with pytest.raises(LinkError, match="malformed"):
        MessageReader().feed(encode(dataclasses.replace(good, **changes)))

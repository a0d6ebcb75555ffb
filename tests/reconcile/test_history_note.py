import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import AddressRange, Reason, merge_ranges
from metallb_cli.reconcile.history import MAX_ENTRIES, Entry, Stages
from metallb_cli.reconcile.history_note import MAX_ADDRESSES, MAX_HISTORY, decode, encode


def runs(addresses):
    return tuple(merge_ranges([AddressRange(a, a) for a in addresses]))


ADDRESS = IPv4Address("172.30.1.96")


def entry(time=1764077604.123, addresses=(ADDRESS,), **fields):
    values = {"reason": "OwnerDied", "before": "node3", "after": "node1", "epoch": 4, **fields}
    return Entry(time, "node1", runs(addresses), **values)


def test_an_entry_reads_well_enough_for_kubectl():
    text, count = encode([entry(stages=Stages(0.3, 0.0012, 0.0088))])
    assert count == 1
    assert text == (
        '[{"time":1764077604.123,"ip":"172.30.1.96","reason":"OwnerDied","from":"node3","to":"node1",'
        '"epoch":4,"detect":0.3,"decide":0.0012,"announce":0.0088}]'
    )


def test_runs_are_written_as_distances():
    some = [ADDRESS + n for n in (0, 1, 2, 3, 5, 7, 8)] + [ip_address("2001:db8::1")]
    item = json.loads(encode([entry(addresses=some)])[0])[0]
    assert item["ip"] == "172.30.1.96-3,+2,+2-1,2001:db8::1"


names = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)
seconds = st.none() | st.integers(0, 10**8).map(lambda n: n / 10_000)
entries = st.builds(
    Entry,
    st.integers(0, 4 * 10**12).map(lambda n: n / 1000),
    st.just("node1"),
    st.sets(
        st.integers(0, 40).map(lambda n: IPv4Address(2**32 - 41 + n))
        | st.integers(0, 2**128 - 1).map(IPv6Address)
        | st.integers(0, 2**32 - 1).map(IPv4Address),
        min_size=1,
    ).map(runs),
    st.sampled_from([reason.value for reason in Reason]),
    names,
    st.sampled_from(["N1", None]),
    st.integers(0, 2**32 - 1),
    st.builds(Stages, seconds, seconds, seconds),
)


@given(st.lists(entries, max_size=5))
def test_what_is_written_is_read_back(written):
    text, count = encode(written)
    assert count == len(written)
    assert decode(text, "node1") == tuple(sorted(written, key=lambda e: e.time))


keys = st.sampled_from(["time", "ip", "reason", "from", "to", "epoch", "detect", "decide"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a", "10.0.0.1"])
json_values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


@given(st.text() | json_values.map(json.dumps) | st.lists(json_values).map(json.dumps))
def test_any_text_is_read_without_an_error(text):
    for each in decode(text, "node1"):
        assert each.addresses
        assert each.before or each.after


GOOD = {"time": 1.0, "ip": "10.0.0.1", "reason": "OwnerDied", "from": "a", "to": "b", "epoch": 1}


def read(**changes):
    return decode(json.dumps([{**GOOD, **changes}]), "b")


def test_an_entry_may_say_less():
    assert read(epoch=-1, detect="soon", decide=float("nan"), announce=float("inf"))[0].stages == Stages()
    assert read(epoch=-1)[0].epoch == 0
    assert read(**{"from": None})[0].before is None


@pytest.mark.parametrize(
    "changes",
    [
        {"time": float("nan")},
        {"time": 10**400},
        {"time": True},
        {"ip": ""},
        {"ip": "..."},
        {"ip": "10.0.0.1,+1"},
        {"ip": "+2"},
        {"ip": "10.0.0.1-9999999999"},
        {"ip": "10.0.0.1,10.0.0.9"},
        {"ip": "2001:db8::1,10.0.0.1"},
        {"ip": "fe80::1%eth0"},
        {"ip": "1" * 100},
        {"reason": "Owner\x1b[31mDied"},
        {"reason": 7},
        {"from": "a\nb", "to": "\x1b[2J"},
        {"from": None, "to": None},
        {"from": "a", "to": "a"},
    ],
)
def test_an_entry_that_makes_no_sense_is_left_out(changes):
    assert read() != ()
    assert read(**changes) == ()


@pytest.mark.parametrize("text", ["", "{}", "[", "[" * 100_000, "[1e999]", "1" * 5000, "[[]]", "[null, 7]"])
def test_what_is_no_history_is_an_empty_one(text):
    assert decode(text, "b") == ()


def test_a_range_over_all_addresses_costs_nothing():
    (found,) = read(ip=f"::-{2**128 - 1}")
    assert found.addresses[0].size == 2**128


def test_the_oldest_entries_go_first_when_there_is_no_room():
    many = [entry(time=float(n), before="n" * 200, after="m" * 200) for n in range(MAX_ENTRIES)]
    text, count = encode(many)
    assert len(text) <= MAX_HISTORY
    assert 0 < count < len(many)
    assert [e.time for e in decode(text, "node1")] == [e.time for e in many[-count:]]


def test_a_full_history_of_usual_failovers_fits():
    many = [entry(time=1764077604.123 + n, stages=Stages(0.3123, 0.0012, 0.0088)) for n in range(MAX_ENTRIES)]
    text, count = encode(many)
    assert count > 150
    assert len(text) <= MAX_HISTORY


def test_very_many_scattered_addresses_are_cut_short_and_say_so():
    scattered = [IPv4Address("10.0.0.0") + 2 * n for n in range(10_000)]
    text, count = encode([entry(addresses=scattered)])
    assert count == 1
    assert len(text) < MAX_ADDRESSES + 200
    (found,) = decode(text, "node1")
    assert not found.complete
    assert len(found.addresses) > 2000
    assert found.addresses == runs(scattered)[: len(found.addresses)]
    assert encode([found])[0] == text

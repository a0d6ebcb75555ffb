from ipaddress import IPv4Network, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import (
    AddressRange,
    Endpoints,
    Lease,
    Pool,
    Protocol,
    Reason,
    ServiceKey,
    merge_ranges,
    parse_address,
)


def between(first, last):
    return AddressRange(ip_address(first), ip_address(last))


def test_a_range_knows_its_size_and_prints_as_an_operator_writes_it():
    assert (between("10.0.0.1", "10.0.0.9").size, str(between("10.0.0.1", "10.0.0.9"))) == (9, "10.0.0.1-10.0.0.9")
    assert str(between("10.0.0.1", "10.0.0.1")) == "10.0.0.1"
    assert AddressRange.of_network(ip_network("2001:db8::/64")).size == 2**64


@pytest.mark.parametrize(("first", "last"), [("10.0.0.2", "10.0.0.1"), ("10.0.0.1", "2001:db8::1")])
def test_a_range_that_is_none_cannot_be_made(first, last):
    with pytest.raises(ValueError, match=r"10\.0\.0\."):
        between(first, last)


@pytest.mark.parametrize(
    ("thing", "contained"),
    [
        (ip_address("10.0.0.1"), True),
        (ip_address("10.0.0.9"), True),
        (ip_address("10.0.0.0"), False),
        (ip_address("10.0.0.10"), False),
        (ip_address("::a00:1"), False),
        ("10.0.0.1", False),
    ],
)
def test_a_range_contains_both_ends_and_only_addresses_of_its_version(thing, contained):
    assert (thing in between("10.0.0.1", "10.0.0.9")) is contained


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (between("10.0.0.9", "10.0.0.20"), True),
        (between("10.0.0.10", "10.0.0.20"), False),
        (between("10.0.0.0", "10.0.0.0"), False),
        (between("10.0.0.0", "10.0.0.1"), True),
        (between("0.0.0.0", "255.255.255.255"), True),
        (between("::a00:1", "::a00:9"), False),
    ],
)
def test_ranges_overlap_when_an_address_is_in_both(other, overlaps):
    this = between("10.0.0.1", "10.0.0.9")
    assert this.overlaps(other) is other.overlaps(this) is overlaps


def test_reserved_addresses_are_in_the_pool_but_not_usable():
    pool = Pool(
        "p",
        Protocol.ARP,
        (between("10.0.0.0", "10.0.1.255"), between("2001:db8::", "2001:db8::ff")),
        avoid_buggy_ips=True,
        arp_network=IPv4Network("10.0.1.0/28"),
    )
    reserved = ["10.0.0.0", "10.0.0.255", "10.0.1.0", "10.0.1.15", "10.0.1.255"]
    for text in reserved:
        assert ip_address(text) in pool
        assert not pool.usable(ip_address(text))
    for text in ("10.0.0.1", "10.0.1.14", "2001:db8::", "2001:db8::ff"):
        assert pool.usable(ip_address(text))
    assert not pool.usable(ip_address("10.0.2.1"))
    assert (pool.serves(4), pool.serves(6)) == (True, True)


def test_only_bgp_is_not_layer_2():
    assert [p.value for p in Protocol if not p.is_layer2] == ["bgp"]


@pytest.mark.parametrize("text", ["10.0.0.1", "2001:db8::1", "::"])
def test_an_address_is_parsed(text):
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", " 10.0.0.1", "10.0.0.1/32", "10.0.0.256", "fe80::1%eth0", "host", "010.0.0.1", "1"]
)
def test_what_is_not_exactly_an_address_is_none(text):
    assert parse_address(text) is None


@given(st.text())
def test_no_text_makes_parsing_fail(text):
    parsed = parse_address(text)
    assert parsed is None or ip_address(str(parsed)) == parsed


spans = st.builds(
    lambda space, start, length: AddressRange(ip_address(space) + start, ip_address(space) + start + length),
    st.sampled_from(["10.0.0.0", "::a00:0"]),
    st.integers(0, 40),
    st.integers(0, 10),
)


@given(st.lists(spans, max_size=12))
def test_merged_ranges_cover_the_same_addresses_with_the_fewest_sorted_ranges(ranges):
    def covered(some):
        return {r.first + i for r in some for i in range(r.size)}

    merged = merge_ranges(ranges)
    assert covered(merged) == covered(ranges)
    for before, after in pairwise(merged):
        assert (before.version, int(before.last) + 1) < (after.version, int(after.first))


def test_endpoints_are_true_when_any_pod_is_ready_anywhere():
    assert not Endpoints()
    assert Endpoints(frozenset({"node1"}))
    assert Endpoints(elsewhere=True)
    assert Endpoints(frozenset({"a"})) | Endpoints(frozenset({"b"}), True) == Endpoints(frozenset({"a", "b"}), True)


def test_services_sort_and_print_by_namespace_then_name():
    keys = [ServiceKey("b", "a"), ServiceKey("a", "z"), ServiceKey("a", "b")]
    assert [str(k) for k in sorted(keys)] == ["a/b", "a/z", "b/a"]


def test_an_annotation_that_is_missing_is_none():
    lease = Lease("speaker-node1", annotations=(("a", "1"),))
    assert (lease.annotation("a"), lease.annotation("b")) == ("1", None)


def test_every_reason_has_a_name_of_its_own():
    values = [reason.value for reason in Reason.__members__.values()]
    assert len(set(values)) == len(Reason.__members__)

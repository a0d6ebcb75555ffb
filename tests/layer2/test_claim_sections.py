"""Claims cut into sections: nothing is lost, everything fits, and a small change stays small."""

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2 import heartbeat
from metallb_cli.layer2.claim_sections import cut
from metallb_cli.layer2.heartbeat import decode_section, well_formed
from metallb_cli.model import Claim

FAMILIES = {4: (IPv4Address, 2**32 - 1), 6: (IPv6Address, 2**128 - 1)}
ROOM = {4: 100, 6: 130}  # nine IPv4 claims, four IPv6 ones


def claimed(numbers, version, epoch=1):
    make, _ = FAMILIES[version]
    return [(make(number), Claim(epoch)) for number in sorted(numbers)]


numbers4 = st.sets(st.one_of(st.integers(0, 300), st.integers(2**32 - 300, 2**32 - 1), st.integers(0, 2**32 - 1)))
numbers6 = st.sets(st.one_of(st.integers(0, 300), st.integers(0, 2**128 - 1)))
families = st.one_of(st.tuples(st.just(4), numbers4), st.tuples(st.just(6), numbers6))


@given(families)
def test_the_sections_say_everything_once_and_leave_no_gap(family):
    version, numbers = family
    make, highest = FAMILIES[version]
    encoded = cut(claimed(numbers, version), version, ROOM[version])
    sections = [decode_section(section) for section in encoded]
    assert all(map(well_formed, encoded))
    assert all(len(section) <= ROOM[version] for section in encoded)
    assert sections[0].first == make(0)
    assert sections[-1].last == make(highest)
    assert all(int(a.last) + 1 == int(b.first) for a, b in pairwise(sections))
    assert [claim for section in sections for claim in section.claims] == claimed(numbers, version)


@given(families, st.data())
def test_one_claim_more_changes_few_sections(family, data):
    version, numbers = family
    extra = data.draw(st.integers(0, FAMILIES[version][1]))
    before = set(cut(claimed(numbers, version), version, ROOM[version]))
    after = cut(claimed(numbers | {extra}, version), version, ROOM[version])
    # One that is halved until the crowded part is alone: at most as many pieces as it has claims.
    assert len(set(after) - before) <= 10


@pytest.mark.parametrize("version", [4, 6])
def test_a_node_without_claims_says_so(version):
    (only,) = cut([], version, 1000)
    make, highest = FAMILIES[version]
    assert decode_section(only).claims == ()
    assert (decode_section(only).first, decode_section(only).last) == (make(0), make(highest))


def test_10_000_claims_in_a_row_need_about_150_heartbeats():
    start = int(IPv4Address("198.18.0.0"))
    sections = cut(claimed(range(start, start + 10_000), 4), 4, heartbeat.room(20, 16))
    assert 80 <= len(sections) <= 160

from hashlib import sha256
from ipaddress import ip_address
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.election import elect, owner_by_holders, ranking

names = st.sets(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True), max_size=12)
addresses = st.ip_addresses()


@pytest.mark.parametrize(
    ("address", "candidates", "order"),
    [
        ("172.30.1.96", ("node1", "node2", "node3"), ("node3", "node1", "node2")),
        ("172.30.1.96", ("a", "b", "c"), ("b", "a", "c")),
        ("2001:db8::1", ("node1", "node2", "node3"), ("node3", "node2", "node1")),
    ],
)
def test_the_order_is_metallbs(address, candidates, order):
    for shuffled in permutations(candidates):
        assert ranking(ip_address(address), shuffled) == order
        assert elect(ip_address(address), shuffled) == order[0]


def test_the_hash_is_over_node_hash_sign_and_the_canonical_address():
    address = ip_address("2001:0db8:0000::0001")
    digest = {node: sha256(f"{node}#2001:db8::1".encode()).digest() for node in ("x", "y", "z")}
    assert ranking(address, digest) == tuple(sorted(digest, key=digest.get))


def test_nobody_is_elected_from_nobody():
    assert elect(ip_address("10.0.0.1"), ()) is None


@given(addresses, names)
def test_the_owner_is_the_first_of_the_ranking(address, candidates):
    assert (elect(address, candidates),) == (ranking(address, candidates) or (None,))[:1]


@given(addresses, names, st.data())
def test_an_address_moves_only_when_its_owner_leaves(address, candidates, data):
    owner = elect(address, candidates)
    gone = data.draw(st.sampled_from(sorted(candidates) or [""]))
    after = elect(address, candidates - {gone})
    assert after == owner if gone != owner else after in (ranking(address, candidates)[1:] or (None,))


def test_addresses_are_spread_over_the_nodes():
    nodes = [f"node{n}" for n in range(5)]
    owned = dict.fromkeys(nodes, 0)
    for n in range(1000):
        owned[elect(ip_address("10.0.0.0") + n, nodes)] += 1
    assert min(owned.values()) > 150


def test_who_sees_only_holders_takes_the_one_that_may_answer():
    address = ip_address("10.0.0.1")
    first, second, third = ranking(address, ("a", "b", "c"))
    everybody = ("a", "b", "c")
    assert owner_by_holders(address, everybody, [second]) == second
    assert owner_by_holders(address, everybody, [third, second]) == second
    assert owner_by_holders(address, everybody, []) == first
    assert owner_by_holders(address, (second, third), [first]) == second
    assert owner_by_holders(address, (), [first]) is None

"""How addresses without an owner are dealt out."""

import math
from collections import Counter
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.election.balance import Shares, deal
from metallb_cli.election.order import elect, ranking

BASE = ip_address("10.0.0.0")


def deal_out(count, nodes, loads=None):
    shares = Shares()
    shares.add(count + sum((loads or {}).values()), nodes)
    return deal([(BASE + n, nodes) for n in range(count)], loads or {}, shares)


def test_a_few_addresses_go_to_the_first_of_the_hash():
    assert deal_out(1, ("a", "b", "c")) == {BASE: elect(BASE, "abc")}


@given(st.integers(1, 200), st.integers(1, 12))
def test_no_node_gets_more_than_five_quarters_of_the_mean(count, nodes):
    names = tuple(f"node{n}" for n in range(nodes))
    dealt = deal_out(count, names)
    assert len(dealt) == count
    assert max(Counter(dealt.values()).values()) <= math.ceil(1.25 * count / nodes)


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 60))
def test_a_node_that_is_full_gets_nothing_more(count, nodes, load):
    names = tuple(f"node{n}" for n in range(nodes))
    dealt = Counter(deal_out(count, names, {"node0": load}).values())
    bound = math.ceil(1.25 * (count + load) / nodes)
    assert load + dealt["node0"] <= max(bound, load)
    assert all(dealt[name] <= bound for name in names[1:])


@given(st.integers(1, 60), st.integers(1, 6), st.data())
def test_dealing_out_the_rest_gives_the_same_when_some_have_been_claimed_as_dealt(count, nodes, data):
    names = tuple(f"node{n}" for n in range(nodes))
    shares = Shares()
    shares.add(count, names)
    rows = [(BASE + n, names) for n in range(count)]
    dealt = deal(rows, {}, shares)
    claimed = data.draw(st.sets(st.sampled_from(sorted(dealt))))
    rest = deal([row for row in rows if row[0] not in claimed], Counter(dealt[a] for a in claimed), shares)
    assert rest == {address: owner for address, owner in dealt.items() if address not in claimed}


def test_if_all_are_full_the_one_with_the_fewest_addresses_gets_it():
    assert deal([(BASE, ("a", "b", "c"))], {"a": 3, "b": 2, "c": 3}, Shares()) == {BASE: "b"}
    assert deal([(BASE, ("a", "b", "c"))], {}, Shares()) == {BASE: ranking(BASE, "abc")[0]}


def test_addresses_with_different_candidates_share_the_nodes_fairly():
    shares = Shares()
    shares.add(12, ("a",))
    shares.add(12, ("a", "b"))
    rows = [(BASE + n, ("a",) if n % 2 else ("a", "b")) for n in range(24)]
    dealt = Counter(deal(rows, {}, shares).values())
    assert dealt["a"] <= math.ceil(1.25 * 18)
    assert dealt["b"] <= math.ceil(1.25 * 6)


def test_shares_that_are_taken_back_leave_nothing():
    shares = Shares()
    shares.add(10, ("a", "b", "c"))
    shares.add(7, ("a", "b"))
    shares.add(-10, ("a", "b", "c"))
    assert shares.bound("a") == math.ceil(1.25 * 3.5)
    shares.add(-7, ("a", "b"))
    assert [shares.bound(node) for node in "abc"] == [0, 0, 0]

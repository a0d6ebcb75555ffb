from ipaddress import IPv4Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import AddressRange, merge_ranges
from metallb_cli.reconcile.address_runs import intersection, without

# Both ends of the address space are among them, and both families.
ADDRESSES = [IPv4Address(n) for n in (0, 1, 2, 3, 4, 5, 6, 2**32 - 3, 2**32 - 2, 2**32 - 1)] + [
    ip_address(f"2001:db8::{n:x}") for n in range(6)
]
sets = st.sets(st.sampled_from(ADDRESSES))


def runs(addresses):
    return tuple(merge_ranges([AddressRange(a, a) for a in addresses]))


@given(sets, sets)
def test_both_agree_with_sets_of_single_addresses(one, other):
    assert intersection(runs(one), runs(other)) == runs(one & other)
    assert without(runs(one), runs(other)) == runs(one - other)


def test_the_size_of_a_run_costs_nothing():
    everything = (AddressRange(ip_address("::"), ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),)
    middle = (AddressRange(ip_address("2001:db8::1"), ip_address("2001:db8::9")),)
    assert intersection(everything, middle) == middle
    assert [str(run.first) for run in without(everything, middle)] == ["::", "2001:db8::a"]

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.allocator.free_addresses import FreeAddresses, usable_size
from metallb_cli.model import AddressRange
from tests.allocator.build import pool


def every(addresses):
    return [addresses.first + i for i in range(addresses.size)]


networks = st.sampled_from(
    [None, "10.0.0.0/24", "10.0.0.0/23", "10.0.1.0/24", "10.0.0.254/31", "10.0.1.0/31", "10.0.1.1/32", "0.0.0.0/0"]
)


@given(st.integers(0, 1300), st.integers(0, 600), st.booleans(), networks)
def test_the_size_by_arithmetic_is_the_size_by_counting(start, length, buggy, network):
    first = ip_address("9.255.255.0") + start
    addresses = AddressRange(first, first + length)
    p = pool("p", str(addresses) if length else f"{first}/32", avoid_buggy_ips=buggy, arp_network=network)
    assert usable_size(p, addresses) == sum(p.usable(a) for a in every(addresses))


@pytest.mark.parametrize("end", ["0.0.0.0/8", "255.255.255.0/24"])
def test_the_ends_of_the_address_space_are_addresses_like_others(end):
    p = pool("p", end)
    free = FreeAddresses(p)
    assert free.total[4] == p.ranges[0].size
    for edge in (p.ranges[0].first, p.ranges[0].last):
        free.take(edge)
    assert free.lowest((4,)) == p.ranges[0].first + 1
    free.give_back(p.ranges[0].first)
    assert free.lowest((4,)) == p.ranges[0].first


def test_the_very_last_address_is_reserved_like_others():
    free = FreeAddresses(pool("p", "255.255.255.254/31", avoid_buggy_ips=True))
    assert free.lowest((4,)) == ip_address("255.255.255.254")
    free.take(ip_address("255.255.255.254"))
    assert free.lowest((4,)) is None


def test_the_last_ipv6_address_can_be_taken():
    p = pool("p", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")
    free = FreeAddresses(p)
    for address in every(p.ranges[0]):
        assert free.lowest((6,)) == address
        free.take(address)
    assert free.lowest((6,)) is None
    assert free.free((6,)) == 0


def test_a_range_of_reserved_addresses_only_is_never_offered():
    free = FreeAddresses(pool("p", "10.0.0.255-10.0.1.0", "10.0.2.1/32", avoid_buggy_ips=True))
    assert free.total == {4: 1, 6: 0}
    assert free.lowest((4, 6)) == ip_address("10.0.2.1")
    free.take(ip_address("10.0.2.1"))
    assert free.lowest((4, 6)) is None
    free.give_back(ip_address("10.0.2.1"))
    assert free.lowest((4, 6)) == ip_address("10.0.2.1")


@given(st.data(), st.booleans(), networks)
def test_the_lowest_free_address_is_what_a_linear_search_finds(data, buggy, network):
    p = pool("p", "10.0.0.250-10.0.1.5", "10.0.0.0/30", avoid_buggy_ips=buggy, arp_network=network)
    usable = [a for r in p.ranges for a in every(r) if p.usable(a)]
    free = FreeAddresses(p)
    taken = set()
    for address in data.draw(st.lists(st.sampled_from(usable), max_size=60)) if usable else ():
        if address in taken:
            free.give_back(address)
            taken.remove(address)
        else:
            free.take(address)
            taken.add(address)
        assert free.lowest((4,)) == next((a for a in usable if a not in taken), None)
        assert free.free((4,)) == len(usable) - len(taken)

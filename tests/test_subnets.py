"""The rule of networks against its own words."""

from ipaddress import ip_address, ip_interface, ip_network
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.subnets import NetworkIndex, network_order, place


def networks(*texts):
    return tuple(map(ip_network, texts))


def addresses(*texts):
    return list(map(ip_address, texts))


def test_an_address_is_placed_where_its_network_is():
    holders = {"a": networks("10.0.0.0/24", "2001:db8::/64"), "b": networks("10.1.0.0/16")}
    assert place(addresses("10.0.0.9", "10.1.0.9"), holders) == {"a": addresses("10.0.0.9"), "b": addresses("10.1.0.9")}
    assert place(addresses("2001:db8::9"), holders) == {"a": addresses("2001:db8::9"), "b": []}
    assert place([], holders) == {"a": [], "b": []}


def test_an_address_of_nobodys_network_is_placed_everywhere():
    placed = place(addresses("192.0.2.1"), {"a": networks("10.0.0.0/24"), "b": ()})
    assert placed == {"a": addresses("192.0.2.1"), "b": addresses("192.0.2.1")}


def test_networks_of_one_family_say_nothing_about_the_other():
    placed = place(addresses("2001:db8::9"), {"a": networks("10.0.0.0/24"), "b": ()})
    assert placed == {"a": addresses("2001:db8::9"), "b": addresses("2001:db8::9")}


def test_of_nested_networks_all_that_contain_the_address_count():
    index = NetworkIndex(
        {"wide": networks("10.0.0.0/8"), "narrow": networks("10.0.0.0/24"), "all": networks("0.0.0.0/0")}
    )
    assert index.holders(ip_address("10.0.0.1")) == {"wide", "narrow", "all"}
    assert index.holders(ip_address("10.9.0.1")) == {"wide", "all"}
    assert index.holders(ip_address("::1")) == frozenset()


small_networks = st.builds(
    lambda version, number, length: (
        ip_interface(
            (f"10.0.0.{number}", 24 + length) if version == 4 else (f"2001:db8::{number:x}", 120 + length)
        ).network
    ),
    st.sampled_from([4, 6]),
    st.integers(0, 255),
    st.integers(0, 8),
)
first_addresses = st.sampled_from(addresses("10.0.0.0", "2001:db8::"))


@given(
    st.dictionaries(st.integers(0, 4), st.lists(small_networks, max_size=4), max_size=4),
    first_addresses,
    st.sets(st.integers(0, 256), max_size=20),
)
def test_the_quick_ways_find_what_a_plain_search_finds(holders, first, numbers):
    subjects = [first + number for number in sorted(numbers)]
    index = NetworkIndex(holders)
    placed = place(subjects, {holder: tuple(own) for holder, own in holders.items()})
    expected = {holder: [] for holder in holders}
    for address in subjects:
        found = {holder for holder, own in holders.items() if any(address in network for network in own)}
        assert index.holders(address) == found
        assert index.holders(address) is index.holders(address)
        for holder in found or holders:
            expected[holder].append(address)
    assert placed == expected


def test_networks_are_sorted_by_family_address_and_size():
    unsorted = networks("2001:db8::/64", "10.2.0.0/16", "10.0.0.0/24", "10.0.0.0/8")
    assert sorted(unsorted, key=network_order) == list(
        networks("10.0.0.0/8", "10.0.0.0/24", "10.2.0.0/16", "2001:db8::/64")
    )


def test_the_time_to_place_addresses_grows_with_their_number_and_not_with_that_of_networks_too():
    def seconds(count):
        many = [ip_address("10.0.0.0") + n for n in range(256 * count)]
        holders = {n: networks(f"10.0.{n}.0/24", f"2001:db8:{n}::/64") for n in range(count)}
        best = float("inf")
        for _ in range(3):
            began = perf_counter()
            placed = place(many, holders)
            best = min(best, perf_counter() - began)
            assert all(len(addresses) == 256 for addresses in placed.values())
        return best

    assert seconds(80) < 40 * seconds(10)  # 8 if linear, 64 if quadratic

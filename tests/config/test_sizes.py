"""How many addresses a pool can give out, as MetalLB v0.4.6 counts them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.config import parse
from metallb_cli.model import AddressRange, IPv4Network, Pool, Protocol
from tests.config.marked import pool


def size(*lines, **keys):
    return parse(pool(*lines, **keys)).config.pools[0].size()


@pytest.mark.parametrize(
    ("protocol", "addresses", "lines", "count"),
    [
        ("bgp", "[1.2.3.0/24]", (), 256),
        ("bgp", "[1.2.3.0/24, 2.3.4.128/25]", (), 384),
        ("bgp", "[1.2.3.0/24, 2.3.4.128/25]", ("avoid-buggy-ips: true",), 381),
        ("arp", "[1.2.3.0/24]", ("arp-network: 1.2.3.0/24",), 254),
        ("arp", "[1.2.3.0/25]", ("arp-network: 1.2.3.0/24",), 127),
        ("arp", "[1.2.3.0/24]", ("arp-network: 1.2.2.0/22",), 255),
        ("arp", "[1.2.3.0/24]", ("arp-network: 1.2.2.0/21",), 256),
        ("arp", "[1.2.3.0/24]", ("arp-network: 1.2.3.0/24", "avoid-buggy-ips: true"), 254),
        ("arp", "[1.2.3.0/24]", ("arp-network: 1.2.0.0/22", "avoid-buggy-ips: true"), 254),
        ("arp", "[192.168.1.240/28]", (), 15),
        ("layer2", "[0.0.0.0/0]", ("avoid-buggy-ips: true",), 2**32 - 2 * 2**24),
        ("layer2", "['2001:db8::/64']", (), 2**64),
        ("layer2", "['2001:db8::/64', 10.0.0.0/31]", ("avoid-buggy-ips: true",), 2**64 + 1),
        ("layer2", "['::/0']", (), 2**128),
        ("layer2", "[10.0.0.7-10.0.0.7]", (), 1),
    ],
)
def test_a_pool_counts_what_it_can_give_out(protocol, addresses, lines, count):
    assert size(*lines, protocol=protocol, addresses=addresses) == count


@given(
    st.integers(0, 1200),
    st.integers(0, 1200),
    st.booleans(),
    st.none() | st.tuples(st.integers(20, 32), st.integers(0, 1200)),
)
def test_the_arithmetic_agrees_with_counting(first, length, avoid_buggy_ips, arp):
    base = int(ip_address("10.0.0.0"))
    network = None if arp is None else IPv4Network((base + arp[1], arp[0]), strict=False)
    addresses = AddressRange(ip_address(base + first), ip_address(base + first + length))
    found = Pool("a", Protocol.ARP, (addresses,), avoid_buggy_ips=avoid_buggy_ips, arp_network=network)
    usable = sum(found.usable(ip_address(base + first + n)) for n in range(length + 1))
    assert (found.size(), found.size(4), found.size(6)) == (usable, usable, 0)

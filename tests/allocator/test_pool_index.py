from ipaddress import ip_address

import pytest

from metallb_cli.allocator import PoolIndex
from tests.allocator.build import pool

POOLS = (
    pool("b", "10.0.2.0/24", "10.0.0.0/24", avoid_buggy_ips=True),
    pool("a", "10.0.1.0/24", "::a00:100/120"),
)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.0", "b"),
        ("10.0.0.255", "b"),
        ("10.0.1.0", "a"),
        ("10.0.2.255", "b"),
        ("10.0.3.0", None),
        ("9.255.255.255", None),
        ("::a00:101", "a"),
        ("::a00:1", None),
        ("0.0.0.0", None),
        ("ffff::", None),
    ],
)
def test_an_address_is_found_in_its_pool_and_no_other(address, name):
    found = PoolIndex(POOLS).pool_of(ip_address(address))
    assert (found.name if found else None) == name


def test_a_reserved_address_is_in_the_pool_but_not_usable():
    index = PoolIndex(POOLS)
    assert index.pool_of(ip_address("10.0.0.255")).name == "b"
    assert index.usable_pool_of(ip_address("10.0.0.255")) is None
    assert index.usable_pool_of(ip_address("10.0.0.254")).name == "b"


def test_no_pools_contain_nothing():
    assert PoolIndex(()).pool_of(ip_address("10.0.0.1")) is None


def test_pools_that_overlap_or_share_a_name_are_a_defect_of_the_caller():
    with pytest.raises(ValueError, match="ranges of pools 'a' and 'b' overlap"):
        PoolIndex((pool("a", "10.0.0.0/24"), pool("b", "10.0.0.255/32")))
    with pytest.raises(ValueError, match="same name"):
        PoolIndex((pool("a", "10.0.0.0/24"), pool("a", "10.0.1.0/24")))

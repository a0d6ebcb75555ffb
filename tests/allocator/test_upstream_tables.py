"""MetalLB's own allocator tests (v0.4.6), table by table, as behaviour."""

import pytest

from metallb_cli.allocator import AllocationRefused, Allocator
from metallb_cli.model import Protocol, Reason
from tests.allocator.build import give, holding, key, pool, request


def assign(allocator, name, address):
    """True when the Service got exactly this address; on a refusal nothing may have changed."""
    before = holding(allocator, name)
    try:
        assert give(allocator, name, address) == address
    except AllocationRefused:
        assert holding(allocator, name) == before
        return False
    return holding(allocator, name)[0] == address


def test_a1_a_service_gets_the_address_it_asks_for_unless_it_is_taken_or_reserved():
    allocator = Allocator((pool("test", "1.2.3.4/31"), pool("test2", "1.2.4.0/24", avoid_buggy_ips=True)))
    assert assign(allocator, "s1", "1.2.3.4")
    assert assign(allocator, "s1", "1.2.3.4"), "asking again changes nothing"
    assert not assign(allocator, "s2", "1.2.3.4")
    assert assign(allocator, "s2", "1.2.3.5")
    assert not assign(allocator, "s1", "1.2.3.5")
    assert holding(allocator, "s1") == ("1.2.3.4", "test")
    allocator.release(key("s1"))
    assert assign(allocator, "s2", "1.2.3.4")
    assert assign(allocator, "s1", "1.2.3.5")
    assert not assign(allocator, "s3", "1.2.4.0")
    assert not assign(allocator, "s3", "1.2.4.255")
    assert assign(allocator, "s3", "1.2.4.254")


def four_addresses_for_six_services(allocator, **wish):
    got = {give(allocator, f"s{n}", **wish) for n in range(1, 5)}
    assert got == {"1.2.3.4", "1.2.3.5", "1.2.3.10", "1.2.3.11"}
    for late in ("s5", "s6"):
        with pytest.raises(AllocationRefused):
            allocator.find(request(late, **wish))
    freed = holding(allocator, "s1")[0]
    allocator.release(key("s1"))
    assert give(allocator, "s5", **wish) == freed
    with pytest.raises(AllocationRefused):
        allocator.find(request("s6", **wish))


def test_a2_a_pool_named_by_the_service_is_the_only_one_used():
    allocator = Allocator(
        (
            pool("not_this_one", "192.168.0.0/16"),
            pool("test", "1.2.3.4/31", "1.2.3.10/31"),
            pool("test2", "10.20.30.0/24"),
        )
    )
    four_addresses_for_six_services(allocator, pool="test")
    allocator.release(key("s5"))
    with pytest.raises(AllocationRefused) as refused:
        allocator.find(request("s5", pool="nonexistentpool"))
    assert refused.value.reason is Reason.UNKNOWN_POOL


def test_a3_any_pool_is_used_until_all_are_full():
    four_addresses_for_six_services(Allocator((pool("test1", "1.2.3.4/31"), pool("test2", "1.2.3.10/31"))))


@pytest.mark.parametrize(
    "rule", [{"avoid_buggy_ips": True}, {"arp_network": "1.2.4.0/24", "protocol": Protocol.ARP}], ids=["a4", "a5"]
)
def test_a4_a5_reserved_addresses_are_never_given_out(rule):
    allocator = Allocator(
        (
            pool("test", "1.2.3.0/31"),
            pool("test2", "1.2.3.254/31"),
            pool("test3", "1.2.4.0/31", **rule),
            pool("test4", "1.2.4.254/31", **rule),
        )
    )
    got = {give(allocator, f"s{n}") for n in range(1, 7)}
    assert got == {"1.2.3.0", "1.2.3.1", "1.2.3.254", "1.2.3.255", "1.2.4.1", "1.2.4.254"}
    with pytest.raises(AllocationRefused):
        allocator.find(request("s7"))


A6 = [
    ((pool("test", "1.2.3.0/30"),), "test"),
    ((pool("test", "1.2.3.0/24"),), "test"),
    ((pool("test", "1.2.3.0/30"),), "test"),
    ((pool("test", "1.2.3.2/31"),), None),
    ((pool("test2", "1.2.3.0/30"),), "test2"),
    ((pool("test", "1.2.3.0/31"), pool("test2", "1.2.3.2/31")), "test"),
    ((pool("test2", "1.2.3.0/31"), pool("test", "1.2.3.2/31")), "test2"),
    ((pool("test", "1.2.3.2/31"),), None),
    ((pool("test2", "1.2.3.0/31"),), "test2"),
    ((pool("test2", "1.2.3.0/31", avoid_buggy_ips=True),), None),
]


def test_a6_a_new_configuration_never_takes_an_address_away():
    """Where v0.4.6 rejected the configuration, the address is stranded: still held, in no pool."""
    allocator = Allocator((pool("test", "1.2.3.0/30"),))
    assert assign(allocator, "s1", "1.2.3.0")
    before = "test"
    for pools, expected in A6:
        stranded = allocator.set_pools(pools)
        assert holding(allocator, "s1") == ("1.2.3.0", expected)
        assert [a.service for a in stranded] == ([key("s1")] if expected is None and before is not None else [])
        assert sum(usage.used for usage in allocator.usage().values()) == (expected is not None)
        before = expected


def test_a7_a_pool_without_auto_assign_is_never_chosen():
    allocator = Allocator((pool("test1", "1.2.3.4/31", auto_assign=False), pool("test2", "1.2.3.10/31")))
    assert {give(allocator, "s1"), give(allocator, "s2")} == {"1.2.3.10", "1.2.3.11"}
    for late in ("s3", "s4", "s5"):
        with pytest.raises(AllocationRefused):
            allocator.find(request(late))


@pytest.mark.parametrize(
    ("counted", "want"),
    [
        (pool("p", "1.2.3.0/24", protocol=Protocol.BGP), 256),
        (pool("p", "1.2.3.0/24", "2.3.4.128/25", protocol=Protocol.BGP), 384),
        (pool("p", "1.2.3.0/24", "2.3.4.128/25", protocol=Protocol.BGP, avoid_buggy_ips=True), 381),
        (pool("p", "1.2.3.0/24", arp_network="1.2.3.0/24"), 254),
        (pool("p", "1.2.3.0/25", arp_network="1.2.3.0/24"), 127),
        (pool("p", "1.2.3.0/24", arp_network="1.2.0.0/22"), 255),
        (pool("p", "1.2.3.0/24", arp_network="1.2.0.0/21"), 256),
    ],
)
def test_a8_the_size_of_a_pool_leaves_out_what_is_never_given_out(counted, want):
    assert Allocator((counted,)).usage()["p"].total_v4 == want

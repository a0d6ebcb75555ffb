import dataclasses
from ipaddress import ip_address

import pytest

from metallb_cli.allocator import Allocation, AllocationRefused, Allocator, PoolUsage, Request
from metallb_cli.model import Reason, ServicePort
from tests.allocator.build import give, holding, key, pool, request

DEFAULT = pool("default", "172.30.1.96-172.30.1.127")


def refusal(allocator, *args, **options):
    with pytest.raises(AllocationRefused) as refused:
        allocator.find(request(*args, **options))
    return refused.value


def test_the_first_service_gets_the_first_address():
    assert give(Allocator((DEFAULT,)), "web") == "172.30.1.96"


def test_pools_and_ranges_are_used_in_configuration_order_and_addresses_ascending():
    allocator = Allocator((pool("b", "10.0.0.8/31", "10.0.0.2/31"), pool("a", "10.0.0.0/31")))
    assert [give(allocator, f"s{n}") for n in range(6)] == [
        "10.0.0.8", "10.0.0.9", "10.0.0.2", "10.0.0.3", "10.0.0.0", "10.0.0.1",
    ]  # fmt: skip


def test_an_address_that_became_free_is_given_out_next():
    allocator = Allocator((DEFAULT,))
    for n in range(32):
        give(allocator, f"s{n}")
    for n in (20, 7, 31):
        allocator.release(key(f"s{n}"))
    assert [give(allocator, f"t{n}") for n in range(3)] == ["172.30.1.103", "172.30.1.116", "172.30.1.127"]


def test_a_service_that_fits_keeps_what_it_has():
    allocator = Allocator((DEFAULT,))
    give(allocator, "other")
    assert give(allocator, "web") == "172.30.1.97"
    allocator.release(key("other"))
    assert give(allocator, "web") == "172.30.1.97"


def test_a_service_that_asks_for_another_pool_is_found_another_address():
    allocator = Allocator((DEFAULT, pool("special", "10.0.0.0/30", auto_assign=False)))
    give(allocator, "web")
    assert give(allocator, "web", pool="special") == "10.0.0.0"
    assert allocator.holders(ip_address("172.30.1.96")) == ()
    assert allocator.holders(ip_address("10.0.0.0")) == (key("web"),)


def test_a_service_keeps_its_place_in_a_pool_that_no_longer_assigns_by_itself():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    allocator.set_pools((dataclasses.replace(DEFAULT, auto_assign=False), pool("new", "10.0.0.0/24")))
    assert give(allocator, "web") == "172.30.1.96"


def test_an_address_of_a_pool_without_auto_assign_can_be_asked_for():
    allocator = Allocator((pool("manual", "10.0.0.0/24", auto_assign=False),))
    assert give(allocator, "web", "10.0.0.7") == "10.0.0.7"


def test_the_service_gets_an_address_of_its_own_ip_version():
    allocator = Allocator((pool("mixed", "10.0.0.0/31", "2001:db8::/126"),))
    assert give(allocator, "v6", versions=(6,)) == "2001:db8::"
    assert give(allocator, "v4", versions=(4,)) == "10.0.0.0"
    assert give(allocator, "any", versions=()) == "10.0.0.1"
    assert give(allocator, "any2", versions=()) == "2001:db8::1"


def test_a_pool_that_is_full_says_so():
    allocator = Allocator((DEFAULT,))
    for n in range(32):
        give(allocator, f"s{n}")
    refused = refusal(allocator, "late")
    assert refused.reason is Reason.POOL_EXHAUSTED
    assert str(refused) == (
        'pool "default" (172.30.1.96-172.30.1.127) is full: 32 of 32 addresses are in use; '
        "add addresses to a pool, or delete a Service that no longer needs one"
    )


def test_a_mixed_pool_that_is_full_for_one_ip_version_says_for_which():
    allocator = Allocator((pool("mixed", "10.0.0.0/32", "2001:db8::/64"),))
    give(allocator, "web")
    assert "is full: 1 of 1 IPv4 addresses are in use" in str(refusal(allocator, "late"))


def test_many_full_pools_are_named_up_to_three():
    allocator = Allocator(tuple(pool(f"p{n}", f"10.0.{n}.0/32") for n in range(5)))
    for n in range(5):
        give(allocator, f"s{n}")
    text = str(refusal(allocator, "late"))
    assert text.count("is full: 1 of 1 addresses are in use") == 3
    assert "; and 2 more; add addresses" in text


def test_the_holder_of_a_wanted_address_is_named():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web", "172.30.1.100")
    refused = refusal(allocator, "late", "172.30.1.100")
    assert refused.reason is Reason.ADDRESS_IN_USE
    assert str(refused).startswith("172.30.1.100 is in use by default/web; ")


def test_a_kept_address_in_no_pool_is_in_use_before_anything_else():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    allocator.set_pools(())
    assert refusal(allocator, "late", "172.30.1.96").reason is Reason.ADDRESS_IN_USE


@pytest.mark.parametrize(
    ("pools", "wish", "reason", "text"),
    [
        ((), {}, Reason.NO_POOL, "the configuration has no address pool; add one"),
        (
            (pool("a", "10.0.0.0/24", auto_assign=False),),
            {},
            Reason.NO_POOL,
            'no pool may be used without being asked for: auto-assign is false in pool "a" (10.0.0.0-10.0.0.255); name',
        ),
        ((DEFAULT,), {"pool": "x"}, Reason.UNKNOWN_POOL, 'pool "x" does not exist: the configuration has pool "def'),
        ((), {"pool": "x"}, Reason.UNKNOWN_POOL, 'pool "x" does not exist: the configuration has none'),
        ((DEFAULT,), {"versions": (6,)}, Reason.FAMILY_MISMATCH, "has no IPv6 address to give out; add IPv6 addresses"),
        (
            (pool("ends", "10.0.0.0/32", avoid_buggy_ips=True),),
            {"versions": ()},
            Reason.FAMILY_MISMATCH,
            'pool "ends" (10.0.0.0) has no address to give out; add addresses',
        ),
        ((DEFAULT,), {"versions": (4, 6)}, Reason.INVALID_REQUEST, "one of each IP version is asked for; set spec.ip"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_says_why_and_what_to_do(pools, wish, reason, text):
    refused = refusal(Allocator(pools), "web", **wish)
    assert refused.reason is reason
    assert text in str(refused)


@pytest.mark.parametrize(
    ("address", "wish", "reason", "text"),
    [
        ("1.1.1.1", {}, Reason.ADDRESS_NOT_IN_POOL, '1.1.1.1 is in no pool: the configuration has pool "buggy" ('),
        ("10.0.0.255", {}, Reason.ADDRESS_RESERVED, "never gives out 10.0.0.255: avoid-buggy-ips leaves out"),
        ("10.1.0.0", {}, Reason.ADDRESS_RESERVED, "it is the first address of arp-network 10.1.0.0/24"),
        ("10.1.0.255", {}, Reason.ADDRESS_RESERVED, "it is the last address of arp-network 10.1.0.0/24"),
        ("10.1.0.7", {"pool": "buggy"}, Reason.ADDRESS_NOT_IN_POOL, 'is in pool "arp" (10.1.0.0-10.1.0.255), not in '),
        ("10.1.0.7", {"pool": "nil"}, Reason.UNKNOWN_POOL, 'pool "nil" does not exist'),
        ("10.1.0.7", {"versions": (6,)}, Reason.FAMILY_MISMATCH, "10.1.0.7 is IPv4, but the Service is IPv6"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_given_out_says_why(address, wish, reason, text):
    allocator = Allocator(
        (pool("buggy", "10.0.0.0/24", avoid_buggy_ips=True), pool("arp", "10.1.0.0/24", arp_network="10.1.0.0/24"))
    )
    refused = refusal(allocator, "web", address, **wish)
    assert refused.reason is reason
    assert text in str(refused)


def test_a_second_address_is_refused_for_now():
    refused = refusal(Allocator((DEFAULT,)), "web", "172.30.1.96", "172.30.1.97")
    assert refused.reason is Reason.INVALID_REQUEST
    assert "a Service can have one address, and 2 are asked for (172.30.1.96, 172.30.1.97)" in str(refused)


def test_sharing_an_address_is_refused_for_now_even_with_equal_keys():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web", sharing_key="k", ports=(ServicePort("TCP", 80),))
    refused = refusal(allocator, "dns", "172.30.1.96", sharing_key="k", ports=(ServicePort("UDP", 53),))
    assert refused.reason is Reason.ADDRESS_IN_USE


def test_check_says_whether_a_service_may_hold_an_address_and_changes_nothing():
    allocator = Allocator((DEFAULT,))
    address = ip_address("172.30.1.99")
    assert allocator.check(request("web"), (address,)) == Allocation(key("web"), (address,), "default")
    assert allocator.holders(address) == ()
    with pytest.raises(AllocationRefused) as refused:
        allocator.check(request("web", "172.30.1.98"), (address,))
    assert str(refused.value) == "the Service asks for 172.30.1.98, not for 172.30.1.99; give it 172.30.1.98"
    with pytest.raises(AllocationRefused):
        allocator.check(request("web"), ())


def test_what_two_sharing_services_must_agree_on_is_remembered():
    allocator = Allocator((DEFAULT,))
    wish = Request(key("web"), ports=(ServicePort("TCP", 80),), sharing_key="k", backend_key="app=web")
    allocator.commit(allocator.find(wish))
    held = allocator.allocation(key("web"))
    assert (held.ports, held.sharing_key, held.backend_key) == (wish.ports, "k", "app=web")


def test_a_commit_that_would_take_an_address_from_its_holder_is_refused_and_changes_nothing():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    late = allocator.find(request("late"))
    give(allocator, "quick", str(late.addresses[0]))
    give(allocator, "late", "172.30.1.110")
    with pytest.raises(AllocationRefused, match="in use by default/quick"):
        allocator.commit(late)
    assert holding(allocator, "late") == ("172.30.1.110", "default")


def test_an_address_in_no_pool_can_be_adopted_and_is_stranded():
    allocator = Allocator((DEFAULT,))
    allocator.commit(Allocation(key("old"), (ip_address("9.9.9.9"),), "gone"))
    assert holding(allocator, "old") == ("9.9.9.9", None)
    assert allocator.usage()["default"].used == 0
    assert allocator.release(key("old")).addresses == (ip_address("9.9.9.9"),)
    assert allocator.holders(ip_address("9.9.9.9")) == ()


def test_several_addresses_are_held_and_given_back_together():
    """Nothing finds them yet, but the books are ready: they have a pool when all are in the same one."""
    allocator = Allocator((pool("dual", "10.0.0.0/30", "2001:db8::/126"), DEFAULT))
    for other, expected in (("2001:db8::1", "dual"), ("172.30.1.96", None)):
        both = (ip_address("10.0.0.1"), ip_address(other))
        allocator.commit(Allocation(key("web"), both, "dual"))
        assert allocator.allocation(key("web")) == Allocation(key("web"), both, expected)
        assert all(allocator.holders(address) == (key("web"),) for address in both)
        assert allocator.usage()["dual"].used + allocator.usage()["default"].used == 2
    allocator.release(key("web"))
    assert not any(usage.used for usage in allocator.usage().values())


def test_releasing_a_service_that_has_nothing_is_no_error():
    assert Allocator().release(key("nobody")) is None


def test_a_stranded_address_comes_back_when_a_pool_contains_it_again():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    assert [a.service for a in allocator.set_pools(())] == [key("web")]
    assert allocator.set_pools(()) == (), "it is told once"
    assert holding(allocator, "web") == ("172.30.1.96", None)
    assert allocator.set_pools((DEFAULT,)) == ()
    assert holding(allocator, "web") == ("172.30.1.96", "default")
    assert give(allocator, "next") == "172.30.1.97"


def test_stranded_allocations_are_listed_by_service():
    allocator = Allocator((DEFAULT,))
    for name in ("c", "a", "b"):
        give(allocator, name)
    assert [a.service.name for a in allocator.set_pools(())] == ["a", "b", "c"]


def test_a_stranded_service_that_is_planned_again_is_found_a_new_address():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    allocator.set_pools((pool("new", "10.0.0.0/24"),))
    assert give(allocator, "web") == "10.0.0.0"


def test_usage_counts_by_ip_version():
    allocator = Allocator((pool("mixed", "10.0.0.0/24", "2001:db8::/120", avoid_buggy_ips=True), DEFAULT))
    give(allocator, "a")
    give(allocator, "b", versions=(6,))
    usage = allocator.usage()
    assert list(usage) == ["mixed", "default"]
    assert usage["mixed"] == PoolUsage(total_v4=254, used_v4=1, total_v6=256, used_v6=1)
    assert (usage["mixed"].free_v4, usage["mixed"].free_v6) == (253, 255)
    assert (usage["mixed"].total, usage["mixed"].used) == (510, 2)


def test_a_huge_pool_costs_nothing_until_it_is_used():
    allocator = Allocator((pool("v6", "2001:db8::/32"), pool("v4", "10.0.0.0/8", avoid_buggy_ips=True)))
    assert allocator.usage()["v6"].total_v6 == 2**96
    assert allocator.usage()["v4"].total_v4 == 2**24 - 2 * 2**16
    assert give(allocator, "last", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", versions=(6,)).endswith("ffff")
    assert give(allocator, "first", versions=(6,)) == "2001:db8::"


def test_every_address_of_a_pool_is_given_out_once_and_no_reserved_one():
    allocator = Allocator((pool("p", "10.0.0.0/22", avoid_buggy_ips=True, arp_network="10.0.0.0/21"),))
    given = [give(allocator, f"s{n}") for n in range(allocator.usage()["p"].total)]
    assert len(set(given)) == len(given) == 1024 - 8
    assert not any(address.endswith((".0", ".255")) for address in given)
    assert refusal(allocator, "late").reason is Reason.POOL_EXHAUSTED

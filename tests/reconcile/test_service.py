from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.allocator import Allocator
from metallb_cli.model import Reason, Severity, TrafficPolicy
from metallb_cli.reconcile.service import Stranded
from tests.allocator.build import give, holding, key, pool
from tests.reconcile.build import DEFAULT, SMALL, apply, plan, reasons, service, settled, warnings

# -- a new Service


def test_a_new_service_gets_an_address_and_is_told():
    done = plan(service("web"), Allocator((DEFAULT,)))
    assert done.reason is Reason.ALLOCATED
    assert done.write
    assert [str(a) for a in done.addresses] == ["172.30.1.96"]
    assert done.pool == "default"
    assert [(n.reason, n.message, n.severity) for n in done.notices] == [
        (Reason.ALLOCATED, 'Assigned IP "172.30.1.96" from pool "default"', Severity.NORMAL)
    ]


def test_a_settled_service_is_left_in_peace():
    allocator = Allocator((DEFAULT,))
    after = apply(service("web"), allocator)
    done = plan(after, allocator)
    assert not done.write
    assert not done.release
    assert done.notices == ()
    assert done.reason is Reason.ALLOCATED


def test_planning_changes_nothing():
    allocator = Allocator((DEFAULT,))
    first = plan(service("web"), allocator)
    assert plan(service("web"), allocator) == first
    assert allocator.allocation(key("web")) is None


def test_the_traffic_policy_plays_no_part():
    allocator = Allocator((DEFAULT,))
    assert plan(service("web", traffic_policy=TrafficPolicy.LOCAL), allocator) == plan(service("web"), allocator)


@pytest.mark.parametrize("versions", [(4,), (6,), ()])
def test_the_address_is_of_the_primary_ip_version(versions):
    allocator = Allocator((pool("six", "2001:db8::/64"), DEFAULT))
    done = plan(service("web", versions=versions), allocator)
    assert done.addresses[0].version == (4 if versions == (4,) else 6)


def test_a_dual_stack_service_gets_its_primary_version_only_and_is_told_so():
    done = plan(service("web", versions=(6, 4)), Allocator((DEFAULT, pool("six", "2001:db8::/64"))))
    assert done.message == 'Assigned IP "2001:db8::" from pool "six" (IPv6 only: a Service can have one address)'


def test_a_dual_stack_service_may_ask_for_an_address_of_its_other_version():
    allocator = Allocator((DEFAULT, pool("six", "2001:db8::/64")))
    wanted = service("web", versions=(4, 6), requested=("2001:db8::7",))
    subject, done = settled(wanted, allocator)
    assert [str(a) for a in subject.ingress] == ["2001:db8::7"]
    assert done.reason is Reason.ALLOCATED


def test_a_service_that_requires_dual_stack_is_refused_for_now():
    done = plan(service("web", versions=(4, 6), requires_dual_stack=True), Allocator((DEFAULT,)))
    assert done.reason is Reason.INVALID_REQUEST
    assert "set spec.ipFamilyPolicy to SingleStack or PreferDualStack" in done.remedy
    assert not done.waiting


# -- wishes


def test_the_requested_address_is_given():
    done = plan(service("web", requested=("172.30.1.100",)), Allocator((DEFAULT,)))
    assert [str(a) for a in done.addresses] == ["172.30.1.100"]


def test_the_requested_pool_is_used_even_without_auto_assign():
    allocator = Allocator((DEFAULT, replace(SMALL, auto_assign=False)))
    done = plan(service("web", requested_pool="small"), allocator)
    assert ([str(a) for a in done.addresses], done.pool) == (["10.0.0.1"], "small")


def test_an_address_outside_the_requested_pool_is_refused():
    done = plan(service("web", requested=("172.30.1.96",), requested_pool="small"), Allocator((DEFAULT, SMALL)))
    assert done.reason is Reason.ADDRESS_NOT_IN_POOL
    assert 'not in the requested pool "small"' in done.message


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"requested": ("10.0.0.300",)}, Reason.INVALID_REQUEST, 'the requested address "10.0.0.300" is no IP address'),
        ({"requested": ("",)}, Reason.INVALID_REQUEST, 'the requested address "" is no IP address'),
        ({"requested": ("10.0.0.1", "10.0.0.2")}, Reason.INVALID_REQUEST, "2 are asked for (10.0.0.1, 10.0.0.2)"),
        ({"requested": ("10.0.0.1",), "requested_twice": True}, Reason.INVALID_REQUEST, "remove one of them"),
        ({"requested": ("10.0.0.9",)}, Reason.ADDRESS_NOT_IN_POOL, "10.0.0.9 is in no pool"),
        ({"requested": ("2001:db8::1",)}, Reason.ADDRESS_NOT_IN_POOL, "2001:db8::1 is in no pool"),
        ({"requested_pool": "nil"}, Reason.UNKNOWN_POOL, 'pool "nil" does not exist'),
        ({"versions": (6,)}, Reason.FAMILY_MISMATCH, "no IPv6 address to give out"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_with_its_reason(fields, reason, text):
    done = plan(service("web", **fields), Allocator((SMALL,)))
    assert done.reason is reason
    assert done.message.startswith('Failed to allocate IP for "default/web": ')
    assert text in done.message
    assert done.message.endswith(done.remedy)
    assert [n.message for n in warnings(done)] == [done.message]
    assert (done.addresses, done.allocation, done.write, done.release, done.waiting) == ((), None, False, False, False)


# -- waiting


def test_a_service_that_finds_the_pool_full_waits_and_says_the_same_each_time():
    allocator = Allocator((SMALL,))
    first = service("a")
    for subject in (first, service("b")):
        apply(subject, allocator)
    done = plan(service("late"), allocator)
    assert done.reason is Reason.POOL_EXHAUSTED
    assert done.waiting
    assert "2 of 2 addresses are in use" in done.message
    assert plan(service("late"), allocator) == done
    allocator.release(first.key)
    assert [str(a) for a in plan(service("late"), allocator).addresses] == ["10.0.0.1"]


def test_a_service_that_wants_a_taken_address_waits_for_it():
    allocator = Allocator((SMALL,))
    give(allocator, "a", "10.0.0.2")
    done = plan(service("late", requested=("10.0.0.2",)), allocator)
    assert done.reason is Reason.ADDRESS_IN_USE
    assert "in use by default/a" in done.message
    assert done.waiting


# -- adoption


def test_an_address_assigned_by_somebody_before_us_is_adopted_once():
    allocator = Allocator((DEFAULT,))
    done = plan(service("web", "172.30.1.110"), allocator)
    assert done.reason is Reason.ADOPTED
    assert done.write, "our annotation is written"
    assert done.notices[0].message == 'Adopted IP "172.30.1.110" from pool "default", which the Service had already'
    subject, done = settled(service("web", "172.30.1.110"), allocator)
    assert subject.allocated_pool == "default"
    assert done.reason is Reason.ALLOCATED


def test_an_address_of_ours_is_taken_over_silently():
    done = plan(service("web", "172.30.1.110", allocated_pool="default"), Allocator((DEFAULT,)))
    assert (done.reason, done.write, done.notices) == (Reason.ALLOCATED, False, ())
    assert done.allocation is not None


def test_a_renamed_pool_changes_the_annotation_and_nothing_else():
    done = plan(service("web", "172.30.1.110", allocated_pool="old-name"), Allocator((DEFAULT,)))
    assert (done.write, done.pool, done.notices) == (True, "default", ())
    assert [str(a) for a in done.addresses] == ["172.30.1.110"]


def test_an_address_that_another_service_holds_is_replaced_and_the_holder_named():
    allocator = Allocator((DEFAULT,))
    give(allocator, "first")
    done = plan(service("web", "172.30.1.96", allocated_pool="default"), allocator)
    assert reasons(done) == [Reason.CLEARED, Reason.ALLOCATED]
    assert done.notices[0].message == 'Cleared IP "172.30.1.96": 172.30.1.96 is in use by default/first'
    assert done.notices[0].severity is Severity.WARNING
    assert [str(a) for a in done.addresses] == ["172.30.1.97"]


def test_a_service_that_insists_on_an_address_it_lost_has_none_and_waits():
    allocator = Allocator((DEFAULT,))
    give(allocator, "first")
    done = plan(service("web", "172.30.1.96", requested=("172.30.1.96",), allocated_pool="default"), allocator)
    assert (done.reason, done.addresses, done.write, done.waiting) == (Reason.ADDRESS_IN_USE, (), True, True)


def test_what_the_allocator_holds_counts_before_a_status_that_lags_behind():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web", "172.30.1.100")
    stale = service("web", "172.30.1.96", allocated_pool="default")
    assert [str(a) for a in plan(stale, allocator).addresses] == ["172.30.1.100"]
    cleared = service("web", allocated_pool="default")
    done = plan(cleared, allocator)
    assert ([str(a) for a in done.addresses], done.write) == (["172.30.1.100"], True)
    assert [n.message for n in done.notices] == ['Assigned IP "172.30.1.100" from pool "default"']


# -- a status that is not ours


def test_of_several_addresses_the_first_that_may_be_kept_is_kept():
    allocator = Allocator((DEFAULT,))
    give(allocator, "first")
    done = plan(service("web", "1.1.1.1", "172.30.1.96", "172.30.1.98", "172.30.1.97"), allocator)
    assert [str(a) for a in done.addresses] == ["172.30.1.98"]
    assert done.write
    assert (
        done.notices[0].message == 'Cleared IP "1.1.1.1", "172.30.1.96", "172.30.1.97": a Service can have one address'
    )


def test_of_several_addresses_the_requested_one_is_kept():
    wanted = service("web", "172.30.1.97", "172.30.1.98", requested=("172.30.1.98",))
    done = plan(wanted, Allocator((DEFAULT,)))
    assert [str(a) for a in done.addresses] == ["172.30.1.98"]
    assert reasons(done) == [Reason.CLEARED, Reason.ADOPTED], "it is kept, not moved to"


def test_of_several_addresses_one_that_fits_is_kept_when_the_wish_cannot_be_met():
    wanted = service("web", "1.1.1.1", "172.30.1.98", requested_pool="nil")
    assert [str(a) for a in plan(wanted, Allocator((DEFAULT,))).addresses] == ["172.30.1.98"]


def test_a_foreign_hostname_is_replaced_by_an_address():
    allocator = Allocator((DEFAULT,))
    done = plan(service("web", foreign_ingress=True), allocator)
    assert done.write
    assert reasons(done) == [Reason.CLEARED, Reason.ALLOCATED]
    kept = plan(service("web", "172.30.1.99", foreign_ingress=True, allocated_pool="default"), allocator)
    assert (kept.write, [str(a) for a in kept.addresses]) == (True, ["172.30.1.99"])


def test_a_foreign_hostname_is_removed_even_if_no_address_can_be_had():
    done = plan(service("web", foreign_ingress=True), Allocator())
    assert (done.reason, done.write, done.addresses) == (Reason.NO_POOL, True, ())


# -- the configuration changes


def stranded_service(allocator, **fields):
    subject = apply(service("web", **fields), allocator)
    allocator.set_pools((SMALL,))
    return subject


def test_a_stranded_address_is_kept_by_default_and_said():
    allocator = Allocator((DEFAULT,))
    subject = stranded_service(allocator)
    done = plan(subject, allocator)
    assert done.reason is Reason.STRANDED
    assert not done.write
    assert ([str(a) for a in done.addresses], done.pool) == (["172.30.1.96"], "default")
    assert "it is kept, although the configuration does not allow it any more" in warnings(done)[0].message
    assert apply(subject, allocator) == subject
    assert holding(allocator, "web") == ("172.30.1.96", None)
    assert plan(subject, allocator) == done


def test_a_stranded_address_is_kept_through_a_restart_of_the_controller():
    subject = stranded_service(Allocator((DEFAULT,)))
    done = plan(subject, Allocator((SMALL,)))
    assert (done.reason, done.write, done.addresses) == (Reason.STRANDED, False, subject.ingress)


def test_a_stranded_address_is_kept_when_the_last_pool_is_deleted():
    allocator = Allocator((DEFAULT,))
    subject = apply(service("web"), allocator)
    allocator.set_pools(())
    for state in (allocator, Allocator()):
        assert plan(subject, state).addresses == subject.ingress


def test_a_stranded_address_in_a_pool_again_is_as_before():
    allocator = Allocator((DEFAULT,))
    subject = stranded_service(allocator)
    allocator.set_pools((SMALL, DEFAULT))
    done = plan(subject, allocator)
    assert (done.reason, done.write, done.notices) == (Reason.ALLOCATED, False, ())


def test_a_reserved_address_is_stranded_like_one_in_no_pool():
    allocator = Allocator((pool("p", "10.0.0.0/24"),))
    subject = apply(service("web"), allocator)
    allocator.set_pools((pool("p", "10.0.0.0/24", avoid_buggy_ips=True),))
    done = plan(subject, allocator)
    assert done.reason is Reason.STRANDED
    assert "avoid-buggy-ips" in done.message


def test_with_reassign_a_stranded_address_is_replaced():
    allocator = Allocator((DEFAULT,))
    subject = stranded_service(allocator)
    done = plan(subject, allocator, stranded=Stranded.REASSIGN)
    assert reasons(done) == [Reason.CLEARED, Reason.ALLOCATED]
    assert ([str(a) for a in done.addresses], done.pool, done.write) == (["10.0.0.1"], "small", True)


def test_with_reassign_a_stranded_address_is_given_up_even_for_nothing():
    allocator = Allocator((DEFAULT,))
    subject = stranded_service(allocator)
    allocator.set_pools(())
    done = plan(subject, allocator, stranded=Stranded.REASSIGN)
    assert (done.reason, done.addresses, done.write, done.release) == (Reason.NO_POOL, (), True, True)


@pytest.mark.parametrize("policy", Stranded)
def test_an_address_in_no_pool_that_we_never_assigned_is_left_alone(policy):
    subject = service("web", "203.0.113.7")
    allocator = Allocator((DEFAULT,))
    done = plan(subject, allocator, stranded=policy)
    assert done.reason is Reason.ADDRESS_NOT_IN_POOL
    assert (done.addresses, done.allocation, done.write, done.release) == (subject.ingress, None, False, False)
    assert "was not assigned here and is left as it is, but not announced" in warnings(done)[0].message
    assert apply(subject, allocator) == subject


def test_foreign_entries_beside_an_address_that_we_never_assigned_are_left_alone_too():
    subject = service("web", "203.0.113.7", "203.0.113.8", foreign_ingress=True)
    done = plan(subject, Allocator((DEFAULT,)))
    assert (done.write, done.addresses) == (False, subject.ingress)


def test_an_address_held_but_never_published_is_simply_replaced_when_stranded():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web")
    allocator.set_pools((SMALL,))
    done = plan(service("web"), allocator)
    assert ([str(a) for a in done.addresses], done.write) == (["10.0.0.1"], True)


def test_a_stranded_service_with_an_unchanged_pool_wish_stays():
    allocator = Allocator((DEFAULT,))
    subject = apply(service("web", requested_pool="default"), allocator)
    allocator.set_pools((pool("default", "172.30.1.97-172.30.1.127"),))
    assert plan(subject, allocator).addresses == subject.ingress


def test_a_stranded_service_that_asks_for_something_else_moves_there():
    allocator = Allocator((DEFAULT,))
    subject = replace(stranded_service(allocator), requested_pool="small")
    done = plan(subject, allocator)
    assert ([str(a) for a in done.addresses], done.reason) == (["10.0.0.1"], Reason.ALLOCATED)


def test_a_stranded_address_of_the_wrong_ip_version_is_replaced_when_it_can_be():
    allocator = Allocator((pool("six", "2001:db8::/64"),))
    subject = apply(service("web", versions=(6,)), allocator)
    allocator.set_pools((SMALL,))
    done = plan(replace(subject, versions=(4,)), allocator)
    assert [str(a) for a in done.addresses] == ["10.0.0.1"]
    allocator.set_pools(())
    assert plan(replace(subject, versions=(4,)), allocator).addresses == subject.ingress


def test_a_stranded_service_that_asks_for_what_is_taken_stays_and_waits():
    allocator = Allocator((DEFAULT,))
    subject = replace(stranded_service(allocator), requested=("10.0.0.2",))
    give(allocator, "other", "10.0.0.2")
    done = plan(subject, allocator)
    assert (done.reason, done.addresses, done.waiting) == (Reason.STRANDED, subject.ingress, True)
    assert "Besides, the Service asks for something else, which it cannot have: 10.0.0.2 is in use by" in done.message


# -- the Service changes its wish


@pytest.mark.parametrize(
    ("wish", "address"),
    [({"requested": ("172.30.1.120",)}, "172.30.1.120"), ({"requested_pool": "small"}, "10.0.0.1")],
)
def test_a_changed_wish_moves_the_service(wish, address):
    allocator = Allocator((DEFAULT, SMALL))
    subject = replace(apply(service("web"), allocator), **wish)
    done = plan(subject, allocator)
    assert [n.message for n in done.notices] == [
        f'Assigned IP "{address}" from pool "{done.pool}" in place of "172.30.1.96"'
    ]
    apply(subject, allocator)
    assert allocator.holders(ip_address("172.30.1.96")) == ()


@pytest.mark.parametrize(
    ("wish", "reason", "waiting"),
    [
        ({"requested": ("10.0.0.2",)}, Reason.ADDRESS_IN_USE, True),
        ({"requested_pool": "full"}, Reason.POOL_EXHAUSTED, True),
        ({"requested_pool": "nil"}, Reason.UNKNOWN_POOL, False),
        ({"requested": ("1.1.1.1",)}, Reason.ADDRESS_NOT_IN_POOL, False),
        ({"requested": ("nonsense",)}, Reason.INVALID_REQUEST, False),
        ({"requested_twice": True}, Reason.INVALID_REQUEST, False),
        ({"versions": (6,)}, Reason.FAMILY_MISMATCH, False),
    ],
)
def test_a_changed_wish_that_cannot_be_met_takes_nothing_away(wish, reason, waiting):
    allocator = Allocator((DEFAULT, pool("full", "10.0.0.2/32")))
    give(allocator, "other", "10.0.0.2")
    before = apply(service("web"), allocator)
    subject = replace(before, **wish)
    done = plan(subject, allocator)
    assert (done.reason, done.waiting, done.write) == (reason, waiting, False)
    assert (done.addresses, done.pool) == (before.ingress, "default")
    assert done.message.endswith('It keeps "172.30.1.96" until then.')
    assert done.notices == (warnings(done)[0],)
    assert plan(apply(subject, allocator), allocator) == done


def test_the_service_moves_when_the_wanted_address_becomes_free():
    allocator = Allocator((DEFAULT, SMALL))
    give(allocator, "other", "10.0.0.2")
    subject = replace(apply(service("web"), allocator), requested=("10.0.0.2",))
    subject = apply(subject, allocator)
    allocator.release(key("other"))
    subject, done = settled(subject, allocator)
    assert ([str(a) for a in subject.ingress], subject.allocated_pool) == (["10.0.0.2"], "small")
    assert done.notices == ()


# -- Services that are not for us


def test_a_service_that_is_no_load_balancer_any_more_gives_its_address_back():
    allocator = Allocator((DEFAULT,))
    subject = replace(apply(service("web"), allocator), is_load_balancer=False)
    done = plan(subject, allocator)
    assert (done.reason, done.release, done.write, done.addresses, done.pool) == (
        Reason.NOT_LOAD_BALANCER, True, True, (), None,
    )  # fmt: skip
    assert done.notices[0].message == 'Released IP "172.30.1.96": the Service is not of type LoadBalancer'
    after = apply(subject, allocator)
    assert allocator.allocation(key("web")) is None
    assert plan(after, allocator).notices == ()


def test_an_address_that_the_api_server_cleared_itself_is_released():
    allocator = Allocator((DEFAULT,))
    apply(service("web"), allocator)
    done = plan(service("web", is_load_balancer=False), allocator)
    assert (done.release, done.write) == (True, False)


def test_a_cluster_ip_service_is_never_written():
    done = plan(service("dns", is_load_balancer=False), Allocator((DEFAULT,)))
    assert (done.write, done.release, done.notices) == (False, False, ())


@pytest.mark.parametrize(("service_class", "our_class"), [("other", None), (None, "ours"), ("other", "ours")])
def test_a_service_of_another_class_is_left_alone(service_class, our_class):
    subject = service("web", "203.0.113.7", load_balancer_class=service_class, foreign_ingress=True)
    done = plan(subject, Allocator((DEFAULT,)), lb_class=our_class)
    assert done.reason is Reason.OTHER_CLASS
    assert (done.write, done.release, done.notices, done.addresses) == (False, False, (), subject.ingress)


def test_a_service_of_our_class_is_served():
    subject = service("web", load_balancer_class="ours")
    assert plan(subject, Allocator((DEFAULT,)), lb_class="ours").reason is Reason.ALLOCATED


def test_a_service_that_went_to_another_class_frees_its_address_but_is_not_written():
    allocator = Allocator((DEFAULT,))
    subject = replace(apply(service("web"), allocator), load_balancer_class="other")
    done = plan(subject, allocator)
    assert (done.release, done.write) == (True, False)


def test_with_a_class_of_our_own_the_status_of_other_types_is_not_ours_to_clear():
    foreign = service("web", "203.0.113.7", is_load_balancer=False)
    assert not plan(foreign, Allocator((DEFAULT,)), lb_class="ours").write
    marked = replace(foreign, allocated_pool="default")
    assert plan(marked, Allocator((DEFAULT,)), lb_class="ours").write


# -- always

ADDRESSES = ["172.30.1.96", "172.30.1.97", "10.0.0.1", "10.0.0.2", "1.1.1.1", "2001:db8::1"]
services = st.builds(
    service,
    st.sampled_from(["a", "b", "c"]),
    versions=st.sampled_from([(4,), (6,), (4, 6), ()]),
    is_load_balancer=st.booleans(),
    load_balancer_class=st.sampled_from([None, None, "x"]),
    requested=st.lists(st.sampled_from([*ADDRESSES, "nonsense"]), max_size=2).map(tuple),
    requested_twice=st.booleans(),
    requested_pool=st.sampled_from([None, None, "default", "small", "nil"]),
    allocated_pool=st.sampled_from([None, "default", "small", "gone"]),
    foreign_ingress=st.booleans(),
    requires_dual_stack=st.booleans(),
)
ingresses = st.lists(st.sampled_from(ADDRESSES), max_size=3, unique=True)
configurations = st.sampled_from([(), (DEFAULT,), (SMALL,), (DEFAULT, SMALL), (pool("six", "2001:db8::/64"), SMALL)])


@given(services, ingresses, st.lists(configurations, min_size=1, max_size=3), st.sampled_from(Stranded))
def test_whatever_the_service_the_plan_settles_and_then_writes_nothing(subject, ingress, configs, policy):
    allocator = Allocator(configs[0])
    subject = replace(subject, ingress=tuple(map(ip_address, ingress)))
    for pools in configs:
        allocator.set_pools(pools)
        subject, done = settled(subject, allocator, stranded=policy)
        assert not done.write
        assert not done.release
        assert plan(subject, allocator, stranded=policy) == done, "the same notices each time"
        for notice in done.notices:
            assert notice.severity is Severity.WARNING, "good news is told once"


@given(services, ingresses, configurations)
def test_an_address_is_only_lost_for_a_better_one_or_to_another_holder(subject, ingress, pools):
    """With the default policy: what is in the status stays, unless the Service left or gets what it asks for."""
    subject = replace(subject, ingress=tuple(map(ip_address, ingress)))
    done = plan(subject, Allocator(pools))
    if subject.is_load_balancer and subject.ingress:
        assert done.addresses != ()

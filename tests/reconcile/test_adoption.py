from dataclasses import replace

import pytest

from metallb_cli.allocator import Allocator
from metallb_cli.model import Reason
from metallb_cli.reconcile.service import Stranded, adopt, adoption_order
from tests.allocator.build import give, holding, key, pool
from tests.reconcile.build import DEFAULT, SMALL, apply, plan, service


def names(services):
    return [s.key.name for s in services]


def test_services_with_an_address_come_first_then_the_older_then_by_name():
    services = [
        service("new", created=1.0),
        service("young", "10.0.0.1", created=9.0),
        service("b", "10.0.0.2", created=5.0),
        service("a", "10.0.0.2", created=5.0),
    ]
    assert names(adoption_order(services)) == ["a", "b", "young", "new"]
    assert names(adoption_order(reversed(services))) == ["a", "b", "young", "new"]


def test_of_two_services_with_one_address_the_older_keeps_it():
    allocator = Allocator((SMALL,))
    young = service("a", "10.0.0.1", created=9.0, allocated_pool="small")
    old = service("z", "10.0.0.1", created=1.0, allocated_pool="small")
    assert adopt([young, old], allocator, lb_class=None) == 1
    assert holding(allocator, "z") == ("10.0.0.1", "small")
    assert [str(a) for a in plan(young, allocator).addresses] == ["10.0.0.2"]


def test_a_new_service_never_gets_an_address_that_another_has_in_its_status():
    allocator = Allocator((SMALL,))
    new, old = service("a-new", created=1.0), service("z-old", "10.0.0.1", created=2.0, allocated_pool="small")
    adopt([new, old], allocator, lb_class=None)
    assert [str(a) for a in plan(new, allocator).addresses] == ["10.0.0.2"]


def test_a_service_that_waits_for_an_address_does_not_take_it_from_its_holder_at_a_restart():
    """The waiting Service is the older one, so a single pass in order would let it move first."""
    allocator = Allocator((SMALL,))
    waiting = service("waits", "10.0.0.1", requested=("10.0.0.2",), created=1.0, allocated_pool="small")
    holder = service("holds", "10.0.0.2", created=2.0, allocated_pool="small")
    assert adopt([waiting, holder], allocator, lb_class=None) == 2
    for subject in adoption_order([waiting, holder]):
        assert apply(subject, allocator) == subject
    assert holding(allocator, "waits") == ("10.0.0.1", "small")
    assert holding(allocator, "holds") == ("10.0.0.2", "small")


def test_a_service_that_must_move_does_not_take_what_another_has():
    """Re-addressing runs first for the oldest; what younger Services have in their status is already held then."""
    allocator = Allocator((SMALL,))
    stranded = service("old", "172.30.1.96", created=1.0, allocated_pool="default")
    asks = service("asks", "10.0.0.1", requested_pool="nil", created=2.0, allocated_pool="small")
    adopt([stranded, asks], allocator, lb_class=None)
    done = plan(stranded, allocator, stranded=Stranded.REASSIGN)
    assert [str(a) for a in done.addresses] == ["10.0.0.2"]


def test_adopting_again_changes_nothing():
    allocator = Allocator((DEFAULT,))
    give(allocator, "web", "172.30.1.100")
    assert adopt([service("web", "172.30.1.99", allocated_pool="default")], allocator, lb_class=None) == 0
    assert holding(allocator, "web") == ("172.30.1.100", "default")


@pytest.mark.parametrize(
    "subject",
    [
        service("web"),
        service("web", "172.30.1.99", is_load_balancer=False),
        service("web", "172.30.1.99", load_balancer_class="other"),
        service("web", "203.0.113.7"),
        service("web", foreign_ingress=True),
    ],
    ids=["no address", "no load balancer", "another class", "not ours", "a hostname"],
)
def test_what_is_not_ours_is_not_adopted(subject):
    allocator = Allocator((DEFAULT,))
    assert adopt([subject], allocator, lb_class=None) == 0
    assert allocator.allocation(key("web")) is None


def test_a_stranded_address_of_ours_is_adopted_and_held():
    allocator = Allocator((SMALL,))
    subject = service("web", "172.30.1.96", allocated_pool="default")
    assert adopt([subject], allocator, lb_class=None) == 1
    assert holding(allocator, "web") == ("172.30.1.96", None)
    assert plan(subject, allocator).reason is Reason.STRANDED


def test_an_address_that_a_new_pool_contains_is_adopted_before_it_can_be_given_out():
    allocator = Allocator((SMALL,))
    foreign = service("web", "172.30.1.96")
    assert adopt([foreign], allocator, lb_class=None) == 0
    allocator.set_pools((DEFAULT,))
    assert adopt([foreign], allocator, lb_class=None) == 1
    assert [str(a) for a in plan(service("new"), allocator).addresses] == ["172.30.1.97"]


def test_a_restart_moves_nothing():
    before = Allocator((SMALL, DEFAULT, pool("six", "2001:db8::/64")))
    services = [service(f"s{n}", created=float(-n), versions=(6,) if n % 3 else (4,)) for n in range(30)]
    services = [apply(s, before) for s in services]
    services[4] = apply(replace(services[4], requested_pool="nil"), before)
    for order in (services, list(reversed(services))):
        after = Allocator((SMALL, DEFAULT, pool("six", "2001:db8::/64")))
        assert adopt(order, after, lb_class=None) == 30
        for subject in adoption_order(order):
            assert not plan(subject, after).write
            assert after.allocation(subject.key).addresses == subject.ingress

"""Short ways to write Services and to let a controller act on plans."""

from dataclasses import replace
from ipaddress import ip_address

from metallb_cli.model import Service
from metallb_cli.reconcile.service import Stranded, plan_service
from tests.allocator.build import key, pool

DEFAULT = pool("default", "172.30.1.96-172.30.1.127")
SMALL = pool("small", "10.0.0.1-10.0.0.2")


def service(name, *ingress, **fields):
    return Service(key(name), ingress=tuple(map(ip_address, ingress)), **fields)


def plan(subject, allocator, *, stranded=Stranded.KEEP, lb_class=None):
    return plan_service(subject, allocator, stranded=stranded, lb_class=lb_class)


def apply(subject, allocator, **options):
    """Do what a controller does with the plan; return the Service as the API server would have it then."""
    done = plan(subject, allocator, **options)
    if done.allocation is not None:
        allocator.commit(done.allocation)
    elif done.release:
        allocator.release(subject.key)
    if done.write:
        return replace(subject, ingress=done.addresses, allocated_pool=done.pool, foreign_ingress=False)
    return subject


def settled(subject, allocator, **options):
    """Apply until nothing is written any more; return the Service and its last plan."""
    for _ in range(3):
        after = apply(subject, allocator, **options)
        if after == subject:
            return subject, plan(subject, allocator, **options)
        subject = after
    raise AssertionError(f"the plans never settle: {subject}")


def warnings(done):
    return [n for n in done.notices if n.severity.value == "Warning"]


def reasons(done):
    return [notice.reason for notice in done.notices]

"""What should become of one Service's address. Pure: the allocator is asked, never changed.

The rules, in order:

1. A Service that is no LoadBalancer (any more) loses its address. One of another `loadBalancerClass` is left alone.
2. The address that a Service has stays while the configuration allows it and the Service asks for nothing else. "Has"
   means: what the allocator holds for it; on first sight, the first address in its status that fits.
3. If the Service asks for something else (an address, a pool, another IP version), it moves as soon as that can be had.
   Until then it keeps what it has. MetalLB clears the old address first and may leave the Service with none.
4. An address that another Service holds is lost, and a new one is found.
5. An address that the configuration does not contain any more follows the policy `Stranded`, if it is ours: held in
   the allocator, or marked with our annotation. Somebody else's is never touched and never announced.
6. Otherwise a new address is allocated.

Entries of the status beyond the one address, and entries that are no IP address, are removed (v0.4.6 did the same).
`spec`, and so `externalTrafficPolicy`, is never changed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace

from metallb_cli.allocator import Allocation, AllocationRefused, Allocator
from metallb_cli.model import IPAddress, Notice, Reason, Service, Severity, parse_address
from metallb_cli.reconcile.request import any_address_request, request_of


class Stranded(enum.Enum):
    """What becomes of an address of ours that the configuration does not contain any more."""

    KEEP = "keep"
    """The Service keeps it, speakers go on announcing it, and a notice says so."""
    REASSIGN = "reassign"
    """The Service loses it and gets another one if there is one, as in MetalLB since 0.14.2."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to do about a Service: write, then commit or release, then tell.

    Attributes:
        reason: the state of the Service after the plan.
        message: the same for a human.
        addresses, pool: what status and annotation shall say.
        allocation: to commit; None when the Service shall hold nothing.
        release: the allocator holds something that the Service shall lose.
        write: the Service says something else than `addresses` and `pool`. False in the steady state.
        notices: what has happened or is wrong. The same as long as nothing changes, so whoever shows them can
            leave out those that were shown before.
        waiting: an address that becomes free may help: plan the Service again then.
        cause: what keeps the Service from having what it should, or takes its address away; empty when nothing does.
        remedy: what would help.
    """

    reason: Reason
    message: str
    addresses: tuple[IPAddress, ...] = ()
    pool: str | None = None
    allocation: Allocation | None = None
    release: bool = False
    write: bool = False
    notices: tuple[Notice, ...] = ()
    waiting: bool = False
    cause: str = ""
    remedy: str = ""


FREED_ADDRESS_HELPS = frozenset({Reason.POOL_EXHAUSTED, Reason.ADDRESS_IN_USE})


def plan_service(service: Service, allocator: Allocator, *, stranded: Stranded, lb_class: str | None) -> ServicePlan:
    """Decide what the Service shall have.

    Args:
        service: as the API server has it.
        allocator: what every Service holds; only asked.
        stranded: what becomes of our addresses that are in no pool.
        lb_class: the `loadBalancerClass` handled here; None means Services without one.
    """
    held = allocator.allocation(service.key)
    if not service.is_load_balancer:
        return _not_load_balancer(service, held, lb_class)
    if service.load_balancer_class != lb_class:
        return _other_class(service, held)
    plan = _plan(service, allocator, stranded)
    somebody_elses = plan.allocation is None and bool(plan.addresses)
    wanted, found = (plan.addresses, plan.pool), (service.ingress, service.allocated_pool)
    return replace(
        plan,
        release=held is not None and plan.allocation is None,
        write=not somebody_elses and (wanted != found or service.foreign_ingress),
    )


def adoption_order(services: Iterable[Service]) -> list[Service]:
    """Sort: those with an address first, then the older, then by name.

    So what exists is adopted before anything new is given out, and of two Services with one address the older wins.
    """
    return sorted(services, key=lambda s: (not s.ingress, s.created, s.key))


def adopt(services: Iterable[Service], allocator: Allocator, *, lb_class: str | None) -> int:
    """Let the allocator hold what the Services have in their status; return how many it took over.

    Do this before the first `plan_service` and after every `set_pools`: it gives nothing out and moves nothing, so an
    address in use cannot be found free by a Service that is planned earlier. Services that the allocator knows are
    left out. What cannot be adopted (held twice, not ours and in no pool) is for `plan_service` to decide.
    """
    adopted = 0
    for service in adoption_order(services):
        handled = service.is_load_balancer and service.load_balancer_class == lb_class
        if not handled or allocator.allocation(service.key) is not None:
            continue
        address = present_address(service, allocator)
        if address is None:
            continue
        try:
            allocator.commit(allocator.check(any_address_request(service), (address,)))
        except AllocationRefused as refusal:
            if refusal.reason is Reason.ADDRESS_IN_USE or service.allocated_pool is None:
                continue
            allocator.commit(Allocation(service.key, (address,), None))
        adopted += 1
    return adopted


def _not_load_balancer(service: Service, held: Allocation | None, lb_class: str | None) -> ServicePlan:
    # With a class of our own, the status of a Service that has none is somebody else's unless it carries our mark.
    ours = held is not None or service.allocated_pool is not None or lb_class is None
    addresses = () if ours else service.ingress
    lost = service.ingress or (held.addresses if held else ())
    notices: tuple[Notice, ...] = ()
    if ours and lost:
        notices = (Notice(Reason.CLEARED, f"Released IP {_quoted(lost)}: the Service is not of type LoadBalancer"),)
    return ServicePlan(
        reason=Reason.NOT_LOAD_BALANCER,
        message="not of type LoadBalancer",
        addresses=addresses,
        release=held is not None,
        write=ours and bool(service.ingress or service.foreign_ingress or service.allocated_pool is not None),
        notices=notices,
    )


def _other_class(service: Service, held: Allocation | None) -> ServicePlan:
    wanted = f'loadBalancerClass "{service.load_balancer_class}"' if service.load_balancer_class else "no class"
    return ServicePlan(
        reason=Reason.OTHER_CLASS,
        message=f"left to another load balancer: the Service has {wanted}",
        addresses=service.ingress,
        pool=service.allocated_pool,
        release=held is not None,
    )


def _plan(service: Service, allocator: Allocator, policy: Stranded) -> ServicePlan:
    current = present_address(service, allocator)
    if current is None:
        return _allocate(service, allocator)
    try:
        return _keep(service, allocator.check(request_of(service, current), (current,)))
    except AllocationRefused:
        pass
    try:
        kept = allocator.check(any_address_request(service), (current,))
    except AllocationRefused as refusal:
        if refusal.reason is Reason.ADDRESS_IN_USE:
            return _reallocate(service, allocator, current, refusal.cause)
        if current not in service.ingress:
            # Held but never published: nobody uses it.
            return _allocate(service, allocator)
        return _stranded(service, allocator, current, policy, refusal)
    return _move(service, allocator, kept)


def present_address(service: Service, allocator: Allocator) -> IPAddress | None:
    """Return the address that the Service has.

    The allocator counts before the status: it knows what was decided last, also while a watch lags behind. From a
    status with several addresses the first that the Service may keep is taken.
    """
    held = allocator.allocation(service.key)
    if held is not None:
        return held.addresses[0]
    for wishes in (True, False):
        for address in service.ingress:
            try:
                request = request_of(service, address) if wishes else any_address_request(service)
                allocator.check(request, (address,))
            except AllocationRefused:
                continue
            return address
    return service.ingress[0] if service.ingress else None


def _keep(service: Service, allocation: Allocation) -> ServicePlan:
    address = allocation.addresses[0]
    named = f'IP "{address}" {_from(service, allocation)}'
    if address not in service.ingress:
        return _has(Reason.ALLOCATED, f"Assigned {named}", allocation, _removed(service, address), new=True)
    if service.allocated_pool is None:
        message = f"Adopted {named}, which the Service had already"
        return _has(Reason.ADOPTED, message, allocation, _removed(service, address), new=True)
    return _has(Reason.ALLOCATED, f"has {named}", allocation, _removed(service, address), new=False)


def _has(
    reason: Reason, message: str, allocation: Allocation, notices: tuple[Notice, ...], *, new: bool
) -> ServicePlan:
    if new:
        notices = (*notices, Notice(reason, message))
    return ServicePlan(reason, message, allocation.addresses, allocation.pool, allocation, notices=notices)


def _reallocate(service: Service, allocator: Allocator, lost: IPAddress, why: str) -> ServicePlan:
    """Take the address away and find another one."""
    plan = _allocate(service, allocator)
    cleared = Notice(Reason.CLEARED, f'Cleared IP "{lost}": {why}', Severity.WARNING)
    return replace(plan, notices=(cleared, *plan.notices), cause=plan.cause or why)


def _allocate(service: Service, allocator: Allocator) -> ServicePlan:
    """Find an address for a Service that has none to keep."""
    notices = _removed(service, None)
    try:
        allocation = allocator.find(request_of(service))
    except AllocationRefused as refusal:
        message = f'Failed to allocate IP for "{service.key}": {refusal}'
        return ServicePlan(
            reason=refusal.reason,
            message=message,
            notices=(*notices, Notice(refusal.reason, message, Severity.WARNING)),
            waiting=refusal.reason in FREED_ADDRESS_HELPS,
            cause=refusal.cause,
            remedy=refusal.remedy,
        )
    message = f'Assigned IP "{allocation.addresses[0]}" {_from(service, allocation)}'
    return _has(Reason.ALLOCATED, message, allocation, notices, new=True)


def _move(service: Service, allocator: Allocator, kept: Allocation) -> ServicePlan:
    """Move a Service, which asks for something else than it has, if that can be had; otherwise let it keep `kept`."""
    old = kept.addresses[0]
    notices = _removed(service, old)
    try:
        allocation = allocator.find(request_of(service))
    except AllocationRefused as refusal:
        message = f'Failed to allocate IP for "{service.key}": {refusal}. It keeps "{old}" until then.'
        return ServicePlan(
            reason=refusal.reason,
            message=message,
            addresses=kept.addresses,
            pool=kept.pool,
            allocation=kept,
            notices=(*notices, Notice(refusal.reason, message, Severity.WARNING)),
            waiting=refusal.reason in FREED_ADDRESS_HELPS,
            cause=f"the Service asks for something else, which it cannot have: {refusal.cause}",
            remedy=refusal.remedy,
        )
    message = f'Assigned IP "{allocation.addresses[0]}" {_from(service, allocation)} in place of "{old}"'
    return _has(Reason.ALLOCATED, message, allocation, notices, new=True)


def _stranded(
    service: Service, allocator: Allocator, current: IPAddress, policy: Stranded, why: AllocationRefused
) -> ServicePlan:
    """Decide about an address that the configuration would not give out."""
    ours = allocator.allocation(service.key) is not None or service.allocated_pool is not None
    if ours and policy is Stranded.REASSIGN:
        return _reallocate(service, allocator, current, why.cause)
    kept = Allocation(service.key, (current,), None)
    waiting, unmet = False, ""
    if _asks_for_another(service, current):
        move = _move(service, allocator, kept)
        if move.addresses != kept.addresses:
            return move
        waiting, unmet = move.waiting, f". Besides, {move.cause}; {move.remedy}"
    if not ours:
        cause = f"it was not assigned here and is left as it is, but not announced: {why.cause}"
        remedy = "add it to a pool, or remove it from the status of the Service to get another one"
        message = f'IP "{current}": {cause}; {remedy}{unmet}'
        return ServicePlan(
            reason=why.reason,
            message=message,
            addresses=service.ingress,
            pool=service.allocated_pool,
            notices=(Notice(why.reason, message, Severity.WARNING),),
            waiting=waiting,
            cause=cause,
            remedy=remedy,
        )
    cause = f"it is kept, although the configuration does not allow it any more: {why.cause}"
    remedy = "add it to a pool again, or start the controller with --on-stranded=reassign to give out another one"
    message = f'IP "{current}": {cause}; {remedy}{unmet}'
    return ServicePlan(
        reason=Reason.STRANDED,
        message=message,
        addresses=kept.addresses,
        pool=service.allocated_pool,
        allocation=kept,
        notices=(*_removed(service, current), Notice(Reason.STRANDED, message, Severity.WARNING)),
        waiting=waiting,
        cause=cause,
        remedy=remedy,
    )


def _asks_for_another(service: Service, current: IPAddress) -> bool:
    """Whether the Service itself asks for something else than it has, and not only the configuration changed."""
    if service.versions and current.version not in service.versions:
        return True
    if service.requested:
        return current not in [parse_address(text) for text in service.requested]
    return service.requested_pool not in (None, service.allocated_pool)


def _removed(service: Service, kept: IPAddress | None) -> tuple[Notice, ...]:
    """Say which superfluous entries the status had; a single address that is replaced is no such entry."""
    others = tuple(address for address in service.ingress if address != kept)
    notices = []
    if others and len(service.ingress) > 1:
        notices.append(Notice(Reason.CLEARED, f"Cleared IP {_quoted(others)}: a Service can have one address"))
    if service.foreign_ingress:
        notices.append(Notice(Reason.CLEARED, "Cleared an entry of the status that is no IP address"))
    return tuple(notices)


def _from(service: Service, allocation: Allocation) -> str:
    version = allocation.addresses[0].version
    only = f" (IPv{version} only: a Service can have one address)" if len(service.versions) > 1 else ""
    return f'from pool "{allocation.pool}"{only}'


def _quoted(addresses: tuple[IPAddress, ...]) -> str:
    return ", ".join(f'"{address}"' for address in addresses)

"""What a Service asks the allocator for. Pure."""

from __future__ import annotations

from metallb_cli.allocator import AllocationRefused, Request
from metallb_cli.model import IPAddress, Reason, Service, parse_address


def request_of(service: Service, current: IPAddress | None = None) -> Request:
    """Return what the Service asks for. A dual-stack Service that has an address keeps to that IP version.

    Raises:
        AllocationRefused: it contradicts itself or asks for something that is no address.
    """
    if service.requested_twice:
        raise AllocationRefused(
            Reason.INVALID_REQUEST,
            "spec.loadBalancerIP and the loadBalancerIPs annotation are both set",
            "remove one of them",
        )
    addresses = []
    for text in service.requested:
        address = parse_address(text)
        if address is None:
            raise AllocationRefused(
                Reason.INVALID_REQUEST,
                f'the requested address "{text}" is no IP address',
                "correct spec.loadBalancerIP or the loadBalancerIPs annotation",
            )
        addresses.append(address)
    return Request(
        service=service.key,
        versions=_versions(service, addresses[0] if addresses else current),
        addresses=tuple(addresses),
        pool=service.requested_pool,
        ports=service.ports,
        sharing_key=service.sharing_key,
        backend_key=service.backend_key,
    )


def any_address_request(service: Service) -> Request:
    """Return the request of a Service that would be content with any address."""
    return Request(service.key, (), (), None, service.ports, service.sharing_key, service.backend_key)


def _versions(service: Service, preferred: IPAddress | None) -> tuple[int, ...]:
    if service.requires_dual_stack:
        return (4, 6)
    if preferred is not None and preferred.version in service.versions:
        return (preferred.version,)
    return service.versions[:1]

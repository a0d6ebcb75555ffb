"""Short ways to write pools, Services' names and requests."""

from ipaddress import IPv4Network, ip_address, ip_network

from metallb_cli.allocator import Request
from metallb_cli.model import AddressRange, Pool, Protocol, ServiceKey


def pool(name, *ranges, protocol=Protocol.LAYER2, arp_network=None, **options):
    """A pool; a range is written as a network or as `first-last`."""
    network = IPv4Network(arp_network) if arp_network else None
    return Pool(name, protocol, tuple(map(addresses, ranges)), arp_network=network, **options)


def addresses(text):
    if "-" in text:
        first, last = text.split("-")
        return AddressRange(ip_address(first), ip_address(last))
    return AddressRange.of_network(ip_network(text))


def key(name):
    return ServiceKey("default", name)


def request(name, *wanted, **options):
    return Request(key(name), addresses=tuple(map(ip_address, wanted)), **options)


def give(allocator, name, *wanted, **options):
    """Find and commit; return the address."""
    allocation = allocator.find(request(name, *wanted, **options))
    allocator.commit(allocation)
    return str(allocation.addresses[0])


def holding(allocator, name):
    """The address that a Service holds and the pool it is in; None when it holds none."""
    allocation = allocator.allocation(key(name))
    return None if allocation is None else (str(allocation.addresses[0]), allocation.pool)

"""How the allocator and the election scale: `python -m bench.allocator`. Takes about 15 seconds.

The naive allocator searches from the start of the range for every address, as MetalLB does; it is the yardstick, in
the same run on the same machine.
"""

from __future__ import annotations

import gc
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import perf_counter

from metallb_cli.allocator import Allocator, Request
from metallb_cli.model import AddressRange, Endpoints, Node, Pool, Protocol, Service, ServiceKey, TrafficPolicy
from metallb_cli.reconcile.announce import ClusterState, judge
from metallb_cli.reconcile.service import Stranded, adopt, plan_service

SIZES = (1_024, 4_096, 16_384)
WHOLE = 65_536
BASE = IPv4Address("10.0.0.0")


class NaiveAllocator:
    """A dict of integers, searched from the first address on."""

    def __init__(self, addresses: AddressRange) -> None:
        self._range = range(int(addresses.first), int(addresses.last) + 1)
        self._holder: dict[int, ServiceKey] = {}

    def allocate(self, service: ServiceKey) -> IPv4Address:
        holder = self._holder
        for value in self._range:
            if value not in holder:
                holder[value] = service
                return IPv4Address(value)
        raise LookupError("full")


def block(first: IPv4Address | IPv6Address, size: int) -> AddressRange:
    return AddressRange(first, first + (size - 1))


def pool(size: int) -> Pool:
    return Pool("p", Protocol.LAYER2, (block(BASE, size),))


def keys(count: int) -> list[ServiceKey]:
    return [ServiceKey("default", f"service-{n}") for n in range(count)]


def fill(allocator: Allocator, services: list[ServiceKey]) -> None:
    for service in services:
        allocator.commit(allocator.find(Request(service)))


def seconds(work, *arguments: object) -> float:
    """Run once with the garbage collector off, as timeit does."""
    gc.collect()
    gc.disable()
    try:
        began = perf_counter()
        work(*arguments)
        return perf_counter() - began
    finally:
        gc.enable()


def fill_naive(size: int) -> float:
    naive = NaiveAllocator(block(BASE, size))
    services = keys(size)

    def work() -> None:
        for service in services:
            naive.allocate(service)

    return seconds(work)


def fill_ours(size: int) -> float:
    return seconds(fill, Allocator((pool(size),)), keys(size))


def report_filling() -> None:
    print("Filling a pool, µs per address       ours      naive, same run    naive : ours")
    ours = {}
    for size in (*SIZES, WHOLE):
        ours[size] = 1e6 * min(fill_ours(size) for _ in range(3)) / size
        line = f"  {size:>6} addresses              {ours[size]:>10.1f}"
        if size != WHOLE:  # it would take minutes
            naive = 1e6 * fill_naive(size) / size
            line += f"{naive:>21.1f}{naive / ours[size]:>16.1f}"
        print(line)
    growth = ours[WHOLE] / ours[SIZES[0]]
    print(f"  per address, {WHOLE} : {SIZES[0]}    {growth:>10.2f}   (1 is linear)\n")


def report_finding() -> None:
    print("Finding the next address in a /16 after one became free (find only)")
    times = {}
    for percent in (1, 50, 99):
        allocator = Allocator((pool(WHOLE),))
        services = keys(WHOLE * percent // 100)
        fill(allocator, services)
        # Every second address of the filled part is given back, so that there are as many runs as possible.
        for service in services[::2]:
            allocator.release(service)
        new = [Request(ServiceKey("other", f"n{n}")) for n in range(2_000)]
        freed = services[1::2][-2_000:]
        finding = changing = 0.0
        for request, service in zip(new, freed, strict=False):
            changing += seconds_of(allocator.release, service)
            began = perf_counter()
            allocation = allocator.find(request)
            finding += perf_counter() - began
            changing += seconds_of(allocator.commit, allocation)
        count = min(len(new), len(freed))
        times[percent] = 1e6 * finding / count
        changed = 1e6 * changing / count
        print(f"  {percent:>3} % full            {times[percent]:>6.1f} µs    release + commit {changed:>6.1f} µs")
    print(f"  99 % : 1 %   {times[99] / times[1]:.2f}\n")


def seconds_of(work, argument: object) -> float:
    began = perf_counter()
    work(argument)
    return perf_counter() - began


def report_huge() -> None:
    print("Making an allocator and giving out the first address")
    times = {}
    for name, addresses in (
        ("/28 of IPv4", block(BASE, 16)),
        ("/8 of IPv4, avoid-buggy-ips", block(BASE, 2**24)),
        ("/64 of IPv6", block(IPv6Address("2001:db8::"), 2**64)),
        ("/32 of IPv6", block(IPv6Address("2001:db8::"), 2**96)),
    ):
        subject = Pool("p", Protocol.LAYER2, (addresses,), avoid_buggy_ips="avoid" in name)
        rounds = 200

        def work(subject: Pool = subject, rounds: int = rounds) -> None:
            for _ in range(rounds):
                Allocator((subject,)).find(Request(ServiceKey("default", "a"), versions=()))

        times[name] = 1e6 * seconds(work) / rounds
        print(f"  {name:<30} {times[name]:>6.1f} µs")
    print(f"  /64 : /28   {times['/64 of IPv6'] / times['/28 of IPv4']:.2f}\n")


def report_cluster(count: int = 10_000) -> None:
    pools = tuple(Pool(f"p{n}", Protocol.LAYER2, (block(BASE + 256 * n, 256),)) for n in range(64))
    print(f"{count} Services in {len(pools)} pools")
    for size in (10, 100):
        nodes = [f"node{n}" for n in range(size)]
        for policy in TrafficPolicy:
            services = [
                Service(
                    ServiceKey("default", f"service-{n}"),
                    ingress=(ip_address(int(BASE) + n),),
                    allocated_pool=f"p{n // 256}",
                    traffic_policy=policy,
                )
                for n in range(count)
            ]
            endpoints = {s.key: Endpoints(frozenset(nodes[n % 7 : n % 7 + 3])) for n, s in enumerate(services)}
            state = ClusterState(pools, {n: Node(n) for n in nodes}, frozenset(nodes), endpoints)
            took = min(seconds(lambda: [judge(s, state) for s in services]) for _ in range(3))  # noqa: B023
            print(f"  judge all, {size:>3} speakers, policy {policy.value:<7}  {1e3 * took:>6.0f} ms")
    allocator = Allocator(pools)
    adopting = seconds(lambda: adopt(services, allocator, lb_class=None))
    print(f"  adopt all                            {1e3 * adopting:>6.0f} ms")

    def plan() -> None:
        for service in services:
            plan_service(service, allocator, stranded=Stranded.KEEP, lb_class=None)

    print(f"  plan all, nothing to do              {1e3 * seconds(plan):>6.0f} ms")


def main() -> None:
    """Print the tables."""
    report_filling()
    report_finding()
    report_huge()
    report_cluster()


if __name__ == "__main__":
    main()

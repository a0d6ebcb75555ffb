"""Who holds which address, and which one is next."""

from __future__ import annotations

from dataclasses import replace

from metallb_cli.allocator import refusals
from metallb_cli.allocator.free_addresses import FreeAddresses
from metallb_cli.allocator.pool_index import PoolIndex
from metallb_cli.allocator.request import Allocation, PoolUsage, Request
from metallb_cli.model import IPAddress, Pool, ServiceKey

BOTH = (4, 6)


class Allocator:
    """Holds every allocation, and finds the next free address.

    The choice is deterministic: pools in configuration order, the ranges of a pool in configuration order, and in the
    range the lowest free address. Questions (`find`, `check`) change nothing; `commit` and `release` do.

    For now a Service has one address and an address one Service. Requests for more are refused with a message that
    says so. An address maps to a tuple of Services already, so sharing changes one rule here and no type.
    """

    def __init__(self, pools: tuple[Pool, ...] = ()) -> None:
        self._by_service: dict[ServiceKey, Allocation] = {}
        self._by_address: dict[IPAddress, tuple[ServiceKey, ...]] = {}
        self._index = PoolIndex(())
        self._free: dict[str, FreeAddresses] = {}
        self.set_pools(pools)

    # -- questions

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools in force, in configuration order."""
        return self._index.pools

    def allocation(self, service: ServiceKey) -> Allocation | None:
        """Return what the Service holds."""
        return self._by_service.get(service)

    def holders(self, address: IPAddress) -> tuple[ServiceKey, ...]:
        """Return the Services that hold the address."""
        return self._by_address.get(address, ())

    def usage(self) -> dict[str, PoolUsage]:
        """Count every pool, in configuration order. Stranded addresses are in no pool and count nowhere."""
        return {
            name: PoolUsage(free.total[4], free.used[4], free.total[6], free.used[6])
            for name, free in self._free.items()
        }

    def check(self, request: Request, addresses: tuple[IPAddress, ...]) -> Allocation:
        """Return the allocation if the Service may hold exactly these addresses and they are what it asks for.

        Whether the pool has auto-assign does not matter here.

        Raises:
            AllocationRefused: no, and why. An address that another Service holds is refused as such even when it is
                in no pool.
        """
        self._refuse_unsupported(request)
        if len(addresses) != 1:
            raise refusals.not_one_address(addresses)
        address = addresses[0]
        others = tuple(holder for holder in self.holders(address) if holder != request.service)
        if others:
            raise refusals.in_use(address, others)
        pool = self._index.pool_of(address)
        if pool is None:
            raise refusals.in_no_pool(address, self.pools)
        if pool.reserved(address):
            raise refusals.reserved(address, pool)
        if request.addresses and addresses != request.addresses:
            raise refusals.not_the_requested(address, request.addresses[0])
        if request.pool is not None and request.pool != pool.name:
            if request.pool not in self._free:
                raise refusals.unknown_pool(request.pool, self.pools)
            raise refusals.in_another_pool(address, pool, request.pool)
        if request.versions and address.version not in request.versions:
            raise refusals.wrong_version(f"{address}", address.version, request.versions[0])
        return _allocation(request, address, pool.name)

    def find(self, request: Request) -> Allocation:
        """Return the Service's present allocation if it still fits the request, else a new one. Changes nothing.

        Raises:
            AllocationRefused: nothing fits, and why.
        """
        self._refuse_unsupported(request)
        if request.addresses:
            return self.check(request, request.addresses)
        present = self._by_service.get(request.service)
        if present is not None and self._fits(present, request):
            return self.check(request, present.addresses)
        candidates = self._candidates(request)
        versions = request.versions or BOTH
        for pool in candidates:
            address = self._free[pool.name].lowest(versions)
            if address is not None:
                return _allocation(request, address, pool.name)
        raise refusals.full(tuple(p for p in candidates if self._total(p, versions)), self.usage(), versions)

    def _candidates(self, request: Request) -> tuple[Pool, ...]:
        """Return the pools to search, in order; at least one of them has addresses of the wanted version."""
        versions = request.versions or BOTH
        if request.pool is not None:
            if request.pool not in self._free:
                raise refusals.unknown_pool(request.pool, self.pools)
            pools = tuple(pool for pool in self.pools if pool.name == request.pool)
        else:
            pools = tuple(pool for pool in self.pools if pool.auto_assign)
        if not pools:
            raise refusals.no_pool(self.pools)
        if not any(self._total(pool, versions) for pool in pools):
            raise refusals.no_pool_of_version(pools, versions)
        return pools

    def _total(self, pool: Pool, versions: tuple[int, ...]) -> int:
        return sum(self._free[pool.name].total[v] for v in versions)

    def _fits(self, present: Allocation, request: Request) -> bool:
        return (
            present.pool is not None
            and request.pool in (None, present.pool)
            and all(not request.versions or a.version in request.versions for a in present.addresses)
        )

    def _refuse_unsupported(self, request: Request) -> None:
        if len(request.addresses) > 1:
            raise refusals.not_one_address(request.addresses)
        if len(request.versions) > 1:
            raise refusals.dual_stack()

    # -- changes

    def commit(self, allocation: Allocation) -> None:
        """Let the Service hold these addresses, in place of what it held before.

        The pool is looked up anew, so an allocation found under an earlier configuration cannot corrupt the counts.
        Addresses that no pool may give out are held as stranded: that is how they are adopted.

        Raises:
            AllocationRefused: another Service holds one of them; then nothing has changed.
        """
        for address in allocation.addresses:
            others = tuple(holder for holder in self.holders(address) if holder != allocation.service)
            if others:
                raise refusals.in_use(address, others)
        self.release(allocation.service)
        for address in allocation.addresses:
            self._by_address[address] = (allocation.service,)
            self._count(address)
        self._by_service[allocation.service] = replace(allocation, pool=self._pool_name(allocation.addresses))

    def release(self, service: ServiceKey) -> Allocation | None:
        """Take everything from the Service; return what it held."""
        allocation = self._by_service.pop(service, None)
        if allocation is not None:
            for address in allocation.addresses:
                del self._by_address[address]
                pool = self._index.usable_pool_of(address)
                if pool is not None:
                    self._free[pool.name].give_back(address)
        return allocation

    def set_pools(self, pools: tuple[Pool, ...]) -> tuple[Allocation, ...]:
        """Put a new configuration in force. Every Service keeps what it holds.

        Returns the allocations that were in a pool before and are in none now, sorted by Service. An allocation comes
        back by itself when a later configuration contains it, and follows a pool that is renamed, split or swapped.

        Raises:
            ValueError: see PoolIndex.
        """
        self._index = PoolIndex(pools)
        self._free = {pool.name: FreeAddresses(pool) for pool in pools}
        # Ascending, so that each address extends the run before it.
        for address in sorted(self._by_address, key=lambda a: (a.version, int(a))):
            self._count(address)
        stranded = []
        for service, allocation in self._by_service.items():
            pool = self._pool_name(allocation.addresses)
            if pool != allocation.pool:
                self._by_service[service] = replace(allocation, pool=pool)
                if pool is None:
                    stranded.append(self._by_service[service])
        return tuple(sorted(stranded, key=lambda allocation: allocation.service))

    def _count(self, address: IPAddress) -> None:
        pool = self._index.usable_pool_of(address)
        if pool is not None:
            self._free[pool.name].take(address)

    def _pool_name(self, addresses: tuple[IPAddress, ...]) -> str | None:
        pools = {pool.name if pool else None for pool in map(self._index.usable_pool_of, addresses)}
        return pools.pop() if len(pools) == 1 else None


def _allocation(request: Request, address: IPAddress, pool: str) -> Allocation:
    return Allocation(request.service, (address,), pool, request.ports, request.sharing_key, request.backend_key)

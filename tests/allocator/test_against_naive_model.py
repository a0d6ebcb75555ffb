"""The allocator against a model too simple to be wrong: a dict and a linear search."""

from ipaddress import IPv4Network, ip_address
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from metallb_cli.allocator import Allocation, AllocationRefused, Allocator, PoolUsage, Request
from metallb_cli.model import AddressRange, Pool, Protocol, Reason
from tests.allocator.build import key

V4 = [ip_address("10.0.0.248") + i for i in range(16)]  # crosses .255 and .0
V6 = [ip_address("2001:db8::") + i for i in range(4)]
NETWORKS = (None, IPv4Network("10.0.1.0/24"), IPv4Network("10.0.0.248/29"), IPv4Network("10.0.0.250/31"))

services = st.sampled_from([key(f"s{n}") for n in range(12)])
addresses = st.sampled_from(V4 + V6)
names = st.sampled_from(["p0", "p1", "p2", "absent"])


@st.composite
def pools(draw):
    """Up to three pools that share out some of the addresses, their ranges in any order."""
    ranges = {name: [] for name in draw(st.permutations(["p0", "p1", "p2"]))[: draw(st.integers(0, 3))]}
    for space in (V4, V6):
        cuts = sorted(draw(st.sets(st.integers(0, len(space)), max_size=6)))
        for first, after in pairwise(cuts):
            owner = draw(st.sampled_from([*ranges, None]))
            if owner is not None:
                ranges[owner].append(AddressRange(space[first], space[after - 1]))
    return tuple(
        Pool(
            name,
            Protocol.LAYER2,
            tuple(draw(st.permutations(owned))),
            auto_assign=draw(st.booleans()),
            avoid_buggy_ips=draw(st.booleans()),
            arp_network=draw(st.sampled_from(NETWORKS)),
        )
        for name, owned in ranges.items()
    )


requests = st.builds(
    Request,
    service=services,
    versions=st.sampled_from([(), (4,), (6,), (4, 6)]),
    addresses=st.one_of(st.just(()), st.tuples(addresses), st.tuples(addresses, addresses)),
    pool=st.one_of(st.none(), names),
)


class Naive:
    def __init__(self):
        self.pools = ()
        self.held = {}

    def pool_of(self, address):
        return next((p for p in self.pools if any(address in r for r in p.ranges)), None)

    def usable_pool(self, address):
        pool = self.pool_of(address)
        return pool.name if pool and not pool.reserved(address) else None

    def check(self, request, address):
        """A Reason, or the name of the pool."""
        if len(request.addresses) > 1 or len(request.versions) > 1:
            return Reason.INVALID_REQUEST
        if any(a == address and s != request.service for s, a in self.held.items()):
            return Reason.ADDRESS_IN_USE
        pool = self.pool_of(address)
        if pool is None:
            return Reason.ADDRESS_NOT_IN_POOL
        if pool.reserved(address):
            return Reason.ADDRESS_RESERVED
        if request.addresses not in ((), (address,)):
            return Reason.INVALID_REQUEST
        if request.pool not in (None, pool.name):
            exists = any(p.name == request.pool for p in self.pools)
            return Reason.ADDRESS_NOT_IN_POOL if exists else Reason.UNKNOWN_POOL
        return Reason.FAMILY_MISMATCH if request.versions and address.version not in request.versions else pool.name

    def find(self, request):
        """A Reason, or the address."""
        if len(request.addresses) > 1 or len(request.versions) > 1:
            return Reason.INVALID_REQUEST
        if request.addresses:
            answer = self.check(request, request.addresses[0])
            return answer if isinstance(answer, Reason) else request.addresses[0]
        mine = self.held.get(request.service)
        if mine is not None and not isinstance(self.check(request, mine), Reason):
            return mine
        if request.pool is not None and all(p.name != request.pool for p in self.pools):
            return Reason.UNKNOWN_POOL
        searched = [p for p in self.pools if (p.auto_assign if request.pool is None else p.name == request.pool)]
        if not searched:
            return Reason.NO_POOL
        fitting = [
            first + i
            for p in searched
            for first, size in ((r.first, r.size) for r in p.ranges)
            for i in range(size)
            if p.usable(first + i) and (not request.versions or first.version in request.versions)
        ]
        if not fitting:
            return Reason.FAMILY_MISMATCH
        return next((a for a in fitting if a not in self.held.values()), Reason.POOL_EXHAUSTED)


class Comparison(RuleBasedStateMachine):
    @initialize(new=pools())
    def begin(self, new):
        self.naive = Naive()
        self.naive.pools = new
        self.allocator = Allocator(new)

    def everything(self):
        return (
            {s: self.allocator.allocation(s) for s in self.naive.held},
            {a: self.allocator.holders(a) for a in V4 + V6},
            self.allocator.usage(),
        )

    @rule(request=requests, keep=st.booleans())
    def find(self, request, keep):
        before = self.everything()
        try:
            found = self.allocator.find(request)
            answer = found.addresses[0]
            assert found.pool == self.naive.usable_pool(answer)
        except AllocationRefused as refused:
            found, answer = None, refused.reason
            assert refused.cause, "a refusal has a cause"
            assert refused.remedy, "a refusal says what would help"
        assert answer == self.naive.find(request)
        assert self.everything() == before, "find changed something"
        if found is not None and keep:
            self.allocator.commit(found)
            self.naive.held[request.service] = answer

    @rule(request=requests, address=addresses)
    def check(self, request, address):
        before = self.everything()
        try:
            answer = self.allocator.check(request, (address,)).pool
        except AllocationRefused as refused:
            answer = refused.reason
        assert answer == self.naive.check(request, address)
        assert self.everything() == before, "check changed something"

    @rule(service=services, address=addresses)
    def adopt(self, service, address):
        taken = any(a == address and s != service for s, a in self.naive.held.items())
        before = self.everything()
        try:
            self.allocator.commit(Allocation(service, (address,), "whatever"))
            assert not taken
            self.naive.held[service] = address
        except AllocationRefused as refused:
            assert taken
            assert refused.reason is Reason.ADDRESS_IN_USE
            assert self.everything() == before, "a refused commit changed something"

    @rule(service=services)
    def release(self, service):
        released = self.allocator.release(service)
        assert (released.addresses[0] if released else None) == self.naive.held.pop(service, None)

    @rule(new=pools())
    def set_pools(self, new):
        had_pool = {s for s, a in self.naive.held.items() if self.naive.usable_pool(a)}
        self.naive.pools = new
        lost_pool = {s for s in had_pool if not self.naive.usable_pool(self.naive.held[s])}
        assert [a.service for a in self.allocator.set_pools(new)] == sorted(lost_pool)

    @invariant()
    def both_hold_the_same(self):
        if not hasattr(self, "naive"):
            return
        for service, address in self.naive.held.items():
            expected = Allocation(service, (address,), self.naive.usable_pool(address))
            assert self.allocator.allocation(service) == expected
        for address in V4 + V6:
            expected = tuple(s for s, a in self.naive.held.items() if a == address)
            assert self.allocator.holders(address) == expected
        assert self.allocator.usage() == {
            p.name: PoolUsage(
                *(
                    sum(map(counts, (a for a in space if self.naive.usable_pool(a) == p.name)))
                    for space in (V4, V6)
                    for counts in (lambda a: 1, lambda a: a in self.naive.held.values())
                )
            )
            for p in self.naive.pools
        }


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=3 * settings.default.max_examples // 2, stateful_step_count=40)

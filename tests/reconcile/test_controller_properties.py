"""Many Services, one allocator, any history: what must hold after every step of it."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metallb_cli.allocator import Allocator
from metallb_cli.model import Reason
from metallb_cli.reconcile.service import adopt, adoption_order
from tests.allocator.build import pool
from tests.reconcile.build import apply, plan, service

POOLS = (
    pool("a", "10.0.0.0-10.0.0.2"),
    pool("b", "10.0.1.0-10.0.1.1", "2001:db8::/127"),
    pool("manual", "10.0.2.0-10.0.2.1", auto_assign=False),
    pool("a", "10.0.0.1-10.0.0.4", avoid_buggy_ips=True),
    pool("renamed", "10.0.0.0-10.0.0.2"),
)
ADDRESSES = ["10.0.0.0", "10.0.0.1", "10.0.0.4", "10.0.1.1", "10.0.2.0", "2001:db8::", "9.9.9.9"]

names = st.sampled_from([f"s{n}" for n in range(8)])
configurations = st.lists(st.sampled_from(POOLS), max_size=3, unique_by=lambda p: (p.name, p.ranges)).filter(
    lambda some: (
        len({p.name for p in some}) == len(some)
        and not any(r.overlaps(o) for p in some for q in some if p is not q for r in p.ranges for o in q.ranges)
    )
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "requested": st.one_of(st.just(()), st.tuples(st.sampled_from(ADDRESSES))),
        "requested_pool": st.sampled_from([None, "a", "b", "manual", "nil"]),
        "versions": st.sampled_from([(4,), (6,), (4, 6)]),
        "is_load_balancer": st.booleans(),
    },
)


class History(RuleBasedStateMachine):
    @initialize(pools=configurations)
    def begin(self, pools):
        self.services = {}
        self.allocator = Allocator(tuple(pools))
        self.clock = 0.0

    def work(self):
        """Plan every Service until nothing changes: addresses that become free let others move."""
        for _ in range(len(self.services) + 2):
            before = dict(self.services)
            for subject in adoption_order(self.services.values()):
                self.services[subject.key] = apply(subject, self.allocator)
            if self.services == before:
                return
        raise AssertionError("the controller never comes to rest")

    @rule(name=names, wish=wishes)
    def create_or_change(self, name, wish):
        self.clock += 1
        subject = service(name, created=self.clock)
        self.services[subject.key] = replace(self.services.get(subject.key, subject), **wish)
        had = {k: s.ingress for k, s in self.services.items() if k != subject.key and self.content(s)}
        self.work()
        for key, ingress in had.items():
            assert self.services[key].ingress == ingress, "a bystander lost its address"

    def content(self, subject):
        """Whether it has an address and wants no other one."""
        wishes = subject.requested or subject.requested_pool or not subject.is_load_balancer
        return subject.ingress and not wishes and subject.ingress[0].version in subject.versions

    @precondition(lambda self: self.services)
    @rule(data=st.data())
    def delete(self, data):
        key = data.draw(st.sampled_from(sorted(self.services)))
        del self.services[key]
        self.allocator.release(key)
        self.work()

    @rule(pools=configurations)
    def configure(self, pools):
        had = {k: s.ingress for k, s in self.services.items() if self.content(s)}
        self.allocator.set_pools(tuple(pools))
        adopt(self.services.values(), self.allocator, lb_class=None)
        self.work()
        for key, ingress in had.items():
            assert self.services[key].ingress == ingress, "an edit re-addressed a Service"

    @rule()
    def restart(self):
        before = dict(self.services)
        self.allocator = Allocator(self.allocator.pools)
        adopt(self.services.values(), self.allocator, lb_class=None)
        self.work()
        assert self.services == before, "a restart wrote something"

    @invariant()
    def no_two_services_have_one_address(self):
        given = [a for s in getattr(self, "services", {}).values() for a in s.ingress]
        assert len(set(given)) == len(given)

    @invariant()
    def at_rest_nothing_is_written_and_all_is_said_again_in_the_same_words(self):
        for subject in getattr(self, "services", {}).values():
            done = plan(subject, self.allocator)
            assert not done.write
            assert not done.release
            assert done.addresses == subject.ingress
            assert done == plan(subject, self.allocator)

    @invariant()
    def who_waits_for_any_address_waits_for_a_reason(self):
        usage = self.allocator.usage() if hasattr(self, "allocator") else {}
        for subject in getattr(self, "services", {}).values():
            done = plan(subject, self.allocator)
            if done.reason is Reason.POOL_EXHAUSTED:
                searched = [
                    usage[p.name]
                    for p in self.allocator.pools
                    if (p.name == subject.requested_pool if subject.requested_pool else p.auto_assign)
                ]
                assert done.waiting
                assert not any(u.free_v4 if subject.versions[0] == 4 else u.free_v6 for u in searched)


TestHistory = History.TestCase
TestHistory.settings = settings(stateful_step_count=25)

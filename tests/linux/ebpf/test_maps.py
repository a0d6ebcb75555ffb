"""The maps: what is memory is the kernel's own, and the deadline is on the clock that goes on during sleep."""

import time

import pytest

from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease

pytestmark = pytest.mark.live


@pytest.fixture
def lease():
    made = Lease()
    yield made
    made.close()


class TestLease:
    def test_it_begins_expired(self, lease):
        assert lease.boottime == 0

    def test_a_deadline_is_stored_on_boottime(self, lease):
        lease.renew(time.monotonic() + 10)
        left = lease.boottime - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert 9.9e9 < left <= 10e9

    @pytest.mark.parametrize(("deadline", "stored"), [(0.0, 0), (-1.0, 0), (1e30, (1 << 63) - 1)])
    def test_odd_deadlines_are_bounded(self, lease, deadline, stored):
        lease.renew(deadline)
        assert lease.boottime == stored

    def test_the_kernel_sees_what_is_stored_without_a_system_call(self, lease):
        lease.renew(1e30)
        (value,) = syscalls.map_items(lease.fd, 4, 8, 1).values()
        assert int.from_bytes(value, "little") == lease.boottime

    def test_a_second_mapping_of_the_same_map_shares_it(self, lease):
        import os

        other = Lease(os.dup(lease.fd))
        lease.renew(1e30)
        assert other.boottime == lease.boottime
        other.close()


def test_hits_begin_at_zero():
    hits = Hits(1000)
    assert hits.read() == [0] * 1000
    hits.close()


@pytest.mark.parametrize("size", [4, 16])
def test_addresses_lead_to_their_slots(size):
    addresses = Addresses(size, 100)
    slots = {n.to_bytes(size, "big"): 99 - n for n in range(100)}
    addresses.add(list(slots), list(slots.values()))
    addresses.add([], [])
    assert addresses.items() == slots
    addresses.remove(list(slots)[:98])
    assert addresses.items() == {key: slots[key] for key in list(slots)[98:]}
    addresses.close()

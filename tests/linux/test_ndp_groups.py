"""Solicited-node groups in a namespace with the real kernel, which lists its memberships in /proc/net/igmp6."""

import socket
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from metallb_cli.errors import NetworkSetupError
from metallb_cli.linux.ndp_groups import REPORTED, NeighbourGroups
from metallb_cli.linux.netns import namespaces

pytestmark = pytest.mark.live

FIRST = IPv6Address("2001:db8::ab:1")
TWIN = IPv6Address("2001:db8:1::ab:1")  # the same last 24 bits, so the same group
OTHER = IPv6Address("2001:db8::ab:2")


@pytest.fixture(scope="module")
def namespace():
    with namespaces("mlbn", "groups") as (namespace,):
        namespace.add_veth("a0", "a1")
        namespace.set_sysctl("net/ipv6/conf/a0/addr_gen_mode", 1)  # no link-local address either
        namespace.set_up("a0")
        namespace.set_up("a1")
        yield namespace


@pytest.fixture
def index(namespace):
    return namespace.run(socket.if_nametoindex, "a0")


@pytest.fixture
def groups(namespace, index):
    groups = namespace.run(NeighbourGroups, index)
    yield InNamespace(namespace, groups)
    groups.close()


class InNamespace:
    """Runs what makes sockets inside the namespace."""

    def __init__(self, namespace, groups):
        self.namespace, self.groups = namespace, groups

    def settle(self, *addresses):
        def work():
            self.groups.want(addresses)
            for _ in range(1000):
                if not self.groups.advance():
                    return
            raise AssertionError("never settles")

        self.namespace.run(work)


def kernel_groups(namespace, link="a0"):
    """What the kernel is a member of beside the two groups of every interface; the second is the card's own filter."""
    lines = namespace.run(Path("/proc/thread-self/net/igmp6").read_text).splitlines()
    ipv6 = {IPv6Address(bytes.fromhex(line.split()[2])) for line in lines if line.split()[1] == link}
    lines = namespace.run(Path("/proc/thread-self/net/dev_mcast").read_text).splitlines()
    macs = {line.split()[4] for line in lines if line.split()[1] == link}
    return {str(group) for group in ipv6 if str(group).startswith("ff02::1:ff")}, {m for m in macs if m[4:6] == "ff"}


def test_the_wanted_groups_are_joined_on_an_interface_without_an_address(namespace, groups):
    groups.settle(FIRST, OTHER)
    assert kernel_groups(namespace) == ({"ff02::1:ffab:1", "ff02::1:ffab:2"}, {"3333ffab0001", "3333ffab0002"})
    assert groups.groups.joined == 2


def test_a_group_that_two_addresses_share_is_left_with_the_last(namespace, groups):
    groups.settle(FIRST, TWIN)
    groups.settle(TWIN)
    assert kernel_groups(namespace)[0] == {"ff02::1:ffab:1"}
    groups.settle()
    assert kernel_groups(namespace) == (set(), set())


def test_wanting_the_same_again_is_no_work(namespace, groups):
    groups.settle(FIRST, OTHER)
    groups.groups.want([OTHER, FIRST])
    assert groups.groups.advance(0) == 0


def test_joins_come_before_leaves_and_no_more_than_the_limit_at_once(namespace, groups):
    groups.settle(FIRST)
    groups.groups.want([OTHER])
    assert namespace.run(groups.groups.advance, 1) == 1
    assert kernel_groups(namespace)[0] == {"ff02::1:ffab:1", "ff02::1:ffab:2"}
    assert namespace.run(groups.groups.advance, 1) == 0
    assert kernel_groups(namespace)[0] == {"ff02::1:ffab:2"}


def test_memberships_survive_a_link_flap(namespace, groups):
    groups.settle(FIRST)
    namespace.set_down("a0")
    namespace.set_up("a0")
    namespace.set_down("a1")  # carrier lost
    namespace.set_up("a1")
    assert kernel_groups(namespace)[0] == {"ff02::1:ffab:1"}


def test_memberships_work_with_ipv6_disabled_on_the_interface(namespace, groups):
    namespace.set_sysctl("net/ipv6/conf/a0/disable_ipv6", 1)
    try:
        groups.settle(FIRST)
        assert kernel_groups(namespace)[0] == {"ff02::1:ffab:1"}
    finally:
        namespace.set_sysctl("net/ipv6/conf/a0/disable_ipv6", 0)


def test_closing_leaves_every_group(namespace, groups):
    groups.settle(FIRST, OTHER)
    groups.groups.close()
    assert kernel_groups(namespace) == (set(), set())
    assert groups.groups.joined == 0


def test_ten_thousand_are_let_in_and_the_first_are_reported(namespace, groups):
    addresses = [IPv6Address(int(FIRST) + n) for n in range(10_000)]
    started = time.monotonic()
    groups.settle(*addresses)
    elapsed = time.monotonic() - started
    joined, let_in = kernel_groups(namespace)
    assert (len(joined), len(let_in)) == (REPORTED, 10_000)
    assert elapsed < 3, f"10 000 groups took {elapsed:.2f} s; 0.1 s is usual"
    groups.settle(*(IPv6Address(int(FIRST) + 5000 + n) for n in range(1000)))
    assert [len(found) for found in kernel_groups(namespace)] == [0, 1000]
    groups.settle(*addresses)
    assert [len(found) for found in kernel_groups(namespace)] == [REPORTED, 10_000]
    groups.groups.close()
    assert kernel_groups(namespace) == (set(), set())


def test_a_full_socket_is_followed_by_another_and_used_again(namespace, index):
    namespace.set_sysctl("net.core.optmem_max", 20480)  # as before Linux 6.9
    made = InNamespace(namespace, namespace.run(NeighbourGroups, index, reported=1000))
    addresses = [IPv6Address(int(FIRST) + n) for n in range(1000)]
    try:
        made.settle(*addresses)
        assert len(kernel_groups(namespace)[0]) == 1000
        sockets = len(made.groups._sockets)
        assert sockets == 3
        made.settle(*addresses[:100])
        made.settle(*addresses)
        assert len(kernel_groups(namespace)[0]) == 1000
        assert len(made.groups._sockets) == sockets
    finally:
        made.groups.close()
        namespace.set_sysctl("net.core.optmem_max", 131072)


def test_an_interface_that_is_gone_is_an_error_with_its_index(namespace):
    groups = NeighbourGroups(4242)
    groups.want([FIRST])
    with pytest.raises(NetworkSetupError, match=r"cannot join ff02::1:ffab:1 on interface 4242: No such device"):
        namespace.run(groups.advance)
    assert groups.advance() == 0
    groups.close()

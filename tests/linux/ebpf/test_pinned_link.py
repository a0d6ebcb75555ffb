"""The link process with a bpf file system: what its death leaves behind, and what the next one makes of it."""

import contextlib
import os
import signal
import threading
import time
from ipaddress import IPv4Address

import pytest

from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.maps import Lease
from metallb_cli.linux.link import KERNEL_LEASE
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import Reason
from tests.linux.ebpf.conftest import OURS, answered, asking, check, exchange, question, wait_until_attached
from tests.linux.test_link import speaker_with_link
from tests.support.bpffs import BPF, with_bpf_file_system
from tests.support.roles import until
from tests.support.wire import running_link

pytestmark = pytest.mark.live

SPEAKERS_ADDRESS = IPv4Address("192.0.2.10")
"""What the stand-in of a speaker announces."""


def directory(namespace):
    """Where the link process in a namespace pins."""
    return BPF / "metallb" / str(namespace.run(os.stat, "/proc/thread-self/ns/net").st_ino)


@contextlib.contextmanager
def lease_of(lan):
    """The deadline that the programs on the node's interface obey."""
    lease = Lease(syscalls.open_pinned(directory(lan.node) / str(lan.index()) / "lease"))
    try:
        yield lease
    finally:
        lease.close()


def deadline_of(lan):
    """The same in seconds of CLOCK_MONOTONIC."""
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    with lease_of(lan) as lease:
        return lease.boottime / 1e9 - asleep


def extend(lan, seconds):
    """Move the deadline: a busy machine may need longer than the lease to start a process."""
    with lease_of(lan) as lease:
        lease.renew(time.monotonic() + seconds)
        return lease.boottime


def announce(link, generation, addresses):
    link.process.announce(AnnouncementSet(generation, tuple(addresses)))
    link.wait(lambda link: link.state.generation == generation)


def usable(link):
    """Wait until the link process answers on the node's interface."""
    link.wait(lambda link: link.verdict("n0") is Reason.USABLE)


def kill(link):
    os.kill(link.process.pid, signal.SIGKILL)
    link.wait(lambda link: link.exit_code == -signal.SIGKILL)


@contextlib.contextmanager
def asked_every_2_ms(lan, address):
    """Ask all the time; the yielded list gets the number of every question that nobody answered, and at the end all."""
    unanswered, done, count = [], threading.Event(), 0

    def ask():
        nonlocal count
        with lan.socket() as sock:
            while not done.wait(0.002):
                count += 1
                if not exchange(sock, question(address), 0.02):
                    unanswered.append(count)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield unanswered
    finally:
        done.set()
        thread.join()
    assert count > 100


class TestCrash:
    @with_bpf_file_system
    def test_a_client_sees_no_gap_when_the_link_process_is_killed_and_started_again(self, lan):
        with running_link(lan.node) as first:
            usable(first)
            announce(first, 1, OURS)
            with asked_every_2_ms(lan, OURS[0]) as unanswered:
                kill(first)
                extend(lan, 10)
                with running_link(lan.node) as second:
                    usable(second)
                    announce(second, 1, OURS)
                    threading.Event().wait(2 * KERNEL_LEASE)  # nothing to wait for: nothing may happen
                    assert unanswered == []
                    assert answered(lan) == OURS
                    assert deadline_of(lan) < time.monotonic() + KERNEL_LEASE

    @with_bpf_file_system
    def test_what_a_killed_link_process_leaves_answers_until_the_deadline_and_no_longer(self, lan):
        with running_link(lan.node) as link:
            usable(link)
            announce(link, 1, OURS)
            kill(link)
            deadline = deadline_of(lan)
            assert deadline < time.monotonic() + KERNEL_LEASE
            check(asking(lan, OURS[2], KERNEL_LEASE + 0.1), deadline)

    @with_bpf_file_system
    def test_what_a_killed_speaker_leaves_answers_until_the_deadline_and_no_longer(self, lan):
        with speaker_with_link(lan.node, 0) as (process, _):
            process.kill()
            process.wait(5)
            deadline = deadline_of(lan)
            check(asking(lan, SPEAKERS_ADDRESS, KERNEL_LEASE + 0.1), deadline)

    @with_bpf_file_system
    def test_the_next_speaker_takes_over_from_a_killed_one(self, lan):
        with speaker_with_link(lan.node, 0) as (process, _):
            process.kill()
            process.wait(5)
        extend(lan, 10)
        with running_link(lan.node) as link:
            usable(link)
            assert answered(lan, SPEAKERS_ADDRESS) == [SPEAKERS_ADDRESS]
            announce(link, 1, OURS[:1])
            assert answered(lan, SPEAKERS_ADDRESS, *OURS) == OURS[:1]


class TestAdoption:
    @with_bpf_file_system
    def test_adopted_addresses_stay_as_they_are_until_the_first_set_comes(self, lan):
        with running_link(lan.node) as first:
            usable(first)
            announce(first, 1, OURS[:3])
            kill(first)
        left = extend(lan, 10)
        with running_link(lan.node) as second:
            usable(second)
            threading.Event().wait(KERNEL_LEASE / 2)  # in which an owner would have renewed twice
            with lease_of(lan) as lease:
                assert lease.boottime == left
            assert second.state.announced == ()
            assert answered(lan) == OURS[:3]
            announce(second, 1, OURS[1:])
            assert answered(lan) == OURS[1:]
            with lease_of(lan) as lease:
                assert lease.boottime < left

    @with_bpf_file_system
    def test_an_empty_first_set_withdraws_what_was_adopted(self, lan):
        with running_link(lan.node) as first:
            usable(first)
            announce(first, 1, OURS)
            kill(first)
        extend(lan, 10)
        with running_link(lan.node) as second:
            usable(second)
            announce(second, 1, ())
            assert answered(lan) == []
            wait_until_attached(lan)

    @with_bpf_file_system
    def test_interfaces_that_are_gone_or_not_used_any_more_are_forgotten(self, lan):
        lan.client.add_veth("c1", "n1", lan.node)
        lan.client.set_up("c1")
        lan.node.set_up("n1")
        gone = directory(lan.node) / str(lan.index("n1"))
        excluded = directory(lan.node) / str(lan.index("n0"))
        with running_link(lan.node) as first:
            first.wait(lambda link: link.verdict("n1") is Reason.USABLE)
            announce(first, 1, OURS)
            assert {path.name for path in gone.iterdir()} == {"lease", "hits", "arp", "arp_link", "ndp", "ndp_link"}
            kill(first)
        lan.node.delete_link("n1")
        assert gone.exists()
        assert excluded.exists()
        with running_link(lan.node, exclude=("^n0$",)) as second:
            second.wait(lambda link: link.verdict("n0") is Reason.INTERFACE_EXCLUDED)
            assert list(directory(lan.node).iterdir()) == []
            assert answered(lan) == []

    @with_bpf_file_system
    def test_a_second_process_in_the_same_namespace_leaves_the_first_ones_alone(self, lan):
        with running_link(lan.node) as first:
            usable(first)
            announce(first, 1, OURS[:1])
            with running_link(lan.node) as second:
                usable(second)
                announce(second, 1, OURS[1:])
                assert answered(lan) == OURS
            assert answered(lan) == OURS[:1]
            assert (directory(lan.node) / str(lan.index())).exists()

    @with_bpf_file_system
    def test_processes_in_other_namespaces_pin_elsewhere(self, lan):
        with running_link(lan.node) as first, Namespace.create("mlbn-other") as other, running_link(other) as second:
            usable(first)
            announce(first, 1, OURS)
            announce(second, 1, ())
            assert {path.name for path in (BPF / "metallb").iterdir()} == {
                directory(lan.node).name,
                directory(other).name,
            }
            second.process.stop()
            assert answered(lan) == OURS
            assert not directory(other).exists()


class TestCleanEnd:
    @pytest.mark.parametrize("how", ["Stop", "SIGTERM"])
    @with_bpf_file_system
    def test_nothing_stays(self, lan, how):
        with running_link(lan.node) as link:
            usable(link)
            announce(link, 1, OURS)
            if how == "Stop":
                link.process.stop()
            else:
                os.kill(link.process.pid, signal.SIGTERM)
            link.wait(lambda link: link.exit_code == 0)
        assert answered(lan) == []
        wait_until_attached(lan)
        assert list((BPF / "metallb").iterdir()) == []

    @with_bpf_file_system
    def test_nothing_stays_of_an_interface_that_vanishes(self, lan):
        with running_link(lan.node) as link:
            usable(link)
            announce(link, 1, OURS)
            assert [path.name for path in directory(lan.node).iterdir()] == [str(lan.index())]
            lan.node.delete_link("n0")
            link.wait(lambda link: link.verdict("n0") is None)
            assert list(directory(lan.node).iterdir()) == []

    @with_bpf_file_system
    def test_a_speaker_that_dies_with_a_grace_leaves_nothing_after_it(self, lan):
        with speaker_with_link(lan.node, 0.5) as (process, _):
            process.kill()
            process.wait(5)
            assert answered(lan, SPEAKERS_ADDRESS) == [SPEAKERS_ADDRESS]
            wait_until_attached(lan)
            until(lambda: not directory(lan.node).exists(), 5, what="the directory's end, after that of the programs")


class TestLog:
    @staticmethod
    def said(lan, capfd):
        link = LinkProcess(lan.node.reference, l2_engine="tc", log_format="text")
        link.start()
        link.stop()
        return capfd.readouterr().err

    @with_bpf_file_system
    def test_it_says_where_it_pins(self, lan, capfd):
        said = self.said(lan, capfd)
        assert f"layer-2 engine: tc, so the kernel answers by itself; pinned in {directory(lan.node)}" in said
        assert "Landlock" not in said

    @with_bpf_file_system
    def test_it_says_why_it_does_not_pin(self, lan, capfd):
        with running_link(lan.node):
            assert f"not pinned: {directory(lan.node)} is in use by another process" in self.said(lan, capfd)

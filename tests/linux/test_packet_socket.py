"""AF_PACKET sockets with their ring and filter, on a cable between two network namespaces."""

import contextlib
import errno
import select
import socket
import time
from ipaddress import IPv4Address

import pytest

from metallb_cli.layer2 import arp
from metallb_cli.linux.netns import namespaces
from metallb_cli.linux.packet_socket import SLOTS, ArpSocket, explain
from metallb_cli.model import AddressRange
from tests.support.wire import Tap

pytestmark = pytest.mark.live

MAC, HOST_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000003")
HOST, OURS, FOREIGN = (IPv4Address(f"192.0.2.{n}") for n in (1, 10, 99))


def span(first, last=None):
    return AddressRange(first, last or first)


def question(target, sender=HOST):
    return arp.request(HOST_MAC, sender.packed, target.packed).ljust(60, b"\0")


@pytest.fixture
def lan():
    with namespaces("mlbt", "node", "host") as (node, host):
        node.add_veth("lan0", "lan0", host, mac=MAC, peer_mac=HOST_MAC)
        for namespace in (node, host):
            namespace.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            namespace.set_up("lan0")
        yield node, host


@pytest.fixture
def tap(lan):
    with contextlib.closing(Tap(lan[1], "lan0")) as tap:
        yield tap


def open_socket(node, *ranges):
    return node.run(lambda: ArpSocket("lan0", socket.if_nametoindex("lan0"), ranges))


def waiting(sock, timeout=3.0):
    return bool(select.select([sock], [], [], timeout)[0])


def test_what_is_for_us_arrives_and_nothing_else(lan, tap):
    with open_socket(lan[0], span(OURS)) as sock:
        for frame in (question(FOREIGN), question(OURS), question(FOREIGN), question(FOREIGN, sender=OURS)):
            tap.send(frame)
        assert waiting(sock)
        assert sock.receive(10) == [question(OURS), question(FOREIGN, sender=OURS)]
        assert sock.receive(10) == []


def test_no_frame_from_before_the_filter_is_ever_seen(lan, tap):
    with open_socket(lan[0]) as sock:
        tap.send(question(OURS))
        sock.set_ranges([span(OURS)])
        tap.send(question(OURS, sender=FOREIGN))
        assert waiting(sock)
        assert sock.receive(10) == [question(OURS, sender=FOREIGN)]


def test_the_ring_goes_round_and_loses_nothing_that_fits(lan, tap):
    with open_socket(lan[0], span(OURS, FOREIGN)) as sock:
        sent, received = 0, []
        for _ in range(5):
            batch = [question(OURS + number % 50) for number in range(sent, sent + SLOTS // 3)]
            for frame in batch:
                tap.send(frame)
            sent += len(batch)
            taken = sock.receive(SLOTS)
            assert taken == batch
            received += taken
        assert len(received) == sent > SLOTS


def test_more_than_fits_is_lost_and_what_comes_later_is_not(lan, tap):
    with open_socket(lan[0], span(OURS)) as sock:
        for _ in range(SLOTS + 100):
            tap.send(question(OURS))
        assert len(sock.receive(2 * SLOTS)) == SLOTS
        tap.send(question(OURS))
        assert waiting(sock)
        assert sock.receive(10) == [question(OURS)]


def test_a_part_can_be_taken(lan, tap):
    with open_socket(lan[0], span(OURS, FOREIGN)) as sock:
        for number in range(5):
            tap.send(question(OURS + number))
        parts = [sock.receive(2) for _ in range(4)]
        assert [len(part) for part in parts] == [2, 2, 1, 0]
        assert [frame[41] for part in parts for frame in part] == [10, 11, 12, 13, 14]


def test_the_kernel_says_when_each_frame_came(lan, tap):
    with open_socket(lan[0], span(OURS)) as sock:
        sent = []
        for _ in range(3):
            sent.append(time.time())
            tap.send(question(OURS))
            time.sleep(0.02)
        stamps = []
        assert len(sock.receive(10, stamps)) == len(stamps) == 3
        for before, stamp, after in zip(sent, stamps, [*sent[1:], time.time()], strict=True):
            assert before <= stamp <= after


def test_it_sends(lan, tap):
    with open_socket(lan[0], span(OURS)) as sock:
        frames = list(arp.gratuitous(MAC, OURS.packed))
        assert sock.send(frames) == 0
        assert tap.gratuitous(OURS, arp.REQUEST) is not None
        assert tap.gratuitous(OURS, arp.REPLY) is not None


def test_an_interface_that_goes_down_is_an_error_and_not_silence(lan):
    node, _ = lan
    with open_socket(node, span(OURS)) as sock:
        node.set_down("lan0")
        assert waiting(sock)
        with pytest.raises(OSError, match="down") as failure:
            sock.receive(10)
        assert failure.value.errno == errno.ENETDOWN
        with pytest.raises(OSError, match="down"):
            sock.send(arp.gratuitous(MAC, OURS.packed))


def test_an_interface_of_the_same_name_but_another_index_is_refused(lan):
    with pytest.raises(OSError, match="replaced"):
        lan[0].run(lambda: ArpSocket("lan0", socket.if_nametoindex("lan0") + 1, [span(OURS)]))


def test_an_interface_that_does_not_exist_is_refused(lan):
    with pytest.raises(OSError, match="No such device") as failure:
        lan[0].run(lambda: ArpSocket("nope", 7, [span(OURS)]))
    assert explain(failure.value) == "No such device (ENODEV)"


def test_the_kernel_takes_the_longest_filter(lan, tap):
    ranges = [span(IPv4Address("10.0.0.0") + 1000 * n, IPv4Address("10.0.0.0") + 1000 * n + 10) for n in range(3000)]
    with open_socket(lan[0], *ranges) as sock:
        tap.send(question(ranges[-1].last))
        tap.send(question(ranges[-1].last + 1))
        assert waiting(sock)
        assert sock.receive(10) == [question(ranges[-1].last)]

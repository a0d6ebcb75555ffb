"""The driver between a socket and an engine. Its frames go over a pair of datagram sockets here."""

import errno
import socket
from ipaddress import IPv4Address

import pytest

from metallb_cli.layer2 import arp
from metallb_cli.layer2.responder import Responder
from metallb_cli.linux.driver import FRAMES_PER_TURN, Driver

MAC, ASKER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000003")
VIP = IPv4Address("10.0.0.1")
QUESTION = arp.request(ASKER_MAC, bytes([10, 0, 0, 9]), VIP.packed)


@pytest.fixture
def wire():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.settimeout(5.0)
    for sock in (near, far):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with near, far:
        yield near, far


def driver_on(sock, *addresses):
    driver = Driver(sock, Responder(MAC))
    driver.engine.announce(addresses, 0.0)
    return driver


class BrokenSocket:
    """A socket on which the kernel refuses everything."""

    def __init__(self, code):
        self.code = code

    def recv(self, size):
        raise OSError(self.code, "broken")

    send = recv


def test_each_question_is_answered(wire):
    near, far = wire
    driver = driver_on(near, VIP)
    for _ in range(5):
        far.send(QUESTION)
    driver.receive(1.0)
    assert [arp.parse(far.recv(64)).destination for _ in range(5)] == [ASKER_MAC] * 5
    assert driver.worked
    assert driver.error is None


def test_it_takes_a_bounded_number_of_frames_before_others_have_their_turn():
    class Endless:
        taken = 0

        def recv(self, size):
            self.taken += 1
            return QUESTION

        def send(self, frame):
            return len(frame)

    sock = Endless()
    driver_on(sock, VIP).receive(1.0)
    assert sock.taken == FRAMES_PER_TURN


def test_what_is_due_is_sent(wire):
    near, far = wire
    driver = driver_on(near, VIP)
    driver.tick(0.0)
    assert [far.recv(64), far.recv(64)] == list(arp.gratuitous(MAC, VIP.packed))
    driver.worked = False
    driver.tick(0.5)
    assert not driver.worked


@pytest.mark.parametrize("code", [errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EIO])
def test_an_interface_that_is_gone_ends_the_driver(code):
    driver = driver_on(BrokenSocket(code), VIP)
    driver.receive(1.0)
    assert driver.error.errno == code
    driver = driver_on(BrokenSocket(code), VIP)
    driver.tick(1.0)
    assert driver.error.errno == code


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.EAGAIN, errno.ENOMEM])
def test_a_full_queue_loses_the_frame_and_nothing_else(code):
    driver = driver_on(BrokenSocket(code), VIP)
    driver.tick(1.0)
    assert driver.error is None
    assert driver.send_errors == 2

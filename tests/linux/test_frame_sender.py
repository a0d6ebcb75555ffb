"""Many frames with one system call. They go over a pair of datagram sockets here."""

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.linux.frame_sender import FRAMES_PER_CALL, FrameSender


@pytest.fixture
def pair():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@given(st.lists(st.binary(min_size=1, max_size=90), max_size=8))
def test_frames_of_any_lengths_arrive_whole_and_in_order(frames):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        sender = FrameSender(near.fileno())
        for _ in range(2):  # the second time its buffers have been used before
            assert sender.send(frames) == 0
            assert [far.recv(200) for _ in frames] == frames


def test_more_frames_than_fit_into_one_call_are_sent_too():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        far.bind(("127.0.0.1", 0))
        far.settimeout(5.0)
        near.connect(far.getsockname())
        frames = [b"%04d" % number for number in range(2 * FRAMES_PER_CALL + 3)]
        assert FrameSender(near.fileno()).send(frames) == 0
        assert [far.recv(10) for _ in frames] == frames


def test_what_a_full_queue_does_not_take_is_lost_and_counted(pair):
    near, far = pair
    frames = [b"x" * 42] * 1000
    lost = FrameSender(near.fileno()).send(frames)
    arrived = 0
    while True:
        try:
            far.recv(64)
        except BlockingIOError:
            break
        arrived += 1
    assert lost > 0
    assert arrived + lost == len(frames)


def test_an_error_that_does_not_pass_is_raised(pair):
    near, far = pair
    far.close()
    with pytest.raises(OSError, match="refused") as refusal:
        FrameSender(near.fileno()).send([b"x", b"y"])
    assert refusal.value.errno == errno.ECONNREFUSED


def test_nothing_to_send_is_no_work():
    assert FrameSender(-1).send([]) == 0

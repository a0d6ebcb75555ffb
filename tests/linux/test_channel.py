"""The link process's end of its socket: a control process may be slow, rude or gone."""

import socket

import pytest

from metallb_cli.errors import LinkError
from metallb_cli.layer2.message_codec import MessageReader, encode
from metallb_cli.layer2.messages import AnnouncementSet, Refusal, Stop
from metallb_cli.linux.channel import Channel


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield Channel(near), far


def test_messages_arrive(pair):
    channel, far = pair
    assert channel.receive() == []
    far.sendall(encode(AnnouncementSet(1)) + encode(Stop()))
    assert channel.receive() == [AnnouncementSet(1), Stop()]


def test_the_end_of_the_control_process_is_no_error(pair):
    channel, far = pair
    far.close()
    channel.send(Refusal("nobody hears this"))
    assert channel.flush()
    assert channel.receive() is None


def test_a_reset_connection_is_the_end_too(pair):
    channel, far = pair
    channel.send(Refusal("unread"))
    far.close()
    assert channel.receive() is None


def test_nonsense_is_a_link_error(pair):
    channel, far = pair
    far.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(LinkError):
        channel.receive()


def test_a_control_process_that_does_not_read_never_blocks_and_gets_everything_in_the_end(pair):
    channel, far = pair
    sent = [Refusal(f"{number} " + "x" * 50_000) for number in range(40)]
    for message in sent:
        channel.send(message)
    assert not channel.flush()
    reader, received = MessageReader(), []
    far.settimeout(5.0)
    while len(received) < len(sent):
        received += reader.feed(far.recv(1 << 16))
        channel.flush()
    assert received == sent
    assert channel.flush()

"""The filter of the heartbeats' socket: these frames and no others."""

import pytest

from metallb_cli.layer2 import heartbeat
from metallb_cli.layer2.heartbeat_filter import SNAP_LENGTH, heartbeat_filter
from tests.support.cbpf import run, verify

BEAT = heartbeat.encode(heartbeat.Heartbeat(bytes(6), 0, 1, 1, 100, 3, "node", b"", heartbeat.NO_SECTION), b"key")
PROGRAM = heartbeat_filter(7)
MULTICAST = {"packet_type": 2, "interface": 7}


def test_the_kernel_would_take_it():
    verify(PROGRAM)


def test_a_heartbeat_passes_whole():
    assert run(PROGRAM, BEAT, **MULTICAST)[0] == SNAP_LENGTH == heartbeat.MAX_FRAME


@pytest.mark.parametrize("packet_type", [0, 1, 3, 4], ids=["host", "broadcast", "other host", "outgoing"])
def test_what_was_not_sent_to_a_group_is_turned_down(packet_type):
    assert run(PROGRAM, BEAT, packet_type=packet_type, interface=7)[0] == 0


def test_what_came_to_another_interface_is_turned_down():
    assert run(PROGRAM, BEAT, packet_type=2, interface=8)[0] == 0


@pytest.mark.parametrize("at", [0, 3, 4, 5, 12, 13, 14])
def test_another_destination_protocol_or_version_is_turned_down(at):
    changed = BEAT[:at] + bytes([BEAT[at] ^ 1]) + BEAT[at + 1 :]
    assert run(PROGRAM, changed, **MULTICAST)[0] == 0

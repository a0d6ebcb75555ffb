"""The classic BPF program that lets only heartbeats through: the sibling of `socket_filter`."""

from __future__ import annotations

from metallb_cli.layer2.heartbeat import ETHERTYPE, GROUP, MAX_FRAME, VERSION
from metallb_cli.layer2.socket_filter import Instruction

SNAP_LENGTH = MAX_FRAME

_LD_WORD, _LD_HALF, _LD_BYTE, _JEQ, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
_PACKET_TYPE, _INTERFACE = 0xFFFFF000 + 4, 0xFFFFF000 + 8  # SKF_AD_PKTTYPE, SKF_AD_IFINDEX
_MULTICAST = 2  # not what this host sends, and not what comes for a VLAN that it does not have


def heartbeat_filter(interface: int) -> list[Instruction]:
    """Build the program.

    Args:
        interface: index of the interface that a frame must have come to, so that those of its VLAN sub-interfaces do
            not pass.
    """
    checks = (
        (_LD_WORD, _INTERFACE, interface),
        (_LD_WORD, _PACKET_TYPE, _MULTICAST),
        (_LD_HALF, 12, ETHERTYPE),
        (_LD_BYTE, 14, VERSION),
        (_LD_WORD, 0, int.from_bytes(GROUP[:4], "big")),
        (_LD_HALF, 4, int.from_bytes(GROUP[4:], "big")),
    )
    program: list[Instruction] = []
    for number, (load, offset, expected) in enumerate(checks, 1):
        refuse = 2 * (len(checks) - number) + 1
        program += (Instruction(load, 0, 0, offset), Instruction(_JEQ, 0, refuse, expected))
    return [*program, Instruction(_RETURN, 0, 0, SNAP_LENGTH), Instruction(_RETURN, 0, 0, 0)]

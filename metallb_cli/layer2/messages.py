"""What the control process and the link process say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from metallb_cli.model import AddressRange, IPAddress


@dataclass(frozen=True, slots=True)
class AnnouncementSet:
    """Everything this node answers for: level, not edge, so a lost or repeated message does no harm.

    Attributes:
        generation: grows by one with each set, so that a state report can say which set is in force.
        addresses: the addresses to answer for, sorted.
        ranges: addresses that may be announced some day; frames for any other never wake the process.
    """

    generation: int = 0
    addresses: tuple[IPAddress, ...] = ()
    ranges: tuple[AddressRange, ...] = ()

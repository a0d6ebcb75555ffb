"""What one node does about the addresses, and what has changed for it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from metallb_cli.model import Claim, IPAddress, Reason


class Mode(enum.Enum):
    """`--election`: addresses stay where they are, or always go to the first in the order of the hash."""

    STICKY = "sticky"
    METALLB = "metallb"


@dataclass(frozen=True, slots=True)
class Change:
    """An address that this node gained or gave up.

    Attributes:
        before, after: the owner; None when there was none, or is none.
        epoch: of the claim that counts now; of this node's own last one when there is none.
    """

    address: IPAddress
    reason: Reason
    before: str | None
    after: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What this node does. The mappings are sorted by address and never change afterwards.

    Attributes:
        claims: answered for, and said in heartbeats.
        said: what to say in heartbeats: `claims`, and for a second those for which a better claim has been heard.
        yielding: still answered for, until the named node does, or for 1 s.
        probe: those of `claims` that nobody is known to have had before: the LAN has to be asked first.
        unsteady: the flag of the heartbeats.
        changes: since the decision before, sorted by address.
    """

    claims: Mapping[IPAddress, Claim] = field(default_factory=dict)
    said: Mapping[IPAddress, Claim] = field(default_factory=dict)
    yielding: Mapping[IPAddress, str] = field(default_factory=dict)
    probe: frozenset[IPAddress] = frozenset()
    unsteady: bool = False
    changes: tuple[Change, ...] = ()

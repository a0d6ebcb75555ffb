"""What a speaker does while the API server is away. Pure."""

from __future__ import annotations

from enum import Enum


class ApiOutagePolicy(Enum):
    """What the operator chose with `--on-api-outage`."""

    FREEZE = "freeze"
    """Go on with the last known objects; take over from peers that die on the LAN."""
    MAJORITY = "majority"
    """The same, while more than half of the last known speakers are in touch; otherwise answer for nothing."""
    WITHDRAW = "withdraw"
    """Answer for nothing until the API server is back."""


def suspended(policy: ApiOutagePolicy, outage: float, lease_duration: float, *, quorum: bool) -> bool:
    """Whether this node must answer for nothing now.

    Args:
        policy: the operator's choice.
        outage: seconds for which the API server has not answered; 0 when it does.
        lease_duration: seconds; a shorter outage is none, because the Lease still speaks for this node.
        quorum: more than half of the last known speakers are in touch with this one.
    """
    if outage <= lease_duration or policy is ApiOutagePolicy.FREEZE:
        return False
    return policy is ApiOutagePolicy.WITHDRAW or not quorum

"""Which node answers for an address, and how that changes (docs/ownership.md). Pure."""

from metallb_cli.election.decision import Change, Decision, Mode
from metallb_cli.election.electorate import Standing, Wish
from metallb_cli.election.order import elect, owner_by_holders, ranking
from metallb_cli.election.ownership import Ownership

__all__ = [
    "Change",
    "Decision",
    "Mode",
    "Ownership",
    "Standing",
    "Wish",
    "elect",
    "owner_by_holders",
    "ranking",
]

"""What can happen to a node or to the cluster, and how it ends. `failover` measures each, `chaos` mixes them.

Not here: a jump of the clock. The kernel never lets the clock jump by which speakers measure time (CLOCK_MONOTONIC),
not even in a time namespace, whose offset is fixed before its first process; the other clock belongs to the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.fleet import Fleet, Owners

PAUSE = 2.0
"""Seconds between SIGSTOP and SIGCONT."""
PARTED = 3.0
"""Seconds for which a LAN stays in two halves."""
CUT = 2.0
"""Seconds for which frames vanish. What was taken from a lost node is weak for the first of them."""
AWAY = 1.0
"""Seconds for which a planned move is watched before it is undone."""


@dataclass(frozen=True)
class Fault:
    """One thing that can happen.

    Attributes:
        name: in tables and on the command line.
        what: a few words for the tables.
        strike: makes it happen to a node; what each node answers for is given, too. Returns when it happened.
        recover: makes it good again, and returns when it is.
        planned: nobody may notice: no question may be lost.
        hold: seconds between the two, at least, where it is measured.
        leaves: the node answers for nothing until it is good again.
        parts: nodes do not hear each other, so that two may answer for an address meanwhile.
    """

    name: str
    what: str
    strike: Callable[[Fleet, str, Owners], float]
    recover: Callable[[Fleet, str], None]
    planned: bool = False
    hold: float = 0.0
    leaves: bool = True
    parts: bool = False


def _kill(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    fleet.kill(node)
    return began


def _start(fleet: Fleet, node: str) -> None:
    fleet.launch(node)


def _node_dies(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    fleet.switch.unplug(node)
    fleet.kill(node)
    return began


def _node_returns(fleet: Fleet, node: str) -> None:
    fleet.switch.plug_in(node)
    fleet.launch(node)


def _kill_without_api(fleet: Fleet, node: str, owners: Owners) -> float:
    fleet.freeze_api()
    time.sleep(0.5)
    return _kill(fleet, node, owners)


def _api_returns(fleet: Fleet, node: str) -> None:
    fleet.thaw_api()
    fleet.launch(node)


def _on_the_lan(action: str) -> Callable[[Fleet, str, Owners], float]:
    def strike(fleet: Fleet, node: str, owners: Owners) -> float:
        began = time.time()
        getattr(fleet.switch, action)(node)
        return began

    return strike


def _part(fleet: Fleet, node: str, owners: Owners) -> float:
    others = [name for name in fleet.switch.nodes if name != node]
    began = time.time()
    fleet.switch.part([node, *others[: len(fleet.switch.nodes) // 2 - 1]])
    return began


def _heal(fleet: Fleet, node: str) -> None:
    fleet.switch.heal()


def _pause(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    fleet.pause(node)
    return began


def _terminate(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    fleet.terminate(node)
    fleet.wait_until_ended(node)
    return began


def _restart_all(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    for each in fleet.switch.nodes:
        _terminate(fleet, each, owners)
        fleet.launch(each)
    return began


def _drain(fleet: Fleet, node: str, owners: Owners) -> float:
    began = time.time()
    fleet.drain(node)
    return began


def _move(fleet: Fleet, node: str, owners: Owners) -> float:
    target = next(name for name in fleet.switch.nodes if name != node)
    return fleet.move(next(address for address, owner in owners.items() if owner == node), target)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", "speaker killed (SIGKILL)", _kill, _start),
        Fault("node", "node dies: no carrier, killed", _node_dies, _node_returns),
        Fault("cable", "cable out: no carrier", _on_the_lan("unplug"), lambda f, n: f.switch.plug_in(n), hold=CUT),
        Fault("silence", "all frames vanish, carrier stays", _on_the_lan("silence"), _heal, hold=CUT, parts=True),
        Fault("deaf", "frames to the node vanish", _on_the_lan("deafen"), _heal, hold=CUT, parts=True),
        Fault("mute", "frames from the node vanish", _on_the_lan("mute"), _heal, hold=CUT, parts=True),
        Fault("partition", "LAN in halves, then whole", _part, _heal, hold=PARTED, leaves=False, parts=True),
        Fault("api", "API server frozen, then speaker killed", _kill_without_api, _api_returns),
        Fault("pause", f"SIGSTOP, {PAUSE:.0f} s later SIGCONT", _pause, Fleet.go_on, hold=PAUSE),
        Fault("sigterm", "speaker ends (SIGTERM)", _terminate, _start, planned=True),
        Fault("rolling", "all speakers restart in turn", _restart_all, lambda f, n: None, planned=True, leaves=False),
        Fault("drain", "node drained", _drain, lambda f, n: f.drain(n, False), planned=True, hold=AWAY),
        Fault("move", "an address moved by hand", _move, lambda f, n: None, planned=True, hold=AWAY, leaves=False),
    )
}

"""How fast neighbour solicitations are answered: by Linux, the `tc` and `packet` engines and a naive program.

    python -m bench.ndp             about five minutes
    python -m bench.ndp --quick     seconds: only to see that it works

Measured as ARP is. Then how long it takes to join the multicast groups of many addresses. Needs root.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from ipaddress import IPv6Address

from bench import responders, tc
from bench.cable import CLIENT_MAC, NODE_MAC, Cable, Questions
from bench.flood_programs import ROWS, Expected
from bench.rounds import Effort, Results, compare, effort, table
from metallb_cli.layer2.ndp import Advertiser, Solicitation, encode_solicitation, group_mac, solicited_node
from metallb_cli.linux.ebpf.programs import wire
from metallb_cli.linux.ndp_groups import NeighbourGroups

VIRTUAL, ASKER, FOREIGN = IPv6Address("fd00:77::1"), IPv6Address("fd00:78::1"), IPv6Address("fd00:79::1:0")


def solicitation(address: IPv6Address) -> bytes:
    """The asker's question."""
    group = solicited_node(address.packed)
    packet = Solicitation(group_mac(group), CLIENT_MAC, ASKER.packed, group, address.packed, CLIENT_MAC)
    return encode_solicitation(packet)


def questions(count: int) -> Questions:
    """Solicitations of one asker for each of `count` addresses."""
    addresses = [VIRTUAL + n for n in range(count)]
    answer = Advertiser(NODE_MAC).answer(bytes(16), CLIENT_MAC, ASKER.packed)
    # Not the flags: Linux says that it is a router when it forwards. The sum of the pseudo-header: length and protocol.
    prefix = VIRTUAL.packed[:12]
    marks = {0: CLIENT_MAC, 12: answer[12:14], 20: answer[20:21], 54: answer[54:55]}
    fixed = {6: answer[6:12], 14: answer[14:20], 21: answer[21:22], 22: prefix, 38: answer[38:54], 55: answer[55:56]}
    fixed |= {62: prefix, 78: answer[78:]}
    checksum = 22, 64, wire(b"\x00\x20") + wire(b"\x00\x3a")
    return Questions(
        addresses,
        [solicitation(address) for address in addresses],
        [solicitation(FOREIGN + n) for n in range(ROWS)],
        Expected(86, marks, fixed, 74, int(VIRTUAL) & 0xFFFFFFFF, count, checksum),
        f"{ASKER + 1}/64",
    )


def shorter(work: Effort) -> Effort:
    """The effort for NDP, with shorter floods than of ARP: a kernel in 10,000 multicast groups takes long."""
    return dataclasses.replace(work, floods=min(work.floods, 16))


def measure(work: Effort) -> Results:
    """All of them."""
    return compare(questions, responders.ALL, work)


def costs(count: int = 10_000) -> dict[str, str]:
    """What the membership in the multicast groups of so many addresses costs."""
    _, floor = _joining(0)
    seconds, foreign = _joining(count)
    return {
        f"join the multicast groups of {count:,} addresses": f"{seconds:.2f} s, in steps",
        "then, each solicitation for somebody else": f"{foreign:,.0f} ns ({floor:,.0f} ns without)",
    }


def _joining(count: int) -> tuple[float, float]:
    """Seconds to join the groups of so many addresses, and what a foreign solicitation then costs, in nanoseconds."""
    cable = Cable("groups", questions(1))
    try:
        responders.tc(cable)
        groups = cable.node.run(NeighbourGroups, cable.index)
        cable.stack.callback(groups.close)
        groups.want([VIRTUAL + n for n in range(count)])
        started = time.perf_counter()
        cable.node.run(groups.advance, count)
        seconds = time.perf_counter() - started
        if groups.joined != count:
            raise RuntimeError(f"only {groups.joined} groups were joined")
        foreign = cable.flooder.prepare(cable.questions.foreign)
        return seconds, min(cable.flood(foreign, 8 * ROWS).nanoseconds for _ in range(3))
    finally:
        cable.close()


def main() -> int:
    """Measure and print."""
    work = shorter(effort(__doc__))
    print(f"NDP: {work}\n\n{table('NDP', measure(work))}\n\n{tc.table(costs())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

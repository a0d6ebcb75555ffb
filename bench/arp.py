"""How fast ARP is answered: by the kernel itself, the `tc` and `packet` engines, a naive program and scapy.

    python -m bench.arp                 about five minutes
    python -m bench.arp --quick         seconds: only to see that it works, without scapy

Each has a virtual cable of its own. The asking side keeps one processor and the answering process the other; the kernel
answers on the asking side's, because that is where a frame arrives on such a cable. Rounds are interleaved and medians
shown; every reply is checked. Needs root.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address

from bench import given_speaker, responders
from bench.cable import CLIENT_MAC, NODE_MAC, Questions
from bench.flood_programs import ROWS, Expected
from bench.rounds import Effort, Results, compare, effort, table
from metallb_cli.layer2 import arp

VIRTUAL, ASKER, FOREIGN = IPv4Address("10.77.0.1"), IPv4Address("10.78.0.1"), IPv4Address("198.18.0.0")


def request(address: IPv4Address) -> bytes:
    """The asker's question."""
    return arp.request(CLIENT_MAC, ASKER.packed, address.packed)


def questions(count: int) -> Questions:
    """Requests of one asker for each of `count` addresses."""
    addresses = [VIRTUAL + n for n in range(count)]
    reply = arp.reply(NODE_MAC, bytes(4), CLIENT_MAC, ASKER.packed)
    marks = {0: CLIENT_MAC, 12: reply[12:14], 20: reply[20:22]}
    fixed = {6: reply[6:12], 14: reply[14:20], 22: reply[22:28], 32: reply[32:]}
    return Questions(
        addresses,
        [request(address) for address in addresses],
        [request(FOREIGN + n) for n in range(ROWS)],
        Expected(42, marks, fixed, 28, int(VIRTUAL), count),
        f"{ASKER + 1}/16",
    )


def measure(work: Effort) -> Results:
    """All of them, and a MetalLB speaker where METALLB_SPEAKER names one."""
    cases = responders.ALL | {"packet, spin": responders.packet_spin}
    cases |= {"scapy": responders.scapy} if work.exact else {}
    return compare(questions, cases | given_speaker.cases(), work)


def main() -> int:
    """Measure and print."""
    work = effort(__doc__)
    print(f"ARP: {work}\n\n{table('ARP', measure(work))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast neighbour solicitations are answered: by the `tc` engine's program, by Linux, by the NDP engine in Python.

    python -m bench.ndp             about a minute and a half
    python -m bench.ndp --quick     fewer and shorter rounds: less exact

Then how long it takes to join the multicast groups of many addresses. Needs root.
"""

from __future__ import annotations

import argparse
import select
import socket
import subprocess
import sys
import time
from ipaddress import IPv6Address

from bench.cable import CLIENT_MAC, NODE_MAC, ROOT, Cable, Questions, pin, run_cases, table, with_kernel, with_tc
from bench.flood import ROWS, Expected
from metallb_cli.layer2.ndp import Advertiser, Solicitation, encode_solicitation, group_mac, solicited_node
from metallb_cli.layer2.ndp_responder import NdpResponder
from metallb_cli.linux.driver import Driver
from metallb_cli.linux.ebpf.programs import wire
from metallb_cli.linux.ebpf.support import supported
from metallb_cli.linux.ndp_groups import NeighbourGroups
from metallb_cli.linux.ndp_socket import NdpSocket
from metallb_cli.model import AddressRange

VIRTUAL, ASKER = IPv6Address("fd00:77::1"), IPv6Address("fd00:78::1")
MANY = 10_000


def questions(count: int) -> Questions:
    """Solicitations of one asker for each of `count` addresses."""
    addresses = [VIRTUAL + n for n in range(count)]
    frames = []
    for address in addresses:
        group = solicited_node(address.packed)
        packet = Solicitation(group_mac(group), CLIENT_MAC, ASKER.packed, group, address.packed, CLIENT_MAC)
        frames.append(encode_solicitation(packet))
    answer = Advertiser(NODE_MAC).answer(bytes(16), CLIENT_MAC, ASKER.packed)
    # Not the flags: Linux says that it is a router when it forwards. The sum of the pseudo-header: length and protocol.
    prefix = VIRTUAL.packed[:12]
    marks = {0: CLIENT_MAC, 12: answer[12:14], 20: answer[20:21], 54: answer[54:55]}
    fixed = {6: answer[6:12], 14: answer[14:20], 21: answer[21:22], 22: prefix, 38: answer[38:54], 55: answer[55:56]}
    fixed |= {62: prefix, 78: answer[78:]}
    checksum = 22, 64, wire(b"\x00\x20") + wire(b"\x00\x3a")
    expected = Expected(86, marks, fixed, 74, int(VIRTUAL) & 0xFFFFFFFF, count, checksum)
    return Questions(addresses, frames, expected, f"{ASKER + 1}/64")


def with_packet(cable: Cable) -> None:
    """The NDP engine behind its packet socket, in a process on the other processor."""
    command = [sys.executable, "-m", "bench.ndp", "--answer", str(len(cable.questions.addresses))]
    process = cable.node.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    cable.stack.callback(process.wait, 10)
    cable.stack.callback(process.stdin.close)
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the process with the NDP engine does not answer")
    pin(process.pid, 1)
    cable.require_programs(attached=False)


def answer(count: int) -> None:
    """Answer on lan0 until standard input ends. Nothing is told unasked."""
    addresses = [VIRTUAL + n for n in range(count)]
    engine = NdpResponder(NODE_MAC)
    engine.announce(addresses, time.monotonic())
    index = socket.if_nametoindex("lan0")
    sock = NdpSocket("lan0", index, [AddressRange(addresses[0], addresses[-1])])
    driver = Driver(sock, engine)
    poll = select.epoll()
    poll.register(sock.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
    print("ready", flush=True)
    while sys.stdin.fileno() not in dict(poll.poll()):
        driver.receive(time.monotonic())
    sock.close()


def joining(count: int) -> tuple[float, float]:
    """Seconds to join the groups of so many addresses, and what a foreign solicitation then costs, in nanoseconds."""
    cable = Cable("groups", questions(1))
    try:
        with_tc(cable)
        groups = cable.node.run(NeighbourGroups, cable.index)
        cable.stack.callback(groups.close)
        groups.want([VIRTUAL + n for n in range(count)])
        started = time.perf_counter()
        cable.node.run(groups.advance, count)
        seconds = time.perf_counter() - started
        if groups.joined != count:
            raise RuntimeError(f"only {groups.joined} groups were joined")
        foreign = cable.flooder.prepare(questions(MANY + 1000).frames[MANY:])
        return seconds, min(cable.flood(foreign, 8 * ROWS).nanoseconds for _ in range(3))
    finally:
        cable.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer is not None:
        answer(options.answer)
        return 0
    if reason := supported():
        print(f"the tc engine cannot be measured: {reason}", file=sys.stderr)
        return 1
    counts = (1, 1000) if options.quick else (1, 100, MANY)
    cases = {"kernel": with_kernel, "tc": with_tc, "packet": with_packet}
    number, floods, asks = (3, 12, 300) if options.quick else (5, 16, 1500)
    print(f"Medians of {number} interleaved rounds of {floods * ROWS:,} questions; every reply was checked.\n")
    print(table("NDP", run_cases(counts, questions, cases, number=number, floods=floods, asks=asks)))
    print("\n| cost | |\n|---|---|")
    _, floor = joining(0)
    seconds, foreign = joining(MANY)
    print(f"| join the multicast groups of {MANY:,} addresses | {seconds:.2f} s, in steps |")
    print(f"| then, each solicitation for somebody else | {foreign:,.0f} ns ({floor:,.0f} ns without) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

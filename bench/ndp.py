"""How fast neighbour solicitations are answered: by the `tc` engine's program, by Linux, by the NDP engine in Python.

    python -m bench.ndp             about two minutes
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
from metallb_cli.linux.netns import namespaces
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
    fixed = {6: answer[6:12], 12: answer[12:22], 38: answer[38:56], 78: answer[78:]}
    checksum = 22, 64, wire(b"\x00\x20") + wire(b"\x00\x3a")
    expected = Expected(86, CLIENT_MAC, fixed, 62, [address.packed for address in addresses], checksum)
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


def joining(count: int) -> float:
    """Seconds to join the groups of so many addresses."""
    with namespaces("mlbn", "groups") as (namespace,):
        namespace.add_veth("lan0", "far")
        namespace.set_up("lan0")
        groups = namespace.run(lambda: NeighbourGroups(socket.if_nametoindex("lan0")))
        groups.want([VIRTUAL + n for n in range(count)])
        started = time.perf_counter()
        namespace.run(groups.advance, count)
        seconds = time.perf_counter() - started
        if groups.joined != count:
            raise RuntimeError(f"only {groups.joined} groups were joined")
        groups.close()
        return seconds


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
    number, floods, asks = (3, 12, 300) if options.quick else (5, 40, 1500)
    print(f"Medians of {number} interleaved rounds of {floods * ROWS:,} questions; every reply was checked.\n")
    print(table("NDP", run_cases(counts, questions, cases, number=number, floods=floods, asks=asks)))
    print("\n| cost | |\n|---|---|")
    print(f"| join the multicast groups of {MANY:,} addresses | {joining(MANY):.2f} s, in steps |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

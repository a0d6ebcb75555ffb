"""What the `tc` engine costs beside answering: installing and renewing, and other traffic.

    python -m bench.tc             about a minute
    python -m bench.tc --quick     seconds: only to see that it works

How fast it answers is measured by `bench.arp` and `bench.ndp`, how late it falls silent by `bench.fence`. Needs root.
"""

from __future__ import annotations

import functools
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address

from bench.arp import ASKER, FOREIGN, VIRTUAL, questions
from bench.burst import collecting_like_the_link_process
from bench.cable import CLIENT_MAC, NODE_MAC, Cable
from bench.responders import FOREVER
from bench.rounds import QUICK, effort
from metallb_cli.layer2 import arp
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.engine import TcEngine
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease
from metallb_cli.linux.ebpf.programs import arp_program, ndp_program
from metallb_cli.linux.ebpf.syscalls import PROGRAM_TC
from metallb_cli.linux.netns import Namespace, namespaces

MANY = 10_000


def costs(*, quick: bool) -> dict[str, str]:
    """Everything, as text by what it is about."""
    with collecting_like_the_link_process():
        found = engine_costs(1 if quick else 5)
    found |= run_costs()
    speeds = tcp(1 if quick else 7, 0.25)
    ratio = speeds["with"] / speeds["without"]
    return found | {"TCP to the node, both programs attached": f"{speeds['with']:.1f} Gbit/s, {ratio:.2f} × without"}


def engine_costs(repeat: int) -> dict[str, str]:
    """What the engine costs beside answering; medians."""
    lines = {}
    cable = Cable("costs", questions(MANY))
    try:
        addresses = [address.packed for address in cable.questions.addresses]  # as the port knows them
        attach, install, withdraw, change, detach = [], [], [], [], []
        for _ in range(repeat):
            engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
            for times, announced in (
                (attach, addresses[:1]),
                (install, addresses),
                (change, addresses[1:]),
                (withdraw, addresses[1:2]),
                (detach, ()),
            ):
                times.append(cable.node.run(_milliseconds, functools.partial(engine.answer_for, {*announced}, set())))
            engine.close()
        lines["the first address: load and attach the program"] = f"{statistics.median(attach):.1f} ms"
        lines[f"install {MANY:,} addresses"] = f"{statistics.median(install):.1f} ms"
        lines["withdraw one of them"] = f"{statistics.median(change):.1f} ms"
        lines["withdraw all but one"] = f"{statistics.median(withdraw):.1f} ms"
        lines["the last one: detach the program"] = f"{statistics.median(detach):.1f} ms"
        engine = cable.node.run(TcEngine, cable.index, NODE_MAC)
        cable.node.run(engine.answer_for, {*addresses}, set())
        many = range(20_000)
        renewals = _milliseconds(lambda: [engine.renew(FOREVER) for _ in many])
        lines["renew the lease of all"] = f"{renewals * 1e6 / len(many):,.0f} ns, no system call into the maps"
        reading = statistics.median(_milliseconds(engine.take_counts) for _ in range(20))
        lines["read all counters, nothing new"] = f"{reading:.2f} ms"
        engine.close()
    finally:
        cable.close()
    return lines


def run_costs() -> dict[str, str]:
    """What one run costs on frames that are not answered, compared with a program that does nothing."""
    lease, hits, addresses = Lease(), Hits(MANY), Addresses(4, MANY)
    addresses.add([address.packed for address in questions(MANY).addresses], range(MANY))
    maps = {"addresses": addresses.fd, "hits": hits.fd, "lease": lease.fd, "slots": MANY}
    programs = {
        "nothing": assemble("w0 = -1\nexit"),
        "arp": arp_program(NODE_MAC, **maps),
        "ndp": ndp_program(NODE_MAC, **maps),
    }
    loaded = {name: syscalls.program_load(PROGRAM_TC, code, "bench_cost") for name, code in programs.items()}
    broadcast = bytes(6) + CLIENT_MAC  # BPF_PROG_TEST_RUN uses the loopback interface, whose address is zero
    frames = {
        "IPv4 packet": broadcast + b"\x08\x00" + bytes(48),
        "ARP for a foreign address": broadcast + arp.request(CLIENT_MAC, ASKER.packed, FOREIGN.packed)[12:],
        "ARP for ours when the lease is over": broadcast + arp.request(CLIENT_MAC, ASKER.packed, VIRTUAL.packed)[12:],
    }
    lines = {}
    for what, frame in frames.items():
        floor, own = (
            min(syscalls.run_program(loaded[name], frame, repeat=200_000).duration for _ in range(5))
            for name in ("nothing", "arp")
        )
        lines[what] = f"{own - floor} ns more than nothing ({floor} ns)"
    for name in ("arp", "ndp"):
        lines[f"the {name.upper()} program"] = f"{len(programs[name]) // 8} instructions"
    for fd in loaded.values():
        os.close(fd)
    for made in (addresses, hits, lease):
        made.close()
    return lines


def tcp(repeat: int, seconds: float) -> dict[str, float]:
    """Gbit/s of one TCP connection to the node, with and without both programs on its interface."""
    samples: dict[str, list[float]] = {"without": [], "with": []}
    with namespaces("mlbn", "tcp-client", "tcp-node") as (client, node):
        client.add_veth("lan0", "lan0", node, peer_mac=NODE_MAC)
        for namespace, address in ((client, "10.79.0.1/24"), (node, "10.79.0.2/24")):
            namespace.set_up("lan0")
            namespace.add_address("lan0", address)
        index = node.run(socket.if_nametoindex, "lan0")
        for _ in range(repeat):
            samples["without"].append(_bulk(client, node, seconds))
            engine = node.run(TcEngine, index, NODE_MAC)
            node.run(engine.announce, [VIRTUAL, IPv6Address("fd00::77")])
            engine.renew(FOREVER)
            samples["with"].append(_bulk(client, node, seconds))
            engine.close()
    return {name: statistics.median(values) for name, values in samples.items()}


def _bulk(client: Namespace, node: Namespace, seconds: float) -> float:
    server = node.run(socket.create_server, ("10.79.0.2", 5001))

    def sink() -> None:
        connection, _ = server.accept()
        buffer = bytearray(1 << 20)
        with connection:
            while connection.recv_into(buffer):
                pass

    receiver = threading.Thread(target=sink)
    receiver.start()
    data = bytes(1 << 20)
    with client.run(socket.create_connection, ("10.79.0.2", 5001), 5) as source:
        started, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < seconds:
            sent += source.send(data)
    receiver.join(10)
    server.close()
    return sent * 8 / elapsed / 1e9


def _milliseconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


def table(found: dict[str, str]) -> str:
    """The table in Markdown."""
    return "\n".join(["| cost | |", "|---|---|", *(f"| {what} | {cost} |" for what, cost in found.items())])


def main() -> int:
    """Measure and print."""
    print(table(costs(quick=effort(__doc__) is QUICK)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

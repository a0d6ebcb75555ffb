"""How long the first gratuitous frames of many addresses take, from the announcement to the last one on the wire.

    python -m bench.burst             seconds

Beside the packet engine's own burst: the same frames built beforehand and handed to the kernel, at best (sendmmsg) and
one by one. The frames end in a tcx program at the other end of a virtual cable, which counts them. An XDP program would
make the kernel copy each into a buffer of its own first, in the sender's time. Needs root.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address

from bench.cable import NODE_MAC
from bench.rounds import QUICK, effort
from metallb_cli.layer2 import arp
from metallb_cli.layer2.responder import Responder
from metallb_cli.linux.driver import Driver
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.maps import Hits
from metallb_cli.linux.ebpf.syscalls import ATTACH_TCX_INGRESS, BEFORE_ALL, PROGRAM_TC
from metallb_cli.linux.frame_sender import FRAMES_PER_CALL
from metallb_cli.linux.link import COLLECT_AFTER
from metallb_cli.linux.netns import Namespace, namespaces
from metallb_cli.linux.packet_socket import ArpSocket

MANY = 10_000
OURS, BATCHED, SINGLE = "the packet engine", "sendmmsg, frames built before", "send, frames built before"

COUNT_ARP = """
    r4 = *(u32 *)(r1 + 16)                  # struct __sk_buff: protocol
    if w4 != ETHERTYPE goto pass
    r1 = map[COUNT][0]+0
    r2 = 1
    lock *(u64 *)(r1 + 0) += r2
    w0 = 2                                  # TC_ACT_SHOT
    exit
pass:
    w0 = -1
    exit
"""


def bursts(rounds: int) -> dict[str, float]:
    """Median milliseconds for MANY addresses, by who sends.

    Raises:
        RuntimeError: frames were lost.
    """
    addresses = [IPv4Address("198.18.0.0") + number for number in range(MANY)]
    frames = [frame for address in addresses for frame in arp.gratuitous(NODE_MAC, address.packed)]
    senders: dict[str, Callable[[ArpSocket], None]] = {
        OURS: lambda sock: _announce(sock, addresses),
        BATCHED: lambda sock: _send(sock, frames, FRAMES_PER_CALL),
        SINGLE: lambda sock: _send(sock, frames, 1),
    }
    samples: dict[str, list[float]] = {name: [] for name in senders}
    with namespaces("mlbn", "burst-host", "burst-node") as (host, node), collecting_like_the_link_process():
        host.add_veth("lan0", "lan0", node, peer_mac=NODE_MAC)
        with _counted(host) as hits:
            node.set_up("lan0")
            for number in range(rounds + 1):
                for name, sender in senders.items():
                    before = hits.read()[0]
                    milliseconds = node.run(_time, sender)
                    if (came := hits.read()[0] - before) != len(frames):
                        raise RuntimeError(f"{name}: {came} of {len(frames)} frames came")
                    if number:  # the first is for the caches
                        samples[name].append(milliseconds)
    return {name: statistics.median(values) for name, values in samples.items()}


@contextlib.contextmanager
def collecting_like_the_link_process() -> Iterator[None]:
    """What is loaded stays, and garbage is rarely looked for: else a large benchmark pays more for it than a daemon."""
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


@contextlib.contextmanager
def _counted(host: Namespace) -> Iterator[Hits]:
    """Count the ARP frames that come to the host, and drop them."""
    hits = Hits(mmap.PAGESIZE // 8)

    def attach() -> int:
        code = assemble(COUNT_ARP, {"COUNT": hits.fd, "ETHERTYPE": int.from_bytes(b"\x08\x06", sys.byteorder)})
        program = syscalls.program_load(PROGRAM_TC, code, "bench_count")
        try:
            return syscalls.link_create(program, socket.if_nametoindex("lan0"), ATTACH_TCX_INGRESS, BEFORE_ALL)
        finally:
            os.close(program)

    host.set_up("lan0")
    link = host.run(attach)
    try:
        yield hits
    finally:
        os.close(link)
        hits.close()


def _time(sender: Callable[[ArpSocket], None]) -> float:
    with ArpSocket("lan0", socket.if_nametoindex("lan0"), ()) as sock:
        started = time.perf_counter()
        sender(sock)
        return (time.perf_counter() - started) * 1000


def _announce(sock: ArpSocket, addresses: Sequence[IPv4Address]) -> None:
    """As the link process does it, without anything else to do in between."""
    engine = Responder(NODE_MAC)
    driver = Driver(sock, engine)
    now = time.monotonic()
    engine.announce(addresses, now)
    while (deadline := engine.next_deadline()) is not None and deadline <= now:
        driver.tick(now)


def _send(sock: ArpSocket, frames: Sequence[bytes], batch: int) -> None:
    for first in range(0, len(frames), batch):
        sock.send(frames[first : first + batch])


def costs(*, quick: bool) -> dict[str, str]:
    """The same as text by what it is about."""
    found = bursts(1 if quick else 9)
    ours, batched, single = (found[name] for name in (OURS, BATCHED, SINGLE))
    return {
        f"gratuitous frames for {MANY:,} addresses, 2 each, by the packet engine": (
            f"{ours:.0f} ms until the last is out and dropped at the other end: {ours / batched:.2f} × the kernel's"
            f" part ({batched:.0f} ms), {ours / single:.2f} × frames built beforehand and sent one by one"
        )
    }


def main() -> int:
    """Measure and print."""
    for what, cost in costs(quick=effort(__doc__) is QUICK).items():
        print(f"{what}: {cost}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

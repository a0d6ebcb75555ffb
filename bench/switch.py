"""A LAN of network namespaces on one bridge, whose ports lose frames as they are told: who hears whom is a bit a pair.

A program at the way out of each port lets pass the frames of those senders whose bits are set in a number of the port,
which is memory shared with this process. So a cut takes effect at once, costs no system call, and no machine notices
it by anything but silence: no carrier is lost. Needs root and bpf(2) with tcx (Linux 6.6).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from metallb_cli.linux.ebpf.assembler import assemble
from metallb_cli.linux.ebpf.syscalls import (
    MAP_ARRAY,
    MMAPABLE,
    PROGRAM_TC,
    MapInfo,
    link_create,
    map_create,
    program_load,
)
from metallb_cli.linux.netns import Namespace

MAX_NODES = 63
INTERFACE = "eth0"
NETWORK = IPv4Network("172.30.0.0/16")
CLIENT = 0
"""Number of the asking machine; node N has number N."""

_ATTACH_TCX_EGRESS = 47
_PROGRAM = """
    r6 = r1
    r2 = 11                                 # the last byte of the source's MAC
    r3 = r10
    r3 += -8
    r4 = 1
    call LOAD_BYTES
    if r0 != 0 goto pass
    r4 = *(u8 *)(r10 - 8)
    r9 = map[HEARD][0]+0
    r5 = *(u64 *)(r9 + PORT)
    r5 >>= r4
    if r5 & 1 goto pass
    w0 = 2                                  # TC_ACT_SHOT
    exit
pass:
    w0 = -1                                 # TCX_NEXT
    exit
"""
_LOAD_BYTES = 26
_EVERYBODY = (1 << 64) - 1


@dataclass(frozen=True)
class Host:
    """A machine: its number, its address and its namespace, in which its interface is `eth0`."""

    name: str
    number: int
    address: IPv4Address
    namespace: Namespace

    @property
    def mac(self) -> bytes:
        """Of `eth0`; ends in the number."""
        return mac(self.number)


def mac(number: int) -> bytes:
    """The MAC address of the machine with this number."""
    return bytes([0x02, 0x4D, 0x4C, 0x42, 0x01, number])


class Switch:
    """The bridge, `node1` to `nodeN` and a client.

    A node's kernel answers ARP only for addresses of its own interface (arp_ignore=1).

    Attributes:
        nodes: by name, in order.
    """

    def __init__(self, nodes: int, name: str = "mlbf") -> None:
        if not 1 <= nodes <= MAX_NODES:
            raise ValueError(f"1 to {MAX_NODES} nodes, not {nodes}")
        self._stack = contextlib.ExitStack()
        try:
            self._build(nodes, f"{name}-{os.getpid()}")
        except BaseException:
            self.remove()
            raise

    def _build(self, nodes: int, name: str) -> None:
        self._bridge = self._stack.enter_context(Namespace.create(f"{name}-switch"))
        self._bridge.add_bridge("lan")
        self._bridge.set_up("lan")
        memory = self._keep(map_create(MapInfo(MAP_ARRAY, 4, 8 * (MAX_NODES + 1), 1, MMAPABLE), "bench_heard"))
        self._heard = memoryview(mmap.mmap(memory, mmap.PAGESIZE)).cast("Q")
        hosts = [self._join(name, memory, number) for number in range(nodes + 1)]
        self.client, self.nodes = hosts[CLIENT], {host.name: host for host in hosts[1:]}

    def _keep(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd

    def _join(self, prefix: str, memory: int, number: int) -> Host:
        name = f"node{number}" if number else "client"
        namespace = self._stack.enter_context(Namespace.create(f"{prefix}-{name}"))
        host = Host(name, number, NETWORK[256 * 200 + number], namespace)
        port = f"to-{name}"
        self._bridge.add_veth(port, INTERFACE, namespace, peer_mac=host.mac)
        self._bridge.set_sysctl(f"net/ipv6/conf/{port}/disable_ipv6", 1)
        namespace.set_sysctl(f"net/ipv6/conf/{INTERFACE}/disable_ipv6", 1)
        namespace.set_sysctl("net/ipv4/conf/all/arp_ignore", 1)
        namespace.set_sysctl("net/ipv4/conf/all/arp_announce", 2)
        self._heard[number] = _EVERYBODY
        symbols = {"HEARD": memory, "PORT": 8 * number, "LOAD_BYTES": _LOAD_BYTES}
        program = self._keep(program_load(PROGRAM_TC, assemble(_PROGRAM, symbols), "bench_port"))
        self._keep(self._bridge.run(lambda: link_create(program, socket.if_nametoindex(port), _ATTACH_TCX_EGRESS)))
        self._bridge.set_master(port, "lan")
        self._bridge.set_up(port)
        namespace.add_address(INTERFACE, f"{host.address}/{NETWORK.prefixlen}")
        namespace.set_up(INTERFACE)
        return host

    def unplug(self, node: str) -> None:
        """Take the node's cable out: its interface loses the carrier."""
        self._bridge.set_down(f"to-{node}")

    def plug_in(self, node: str) -> None:
        """Undo `unplug`."""
        self._bridge.set_up(f"to-{node}")

    def deafen(self, node: str) -> None:
        """Let nothing reach the node, which is still heard."""
        self._heard[self.nodes[node].number] = 1 << self.nodes[node].number

    def mute(self, node: str) -> None:
        """Let nobody hear the node, which still hears."""
        bit = 1 << self.nodes[node].number
        for number in (CLIENT, *(host.number for host in self.nodes.values())):
            if number != self.nodes[node].number:
                self._heard[number] &= ~bit

    def silence(self, node: str) -> None:
        """Lose all frames to and from the node."""
        self.deafen(node)
        self.mute(node)

    def part(self, side: Iterable[str]) -> None:
        """Let these nodes and all others not hear each other. The client hears both sides, and is heard by both."""
        inside = sum(1 << self.nodes[name].number for name in side)
        for host in self.nodes.values():
            mine = bool(inside >> host.number & 1)
            self._heard[host.number] = (inside if mine else _EVERYBODY & ~inside) | 1 << CLIENT

    def heal(self) -> None:
        """Let everybody hear everybody."""
        for number in (CLIENT, *(host.number for host in self.nodes.values())):
            self._heard[number] = _EVERYBODY

    def hear_each_other(self, one: str, other: str) -> bool:
        """Whether frames get from each of two nodes to the other, as far as `deafen`, `mute` and `part` go."""
        first, second = self.nodes[one].number, self.nodes[other].number
        return bool(self._heard[first] >> second & 1 and self._heard[second] >> first & 1)

    def remove(self) -> None:
        """Let go of everything; the kernel removes it. Can be called twice."""
        self._stack.close()

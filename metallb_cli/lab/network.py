"""The lab's LAN: a bridge, nodes and a client, each in a network namespace of its own.

The namespaces have no names in the file system: file descriptors of this process hold them, so that the kernel removes
all of them when the lab ends, however it ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from metallb_cli.errors import UsageError
from metallb_cli.linux.netns import Namespace
from metallb_cli.model import AddressRange

MAX_NODES = 20
FIRST_NODE = 11
"""Node 1 has this number in the LAN, as in 172.30.1.11."""
CLIENT = 200
CLIENT_NAME = "client"
INTERFACE = "eth0"
POD_NETWORK = IPv4Network("10.244.0.0/16")
"""Pods of node N are in 10.244.N.0/24, as flannel and kubeadm's examples have it."""
LANS = tuple(IPv4Network(text) for text in ("172.30.1.0/24", "172.30.2.0/24", "198.18.0.0/24", "198.18.1.0/24"))
"""The LAN is the first of these in which no pool claims an address of the lab's own machines."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine on the LAN.

    Attributes:
        address: on its interface `eth0`.
        number: of a node, from 1; 0 is the client.
    """

    name: str
    number: int
    address: IPv4Address
    namespace: Namespace

    @property
    def mac(self) -> bytes:
        """The address of `eth0`: locally administered, ending in the host's number."""
        return _mac(self.number or CLIENT)

    @property
    def pod_network(self) -> IPv4Network:
        """Where the addresses of this node's pods come from."""
        return _pod_network(self.number)


def choose_lan(ranges: Sequence[AddressRange], nodes: int) -> IPv4Network:
    """Choose a network for the LAN so that no pool claims the address of a node or of the client.

    Raises:
        UsageError: the pools claim all of them.
    """
    for network in LANS:
        own = [network[FIRST_NODE + index] for index in range(nodes)] + [network[CLIENT]]
        if not any(address in r for address in own for r in ranges):
            return network
    raise UsageError(
        f"the pools claim addresses that the lab needs for its own machines, in each of {', '.join(map(str, LANS))} "
        f"(.{FIRST_NODE} to .{FIRST_NODE + nodes - 1} and .{CLIENT}): make the pools smaller"
    )


class Lan:
    """A bridge with `node1` to `nodeN` and a client on it.

    A node's kernel answers ARP only for the address of its `eth0` (arp_ignore=1), so a service address is answered for
    by a speaker or by nobody.

    Attributes:
        nodes: by name, in order.
    """

    def __init__(self, nodes: int, *, ranges: Sequence[AddressRange] = (), name: str = "mlb") -> None:
        """Build it.

        Args:
            nodes: how many, 1 to MAX_NODES.
            ranges: of the pools; the client reaches them on the LAN also where they lie outside the LAN's network.
            name: begins the names of the namespaces, in messages.
        """
        if not 1 <= nodes <= MAX_NODES:
            raise UsageError(f"the lab can have 1 to {MAX_NODES} nodes, not {nodes}")
        self.network = choose_lan(ranges, nodes)
        self._stack = contextlib.ExitStack()
        try:
            self._switch = self._stack.enter_context(Namespace.create(f"{name}-lan", mount=False))
            self._switch.add_bridge("lan")
            self._switch.set_up("lan")
            self.client = self._join(name, CLIENT_NAME, 0, self.network[CLIENT])
            self.nodes = {
                host.name: host
                for host in (
                    self._join(name, f"node{number}", number, self.network[FIRST_NODE - 1 + number])
                    for number in range(1, nodes + 1)
                )
            }
            self._route(ranges)
        except BaseException:
            self.remove()
            raise

    def _join(self, prefix: str, name: str, number: int, address: IPv4Address) -> Host:
        """Make a machine and plug it in."""
        host = Host(name, number, address, self._stack.enter_context(Namespace.create(f"{prefix}-{name}", mount=False)))
        port = _port(name)
        self._switch.add_veth(port, INTERFACE, host.namespace, peer_mac=host.mac)
        self._switch.set_master(port, "lan")
        self._switch.set_up(port)
        # Before the interface is up: no moment in which the kernel would answer for more than its own address.
        host.namespace.set_sysctl("net.ipv4.conf.all.arp_ignore", 1)
        host.namespace.set_sysctl("net.ipv4.conf.all.arp_announce", 2)
        host.namespace.add_address(INTERFACE, f"{address}/{self.network.prefixlen}")
        host.namespace.set_up(INTERFACE)
        return host

    def _route(self, ranges: Sequence[AddressRange]) -> None:
        for host in self.nodes.values():
            for other in self.nodes.values():
                if other is not host:
                    host.namespace.add_route(str(other.pod_network), via=str(other.address))
        for network in _networks(ranges):
            if not network.subnet_of(self.network):
                self.client.namespace.add_route(str(network), device=INTERFACE)

    def unplug(self, node: str) -> None:
        """Take the node's cable out of the switch: its interface loses the carrier."""
        self._switch.set_down(_port(node))

    def plug_in(self, node: str) -> None:
        """Undo `unplug`."""
        self._switch.set_up(_port(node))

    def node_of(self, mac: bytes) -> str | None:
        """The node with this hardware address."""
        return next((host.name for host in self.nodes.values() if host.mac == mac), None)

    def remove(self) -> None:
        """Let go of the namespaces; the kernel removes what was in them. Can be called twice."""
        self._stack.close()


def _port(name: str) -> str:
    return f"to-{name}"


def _mac(number: int) -> bytes:
    return bytes([0x02, 0x4D, 0x4C, 0x42, 0, number])


def _pod_network(number: int) -> IPv4Network:
    return IPv4Network((int(POD_NETWORK.network_address) + (number << 8), 24))


def _networks(ranges: Sequence[AddressRange]) -> list[IPv4Network]:
    """The fewest IPv4 networks that cover the ranges."""
    found: list[IPv4Network] = []
    for r in ranges:
        if isinstance(r.first, IPv4Address) and isinstance(r.last, IPv4Address):
            found += summarize_address_range(r.first, r.last)
    return found

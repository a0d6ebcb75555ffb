"""A LAN in memory with a clock that moves when told: real ARP engines, and a neighbour that behaves like Linux."""

from ipaddress import IPv4Address

from metallb_cli.layer2 import arp
from metallb_cli.layer2.responder import Responder

LOCKTIME = 1.0
"""Linux: seconds in which a neighbour entry that was just updated believes nobody else (arp(7), locktime)."""

HOST_MAC = bytes.fromhex("02000000ffff")
HOST_IP = IPv4Address("192.0.2.200").packed


class Host:
    """A neighbour: asks for what it does not know, and learns from gratuitous ARP only what it knows already."""

    def __init__(self):
        self.cache = {}
        self._updated = {}

    def hear(self, frame, now):
        seen = arp.parse(frame)
        if seen is None or seen.destination not in (arp.BROADCAST, HOST_MAC):
            return
        address = IPv4Address(seen.sender_ip)
        answers_us = seen.operation == arp.REPLY and seen.target_ip == HOST_IP
        if answers_us or (address in self.cache and now - self._updated[address] >= LOCKTIME):
            self.cache[address] = seen.sender_mac
            self._updated[address] = now


class FakeLan:
    """Delivers every frame to everybody else on the wire.

    Attributes:
        sent: (time, node, frame) of all frames of all nodes.
        loses: called with a frame; True loses it.
    """

    def __init__(self, *nodes):
        self.now = 100.0
        self.host = Host()
        self.sent = []
        self.loses = lambda frame: False
        self._macs = {name: bytes([2, 0, 0, 0, 0, number]) for number, name in enumerate(nodes, 1)}
        self._held = dict.fromkeys(nodes, ((), (), ()))
        self.engines = {}
        for name in nodes:
            self.plug_in(name)

    def mac(self, node):
        return self._macs[node]

    def node_of(self, mac):
        return next((name for name, own in self._macs.items() if own == mac), None)

    def announce(self, node, *addresses, probe=(), yielding=()):
        self._held[node] = tuple(tuple(map(IPv4Address, some)) for some in (addresses, probe, yielding))
        self._tell(node)

    def unplug(self, node):
        """The link goes down, or the node dies."""
        del self.engines[node]

    def plug_in(self, node):
        """The link comes up: as in the link process, with a new engine."""
        self.engines[node] = Responder(self._macs[node])
        self._tell(node)

    def _tell(self, node):
        addresses, probe, yielding = self._held[node]
        if node in self.engines:
            self.engines[node].announce(addresses, self.now, probe, yielding)
        self._flush()

    def ask(self, address):
        """The host asks for an address. Returns the nodes that answered."""
        before = len(self.sent)
        self._deliver(arp.request(HOST_MAC, HOST_IP, IPv4Address(address).packed), sender=None)
        self._flush()
        return [node for _, node, frame in self.sent[before:] if arp.parse(frame).destination == HOST_MAC]

    def believes(self, address):
        """The node that the host would send to."""
        return self.node_of(self.host.cache.get(IPv4Address(address)))

    def advance(self, seconds):
        end = self.now + seconds
        while True:
            deadlines = [d for engine in self.engines.values() if (d := engine.next_deadline()) is not None]
            if not deadlines or min(deadlines) > end:
                break
            self.now = max(self.now, min(deadlines))
            self._flush()
        self.now = end

    def gratuitous_times(self, node, address):
        """When the node told everybody about the address, without repetitions of the same moment."""
        ip = IPv4Address(address).packed
        frames = [(when, arp.parse(frame)) for when, who, frame in self.sent if who == node]
        return sorted({when for when, seen in frames if seen.sender_ip == ip and seen.destination == arp.BROADCAST})

    def _flush(self):
        """Let everybody do what is due and deliver what they send, until there is silence."""
        for _ in range(1000):
            queued = []
            for name, engine in self.engines.items():
                engine.handle_timer(self.now)
                queued += [(name, frame) for frame in engine.frames_to_send()]
            if not queued:
                return
            for name, frame in queued:
                self.sent.append((self.now, name, frame))
                self._deliver(frame, sender=name)
        raise AssertionError("the engines never stop talking")

    def _deliver(self, frame, sender):
        if self.loses(frame):
            return
        self.host.hear(frame, self.now)
        for name, engine in self.engines.items():
            if name != sender:
                engine.receive_frame(frame, self.now)

"""What a speaker stands on, in memory: the watched objects, a link process, and whoever is told what happened."""

import threading
from collections import Counter
from ipaddress import ip_address

from metallb_cli.daemon.speaker import Task
from metallb_cli.layer2.messages import AnnouncementSet, LinkReport, fold
from metallb_cli.model import Conflict, Endpoints, Interface, LinkState, Node, Service, ServiceKey

ETH0 = Interface("eth0", 2, b"\x02\0\0\0\0\x01")


class MemoryFeeds:
    """Implements SpeakerFeeds and ServiceStore. Like the watches it puts a key into the inbox after each change."""

    def __init__(self, inbox, config):
        self.inbox = inbox
        self.config = config
        self.seen = {}
        self.ready = {}
        self.known_nodes = {}
        self.synced_now = True

    # -- the operator

    def put(self, name, *ingress, nodes=("me",), **fields):
        """Create or replace a Service that has pods on these nodes."""
        key = ServiceKey("apps", name)
        self.seen[key] = Service(key, uid=name, ingress=tuple(map(ip_address, ingress)), **fields)
        self.serve(name, *nodes)
        return key

    def serve(self, name, *nodes):
        key = ServiceKey("apps", name)
        self.ready[key] = Endpoints(frozenset(nodes))
        self.inbox.put(key)

    def delete(self, name):
        key = ServiceKey("apps", name)
        del self.seen[key]
        self.inbox.put(key)

    def node(self, name, **fields):
        self.known_nodes[name] = Node(name, **fields)
        self.inbox.put(Task.EVERYTHING)

    def configure(self, text):
        self.config = text
        self.inbox.put(Task.CONFIG)

    # -- the speaker

    @property
    def services(self):
        return self

    def get(self, key):
        return self.seen.get(key)

    def all(self):
        return list(self.seen.values())

    def start(self):
        pass

    def synced(self):
        return self.synced_now

    def endpoints(self):
        return self.ready

    def nodes(self):
        return dict(self.known_nodes)

    def config_text(self):
        return self.config

    def stop(self):
        pass


class MemoryLink:
    """Implements Link, and reports as a link process does: after each set, and whenever something changes.

    `holding`: take sets without reporting, as a busy link process does; `catch_up` reports the newest one. With
    `probing`, addresses that are to be probed for stay silent until `settle`, or for as long as they are `contested`.
    """

    def __init__(self, on_state=lambda state: None):
        self.on_state = on_state
        self.sets = [AnnouncementSet()]
        self.settings = []
        self.state = LinkState(interfaces=(ETH0,))
        self.holding = False
        self.probing = False
        self.contested = ()
        self.failure = None
        self.unsettled = frozenset()
        self.lock = threading.Lock()

    def heartbeats(self, settings):
        if self.failure is not None:
            raise self.failure
        self.settings.append(settings)

    def announce(self, announcements):
        if self.failure is not None:
            raise self.failure
        self.sets.append(announcements)
        self.unsettled = (self.unsettled | frozenset(announcements.probe)) & frozenset(announcements.addresses)
        if not self.holding:
            self.report()

    @property
    def newest(self):
        return self.sets[-1]

    def catch_up(self):
        self.holding = False
        self.report()

    def settle(self):
        self.unsettled, self.contested = frozenset(), ()
        self.report()

    def report(self, **fields):
        """Tell the state; `fields` of a LinkReport replace what it would say."""
        with self.lock:
            newest = self.newest
            fields.setdefault("contested", self.contested)
            if self.probing:
                contested = {conflict.address for conflict in fields["contested"]}
                fields.setdefault("probing", tuple(sorted(self.unsettled - contested)))
            said = LinkReport(newest.generation, **{"interfaces": self.state.interfaces, "answering": (4, 6), **fields})
            silent = {*said.probing, *said.released, *(conflict.address for conflict in said.contested)}
            announced = tuple(address for address in newest.addresses if address not in silent)
            if announced == self.state.announced:
                announced = self.state.announced  # as `fold` wants it
            self.state = fold(self.state, said, announced)
        self.on_state(self.state)

    def release(self):
        """Say that the new owners of what is yielded were seen answering."""
        self.report(released=self.newest.yielding)


def conflict(address, mac, count=1):
    return Conflict(ip_address(address), bytes.fromhex(mac.replace(":", "")), count)


class Telling:
    """Implements Events, SpeakerMetrics and Recorder by keeping what it is told, in order."""

    def __init__(self):
        self.events = []
        self.records = []
        self.changes = Counter()
        self.failovers = []
        self.config_bits = None
        self.now_announced = {}
        self.announced_calls = 0
        self.suspensions = []
        self.gauges = {}

    def about_service(self, service, notice):
        self.events.append((service.key.name, notice.reason.value, notice.message))

    def about_config(self, notice):
        raise AssertionError("the controller makes these Events")

    def record(self, changes, stages=None, at=None):
        self.records += [(change, stages) for change in changes]

    def config_state(self, *, loaded, stale):
        self.config_bits = (loaded, stale)

    def update_handled(self, *, failed):
        assert not failed

    def announced(self, announced):
        self.announced_calls += 1
        self.now_announced = {(key.name, str(address)): protocol for (key, address), protocol in announced.items()}

    def address_counters(self, counters):
        self.gauges["counters"] = dict(counters)

    def frame_drops(self, drops):
        self.gauges["drops"] = dict(drops)

    def ownership_changes(self, counts):
        self.changes.update(counts)

    def failover(self, stages):
        self.failovers.append(stages)

    def peers(self, *, live, dead):
        self.gauges["peers"] = (live, dead)

    def fenced(self, fenced):
        self.gauges["fenced"] = fenced

    def suspended(self, suspended):
        self.suspensions.append(suspended)

    def contested(self, addresses):
        self.gauges["contested"] = addresses

    def reasons(self, name):
        """The reasons of the Events about a Service, in order."""
        return [reason for about, reason, _ in self.events if about == name]

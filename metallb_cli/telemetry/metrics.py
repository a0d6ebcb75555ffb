"""What the daemons count, under MetalLB's names of both generations. Every name is explained in docs/metrics.md.

The state is replaced as a whole by the daemons and turned into samples when somebody asks, so the series of a pool,
Service or address that is gone are gone with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from metallb_cli.model import AddressCounters, IPAddress, ServiceKey
from metallb_cli.reconcile.history import Stages
from metallb_cli.telemetry import exposition
from metallb_cli.telemetry.failovers import Failovers

PoolUse = tuple[int, int, int, int]
"""IPv4 size, IPv4 in use, IPv6 size, IPv6 in use."""

NOT_KNOWN = -1
"""Value of the leadership gauge before the first election has ended, as in MetalLB 0.4.6."""


class DaemonMetrics(Collector):
    """What both daemons count. Any thread may call any method."""

    def __init__(
        self,
        *,
        api_silence: Callable[[], Mapping[str, float]] = dict,
        events_dropped: Callable[[], int] = int,
    ) -> None:
        """Start at zero.

        Args:
            api_silence: gives, by resource followed, the seconds since the API server last proved our copy current.
            events_dropped: gives the Kubernetes Events that were not written.
        """
        self._api_silence = api_silence
        self._events_dropped = events_dropped
        self._lock = threading.Lock()
        self._updates = 0
        self._errors = 0
        self._loaded = False
        self._stale = False
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def config_state(self, *, loaded: bool, stale: bool) -> None:
        """Set whether a configuration is in force, and whether it is older than what the ConfigMap says."""
        with self._lock:
            self._loaded = loaded
            self._stale = stale

    def update_handled(self, *, failed: bool) -> None:
        """Count one handled key."""
        with self._lock:
            self._updates += 1
            self._errors += failed

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return exposition.write(self._registry.collect())

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand; the registry would otherwise collect once at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the present samples."""
        with self._lock:
            families = [
                _plain("metallb_k8s_client_updates_total", "counter", "Keys handled.", self._updates),
                _plain("metallb_k8s_client_update_errors_total", "counter", "Keys that failed.", self._errors),
                _plain(
                    "metallb_k8s_client_config_loaded_bool", "gauge", "1: a configuration is in force.", self._loaded
                ),
                _plain(
                    "metallb_k8s_client_config_stale_bool",
                    "gauge",
                    "1: the newest configuration was rejected; the one in force is older.",
                    self._stale,
                ),
                *self._own(),
            ]
        silence = Metric(
            "metallb_api_silence_seconds", "Seconds since the API server last proved our copy current.", "gauge"
        )
        for resource, seconds in sorted(self._api_silence().items()):
            silence.add_sample(silence.name, {"resource": resource}, seconds)
        dropped = _plain("metallb_events_dropped_total", "counter", "Events not written.", self._events_dropped())
        return [*families, silence, dropped]

    def _own(self) -> list[Metric]:
        return []


class ControllerMetrics(DaemonMetrics):
    """The controller's; provides `ports.ControllerMetrics`."""

    def __init__(
        self,
        *,
        api_silence: Callable[[], Mapping[str, float]] = dict,
        events_dropped: Callable[[], int] = int,
    ) -> None:
        """Start at zero. Arguments as those of DaemonMetrics."""
        self._pools: dict[str, PoolUse] = {}
        self._leading = NOT_KNOWN
        self._services: dict[str, int] = {}
        super().__init__(api_silence=api_silence, events_dropped=events_dropped)

    def pool_usage(self, usage: Mapping[str, PoolUse]) -> None:
        """Replace all pool gauges."""
        with self._lock:
            self._pools = dict(usage)

    def leadership(self, leading: bool) -> None:
        """Set whether this replica leads."""
        with self._lock:
            self._leading = int(leading)

    def services_by_reason(self, counts: Mapping[str, int]) -> None:
        """Replace the gauge of LoadBalancer Services by Reason value."""
        with self._lock:
            self._services = dict(counts)

    def _own(self) -> list[Metric]:
        columns = (
            ("metallb_allocator_addresses_total", "Addresses that the pool can give out.", (0, 2)),
            ("metallb_allocator_addresses_in_use_total", "Addresses of the pool that a Service holds.", (1, 3)),
            ("metallb_allocator_ipv4_addresses_total", "IPv4 addresses that the pool can give out.", (0,)),
            ("metallb_allocator_ipv4_addresses_in_use_total", "IPv4 addresses that a Service holds.", (1,)),
            ("metallb_allocator_ipv6_addresses_total", "IPv6 addresses that the pool can give out.", (2,)),
            ("metallb_allocator_ipv6_addresses_in_use_total", "IPv6 addresses that a Service holds.", (3,)),
        )
        families = []
        for name, documentation, indices in columns:
            family = Metric(name, documentation, "gauge")
            for pool, use in sorted(self._pools.items()):
                family.add_sample(name, {"pool": pool}, float(sum(use[index] for index in indices)))
            families.append(family)
        services = Metric("metallb_controller_services", "LoadBalancer Services by what became of them.", "gauge")
        for reason, count in sorted(self._services.items()):
            services.add_sample(services.name, {"reason": reason}, count)
        leading = _plain(
            "metallb_k8s_client_leadership_bool", "gauge", "1: this replica leads; 0: not; -1: unknown.", self._leading
        )
        return [*families, services, leading]


class SpeakerMetrics(DaemonMetrics):
    """The speaker's; provides `ports.SpeakerMetrics`."""

    def __init__(
        self,
        node: str,
        *,
        api_silence: Callable[[], Mapping[str, float]] = dict,
        events_dropped: Callable[[], int] = int,
    ) -> None:
        """Start at zero. `node` becomes a label; the other arguments are those of DaemonMetrics."""
        self._node = node
        self._announced: dict[tuple[ServiceKey, IPAddress], str] = {}
        self._counters: dict[IPAddress, AddressCounters] = {}
        self._drops: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._failovers = Failovers()
        self._peers = (0, 0)
        self._fenced = False
        self._suspended = False
        self._contested = 0
        super().__init__(api_silence=api_silence, events_dropped=events_dropped)

    def announced(self, announced: Mapping[tuple[ServiceKey, IPAddress], str]) -> None:
        """Replace the announced gauges: (Service, address) to protocol name."""
        with self._lock:
            self._announced = dict(announced)

    def address_counters(self, counters: Mapping[IPAddress, AddressCounters]) -> None:
        """Replace the request, response and gratuitous totals."""
        with self._lock:
            self._counters = dict(counters)

    def frame_drops(self, drops: Mapping[str, int]) -> None:
        """Replace the totals of frames not answered, by Drop value."""
        with self._lock:
            self._drops = dict(drops)

    def ownership_changes(self, counts: Mapping[str, int]) -> None:
        """Add to the totals of addresses gained or lost: Reason value to number of addresses."""
        with self._lock:
            for reason, count in counts.items():
                self._changes[reason] = self._changes.get(reason, 0) + count

    def failover(self, stages: Stages) -> None:
        """Take in one takeover by this node."""
        self._failovers.observe(stages)

    def peers(self, *, live: int, dead: int) -> None:
        """Set how many other speakers are live on the LAN, and how many were heard but are not live any more."""
        with self._lock:
            self._peers = (live, dead)

    def fenced(self, fenced: bool) -> None:
        """Set whether this node answers for nothing because its heartbeats were late."""
        with self._lock:
            self._fenced = fenced

    def suspended(self, suspended: bool) -> None:
        """Set whether this node answers for nothing because the API server is away and `--on-api-outage` says so."""
        with self._lock:
            self._suspended = suspended

    def contested(self, addresses: int) -> None:
        """Set how many addresses of this node are not announced because another host has them."""
        with self._lock:
            self._contested = addresses

    def _own(self) -> list[Metric]:
        announced = Metric("metallb_speaker_announced", "1: this node answers for the Service's address.", "gauge")
        for (service, address), protocol in sorted(self._announced.items(), key=lambda item: str(item[0])):
            labels = {"service": str(service), "protocol": protocol, "node": self._node, "ip": str(address)}
            announced.add_sample(announced.name, labels, 1)
        drops = Metric("metallb_speaker_frame_drops_total", "Frames received and not answered, by reason.", "counter")
        for reason, count in sorted(self._drops.items()):
            drops.add_sample(drops.name, {"reason": reason}, count)
        return [announced, drops, *self._ownership(), *self._layer2()]

    def _ownership(self) -> list[Metric]:
        changes = Metric("metallb_speaker_ownership_changes_total", "Addresses gained or lost, by reason.", "counter")
        for reason, count in sorted(self._changes.items()):
            changes.add_sample(changes.name, {"reason": reason}, count)
        peers = Metric("metallb_speaker_peers", "Other speakers heard on the LAN.", "gauge")
        for state, count in zip(("live", "dead"), self._peers, strict=True):
            peers.add_sample(peers.name, {"state": state}, count)
        return [
            changes,
            self._failovers.family(),
            peers,
            _plain("metallb_speaker_fenced", "gauge", "1: heartbeats were late, so nothing is answered.", self._fenced),
            _plain(
                "metallb_speaker_suspended",
                "gauge",
                "1: the API server is away, so nothing is answered.",
                self._suspended,
            ),
            _plain(
                "metallb_speaker_contested_addresses",
                "gauge",
                "Addresses not announced because another host has them.",
                self._contested,
            ),
        ]

    def _layer2(self) -> list[Metric]:
        """Return the traffic counters under the name of today and under the two of 0.4.6, one per IP version."""
        families = []
        for prefix, versions in (("layer2", (4, 6)), ("arp", (4,)), ("ndp", (6,))):
            for suffix, field, documentation in (
                ("requests_received", "requests", "Requests received for the address."),
                ("responses_sent", "responses", "Responses sent for the address."),
                ("gratuitous_sent", "gratuitous", "Unsolicited packets sent for the address."),
            ):
                family = Metric(f"metallb_{prefix}_{suffix}", documentation, "counter")
                for address, counters in sorted(self._counters.items(), key=lambda item: str(item[0])):
                    if address.version in versions:
                        family.add_sample(family.name, {"ip": str(address)}, getattr(counters, field))
                families.append(family)
        return families


def _plain(name: str, kind: str, documentation: str, value: float) -> Metric:
    family = Metric(name, documentation, kind)
    family.add_sample(name, {}, value)
    return family

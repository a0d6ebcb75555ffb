"""What the daemons need of the outside, as Protocols. `kube`, `linux` and `telemetry` provide them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from metallb_cli.election import Change
from metallb_cli.layer2.messages import AnnouncementSet, HeartbeatSettings
from metallb_cli.model import AddressCounters, Endpoints, IPAddress, Lease, Node, Notice, Service, ServiceKey
from metallb_cli.reconcile.history import NO_STAGES, Stages


class ServiceStore(Protocol):
    """The watched copy of every Service. Safe to read from any thread."""

    def get(self, key: ServiceKey) -> Service | None:
        """Return the Service as last seen; None when there is none."""

    def all(self) -> Iterable[Service]:
        """Return every Service, in no particular order."""


class ControllerFeeds(Protocol):
    """The watches of one term of office. They call back from their own threads."""

    @property
    def services(self) -> ServiceStore:
        """Every Service."""

    def start(self) -> None:
        """Begin to list and watch."""

    def synced(self) -> bool:
        """Whether everything that exists has been seen once."""

    def config_text(self) -> str | None:
        """Return the configuration's text; None when the ConfigMap does not exist."""

    def stop(self) -> None:
        """End the watches; bounded by about a second."""


class SpeakerFeeds(Protocol):
    """The watches of a speaker. They call back from their own threads."""

    @property
    def services(self) -> ServiceStore:
        """Every Service."""

    def start(self) -> None:
        """Begin to list and watch."""

    def synced(self) -> bool:
        """Whether everything that exists has been seen once."""

    def endpoints(self) -> Mapping[ServiceKey, Endpoints]:
        """Return the ready endpoints by Service; the mapping is live."""

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes by name; the mapping is live."""

    def config_text(self) -> str | None:
        """Return the configuration's text; None when the ConfigMap does not exist."""

    def stop(self) -> None:
        """End the watches; bounded by about a second."""


class Events(Protocol):
    """Tells operators what happened, as Kubernetes Events. Never raises and never blocks on the API server."""

    def about_service(self, service: Service, notice: Notice) -> None:
        """Record a notice about a Service."""

    def about_config(self, notice: Notice) -> None:
        """Record a notice about the ConfigMap."""


class ServiceWriter(Protocol):
    """Writes the outcome of an allocation."""

    def write_ingress(self, service: Service, addresses: tuple[IPAddress, ...], pool: str | None) -> Service:
        """PATCH the Service's status to exactly these addresses, and the allocated-pool annotation.

        One request, conditional on `service.resource_version`. Returns the Service as the API server stored it.

        Raises:
            ApiError: refused; status 409 means the Service changed, 404 that it is gone.
            ApiUnavailableError: no answer, so the outcome is unknown.
        """

    def read_service(self, key: ServiceKey) -> Service | None:
        """Read one Service from the API server itself; None when there is none.

        Raises:
            ApiError: refused.
            ApiUnavailableError: no answer.
        """


class LeaseStore(Protocol):
    """Leases in the product's namespace. Every call has a timeout, in seconds."""

    def get(self, name: str, timeout: float) -> Lease | None:
        """Read one Lease from the API server itself, not from a cache; None when there is none."""

    def write(self, lease: Lease, timeout: float) -> Lease:
        """Create the Lease when its resource_version is empty, else replace it on condition of that version.

        `renewed` is set to the present time by the store when it is empty. Returns what was stored.

        Raises:
            ApiError: status 409 means somebody else wrote first.
            ApiUnavailableError: no answer.
        """


class KeyStore(Protocol):
    """The Secret with the key of the heartbeats. Every call has a timeout, in seconds."""

    def read(self, timeout: float) -> tuple[bytes, ...]:
        """Return the keys, the one to sign with first; empty when there are none that can be used.

        Raises:
            ApiError: refused.
            ApiUnavailableError: no answer.
        """

    def ensure(self, timeout: float) -> bool:
        """Make the Secret with a new key where there is none. Returns whether it was made now.

        Raises:
            ApiError: refused.
            ApiUnavailableError: no answer.
        """


class Link(Protocol):
    """The link process, which owns the raw sockets."""

    def heartbeats(self, settings: HeartbeatSettings) -> None:
        """Send heartbeats from now on, and report who else does.

        Raises:
            LinkError: the process has ended.
        """

    def announce(self, announcements: AnnouncementSet) -> None:
        """Hand over the whole set of addresses to answer for; replaces the previous one.

        Raises:
            LinkError: the process has ended.
        """


class Recorder(Protocol):
    """The flight recorder."""

    def record(self, changes: Iterable[Change], stages: Stages = NO_STAGES, at: float | None = None) -> None:
        """Take in changes that happened at once; never blocks.

        Args:
            changes: what this node gained, or lost.
            stages: of all of them together.
            at: when it happened, in seconds since the epoch; None for now.
        """


class ConfigMetrics(Protocol):
    """What both daemons say of the configuration."""

    def config_state(self, *, loaded: bool, stale: bool) -> None:
        """Set the two configuration gauges."""


class ControllerMetrics(ConfigMetrics, Protocol):
    """What the controller counts."""

    def pool_usage(self, usage: Mapping[str, tuple[int, int, int, int]]) -> None:
        """Replace all pool gauges: pool name to (IPv4 size, IPv4 in use, IPv6 size, IPv6 in use)."""

    def update_handled(self, *, failed: bool) -> None:
        """Count one handled key."""

    def leadership(self, leading: bool) -> None:
        """Set whether this replica leads."""

    def services_by_reason(self, counts: Mapping[str, int]) -> None:
        """Replace the gauge of LoadBalancer Services by Reason value."""


class SpeakerMetrics(ConfigMetrics, Protocol):
    """What the speaker counts."""

    def update_handled(self, *, failed: bool) -> None:
        """Count one handled key."""

    def announced(self, announced: Mapping[tuple[ServiceKey, IPAddress], str]) -> None:
        """Replace the announced gauges: (Service, address) to protocol name."""

    def address_counters(self, counters: Mapping[IPAddress, AddressCounters]) -> None:
        """Replace the request, response and gratuitous totals."""

    def frame_drops(self, drops: Mapping[str, int]) -> None:
        """Replace the totals of frames not answered, by Drop value."""

    def ownership_changes(self, counts: Mapping[str, int]) -> None:
        """Add to the totals of addresses that this node gained or lost: Reason value to number of addresses."""

    def failover(self, stages: Stages) -> None:
        """Take in one takeover by this node, of however many addresses: each stage that is known, and their sum.

        Call it when the link process has reported the set in force.
        """

    def peers(self, *, live: int, dead: int) -> None:
        """Set how many other speakers are live on the LAN, and how many were heard but are not live any more."""

    def fenced(self, fenced: bool) -> None:
        """Set whether this node answers for nothing because its heartbeats were late."""

    def suspended(self, suspended: bool) -> None:
        """Set whether this node answers for nothing because the API server is away and `--on-api-outage` says so."""

    def contested(self, addresses: int) -> None:
        """Set how many addresses of this node are not announced because another host has them."""

"""The watches of a controller and of a speaker, as the daemons want them (`daemon/ports.py`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.endpoints import EndpointsByService, Part, discover_endpoints
from metallb_cli.kube.reflector import SHORT_WATCH_SECONDS, WATCH_SECONDS, Reflector
from metallb_cli.kube.resources import NODES, SERVICES, config_map, speaker_leases
from metallb_cli.model import Endpoints, Lease, Node, Service, ServiceKey

log = logging.getLogger(__name__)

DISCOVERY_PAUSE = 1.0
"""Seconds between two attempts to find out which API serves endpoints."""

LEASE_REST = 0.2
"""Seconds for which Leases are gathered after one changed: every speaker is told of every renewal of all others, and
what is urgent is said on the LAN."""

Failed = Callable[[BaseException], None]


class Services:
    """Implements ports.ServiceStore."""

    def __init__(self, reflector: Reflector[Service]) -> None:
        self._store = reflector.store

    def get(self, key: ServiceKey) -> Service | None:
        """Return the Service as last seen; None when there is none."""
        return self._store.get((key.namespace, key.name))

    def all(self) -> Iterable[Service]:
        """Return every Service, in no particular order."""
        return list(dict(self._store).values())


class _Watches:
    """Several reflectors that start, and stop, together."""

    def __init__(self) -> None:
        self._reflectors: dict[str, Reflector[Any]] = {}

    def start(self) -> None:
        """Begin to list and watch."""
        for reflector in self._reflectors.values():
            reflector.start()

    def synced(self) -> bool:
        """Whether everything that exists has been seen once."""
        return all(reflector.synced.is_set() for reflector in self._reflectors.values())

    def stop(self) -> None:
        """End the watches, side by side so that their waits do not add up."""
        stoppers = [threading.Thread(target=reflector.stop) for reflector in list(self._reflectors.values())]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()

    def silence(self) -> dict[str, float]:
        """Return the seconds since the API server last proved each copy current, by resource; empty after `stop`."""
        now = time.monotonic()
        running = {name: reflector for name, reflector in dict(self._reflectors).items() if reflector.alive}
        return {name: now - reflector.contact for name, reflector in running.items()}


class ControllerFeeds(_Watches):
    """Services and the ConfigMap. Implements ports.ControllerFeeds."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        config_name: str,
        on_service: Callable[[ServiceKey], None],
        on_config: Callable[[], None],
        on_failure: Failed,
    ) -> None:
        super().__init__()
        self.services, services = _services(api, on_service, on_failure, WATCH_SECONDS)
        self._config = _config(api, namespace, config_name, on_config, on_failure, WATCH_SECONDS)
        self._reflectors |= {"services": services, "configmaps": self._config}

    def config_text(self) -> str | None:
        """Return the configuration's text; None when the ConfigMap does not exist."""
        return next(iter(dict(self._config.store).values()), None)


class SpeakerFeeds(_Watches):
    """Services, endpoints, nodes, Leases and the ConfigMap. Implements ports.SpeakerFeeds.

    The watches are short: when a connection dies silently, a speaker should not decide on an old picture for minutes.
    """

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        config_name: str,
        on_service: Callable[[ServiceKey], None],
        on_config: Callable[[], None],
        on_nodes: Callable[[], None],
        on_lease: Callable[[Lease | None, Lease | None], None],
        on_failure: Failed,
    ) -> None:
        super().__init__()
        self._api = api
        self._on_failure = on_failure
        self._on_service = on_service
        self.services, services = _services(api, on_service, on_failure, SHORT_WATCH_SECONDS)
        self._nodes: Reflector[Node] = Reflector(
            api,
            NODES,
            objects.node,
            lambda old, new: on_nodes(),
            on_failure=on_failure,
            watch_seconds=SHORT_WATCH_SECONDS,
        )
        self._config = _config(api, namespace, config_name, on_config, on_failure, SHORT_WATCH_SECONDS)
        leases: Reflector[Lease] = Reflector(
            api,
            speaker_leases(namespace),
            objects.lease,
            on_lease,
            on_failure=on_failure,
            watch_seconds=SHORT_WATCH_SECONDS,
            rest=LEASE_REST,
        )
        self._endpoints: dict[ServiceKey, Endpoints] = {}
        self._reflectors |= {"services": services, "nodes": self._nodes, "configmaps": self._config, "leases": leases}
        self._stopping = threading.Event()
        self._discovered = threading.Event()
        self._starting = threading.Lock()

    def start(self) -> None:
        """Begin to list and watch."""
        super().start()
        threading.Thread(target=self._follow_endpoints, name="discovery", daemon=True).start()

    def synced(self) -> bool:
        """Whether everything that exists has been seen once."""
        return self._discovered.is_set() and super().synced()

    def endpoints(self) -> Mapping[ServiceKey, Endpoints]:
        """Return the ready endpoints by Service; the mapping is live."""
        return self._endpoints

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes by name; the mapping is live."""
        return {name: node for (_, name), node in dict(self._nodes.store).items()}

    def config_text(self) -> str | None:
        """Return the configuration's text; None when the ConfigMap does not exist."""
        return next(iter(dict(self._config.store).values()), None)

    def stop(self) -> None:
        """End the watches; bounded by about a second."""
        with self._starting:
            self._stopping.set()
        super().stop()

    def _follow_endpoints(self) -> None:
        """Ask which API the cluster has for endpoints until it says so, then watch that."""
        while not self._stopping.is_set():
            try:
                resource, decode = discover_endpoints(self._api)
                break
            except (ApiError, ApiUnavailableError) as error:
                log.warning("cannot find out how the cluster lists endpoints: %s", error)
                self._stopping.wait(DISCOVERY_PAUSE)
        else:
            return
        joined = EndpointsByService(self._endpoints_changed)
        reflector: Reflector[Part] = Reflector(
            self._api,
            resource,
            decode,
            joined.changed,
            on_failure=self._on_failure,
            watch_seconds=SHORT_WATCH_SECONDS,
        )
        with self._starting:
            if self._stopping.is_set():
                return
            self._reflectors["endpoints"] = reflector
            reflector.start()
        self._discovered.set()

    def _endpoints_changed(self, key: ServiceKey, endpoints: Endpoints) -> None:
        if endpoints:
            self._endpoints[key] = endpoints
        else:
            self._endpoints.pop(key, None)
        self._on_service(key)


def _services(
    api: Api, on_service: Callable[[ServiceKey], None], on_failure: Failed, watch_seconds: tuple[float, float]
) -> tuple[Services, Reflector[Service]]:
    def changed(old: Service | None, new: Service | None) -> None:
        service = new or old
        if service is not None:
            on_service(service.key)

    reflector: Reflector[Service] = Reflector(
        api,
        SERVICES,
        objects.service,
        changed,
        on_failure=on_failure,
        same=objects.same_service,
        watch_seconds=watch_seconds,
    )
    return Services(reflector), reflector


def _config(
    api: Api,
    namespace: str,
    name: str,
    on_config: Callable[[], None],
    on_failure: Failed,
    watch_seconds: tuple[float, float],
) -> Reflector[str]:
    return Reflector(
        api,
        config_map(namespace, name),
        objects.config_text,
        lambda old, new: on_config(),
        on_failure=on_failure,
        watch_seconds=watch_seconds,
    )

"""Services and a ConfigMap in memory, with the API server's rules and its faults: what the controller stands on."""

import itertools
import threading
from dataclasses import replace
from ipaddress import ip_address

from metallb_cli.daemon.controller import Task
from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.model import Service, ServiceKey

UNANSWERED = "unanswered"  # the write is lost, and so is the answer
DONE_UNANSWERED = "done, unanswered"  # the write is done, the answer is lost


class MemoryCluster:
    """Implements ServiceWriter, Events and ControllerMetrics, and opens ControllerFeeds.

    `faults` is a list of what happens to the next writes: UNANSWERED, DONE_UNANSWERED or an HTTP status. With
    `lagging`, the watch shows nothing until `catch_up`.
    """

    def __init__(self, config):
        self.config = config
        self.truth = {}
        self.seen = {}
        self.faults = []
        self.lagging = False
        self.writes = []
        self.told = []
        self.versions = itertools.count(1)
        self.wake = lambda key: None
        self.lock = threading.RLock()
        self.synced_now = True
        self.usage = {}
        self.reasons = {}
        self.config_bits = None

    # -- the operator

    def put(self, name, *ingress, **fields):
        with self.lock:
            key = ServiceKey("apps", name)
            service = Service(
                key,
                uid=name,
                resource_version=str(next(self.versions)),
                ingress=tuple(map(ip_address, ingress)),
                **fields,
            )
            self._store(service)
            return key

    def change(self, name, **fields):
        with self.lock:
            old = self.truth[ServiceKey("apps", name)]
            self._store(replace(old, resource_version=str(next(self.versions)), **fields))

    def delete(self, name):
        with self.lock:
            key = ServiceKey("apps", name)
            del self.truth[key]
            if not self.lagging:
                del self.seen[key]
                self.wake(key)

    def configure(self, text):
        self.config = text
        self.wake(Task.CONFIG)

    def catch_up(self):
        with self.lock:
            self.lagging = False
            changed = {k for k in self.truth.keys() | self.seen.keys() if self.truth.get(k) != self.seen.get(k)}
            self.seen = dict(self.truth)
        for key in changed:
            self.wake(key)

    def addresses(self, name):
        return [str(a) for a in self.truth[ServiceKey("apps", name)].ingress]

    def _store(self, service):
        self.truth[service.key] = service
        if not self.lagging:
            self.seen[service.key] = service
            self.wake(service.key)

    # -- feeds

    def open(self, wake):
        self.wake = wake
        self.seen = dict(self.truth)
        return self

    @property
    def services(self):
        return self

    def get(self, key):
        return self.seen.get(key)

    def all(self):
        return list(self.seen.values())

    def start(self):
        for key in list(self.seen):
            self.wake(key)

    def synced(self):
        return self.synced_now

    def config_text(self):
        return self.config

    def stop(self):
        self.wake = lambda key: None

    # -- the writer

    def write_ingress(self, service, addresses, pool):
        with self.lock:
            fault = self.faults.pop(0) if self.faults else None
            if fault == UNANSWERED:
                raise ApiUnavailableError("timed out")
            if isinstance(fault, int):
                raise ApiError("refused", status=fault)
            known = self.truth.get(service.key)
            if known is None:
                raise ApiError("not found", status=404)
            if known.resource_version != service.resource_version:
                raise ApiError("conflict", status=409)
            stored = replace(
                known,
                resource_version=str(next(self.versions)),
                ingress=addresses,
                foreign_ingress=False,
                allocated_pool=pool,
            )
            self.writes.append((service.key.name, tuple(map(str, addresses))))
            self._store(stored)
            if fault == DONE_UNANSWERED:
                raise ApiUnavailableError("the connection was cut")
            return stored

    def read_service(self, key):
        with self.lock:
            return self.truth.get(key)

    # -- events and metrics

    def about_service(self, service, notice):
        self.told.append((service.key.name, notice.reason.value))

    def about_config(self, notice):
        self.told.append(("config", notice.reason.value))

    def pool_usage(self, usage):
        self.usage = dict(usage)

    def config_state(self, *, loaded, stale):
        self.config_bits = (loaded, stale)

    def update_handled(self, *, failed):
        pass

    def leadership(self, leading):
        pass

    def services_by_reason(self, counts):
        self.reasons = dict(counts)

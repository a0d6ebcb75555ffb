"""Leases in memory, with the API server's rules and its faults: for tests of what runs on top of them."""

import threading
import time
from dataclasses import replace

from metallb_cli.errors import ApiError, ApiUnavailableError


class MemoryLeases:
    """Implements ports.LeaseStore. While `down`, nothing answers; while `frozen`, calls end by their time-out."""

    def __init__(self):
        self._lock = threading.Lock()
        self._leases = {}
        self._version = 0
        self.watchers = []
        self.down = False
        self.frozen = False
        self.writes = []

    def _answer(self, timeout):
        if self.frozen:
            time.sleep(timeout)
            raise ApiUnavailableError("the API server did not answer in time")
        if self.down:
            raise ApiUnavailableError("connection refused")

    def get(self, name, timeout):
        self._answer(timeout)
        with self._lock:
            return self._leases.get(name)

    def write(self, lease, timeout):
        self._answer(timeout)
        with self._lock:
            known = self._leases.get(lease.name)
            if (known.resource_version if known else "") != lease.resource_version:
                raise ApiError("the Lease was modified", status=409, reason="Conflict")
            self._version += 1
            stored = replace(lease, resource_version=str(self._version), renewed=lease.renewed or f"t{self._version}")
            self._leases[lease.name] = stored
            self.writes.append(stored)
        for watcher in list(self.watchers):
            watcher(known, stored)
        return stored

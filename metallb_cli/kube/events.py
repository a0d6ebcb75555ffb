"""Kubernetes Events, written in the background and never in floods.

Every memory here has a cap. A notice that repeats within ten minutes raises the count of its Event instead of making
another one; each object has a small budget of writes, all together have a pace, and what does not fit is dropped and
counted.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube import objects
from metallb_cli.kube.backoff import Backoff
from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.kube.resources import CORE, namespaced
from metallb_cli.model import Notice, Service

log = logging.getLogger(__name__)

QUEUE = 2000
"""Different notices that wait. A burst of this size, one notice per Service, loses nothing."""

MEMORY = 4096
"""Events, and objects, that are remembered."""

SAME_EVENT = 600.0
"""Seconds since its newest repetition during which an Event is counted up, as in client-go's correlator."""

OBJECT_BURST = 20
OBJECT_RATE = 1 / 30
"""Writes about one object: so many at once, and one more every 30 s."""

PACE = 20.0
"""Writes per second about all objects together."""

MESSAGE = 1024
"""Characters; the limit of the Events API."""

TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class About:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str = ""


Fact = tuple[About, Notice]


@dataclass(slots=True)
class Pending:
    """A notice that waits to be written. `name` stays the same when a write is tried again, so none is doubled."""

    name: str
    count: int = 0
    first: datetime = field(default_factory=lambda: datetime.now(UTC))
    last: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Written:
    """An Event in the API server. `seen` is monotonic."""

    name: str
    count: int
    seen: float


@dataclass(slots=True)
class Budget:
    """A token bucket."""

    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """Spend one write, if there is one left."""
        self.tokens = min(OBJECT_BURST, self.tokens + (now - self.at) * OBJECT_RATE)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class EventRecorder:
    """Writes notices as core/v1 Events beside the objects they are about; an `Events`.

    Attributes:
        dropped: notices that were not written, ever.
    """

    def __init__(self, api: Api, *, component: str, namespace: str, config_name: str, host: str = "") -> None:
        """Prepare; `start` begins to write.

        Args:
            api: its credentials are used, over a connection of the recorder's own.
            component: `metallb-controller` or `metallb-speaker`, shown as the source.
            namespace: of the ConfigMap.
            config_name: name of the ConfigMap.
            host: the node, for a speaker.
        """
        self.dropped = 0
        self._api = api.clone()
        self._source = {"component": component, **({"host": host} if host else {})}
        self._config = About("ConfigMap", namespace, config_name)
        self._pending: OrderedDict[Fact, Pending] = OrderedDict()
        self._written: OrderedDict[Fact, Written] = OrderedDict()
        self._budgets: OrderedDict[About, Budget] = OrderedDict()
        self._backoff = Backoff()
        self._changed = threading.Condition()
        self._stopping = False
        self._failing = False
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def about_service(self, service: Service, notice: Notice) -> None:
        """Record a notice about a Service. Neither blocks nor raises."""
        self._add(About("Service", service.key.namespace, service.key.name, service.uid), notice)

    def about_config(self, notice: Notice) -> None:
        """Record a notice about the ConfigMap. Neither blocks nor raises."""
        self._add(self._config, notice)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds and while the API server answers; the rest is dropped."""
        with self._changed:
            self._stopping = True
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._api.close()
        if self._thread.is_alive():
            self._thread.join(1.0)
        with self._changed:
            self.dropped += sum(pending.count for pending in self._pending.values())
            self._pending.clear()

    def _add(self, about: About, notice: Notice) -> None:
        with self._changed:
            pending = self._pending.get((about, notice))
            if pending is None:
                if len(self._pending) >= QUEUE or self._stopping:
                    self.dropped += 1
                    return
                # Names of Events are those of the object and something unique, as kubectl users expect.
                pending = Pending(f"{about.name[:236].rstrip('.-')}.{secrets.token_hex(8)}")
                self._pending[about, notice] = pending
                self._changed.notify_all()
            pending.count += 1
            pending.last = datetime.now(UTC)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._stopping:
                    self._changed.wait()
                if not self._pending or time.monotonic() >= self._deadline:
                    return
                fact, pending = self._pending.popitem(last=False)
            wait = self._write(fact, pending)
            with self._changed:
                if self._stopping and self._failing:
                    return
                self._changed.wait_for(lambda: self._stopping, timeout=wait)

    def _write(self, fact: Fact, pending: Pending) -> float:
        """Write one notice, or drop it, or put it back. Returns the seconds to wait before the next."""
        now = time.monotonic()
        known = self._known(fact, now)
        budget = self._budgets.setdefault(fact[0], Budget(OBJECT_BURST, now))
        self._budgets.move_to_end(fact[0])
        if len(self._budgets) > MEMORY:
            self._budgets.popitem(last=False)
        if not budget.take(now):
            self._drop(pending)
            if known is not None:
                known.count += pending.count
            return 0.0
        try:
            if known is not None:
                known = self._count_up(fact, known, pending)
            if known is None:
                self._create(fact, pending)
                known = Written(pending.name, 0, now)
        except (ApiUnavailableError, ApiError) as error:
            if isinstance(error, ApiUnavailableError) or error.status == 429 or error.status >= 500:
                self._failing = True
                self._put_back(fact, pending)
                budget.tokens += 1
                return self._backoff.failed(now, getattr(error, "retry_after", None))
            log.warning("an Event about %s/%s was refused: %s", fact[0].namespace, fact[0].name, error)
            self._drop(pending)
            return 1 / PACE
        except Exception:  # a defect of ours: Events are not worth ending the daemon for
            log.exception("an Event about %s/%s could not be written", fact[0].namespace, fact[0].name)
            self._drop(pending)
            return 1 / PACE
        self._failing = False
        self._backoff.succeeded(now)
        known.count += pending.count
        known.seen = now
        self._written[fact] = known
        self._written.move_to_end(fact)
        if len(self._written) > MEMORY:
            self._written.popitem(last=False)
        return 1 / PACE

    def _known(self, fact: Fact, now: float) -> Written | None:
        known = self._written.get(fact)
        if known is not None and now - known.seen > SAME_EVENT:
            del self._written[fact]
            return None
        return known

    def _count_up(self, fact: Fact, known: Written, pending: Pending) -> Written | None:
        """PATCH the Event that is there. None when the API server has forgotten it: Events live for an hour."""
        body = {"count": known.count + pending.count, "lastTimestamp": _seconds(pending.last)}
        path = namespaced(CORE, fact[0].namespace, "events", known.name)
        try:
            self._api.request("PATCH", path, body=body, content_type=MERGE_PATCH, timeout=TIMEOUT)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return known

    def _create(self, fact: Fact, pending: Pending) -> None:
        about, notice = fact
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": pending.name, "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid or self._uid(about),
            },
            "reason": notice.reason.value,
            "message": notice.message[:MESSAGE],
            "type": notice.severity.value,
            "source": self._source,
            "count": pending.count,
            "firstTimestamp": _seconds(pending.first),
            "lastTimestamp": _seconds(pending.last),
        }
        try:
            self._api.request("POST", namespaced(CORE, about.namespace, "events"), body=body, timeout=TIMEOUT)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # an earlier attempt got through after all
                raise

    def _uid(self, about: About) -> str:
        """Return the uid of the ConfigMap, by which `kubectl describe` finds its Events; empty when it is not there."""
        try:
            answer = self._api.request(
                "GET", namespaced(CORE, about.namespace, "configmaps", about.name), timeout=TIMEOUT
            )
        except ApiError:
            return ""
        return objects.uid(answer)

    def _put_back(self, fact: Fact, pending: Pending) -> None:
        with self._changed:
            newer = self._pending.get(fact)
            if newer is not None:
                pending.count += newer.count
                pending.last = newer.last
            self._pending[fact] = pending
            self._pending.move_to_end(fact, last=False)

    def _drop(self, pending: Pending) -> None:
        with self._changed:
            self.dropped += pending.count


def _seconds(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")

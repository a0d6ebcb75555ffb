"""The controller: gives every LoadBalancer Service an address, and takes back what is no longer used.

One thread owns the allocator and does everything here; watch threads only put keys into the inbox. A *term* begins when
this replica is elected and ends when it is not the leader any more. Each term starts from nothing: list everything,
adopt every address that a Service already has, and only then give out new ones. So a restart, a change of leader and
the end of an API outage are the same thing, and none of them moves an address.

Effects come last and once: plan, write, and only when the API server has said yes, commit to the allocator. A write
without an answer is repeated until there is one: its outcome is unknown, and giving the address to another Service
meanwhile could assign it twice. The repetition is conditional on the same resourceVersion, so the API server carries
out only one of them, however late the first arrives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from metallb_cli.allocator import Allocator
from metallb_cli.daemon.configuration import Configuration
from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.ports import ControllerFeeds, ControllerMetrics, Events, ServiceWriter
from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.model import Notice, Reason, Service, ServiceKey, Severity
from metallb_cli.reconcile.service import ServicePlan, Stranded, adopt, adoption_order, plan_service

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds after which an idle loop looks again whether it still leads or shall stop."""

UNANSWERED_PAUSE = 0.5
"""Seconds between repetitions of a write that got no answer."""


class Task(Enum):
    """Keys in the inbox that are no Service."""

    CONFIG = "config"


CONFLICTS = 5
"""Times in a row that a Service may change under our hands before others get their turn."""

Key = ServiceKey | Task
Waker = Callable[[Key], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose.

    Attributes:
        stranded: what becomes of an address that no pool contains any more.
        lb_class: handle only Services of this `loadBalancerClass`; None means those without one.
    """

    stranded: Stranded = Stranded.KEEP
    lb_class: str | None = None


class _TermOver(Exception):
    """This replica may not write any more."""


class Controller:
    """Runs terms of office until told to stop."""

    def __init__(
        self,
        *,
        open_feeds: Callable[[Waker], ControllerFeeds],
        writer: ServiceWriter,
        events: Events,
        metrics: ControllerMetrics,
        leading: Callable[[], bool],
        options: Options,
    ) -> None:
        self._open_feeds = open_feeds
        self._writer = writer
        self._events = events
        self._metrics = metrics
        self._leading = leading
        self._options = options
        self._inbox: Inbox[Key] = Inbox()
        self._stop = threading.Event()
        self._begin_term()

    def _begin_term(self) -> None:
        self._inbox.clear()
        self._allocator = Allocator()
        self._config = Configuration(self._metrics, self._events.about_config)
        self._reasons: dict[ServiceKey, Reason] = {}
        self._told: dict[ServiceKey, tuple[Notice, ...]] = {}
        # What the API server answered to our last write, used until the watch shows a newer version: (base, stored).
        self._written: dict[ServiceKey, tuple[str, Service]] = {}
        # Services that wait for an address, in the order in which they began to.
        self._waiting: dict[ServiceKey, None] = {}
        self._unpublished = True
        self.working = False

    # -- the loop

    def run(self) -> None:
        """Work until `stop`. Raises whatever a defect of ours raises: the process must end then."""
        while not self._stop.is_set():
            if self._leading():
                self._term()
            else:
                self._metrics.leadership(False)
                self._stop.wait(POLL)

    def stop(self) -> None:
        """Ask the loop to end (any thread)."""
        self._stop.set()

    def _in_office(self) -> bool:
        return not self._stop.is_set() and self._leading()

    def _term(self) -> None:
        self._begin_term()
        self._metrics.leadership(True)
        feeds = self._open_feeds(self._inbox.put)
        self._services = feeds.services
        feeds.start()
        try:
            while not feeds.synced():
                if not self._in_office():
                    return
                time.sleep(0.02)
            self._start_from(feeds)
            while self._in_office():
                key = self._inbox.get(POLL)
                if key is not None:
                    self._handle(key, feeds)
                    self._unpublished = True
                if self._unpublished and self._inbox.idle:
                    self._publish()
        except _TermOver:
            log.info("the term of office ended before the work was done; whoever leads next goes on")
        finally:
            self.working = False
            feeds.stop()
            self._metrics.leadership(False)

    def _start_from(self, feeds: ControllerFeeds) -> None:
        """Load the configuration and adopt every address in use before any new one is given out."""
        started = time.monotonic()
        # The watches have put every key in by now, in their own order; what comes after this is put in again.
        self._inbox.clear()
        self._load_config(feeds.config_text())
        adopted = self._take_stock()
        self.working = True
        log.info(
            "adopted %d addresses of %d Services in %.0f ms",
            adopted,
            len(self._inbox),
            1000 * (time.monotonic() - started),
        )

    def _take_stock(self) -> int:
        """Adopt what is in use and queue every Service. Returns how many addresses were adopted now."""
        services = adoption_order(self._services.all())
        adopted = 0
        if self._config.loaded:
            adopted = adopt(services, self._allocator, lb_class=self._options.lb_class)
        for service in services:
            self._inbox.put(service.key)
        return adopted

    # -- one key

    def _handle(self, key: Key, feeds: ControllerFeeds) -> None:
        failed = False
        try:
            if key is Task.CONFIG:
                self._reload(feeds.config_text())
            elif isinstance(key, ServiceKey):
                self._reconcile(key)
            self._inbox.succeeded(key)
        except ApiError as error:
            failed = True
            wait = self._inbox.retry(key, error.retry_after or 0.0)
            log.warning("%s: %s; trying again in %.1f s", key, error, wait, extra={"service": str(key)})
        self._metrics.update_handled(failed=failed)

    def _reconcile(self, key: ServiceKey) -> None:
        """Bring one Service to what it should be.

        Raises:
            ApiError: refused, or the Service changes faster than we can write.
        """
        service = self._current(key)
        for _ in range(CONFLICTS):
            if service is None:
                self._forget(key)
                return
            if not self._config.loaded:
                self._reasons[key] = Reason.WAITING_FOR_CONFIG
                return
            plan = self._plan(service)
            if self._carry_out(service, plan):
                self._tell(service, plan)
                self._remember(service, plan)
                return
            # It changed or vanished while we decided: what the API server has now counts, and counts at once, because
            # an unanswered write of ours may be in it.
            service = self._fetch(key)
        raise ApiError("the Service keeps changing while it is written", status=409, reason="Conflict")

    def _carry_out(self, service: Service, plan: ServicePlan) -> bool:
        """Write, then commit. False: the Service is not what it was any more, and nothing was changed."""
        key = service.key
        if plan.write:
            stored = self._write(service, plan)
            if stored is None:
                return False
            self._written[key] = (service.resource_version, stored)
        held = self._allocator.allocation(key)
        if plan.allocation is not None:
            self._allocator.commit(plan.allocation)
        elif plan.release:
            self._allocator.release(key)
        if held is not None and (plan.allocation is None or plan.allocation.addresses != held.addresses):
            self._wake_waiting()
        return True

    def _plan(self, service: Service) -> ServicePlan:
        return plan_service(service, self._allocator, stranded=self._options.stranded, lb_class=self._options.lb_class)

    def _current(self, key: ServiceKey) -> Service | None:
        seen = self._services.get(key)
        base_and_stored = self._written.get(key)
        if base_and_stored is None:
            return seen
        base, stored = base_and_stored
        if seen is not None and seen.uid == stored.uid and seen.resource_version == base:
            return stored
        del self._written[key]
        return seen

    def _fetch(self, key: ServiceKey) -> Service | None:
        """Read the Service itself, as often as it takes to get an answer, and use it until the watch catches up."""
        while True:
            try:
                service = self._writer.read_service(key)
                break
            except ApiUnavailableError as error:
                self._pause(key, error)
        seen = self._services.get(key)
        if service is not None and seen is not None:
            self._written[key] = (seen.resource_version, service)
        return service

    def _write(self, service: Service, plan: ServicePlan) -> Service | None:
        """Write until there is an answer. None: the Service changed (409) or is gone (404).

        Raises:
            ApiError: refused for another reason; nothing was changed.
            _TermOver: no answer came while this replica led.
        """
        while True:
            if not self._in_office():
                raise _TermOver
            try:
                return self._writer.write_ingress(service, plan.addresses, plan.pool)
            except ApiUnavailableError as error:
                self._pause(service.key, error)
            except ApiError as error:
                if error.status in (404, 409):
                    return None
                raise

    def _pause(self, key: ServiceKey, error: ApiUnavailableError) -> None:
        log.warning("%s: %s; repeating until there is an answer", key, error, extra={"service": str(key)})
        self._stop.wait(UNANSWERED_PAUSE)
        if not self._in_office():
            raise _TermOver

    def _forget(self, key: ServiceKey) -> None:
        self._told.pop(key, None)
        self._reasons.pop(key, None)
        self._waiting.pop(key, None)
        self._written.pop(key, None)
        freed = self._allocator.release(key)
        if freed is not None:
            addresses = ", ".join(map(str, freed.addresses))
            log.info(
                "%s: deleted, %s is free again",
                key,
                addresses,
                extra={"service": str(key), "reason": Reason.SERVICE_DELETED.value},
            )
            self._wake_waiting()

    def _wake_waiting(self) -> None:
        for key in self._waiting:
            self._inbox.put(key)

    # -- what operators see

    def _tell(self, service: Service, plan: ServicePlan) -> None:
        """Events and log lines for what is new; a failure that repeats itself is told once."""
        before = self._told.get(service.key, ())
        for notice in plan.notices:
            if notice not in before:
                self._events.about_service(service, notice)
                log.log(
                    logging.WARNING if notice.severity is Severity.WARNING else logging.INFO,
                    "%s: %s",
                    service.key,
                    notice.message,
                    extra={"service": str(service.key), "reason": notice.reason.value},
                )
        if plan.notices:
            self._told[service.key] = plan.notices
        else:
            self._told.pop(service.key, None)

    def _remember(self, service: Service, plan: ServicePlan) -> None:
        if plan.reason in (Reason.NOT_LOAD_BALANCER, Reason.OTHER_CLASS):
            self._reasons.pop(service.key, None)
        else:
            self._reasons[service.key] = plan.reason
        if plan.waiting:
            self._waiting.setdefault(service.key)
        else:
            self._waiting.pop(service.key, None)

    def _publish(self) -> None:
        self._unpublished = False
        self._metrics.pool_usage(
            {
                name: (usage.total_v4, usage.used_v4, usage.total_v6, usage.used_v6)
                for name, usage in self._allocator.usage().items()
            }
        )
        self._metrics.services_by_reason(Counter(reason.value for reason in self._reasons.values()))

    # -- the configuration

    def _reload(self, text: str | None) -> None:
        if self._load_config(text):
            self._take_stock()

    def _load_config(self, text: str | None) -> bool:
        if not self._config.load(text):
            return False
        stranded = self._allocator.set_pools(self._config.pools)
        if stranded:
            log.warning(
                "%d assigned addresses are in no pool of the configuration",
                len(stranded),
                extra={"reason": Reason.STRANDED.value},
            )
        return True

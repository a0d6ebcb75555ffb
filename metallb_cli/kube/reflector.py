"""A copy of a collection in the API server, kept current by list and watch.

The rule of this file: no change is lost, none is told twice, and an API server that is down, frozen or cut off costs
neither the copy nor CPU.

- The list is read in pages and gives a resource version; the watch goes on from there. A watch that ends for whatever
  reason is resumed from the last version seen, so nothing is replayed.
- Where that version is no longer known (410), comes from the future (an etcd restored from a backup), or an event was
  unreadable, the list is read again and compared with the copy: exactly the differences are told, deletions included.
- A server ends each watch after `timeoutSeconds`. One that is silent for longer is dead, whatever TCP thinks.
- Failures are answered by waiting, longer each time, and by nothing else: the copy stays.
"""

from __future__ import annotations

import json
import logging
import operator
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.backoff import Backoff
from metallb_cli.kube.client import Api
from metallb_cli.kube.listing import LIST_TIMEOUT, ObjectName, mapping, object_name, read_list
from metallb_cli.kube.resources import Resource

log = logging.getLogger(__name__)

T = TypeVar("T")
WATCH_SECONDS = (240.0, 480.0)
"""A watch lasts a random time in this range, so that the watches of a cluster do not end together."""

SHORT_WATCH_SECONDS = (20.0, 30.0)
"""For those that must notice a dead connection sooner, at the price of a request twice a minute."""

GRACE = 15.0
"""Seconds beyond the agreed end of a watch after which silence means a dead connection."""

TOO_SHORT = 1.0
"""Seconds. A watch that ends sooner counts as a failure, or a broken proxy would make us spin."""

STOP_TIMEOUT = 1.0


class Reflector(Generic[T]):
    """Follows one collection in a thread of its own.

    Attributes:
        resource: the collection.
        store: the copy, by namespace and name. The thread changes it; in other threads take `dict(reflector.store)`
            or single values, and do not iterate.
        synced: set when the first list is in the store and all its objects have been told.
        contact: monotonic second of the newest proof that the copy is current; at first, of the creation.
        last_error: why there is no contact now; empty while there is.
    """

    def __init__(
        self,
        api: Api,
        resource: Resource,
        decode: Callable[[object], T | None],
        on_change: Callable[[T | None, T | None], None],
        on_synced: Callable[[], None] = lambda: None,
        *,
        on_failure: Callable[[BaseException], None],
        same: Callable[[T, T], bool] = operator.eq,
        watch_seconds: tuple[float, float] = WATCH_SECONDS,
        grace: float = GRACE,
        rest: float = 0.0,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            api: its credentials are used, over connections of the reflector's own.
            resource: the collection; a field selector makes it a single object.
            decode: makes the value that is stored out of the JSON object; None: no concern of ours. May not raise.
            on_change: called in the reflector's thread with the old and the new value; None: there is none.
            on_synced: called once, in the reflector's thread, after the first list.
            on_failure: called when a callback raised. The thread has ended then, and the process should.
            same: whether two values differ in nothing that matters. The store gets the new one anyway, silently.
            watch_seconds: range of the time after which the server is asked to end the watch.
            grace: seconds of silence allowed beyond that.
            rest: seconds for which changes are gathered after some came.
        """
        self.store: dict[ObjectName, T] = {}
        self.synced = threading.Event()
        self.contact = time.monotonic()
        self.last_error = ""
        self._api = api.clone()
        self.resource = resource
        self._decode = decode
        self._on_change = on_change
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._same = same
        self._watch_seconds = watch_seconds
        self._grace = grace
        self._rest = rest
        self._version: str | None = None
        self._in_doubt = False
        self._backoff = Backoff()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reflector-{resource}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second, also while the API server is silent. Nothing is told after that."""
        self._stopping.set()
        self._api.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(STOP_TIMEOUT)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._follow()
        except BaseException as error:
            log.critical("following %s failed: %s", self.resource, error, exc_info=True)
            self._on_failure(error)

    def _follow(self) -> None:
        """List if needed, and watch once. Trouble with the API server ends here, in a pause."""
        try:
            if self._in_doubt:
                self._check_version()
            if self._version is None:
                self._list()
            self._in_doubt = False
            self._watch()
        except ApiError as error:
            if _must_list_again(error):
                self._version = None
            self._in_doubt = self._in_doubt or error.status >= 500
            self._pause(error, error.retry_after)
        except ApiUnavailableError as error:
            self._in_doubt = True
            self._pause(error, None)

    def _check_version(self) -> None:
        """After an outage, make sure that the server has not gone back in time, as with an etcd that was restored.

        A watch from a version of the future is no error to kube-apiserver: it says nothing until that version comes
        (seen with 1.20), and the copy would be wrong for as long.
        """
        if self._version is None:
            return
        query = {**self.resource.query(), "limit": "1"}
        page = self._api.request("GET", self.resource.path, query=query, timeout=LIST_TIMEOUT)
        current = mapping(page.get("metadata")).get("resourceVersion")
        if isinstance(current, str) and _is_before(current, self._version):
            log.warning("the API server went back from version %s to %s", self._version, current)
            self._version = None

    def _list(self) -> None:
        found, version = read_list(self._api, self.resource, self._decode, self._alive)
        self._replace(found)
        self._version = version
        if not self.synced.is_set() and not self._stopping.is_set():
            self.synced.set()
            self._on_synced()

    def _replace(self, found: dict[ObjectName, T]) -> None:
        """Make the store equal to what was listed; deletions first, because they free what others wait for."""
        for name in [name for name in self.store if name not in found]:
            self._set(name, None)
        for name, value in found.items():
            self._set(name, value)

    def _watch(self) -> None:
        seconds = random.uniform(*self._watch_seconds)  # noqa: S311 - spreads load, guards nothing
        query = {
            **self.resource.query(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        began = time.monotonic()
        with self._api.stream(self.resource.path, query, seconds + self._grace, self._rest) as lines:
            self._alive()
            for line in lines:
                if self._stopping.is_set():
                    return
                if line.strip():
                    self._event(line)
                    self._alive()
        if time.monotonic() - began < TOO_SHORT:
            raise ApiUnavailableError(f"{self._api.server} ended the watch of {self.resource} at once")

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._version = None
            raise ApiUnavailableError(f"{self._api.server} sent an event of {self.resource} that is no JSON object")
        kind = event.get("type")
        item = mapping(event.get("object"))
        if kind == "ERROR":
            error = _error(item, self.resource)
            if error.status != 429:  # anything but "come back later": an event may have been lost with it
                self._version = None
            raise error
        name = object_name(item)
        if kind in ("ADDED", "MODIFIED") and name[1]:
            self._set(name, self._decode(item))
        elif kind == "DELETED":
            self._set(name, None)
        version = mapping(item.get("metadata")).get("resourceVersion")
        if isinstance(version, str) and version:
            self._version = version

    def _set(self, name: ObjectName, new: T | None) -> None:
        old = self.store.get(name)
        if new is None:
            self.store.pop(name, None)
        else:
            self.store[name] = new
        if old is new or (old is not None and new is not None and self._same(old, new)):
            return
        if not self._stopping.is_set():
            self._on_change(old, new)

    def _alive(self) -> None:
        self.contact = time.monotonic()
        self._backoff.succeeded(self.contact)
        if self.last_error:
            log.info("following %s again", self.resource)
            self.last_error = ""

    def _pause(self, error: Exception, retry_after: float | None) -> None:
        if self._stopping.is_set():
            return
        text = str(error)
        wait = self._backoff.failed(time.monotonic(), retry_after)
        if isinstance(error, ApiError) and error.status == 410:
            # Ordinary in a quiet collection: the server forgets old versions, about every five minutes.
            log.info("reading the list of %s again: %s", self.resource, text)
        else:
            # One warning per kind of trouble: an outage of an hour is not 120 lines.
            level = logging.DEBUG if text == self.last_error else logging.WARNING
            log.log(level, "cannot follow %s, next attempt in %.1f s: %s", self.resource, wait, text)
            self.last_error = text
        self._stopping.wait(wait)


def _must_list_again(error: ApiError) -> bool:
    """Whether the version that we have is of no more use: forgotten (410), not understood, or too large (504)."""
    about_version = "resourceversion" in str(error).lower().replace(" ", "")
    return error.status in (400, 410) or (error.status in (500, 504) and about_version)


def _is_before(one: str, other: str) -> bool:
    """Compare resource versions, which are numbers that only grow; anything else compares as not before."""
    return one.isascii() and other.isascii() and one.isdigit() and other.isdigit() and int(one) < int(other)


def _error(status: dict[str, Any], resource: Resource) -> ApiError:
    """Turn the Status in an ERROR event into an error."""
    code = status.get("code")
    reason = status.get("reason")
    seconds = mapping(status.get("details")).get("retryAfterSeconds")
    return ApiError(
        f"the watch of {resource} ended: {str(status.get('message'))[:300]!r} (code {code})",
        status=code if isinstance(code, int) else 0,
        reason=reason if isinstance(reason, str) else "",
        retry_after=float(seconds) if isinstance(seconds, int) and 0 < seconds < 1 << 31 else None,
    )

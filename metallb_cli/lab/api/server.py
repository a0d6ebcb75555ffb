"""The embedded API server: the parts put together, in a thread of their own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import functools
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import yaml
from aiohttp import web

from metallb_cli.lab.api import bodies, operations, resources, services
from metallb_cli.lab.api.faults import Faults, Rule
from metallb_cli.lab.api.http import Frontend, RequestRecord
from metallb_cli.lab.api.operations import Operations, Writer
from metallb_cli.lab.api.refusals import Json, no_such_path
from metallb_cli.lab.api.resources import Registry
from metallb_cli.lab.api.services import ServiceRules
from metallb_cli.lab.api.store import Store, encode
from metallb_cli.lab.api.views import show

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
HISTORY = 10_000
"""Changes of each resource that a watch can go back to."""
BOOKMARKS = 60.0
"""Seconds, kube-apiserver's interval."""
HOST = "127.0.0.1"
START_TIMEOUT = 10.0
CALL_TIMEOUT = 10.0
NAMESPACE_DELAY = 0.5
"""Seconds until the objects of a deleted namespace go: where a controller does that, `kubectl delete -f` still finds
those that come after the namespace in its file."""
ACCEPTED = 0.01
"""Seconds in which connections just accepted become known to the server, which closes them when it stops."""
BACKLOG = 128
GRACE = 0.2
"""Seconds that requests get to end when the server stops."""
LOADER = Writer(manager="load")

T = TypeVar("T")


class EmbeddedApi:
    """A small Kubernetes API server on a port of the loopback, all of it in memory.

    It runs no controllers: nothing happens but what clients do. The objects survive `stop` and `start`; faults do not.
    Every method may be called from any thread.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        token: str | None = None,
        history: int = HISTORY,
        bookmarks: float = BOOKMARKS,
        cluster_network: str = services.CLUSTER_NETWORK,
    ) -> None:
        """Prepare a server that has the four standard namespaces and nothing else.

        Args:
            port: to listen on; 0 for a free one, which a restart uses again.
            token: that every request must carry as a bearer token; None for no authentication. kubectl sends no token
                over plain HTTP.
            history: how many changes of each resource are remembered; a watch from before them is answered with 410.
            bookmarks: seconds between the bookmarks of a watch on which nothing happens.
            cluster_network: where the ClusterIPs of Services come from.
        """
        self.port = port
        self.token = token
        self._bookmarks = bookmarks
        self._store = Store(history)
        self._operations = Operations(
            self._store, Registry(), ServiceRules(cluster_network), lambda: datetime.datetime.now(datetime.UTC)
        )
        for name in NAMESPACES:
            namespace: Json = {"metadata": {"name": name}}
            self._operations.create(resources.NAMESPACES, "", namespace, Writer(manager="kube-apiserver"))
        self._store.forget()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._begin()

    def _begin(self) -> None:
        """What a restart does not keep."""
        self._ending = asyncio.Event()
        self._faults = Faults()
        self._frontend = Frontend(self._operations, self._faults, token=self.token, bookmarks=self._bookmarks)

    # -- life

    @property
    def url(self) -> str:
        """Base URL, such as http://127.0.0.1:41234."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> str:
        """Listen, and return the base URL.

        Raises:
            OSError: the port is taken.
            RuntimeError: it runs already.
        """
        if self._thread is not None:
            raise RuntimeError("the embedded API server runs already")
        self._begin()
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="embedded-api", daemon=True
        )
        self._thread.start()
        try:
            started.result(START_TIMEOUT)
        except BaseException:
            self._thread = None
            raise
        return self.url

    def stop(self, timeout: float = 5.0) -> None:
        """Close every connection and end the thread, within `timeout` seconds. Can be called twice.

        What a frozen server was asked meanwhile is not done.

        Raises:
            RuntimeError: the thread did not end in time.
        """
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(self._ending.set)
        thread.join(timeout)
        if thread.is_alive():
            raise RuntimeError(f"the embedded API server did not stop within {timeout} s")
        self._thread = self._loop = None

    def __enter__(self) -> EmbeddedApi:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        server = web.Server(self._frontend.handle, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=GRACE)
        try:
            await runner.setup()
            listener = socket.create_server((HOST, self.port), backlog=BACKLOG)
            await web.SockSite(runner, listener).start()
            self.port = listener.getsockname()[1]
            self._loop = loop = asyncio.get_running_loop()
            self._operations.later = functools.partial(loop.call_later, NAMESPACE_DELAY)
            self._operations.resume()
            started.set_result(None)
            await self._ending.wait()
            # asyncio loses a connection that it accepts in the moment in which it stops listening, and its client waits
            # for ever. So first it accepts no more.
            loop.remove_reader(listener)
            await asyncio.sleep(ACCEPTED)
            self._abort_streams()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            await runner.cleanup()

    def _call(self, function: Callable[[], T]) -> T:
        """Run a function on the server's event loop, where everything else happens too."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("the embedded API server does not run")
        result: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        loop.call_soon_threadsafe(run)
        return result.result(CALL_TIMEOUT)

    # -- ways in

    def kubeconfig(self, path: str | Path, namespace: str = "default") -> Path:
        """Write a kubeconfig for this server, readable by its owner only, and return its path."""
        name = "metallb-lab"
        user = {"token": self.token} if self.token else {}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "current-context": name,
        }
        path = Path(path)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def load(self, objects: Iterable[Json]) -> int:
        """Create objects, with their status; the number of them. Quicker than as many requests.

        Raises:
            Refusal: one of them is not accepted; those before it are there.
        """
        count = 0
        for obj in objects:
            self._call(functools.partial(self._load, obj))
            count += 1
        return count

    def _load(self, obj: Json) -> None:
        obj = bodies.parse_object(encode(obj), "")
        resource = self._operations.registry.of_kind(str(obj.get("apiVersion")), str(obj.get("kind")))
        if resource is None:
            raise no_such_path()
        metadata = obj.get("metadata")
        wanted = metadata.get("namespace") if isinstance(metadata, dict) else None
        namespace = (str(wanted or "default")) if resource.namespaced else ""
        stored = self._operations.create(resource, namespace, obj, LOADER)
        if obj.get("status") and "status" in resource.subresources and resource is not resources.NODES:
            patch = {"status": obj["status"]}
            self._operations.patch(resource, namespace, stored.name, "status", operations.MERGE_PATCH, patch, LOADER)

    def objects(self, plural: str, namespace: str = "", *, group: str = "") -> list[Json]:
        """The objects of a resource, sorted by namespace and name: copies, with which the caller may do anything.

        Raises:
            LookupError: there is no such resource.
        """

        def read() -> list[Json]:
            for resource in self._operations.registry:
                if (resource.group, resource.plural) == (group, plural):
                    return [show(resource, each) for each in self._store.table(resource).scan(namespace)]
            raise LookupError(f"no resource {plural} in the group {group!r}")

        return self._call(read)

    @property
    def version(self) -> int:
        """The resourceVersion of the latest write."""
        return self._store.version

    def requests(self, verb: str | None = None, resource: str | None = None) -> list[RequestRecord]:
        """The latest requests, oldest first; only those of a verb (`patch`) and a resource (`services/status`)."""
        return self._call(
            lambda: [
                each
                for each in self._frontend.journal
                if verb in (None, each.verb) and resource in (None, each.resource)
            ]
        )

    def forget_requests(self) -> None:
        """Begin `requests` anew."""
        self._call(self._frontend.journal.clear)

    # -- faults

    def delay(
        self, seconds: float, *, verb: str | None = None, resource: str | None = None, count: int | None = None
    ) -> None:
        """Let requests wait for so long before they are looked at; `count` of them, None for all."""
        self._add(Rule(verb, resource, count, delay=seconds))

    def fail(
        self,
        count: int,
        status: int = 500,
        *,
        verb: str | None = None,
        resource: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Refuse the next `count` requests of a verb and resource, with an HTTP status and maybe a Retry-After."""
        self._add(Rule(verb, resource, count, status=status, retry_after=retry_after))

    def lose_answers(self, count: int, *, verb: str | None = None, resource: str | None = None) -> None:
        """Do what the next `count` requests ask, but close their connections without an answer."""
        self._add(Rule(verb, resource, count, lose_answer=True))

    def _add(self, rule: Rule) -> None:
        self._call(lambda: self._faults.rules.append(rule))

    def clear_faults(self) -> None:
        """Undo delay, fail, lose_answers, freeze and pause_watches."""

        def clear() -> None:
            self._faults.rules.clear()
            self._faults.running.set()
            self._faults.watches_running.set()

        self._call(clear)

    def freeze(self) -> None:
        """Accept connections and requests, but answer nothing any more, watches included.

        After `thaw` the requests that came meanwhile are carried out, even if their senders have gone.
        """
        self._call(self._faults.running.clear)

    def thaw(self) -> None:
        """Undo freeze."""
        self._call(self._faults.running.set)

    def pause_watches(self) -> None:
        """Send no events on watches, while other requests are served."""
        self._call(self._faults.watches_running.clear)

    def resume_watches(self) -> None:
        """Undo pause_watches; what happened meanwhile is sent."""
        self._call(self._faults.watches_running.set)

    def cut_streams(self) -> int:
        """Break the connection of every watch; how many there were."""
        return self._call(self._abort_streams)

    def _abort_streams(self) -> int:
        streams = tuple(self._frontend.streams)
        for transport in streams:
            transport.abort()
        return len(streams)

    def expire_history(self) -> None:
        """Forget all changes: a watch or page from before this moment is answered with 410. Running watches go on."""
        self._call(self._store.forget)

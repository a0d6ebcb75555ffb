"""HTTP with the API server: one connection pool, bounded in time and size, that another thread can shut at any moment.

The pool, with its certificates and proxy, is the official client's. Its request method is not used: it has no bound on
the size of an answer, and gives no way to end a call that blocks.
"""

from __future__ import annotations

import errno
import math
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError, ReadTimeoutError

from metallb_cli import __version__
from metallb_cli.errors import ApiUnavailableError
from metallb_cli.kube.outage import explain

CONNECT_TIMEOUT = 5.0
"""Seconds to open a connection, TLS included."""

HEADER_TIMEOUT = 10.0
"""Seconds that a watch may take to begin. A server sends the header of a watch at once, before any event."""

MAX_BODY = 256 << 20
"""Bytes of one answer. A list page of 500 large objects is about 5 MiB; an unpaged list of 100 000 Services 200 MiB."""

MAX_LINE = 8 << 20
"""Bytes of one watch event. etcd stores objects of at most 1.5 MiB; JSON can be a few times that."""

CHUNK = 64 << 10

AWAKE = 0.25
"""Of a rest: for so long a stream is read without another one."""

FAILURES = (HTTPError, HTTPException, OSError, ValueError)
"""What the pool raises when there is no answer; ValueError for a URL or header that cannot be sent."""


KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A connection whose other end vanished without a word breaks after 19 s, also while nothing is sent on it."""


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends requests and hands out what comes back, whatever its status."""

    def __init__(self, configuration: Configuration, source: str) -> None:
        """Open no connection yet.

        Args:
            configuration: the official client's.
            source: where the credentials come from, for messages.
        """
        self._configuration = configuration
        self._source = source
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False
        self._base = configuration.host.rstrip("/")
        self.server = _without_password(self._base)
        configuration.retries = False
        configuration.socket_options = KEEPALIVE
        rest = RESTClientObject(configuration)
        self._pool: urllib3.PoolManager = rest.pool_manager
        self._pool.pool_classes_by_scheme = self._pool_classes()

    def clone(self) -> Transport:
        """Return another one with the same credentials and connections of its own."""
        return Transport(self._configuration, self._source)

    def close(self) -> None:
        """Shut every connection. A call that blocks in another thread ends at once with ApiUnavailableError."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for sock in sockets:
            try:
                # Not SSLSocket.shutdown: that one takes the TLS state away from under the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        timeout: float,
    ) -> Answer:
        """Send one request and read its whole answer, all within `timeout` seconds.

        Raises:
            ApiUnavailableError: no whole answer came.
        """
        deadline = time.monotonic() + timeout
        limits = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout, total=timeout)
        response = self._send(method, path, query, limits, body=body, content_type=content_type)
        return self.read(response, deadline)

    def stream(self, path: str, query: Mapping[str, str], read_timeout: float, rest: float = 0.0) -> Stream:
        """Begin to read an endless answer, with at most `read_timeout` seconds between two signs of life.

        A rest, in seconds, follows each moment of reading: what comes meanwhile is then read together, for
        waking up costs several times what reading one change does.

        Raises:
            ApiUnavailableError: no answer began.
        """
        limits = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, read_timeout), read=min(HEADER_TIMEOUT, read_timeout))
        return Stream(self, self._send("GET", path, query, limits), read_timeout, rest)

    def read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> Answer:
        """Read the rest of an answer, until the monotonic second `deadline` at the latest.

        Raises:
            ApiUnavailableError: it was cut, too slow or too long.
        """
        sock = _socket(response)
        parts = []
        size = 0
        try:
            while True:
                if sock is not None:
                    sock.settimeout(max(0.001, deadline - time.monotonic()))
                part = response.read1(CHUNK)
                if not part:
                    break
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    raise ApiUnavailableError(f"{self._cannot()} its answer is longer than {MAX_BODY >> 20} MiB")
        except ApiUnavailableError:
            response.close()
            raise
        except FAILURES as error:
            response.close()
            raise self.unavailable(error) from error
        response.release_conn()
        return Answer(response.status, response.headers, b"".join(parts))

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        limits: urllib3.Timeout,
        *,
        body: bytes | None = None,
        content_type: str = "",
    ) -> urllib3.BaseHTTPResponse:
        url = self._base + path + ("?" + urlencode(query) if query else "")
        headers = {"accept": "application/json", "user-agent": f"metallb/{__version__}"}
        if body is not None:
            headers["content-type"] = content_type
        authorization = self._authorization()
        if authorization:
            headers["authorization"] = authorization
        if self._closed:
            raise ApiUnavailableError(f"{self._cannot()} the connection was closed by this side")
        try:
            return self._pool.request(
                method, url, body=body, headers=headers, timeout=limits, preload_content=False, redirect=False
            )
        except FAILURES as error:
            raise self.unavailable(error) from error

    def _authorization(self) -> str:
        try:
            with self._lock:
                value = self._configuration.get_api_key_with_prefix("BearerToken")
        except Exception as error:  # a token file, an exec plugin or an identity provider; its message may hold secrets
            raise ApiUnavailableError(
                f"{self._cannot()} the credentials of {self._source} cannot be read again ({type(error).__name__})"
            ) from None
        value = (value or "").strip()
        if not (value.isascii() and value.isprintable()):
            raise ApiUnavailableError(f"{self._cannot()} the token of {self._source} has characters no token may have")
        return str(value)

    def unavailable(self, error: Exception) -> ApiUnavailableError:
        """Return the error that says why there is no answer. Idle connections are dropped: they are dead as well."""
        if isinstance(error, ReadTimeoutError | ConnectTimeoutError | ProtocolError):
            self._pool.clear()
        return ApiUnavailableError(f"{self._cannot()} {explain(error)}")

    def _cannot(self) -> str:
        return f"cannot reach the API server {self.server}:"

    def _register(self, sock: socket.socket | None) -> socket.socket | None:
        """Remember a socket, so that `close` can reach it also after the connection object has let go of it."""
        if sock is None:
            return None
        with self._lock:
            if self._closed:
                sock.close()
                raise ConnectionAbortedError(errno.ECONNABORTED, "closed by this side")
            self._sockets.add(sock)
        return sock

    def _pool_classes(self) -> dict[str, type[HTTPConnectionPool]]:
        register = self._register
        unverified = not self._configuration.verify_ssl

        class Plain(HTTPConnection):
            opened: socket.socket | None = None

            def connect(self) -> None:
                super().connect()
                self.opened = register(self.sock)

        class Secure(HTTPSConnection):
            opened: socket.socket | None = None

            def connect(self) -> None:
                super().connect()
                self.opened = register(self.sock)
                if unverified:
                    # The kubeconfig says insecure-skip-tls-verify; as kubectl, warn nobody of it at each request.
                    self.is_verified = True

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}


class Stream:
    """An answer that goes on: iterate to get its lines. A context manager; leaving it closes the connection.

    Attributes:
        status: HTTP status code.
    """

    def __init__(
        self, transport: Transport, response: urllib3.BaseHTTPResponse, read_timeout: float, rest: float
    ) -> None:
        self._transport = transport
        self._response = response
        self._rest = rest
        self.status = response.status
        sock = _socket(response)
        if sock is not None:
            sock.settimeout(read_timeout)

    def rest(self) -> Answer:
        """Read the rest at once, for an answer that turned out to be an error."""
        return self._transport.read(self._response, time.monotonic() + HEADER_TIMEOUT)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line without its end, as soon as it is read.

        Raises:
            ApiUnavailableError: silence for longer than the read timeout, a connection cut, or a line beyond MAX_LINE.
        """
        pending: list[bytes] = []
        size = 0
        awake_until = math.inf if not self._rest else 0.0
        while True:
            try:
                data = self._response.read1(CHUNK)
            except FAILURES as error:
                raise self._transport.unavailable(error) from error
            if not data:
                break
            first, *rest = data.split(b"\n")
            pending.append(first)
            size += len(first)
            if size > MAX_LINE:
                raise ApiUnavailableError(f"{self._transport.server} sent an event longer than {MAX_LINE >> 20} MiB")
            if rest:
                yield b"".join(pending)
                yield from rest[:-1]
                pending = [rest[-1]]
                size = len(rest[-1])
            if time.monotonic() >= awake_until:
                time.sleep(self._rest)
                awake_until = time.monotonic() + self._rest * AWAKE  # one read gives one change, however many wait
        if size:
            raise ApiUnavailableError(f"{self._transport.server} ended the stream in the middle of an event")

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()


def _socket(response: urllib3.BaseHTTPResponse) -> socket.socket | None:
    """Return the socket that the answer comes through; closing the connection object does not lose it."""
    return getattr(response.connection, "opened", None)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

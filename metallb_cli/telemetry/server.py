"""The HTTP server of a daemon: /metrics, /healthz and /readyz, and nothing else.

The kubelet kills a daemon whose /healthz does not answer, so nobody may be able to keep the server busy: few
connections at once, each one short by a deadline for the whole request, closed after one answer.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from metallb_cli.errors import UsageError

log = logging.getLogger(__name__)

CONNECTIONS = 16
"""At once; the next one is closed unanswered. A kubelet and two Prometheus servers need three."""

MAX_HEAD = 8192
"""Bytes of a request."""

DEADLINE = 3.0
"""Seconds to send a request, and again to take the answer."""


class StatusServer:
    """Listens from the moment it is made; `start` begins to answer.

    Attributes:
        port: the port it listens on, also when 0 was asked for.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        metrics: Callable[[], bytes],
        healthz: Callable[[], str],
        readyz: Callable[[], str],
        content_type: str = "text/plain; version=0.0.4; charset=utf-8",
    ) -> None:
        """Bind.

        Args:
            address: an IP address; empty for all, of both families.
            port: 0 for any free one.
            metrics: gives the body of /metrics.
            healthz: gives why the daemon should be restarted; empty when it is well.
            readyz: gives why it cannot do its work yet; empty when it can.
            content_type: of /metrics.

        Raises:
            UsageError: the address or port cannot be used.
        """
        self._pages: dict[str, Callable[[], tuple[HTTPStatus, bytes, str]]] = {
            "/metrics": lambda: (HTTPStatus.OK, metrics(), content_type),
            "/healthz": lambda: _verdict(healthz()),
            "/readyz": lambda: _verdict(readyz()),
        }
        self._listener = _listen(address, port)
        self.port: int = self._listener.getsockname()[1]
        self._slots = threading.Semaphore(CONNECTIONS)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the server answers."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(1.0)
        self._listener.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._stopping:
                    return
                log.warning("cannot accept a connection for /metrics: %s", error.strerror)
                time.sleep(0.2)  # no file descriptors left, most likely: do not spin
                continue
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), name="http-request", daemon=True).start()
            except RuntimeError:  # no more threads to be had
                self._slots.release()
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                head = _read_head(connection, time.monotonic() + DEADLINE)
                if head is not None:
                    connection.settimeout(DEADLINE)
                    connection.sendall(self._answer(head))
        except OSError:
            log.debug("a client of /metrics went away")
        finally:
            self._slots.release()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        page = self._pages.get(path)
        extra = ""
        kind = "text/plain; charset=utf-8"
        if method != b"GET":
            status, body, extra = HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", "allow: GET\r\n"
        elif page is None:
            status, body = HTTPStatus.NOT_FOUND, f"there is {', '.join(self._pages)}\n".encode()
        else:
            try:
                status, body, kind = page()
            except Exception:  # a defect in a page must not look like a dead daemon on the others
                log.exception("%s failed", path)
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, b"failed; see the log\n"
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\n{extra}\r\n"
        ).encode() + body


def _verdict(reason: str) -> tuple[HTTPStatus, bytes, str]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
    return status, f"{reason or 'ok'}\n".encode(), "text/plain; charset=utf-8"


def _read_head(connection: socket.socket, deadline: float) -> bytes | None:
    """Read up to the empty line; None when the client is too slow, too long, or gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0 or len(head) > MAX_HEAD:
            return None
        connection.settimeout(left)
        data = connection.recv(4096)
        if not data:
            return None
        head += data
    return head


def _listen(address: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"cannot serve metrics on port {port}: ports are 0 to 65535")
    try:
        if not address:
            if socket.has_dualstack_ipv6():
                return socket.create_server(
                    ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=CONNECTIONS
                )
            return socket.create_server(("", port), backlog=CONNECTIONS)
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=CONNECTIONS)
    except ValueError:
        raise UsageError(f"cannot serve metrics on {address!r}: it is not an IP address") from None
    except OSError as error:
        where = f"{address or 'all addresses'} port {port}"
        hint = {
            errno.EADDRINUSE: "another program has that port: choose another one, or stop it (ss -tlnp shows which)",
            errno.EACCES: "ports below 1024 need the capability NET_BIND_SERVICE: choose a higher one",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
        }.get(error.errno or 0, error.strerror or "")
        raise UsageError(f"cannot serve metrics on {where}: {hint}") from None

"""The one way to talk to the API server: JSON in, JSON out, every call bounded, every failure one of two errors."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.kube.garbage import collector_paused

if TYPE_CHECKING:
    from metallb_cli.kube.transport import Answer, Transport

MERGE_PATCH = "application/merge-patch+json"

MAX_MESSAGE = 500
"""Characters of a server's message that we repeat."""


class Api:
    """A configured connection to one API server. Any thread may call any method.

    Attributes:
        server: the server's URL, without credentials.
        namespace: of the pod or of the kubeconfig's context; None when that names none.
    """

    def __init__(self, transport: Transport, namespace: str | None) -> None:
        self._transport = transport
        self.server: str = transport.server
        self.namespace = namespace
        self._dated = ("", 0.0)

    @classmethod
    def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Api:
        """Read the credentials, in kubectl's order; the first connection is opened by the first call.

        The Kubernetes client is imported here and not before: that takes about 200 ms and 35 MB.

        Args:
            kubeconfig: a file; None for $KUBECONFIG, ~/.kube/config, then the pod's service account.
            context: of the kubeconfig; None for its current one.

        Raises:
            UsageError: no configuration, or one that cannot be used.
        """
        from metallb_cli.kube import credentials, transport  # noqa: PLC0415

        found = credentials.find(kubeconfig, context)
        return cls(transport.Transport(found.configuration, found.source), found.namespace)

    def clone(self) -> Api:
        """Return another one with the same credentials and connections of its own, to be closed on its own."""
        return Api(self._transport.clone(), self.namespace)

    def close(self) -> None:
        """Shut all connections; calls that block in other threads end with ApiUnavailableError, and so do new ones."""
        self._transport.close()

    @property
    def clock_ahead(self) -> float:
        """Seconds that the server's clock is ahead of ours, by its newest answer; 0 when nobody can tell.

        Its header has whole seconds, so a difference of up to two counts as none.
        """
        text, received = self._dated
        try:
            ahead = parsedate_to_datetime(text).timestamp() + 0.5 - received
        except (ValueError, OverflowError):
            return 0.0
        return ahead if abs(ahead) > 2 else 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> dict[str, Any]:
        """Make one call.

        Args:
            method: HTTP method.
            path: absolute, with its parts quoted.
            query: parameters, unquoted.
            body: sent as JSON.
            content_type: of the body; MERGE_PATCH for a PATCH.
            timeout: seconds for all of it, from connecting to the last byte; only resolving a name is not included.

        Returns:
            The JSON object that was answered; empty when the answer has no body.

        Raises:
            ApiError: the server refused.
            ApiUnavailableError: no usable answer; whether a write was done is unknown.
        """
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answered = self._transport.request(
            method, path, query=query, body=payload, content_type=content_type, timeout=timeout
        )
        self._dated = (answered.headers.get("date", ""), time.time())
        if not 200 <= answered.status < 300:
            raise _refused(f"{self.server} refused {method} {path}", answered)
        if not answered.body:
            return {}
        try:
            with collector_paused():
                answer = json.loads(answered.body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ApiUnavailableError(
                f"{self.server} answered {method} {path} with something that is no JSON object: is it an API server?"
            )
        return answer

    @contextlib.contextmanager
    def stream(
        self, path: str, query: Mapping[str, str], read_timeout: float, rest: float = 0.0
    ) -> Iterator[Iterator[bytes]]:
        """Open an endless answer, such as a watch; gives an iterator over its lines.

        Args:
            path: absolute, with its parts quoted.
            query: parameters, unquoted.
            read_timeout: seconds of silence after which the connection counts as dead.
            rest: seconds after each moment of reading, in which what comes is gathered.

        Raises:
            ApiError: the server refused.
            ApiUnavailableError: no answer; while iterating: silence, a cut, or a line beyond 8 MiB.
        """
        with self._transport.stream(path, query, read_timeout, rest) as answer:
            if answer.status != 200:
                raise _refused(f"{self.server} refused GET {path}", answer.rest())
            yield iter(answer)


def _refused(what: str, answered: Answer) -> ApiError:
    """Turn an answer that is no success into an error; the body is a Status object, or what some proxy wrote."""
    try:
        status = json.loads(answered.body)
    except (ValueError, RecursionError):
        status = None
    if isinstance(status, dict):
        message = status.get("message")
        reason = status.get("reason")
    else:
        message = answered.body[:MAX_MESSAGE].decode("utf-8", "replace")
        reason = None
    text = f": {_printable(message)}" if isinstance(message, str) and message else ""
    hint = " (the credentials were not accepted)" if answered.status == 401 else ""
    return ApiError(
        f"{what}: {answered.status}{text}{hint}",
        status=answered.status,
        reason=reason if isinstance(reason, str) else "",
        retry_after=_retry_after(answered.headers, status),
    )


def _printable(text: str) -> str:
    short = " ".join(text.split())[:MAX_MESSAGE]
    return "".join(char if char.isprintable() else "?" for char in short)


def _retry_after(headers: Mapping[str, str], status: object) -> float | None:
    """Return the seconds asked for by the Retry-After header (RFC 9110 §10.2.3), else by Status.details."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (when - now).total_seconds())
    details = status.get("details") if isinstance(status, dict) else None
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if isinstance(seconds, int | float) and seconds > 0:
        return float(seconds)
    return None

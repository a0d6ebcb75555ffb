"""Plain HTTP to an API server, so that tests need not trust the client that they test."""

import json
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import urllib3

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    data: bytes

    @property
    def json(self):
        return json.loads(self.data)

    @property
    def reason(self):
        return self.json.get("reason")

    def ok(self):
        """The decoded body; an assertion with the server's words when the server refused."""
        assert 200 <= self.status < 300, f"HTTP {self.status}: {self.data[:800].decode(errors='replace')}"
        return self.json


class Watch:
    """Iterates over (type, object). `until` bounds every wait in time."""

    def __init__(self, response, deadline):
        self.response = response
        self.status = response.status
        self.deadline = deadline
        self.buffer = b""

    def __iter__(self):
        while (event := self.next()) is not None:
            yield event

    def next(self):
        """The next event, or None when the server ended the stream. urllib3's timeout error when nothing comes."""
        while b"\n" not in self.buffer:
            if time.monotonic() > self.deadline:
                raise TimeoutError("the watch went on for longer than the test allows")
            chunk = self.response.read1(65536)
            if not chunk:
                return None
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        event = json.loads(line)
        return event["type"], event["object"]

    def until(self, condition):
        """Every event up to and including the first for which `condition(type, object)` holds, or up to the end."""
        seen = []
        for event in self:
            seen.append(event)
            if condition(*event):
                break
        return seen

    def take(self, count):
        """The next `count` events, fewer when the stream ends."""
        seen = []
        while len(seen) < count and (event := self.next()) is not None:
            seen.append(event)
        return seen


class RawApi:
    """One API server. Use it from one thread, or make one for each thread."""

    def __init__(self, url, token=None, ca_file=None):
        self.url = url
        self.token = token
        self.ca_file = ca_file
        context = ssl.create_default_context(cafile=str(ca_file)) if url.startswith("https") else None
        self.pool = urllib3.PoolManager(ssl_context=context, retries=False, maxsize=8)

    def close(self):
        self.pool.clear()

    def _headers(self, token, headers):
        token = token if token is not None else self.token
        return {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}

    def _url(self, path, query):
        if query:
            path += ("&" if "?" in path else "?") + "&".join(
                f"{key}={quote(str(value), safe='')}" for key, value in query.items()
            )
        return self.url + path

    def request(
        self,
        method,
        path,
        body=None,
        *,
        query=None,
        content_type="application/json",
        headers=None,
        token=None,
        timeout=15.0,
    ):
        """Send one request. `body`: bytes as they are, anything else as JSON. Never raises for an HTTP status."""
        send = self._headers(token, headers)
        if body is not None:
            send["Content-Type"] = content_type
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.pool.request(method, self._url(path, query), body=body, headers=send, timeout=timeout)
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.data)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body, **options):
        return self.request("POST", path, body, **options)

    def put(self, path, body, **options):
        return self.request("PUT", path, body, **options)

    def patch(self, path, body, content_type=MERGE, **options):
        return self.request("PATCH", path, body, content_type=content_type, **options)

    def delete(self, path, body=None, **options):
        return self.request("DELETE", path, body, **options)

    @contextmanager
    def watch(self, path, *, headers=None, token=None, timeout=10.0, **query):
        """Open a watch. `timeout` in seconds bounds each read, and three times that the whole."""
        query = {"watch": "true", **query}
        response = self.pool.request(
            "GET",
            self._url(path, query),
            headers=self._headers(token, headers),
            timeout=timeout,
            preload_content=False,
        )
        try:
            yield Watch(response, time.monotonic() + 3 * timeout)
        finally:
            response.close()

"""An HTTP server on a loopback socket that does to each request exactly what the test says, faults included."""

import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

BOUND = 10.0


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes

    @property
    def is_watch(self):
        return self.query.get("watch") == "true"

    @property
    def asks_for_version(self):
        return self.query.get("limit") == "1"

    @property
    def is_list(self):
        return not (self.is_watch or self.asks_for_version)

    @property
    def json(self):
        return json.loads(self.body)


class Reply:
    """What a test can do with a connection."""

    def __init__(self, connection, stream, closing):
        self._connection = connection
        self._stream = stream
        self._closing = closing

    def json(self, body, status=200, headers=()):
        self.text(json.dumps(body), status, [("content-type", "application/json"), *headers])

    def text(self, body, status=200, headers=()):
        data = body.encode() if isinstance(body, str) else body
        self.raw(_head(status, [*headers, ("content-length", len(data))]) + data)

    def status(self, code, reason="", message="", headers=(), **details):
        body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
        self.json(body, code, headers)

    def begin(self, headers=()):
        self.raw(_head(200, [("transfer-encoding", "chunked"), *headers]))

    def chunk(self, data):
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, kind, item):
        self.chunk(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def end(self):
        self.raw(b"0\r\n\r\n")

    def raw(self, data):
        self._connection.sendall(data)

    def reset(self):
        """Abort the connection, as the kernel of a server that crashes; what is under way may be lost."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut()

    def cut(self):
        """Close where we are, after what was sent; ends the handler."""
        self._stream.close()
        self._connection.close()
        raise ConnectionResetError("cut by the test")

    def freeze(self):
        """Say nothing more for the rest of the test, and leave the connection open."""
        self._closing.wait(60)


def _head(status, headers):
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


class ScriptedServer:
    """Calls `handler(request, reply)` for each request, in one thread per connection.

    Attributes: `url`; `requests`, all so far; `seen`, a queue of them to wait on; `errors` raised by the handler.
    """

    def __init__(self, handler, tls=None, accepting=True):
        self._handler = handler
        self._tls = tls
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.requests = []
        self.seen = queue.Queue()
        self.errors = []
        self._connections = []
        self._threads = []
        if accepting:
            self._spawn(self._accept)

    def _spawn(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._spawn(self._converse, connection)

    def _converse(self, connection):
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection.makefile("rb") as stream:
                while (request := _read(stream)) is not None:
                    self.requests.append(request)
                    self.seen.put(request)
                    self._handler(request, Reply(connection, stream, self._closing))
        except (OSError, ssl.SSLError):
            pass  # the client went away, or the test cut the connection
        except Exception as error:
            self.errors.append(error)
        finally:
            connection.close()

    def close(self):
        self._closing.set()
        for sock in [self._listener, *self._connections]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(BOUND)
        assert not self.errors, self.errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _read(stream):
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    body = stream.read(length)
    if len(body) < length:
        return None  # the client went away in the middle
    url = urlsplit(first[1])
    return Request(first[0], url.path, dict(parse_qsl(url.query)), headers, body)


def service(name, version="1", ingress=(), **metadata):
    """A LoadBalancer Service as the API server would send it."""
    return {
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": version,
            **metadata,
        },
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ingress]}},
    }


def listed(items, version="1", more=None):
    metadata = {"resourceVersion": version, **({"continue": more} if more else {})}
    return {"kind": "List", "metadata": metadata, "items": items}


class Collection:
    """A handler that answers lists and watches from two scripts: functions that are given the request and the reply.

    The last one of each script is used again and again. `versions` answer the question after an outage for the version.
    """

    def __init__(self, lists, watches, versions=("1000000",)):
        self._versions = list(versions)
        self._scripts = {False: list(lists), True: list(watches)}
        self._lock = threading.Lock()

    def __call__(self, request, reply):
        if request.asks_for_version:
            reply.json(listed([], self._versions.pop(0) if len(self._versions) > 1 else self._versions[0]))
            return
        with self._lock:
            script = self._scripts[request.is_watch]
            step = script.pop(0) if len(script) > 1 else script[0]
        step(request, reply)

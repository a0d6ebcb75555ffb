"""A door in front of an API server: it lets every request through, and remembers method, target and answer."""

import contextlib
import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
TIMEOUT = 60.0


class Recorder:
    """Listens on loopback without TLS; speaks to `upstream` with the token, whatever its client sends.

    Attributes: `url`; `seen`, a list of (method, target, status) in the order of the answers.
    """

    def __init__(self, upstream, *, token=None, ca_file=None, inside=None):
        """`inside`: the network namespace to listen in; the API server is reached from the present one."""
        self.seen = []
        self._upstream = urlsplit(upstream)
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(ca_file)) if self._upstream.scheme == "https" else None
        self._refusals = []
        handler = type("Door", (Handler,), {"recorder": self})
        address = ("127.0.0.1", 0)
        self._server = (
            inside.run(ThreadingHTTPServer, address, handler) if inside else ThreadingHTTPServer(address, handler)
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def requests(self):
        """What was asked for, as (method, target)."""
        return {(method, target) for method, target, _ in list(self.seen)}

    def statuses(self, method, part):
        """The answers to requests of this method with this text in their target."""
        return [status for each, target, status in list(self.seen) if each == method and part in target]

    def refuse_once(self, method, part, status):
        """Answer the next such request with this status, and keep it from the API server."""
        self._refusals.append((method, part, status))

    def refusal(self, method, target):
        for each in self._refusals:
            if each[0] == method and each[1] in target:
                self._refusals.remove(each)
                return each[2]
        return None

    def connect(self):
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        options = {"context": self._tls} if self._tls else {}
        return kind(self._upstream.hostname, self._upstream.port, timeout=TIMEOUT, **options)

    def headers(self, received):
        headers = {key: value for key, value in received.items() if key.lower() not in HOP_BY_HOP}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def kubeconfig(self, path, namespace):
        """Write a kubeconfig that leads here; returns its path."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(content))
        return path

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle_one_request()

    def forward(self):
        recorder = self.recorder
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        self.close_connection = True
        if refusal := recorder.refusal(self.command, self.path):
            recorder.seen.append((self.command, self.path, refusal))
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": refusal}
            self.start(refusal, {"Content-Type": "application/json"})
            self.wfile.write(json.dumps(status).encode())
            return
        with contextlib.closing(recorder.connect()) as upstream:
            upstream.request(self.command, self.path, body, recorder.headers(self.headers))
            answer = upstream.getresponse()
            recorder.seen.append((self.command, self.path, answer.status))
            self.start(answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP})
            with contextlib.suppress(OSError, http.client.HTTPException):
                while chunk := answer.read1(65536):
                    self.wfile.write(chunk)
                    self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def start(self, status, headers):
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Connection", "close")  # its end is the end of the body
        self.end_headers()

    def log_message(self, *_):
        pass

"""`python -m metallb_cli.lab.webserver`: stands in for a pod's nginx, and answers `Hello from a container NAME`.

It runs in the network namespace of the pod's node, says `ready` on its standard output when it accepts connections, and
ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from metallb_cli.linux import netns, privileges


class Server(ThreadingTCPServer):
    """Answers every GET with the same line. No http.server.HTTPServer, because that one asks DNS for its own name."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], body: bytes) -> None:
        self.body = body
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version = "metallb-lab"
    timeout = 5.0

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--netns", required=True, help="path or name of the node's network namespace")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True, help="of the pod")
    options = parser.parse_args()
    privileges.die_with_parent()
    netns.enter(options.netns)
    server = Server((options.address, options.port), f"Hello from a container {options.name}\n".encode())
    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main()

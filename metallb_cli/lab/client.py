"""The client machine: it asks the way a user does, with the kernel's own ARP and TCP."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from metallb_cli.lab.network import INTERFACE, Lan

PROBE_INTERVAL = 0.05
PROBE_TIMEOUT = 1.0
"""Seconds until a probe without an answer counts as lost. The kernel's first TCP retransmission comes after as long."""
MAX_PROBES = 2400
"""Two minutes of them."""
CURL_TIMEOUT = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """One request.

    Attributes:
        started: monotonic seconds.
        finished: monotonic seconds.
        answer: the body, None when there was none.
    """

    started: float
    finished: float
    answer: str | None


class Client:
    """The client of a LAN."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan
        self._host = lan.client

    def get(self, url: str, timeout: float = PROBE_TIMEOUT) -> str:
        """Fetch a URL over a connection of its own.

        Raises:
            OSError: no connection, no answer in time, or not HTTP status 200.
        """
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.sock = self._host.namespace.run(
                socket.create_connection, (connection.host, connection.port), timeout
            )
            connection.request("GET", parts.path or "/")
            answer = connection.getresponse()
            body = answer.read(4096).decode(errors="replace").strip()
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error}") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{url}: HTTP status {answer.status}")
        return body

    def curl(self, url: str) -> tuple[str, str]:
        """Fetch a URL as a user would see it: what was typed, and the answer. Without curl on this machine, as `get`.

        Raises:
            OSError: no answer; the message says why.
        """
        if shutil.which("curl") is None:
            return f"GET {url}", self.get(url, CURL_TIMEOUT)
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(CURL_TIMEOUT), url]
        process = self._host.namespace.popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate(timeout=CURL_TIMEOUT + 5)
        if process.returncode:
            raise OSError(err.strip() or f"curl ended with status {process.returncode}")
        return f"curl {url}", out.strip()

    def owner(self, address: IPv4Address) -> tuple[bytes, str | None] | None:
        """The MAC address that the client's ARP cache has for an address, and its node; None when there is no entry."""
        mac = self._host.namespace.neighbours(INTERFACE).get(str(address))
        return None if mac is None else (mac, self._lan.node_of(mac))


class Prober:
    """Asks again and again, every PROBE_INTERVAL seconds, whether or not the earlier probes have been answered."""

    def __init__(self, client: Client, url: str) -> None:
        self._client = client
        self._url = url
        self._probes: list[Probe] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[Probe]:
        """Wait for the last probe and return all of them, in the order of their start. Can be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(PROBE_TIMEOUT * 3)
        return self.so_far()

    def so_far(self) -> list[Probe]:
        """The probes that have finished, in the order of their start."""
        with self._changed:
            return sorted(self._probes, key=lambda probe: probe.started)

    def wait_for_answer(self, since: float, timeout: float) -> Probe | None:
        """Wait until a probe that began at `since` (monotonic seconds) or later is answered; None: none was in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._first(since) is not None, timeout)
            return self._first(since)

    def _first(self, since: float) -> Probe | None:
        answered = (probe for probe in self._probes if probe.started >= since and probe.answer is not None)
        return min(answered, key=lambda probe: probe.finished, default=None)

    def _run(self) -> None:
        outstanding = int(PROBE_TIMEOUT / PROBE_INTERVAL) + 4
        with ThreadPoolExecutor(outstanding, thread_name_prefix="probe") as pool:
            due = time.monotonic()
            for _ in range(MAX_PROBES):
                pool.submit(self._probe)
                due += PROBE_INTERVAL
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return

    def _probe(self) -> None:
        started = time.monotonic()
        try:
            answer: str | None = self._client.get(self._url)
        except OSError:
            answer = None
        with self._changed:
            self._probes.append(Probe(started, time.monotonic(), answer))
            self._changed.notify_all()

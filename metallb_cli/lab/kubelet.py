"""The lab's kubelet: runs the web servers of the pods that are bound to one node.

No image is pulled and no container is made: whatever the pod's image, its stand-in is `lab.webserver`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from metallb_cli.errors import NetworkSetupError
from metallb_cli.lab.network import Host
from metallb_cli.lab.workloads import Object, container_port, is_terminating, key_of

log = logging.getLogger(__name__)

FIRST_POD = 2
"""Pod addresses begin at this number in the node's pod network; the first is the bridge's in a real cluster."""
RESTART_DELAY = 1.0
STOP_TIMEOUT = 2.0


@dataclass(slots=True)
class _Running:
    """A pod's web server and where it listens."""

    name: str
    address: IPv4Address
    port: int
    restarts: int = 0
    started: float = 0.0
    ready: bool = False
    process: subprocess.Popen[str] | None = None


@dataclass(frozen=True, slots=True)
class PodState:
    """What the kubelet says of a pod that it runs."""

    address: str
    ready: bool
    restarts: int


class Kubelet:
    """One node. Call `reconcile` from one thread only, because the web servers end when that thread does."""

    def __init__(self, host: Host, logs: Path, changed: Callable[[], None], environment: dict[str, str]) -> None:
        """Start nothing yet.

        Args:
            host: the node.
            logs: a folder for the web servers' logs.
            changed: called, from any thread, when `state` of a pod or `powered` may have changed.
            environment: of the web servers, in addition to this process's own.
        """
        self.host = host
        self.powered = True
        self._logs = logs
        self._changed = changed
        self._environment = environment
        self._pods: dict[str, _Running] = {}
        self._lock = threading.RLock()

    def reconcile(self, pods: Iterable[Object]) -> None:
        """Run exactly the web servers of these pods, by uid; start those again that have ended.

        Raises:
            NetworkSetupError: a pod could not get its address.
        """
        with self._lock:
            if not self.powered:
                return
            wanted = {pod["metadata"]["uid"]: pod for pod in pods if not is_terminating(pod)}
            for uid in self._pods.keys() - wanted.keys():
                self._stop(uid)
            for uid, pod in wanted.items():
                if uid not in self._pods:
                    self._pods[uid] = self._admit(pod)
                running = self._pods[uid]
                if running.process is None or running.process.poll() is not None:
                    self._start(running)

    def state(self, uid: str) -> PodState | None:
        """What to report of a pod; None when it does not run here."""
        with self._lock:
            running = self._pods.get(uid)
            return PodState(str(running.address), running.ready, running.restarts) if running else None

    def power_off(self) -> None:
        """End every web server at once, and start none until `power_on`, as when a node loses its power."""
        with self._lock:
            self.powered = False
            for running in self._pods.values():
                _end(running)
        self._changed()

    def power_on(self) -> None:
        """Undo `power_off`; the next `reconcile` starts the web servers."""
        with self._lock:
            self.powered = True
        self._changed()

    def stop(self) -> None:
        """End everything. Can be called twice."""
        with self._lock:
            for uid in list(self._pods):
                self._stop(uid)

    def _admit(self, pod: Object) -> _Running:
        taken = {running.address for running in self._pods.values()}
        candidates = (self.host.pod_network[number] for number in range(FIRST_POD, 255))
        address = next((each for each in candidates if each not in taken), None)
        if address is None:
            raise NetworkSetupError(f"{self.host.name}: no address left in {self.host.pod_network}")
        self.host.namespace.add_address("lo", f"{address}/32")
        return _Running(key_of(pod)[1], address, container_port(pod))

    def _start(self, running: _Running) -> None:
        now = time.monotonic()
        if now - running.started < RESTART_DELAY:
            return
        _end(running)  # it has ended by itself, if it ever ran: lets go of its pipe
        running.restarts += running.started > 0
        running.started = now
        command = [sys.executable, "-P", "-m", "metallb_cli.lab.webserver", "--netns", self.host.namespace.reference]
        command += ["--address", str(running.address), "--port", str(running.port), "--name", running.name]
        with (self._logs / f"{running.name}.log").open("ab") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        running.process = process
        threading.Thread(target=self._follow, args=(running, process), name=running.name, daemon=True).start()

    def _follow(self, running: _Running, process: subprocess.Popen[str]) -> None:
        """Wait for the web server's `ready`, then for its end."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                with self._lock:
                    running.ready = running.process is process
                self._changed()
        process.stdout.close()
        with self._lock:
            if running.process is process:
                running.ready = False
        self._changed()

    def _stop(self, uid: str) -> None:
        running = self._pods.pop(uid)
        _end(running)
        with contextlib.suppress(NetworkSetupError):
            self.host.namespace.delete_address("lo", f"{running.address}/32")


def _end(running: _Running) -> None:
    process, running.process, running.ready = running.process, None, False
    if process is None:
        return
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    if process.stdin is not None:
        process.stdin.close()

"""A cluster to break: an embedded API server and a real speaker on each node of a `Switch`.

There is no controller: the Services come with their addresses, and the Secret with the speakers' key is there. What a
client does not see of it is in `Site`, which other programs that share addresses can fill, too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from bench.asker import PERIOD, Asker
from bench.given_speaker import descendants
from bench.switch import NETWORK, Switch
from metallb_cli.kube.client import Api
from metallb_cli.kube.handover import ask_to_move, set_draining
from metallb_cli.kube.secrets import KEY, KEY_BYTES, NAME
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.lab.api import EmbeddedApi
from metallb_cli.lab.processes import Child
from metallb_cli.reconcile.move import plan_move

NAMESPACE = "metallb-system"
ROOT = Path(__file__).parents[1]
FIRST = NETWORK[256]
PATIENCE = 30.0
"""Seconds in which a speaker starts, and in which all is calm again; PATIENCE_EACH more for each node."""
PATIENCE_EACH = 2.0

Owners = dict[IPv4Address, str]
"""The one node that answers for each address."""


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for a true value and return it.

    Raises:
        TimeoutError: `what` did not come true.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return value


def objects(nodes: Iterable[str], count: int) -> Iterator[dict[str, Any]]:
    """What the API server has at the beginning."""
    pool = {"name": "bench", "protocol": "layer2", "addresses": [f"{FIRST}-{FIRST + count - 1}"]}
    place = {"namespace": NAMESPACE}
    data = {"config": json.dumps({"address-pools": [pool]})}
    key = {KEY: base64.b64encode(os.urandom(KEY_BYTES)).decode()}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place | {"name": "config"}, "data": data}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": place | {"name": NAME}, "type": "Opaque", "data": key}
    names = list(nodes)
    for name in names:
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    for number in range(count):
        metadata = {"namespace": "default", "name": f"bench-{number}"}
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": False},
            "status": {"loadBalancer": {"ingress": [{"ip": str(FIRST + number)}]}},
        }
        pod = {"addresses": ["10.244.1.10"], "nodeName": names[0], "conditions": {"ready": True}}
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": metadata["name"]}},
            "addressType": "IPv4",
            "endpoints": [pod],
            "ports": [{"port": 80}],
        }


def serve(kubeconfig: str, nodes: Sequence[str], count: int) -> None:
    """Be the API server until standard input ends."""
    api = EmbeddedApi()
    api.start()
    api.load(objects(nodes, count))
    api.kubeconfig(kubeconfig, NAMESPACE)
    print("ready", flush=True)
    sys.stdin.read()
    api.stop()


class Site:
    """A LAN, a client, and a daemon on each node. Who makes one calls `close`, also when making it failed.

    Attributes:
        switch: the LAN.
        addresses: those that the daemons share.
        asker: the client.
        daemons: by node.
        patience: seconds in which a daemon starts, and in which all is calm again.
    """

    def __init__(self, nodes: int, addresses: int, folder: Path, period: float = PERIOD) -> None:
        """Build the LAN.

        Args:
            nodes: how many.
            addresses: how many.
            folder: for logs.
            period: of the client's questions about one address, in seconds.
        """
        self.folder = folder
        self.patience = PATIENCE + PATIENCE_EACH * nodes
        self.addresses = [FIRST + number for number in range(addresses)]
        self.daemons: dict[str, Child] = {}
        self.stack = contextlib.ExitStack()
        self.switch = Switch(nodes)
        self.stack.callback(self.switch.remove)
        names = {host.number: name for name, host in self.switch.nodes.items()}
        self.asker = Asker(self.switch.client, names, period)
        self.stack.callback(self.asker.close)
        self.stack.callback(lambda: [child.kill() for child in self.daemons.values()])

    def close(self) -> None:
        """End everything. Can be called twice."""
        self.stack.close()

    def launch(self, node: str, *, wait: bool = True) -> None:
        """Start the daemon of a node."""
        raise NotImplementedError

    def kill(self, node: str) -> None:
        """SIGKILL to all processes of the daemon at once."""
        self.daemons[node].kill()

    def terminate(self, node: str) -> None:
        """SIGTERM, as the kubelet sends it; returns at once."""
        os.kill(self.daemons[node].pid, signal.SIGTERM)

    def wait_until_ended(self, node: str, seconds: float = 10.0) -> None:
        """Wait for the end of a daemon that was terminated.

        Raises:
            TimeoutError: it runs on.
        """
        until(lambda: self.daemons[node].status is not None, seconds, f"the end of {self.daemons[node].name}")

    def pause(self, node: str) -> None:
        """SIGSTOP to all processes of the daemon."""
        os.killpg(self.daemons[node].pid, signal.SIGSTOP)

    def go_on(self, node: str) -> None:
        """Undo `pause`."""
        os.killpg(self.daemons[node].pid, signal.SIGCONT)

    def settle(self, seconds: float | None = None, without: str = "") -> Owners:
        """Wait until each address has been answered for by one node and the same twice, and return which.

        Args:
            seconds: to wait; `patience` when None.
            without: the node that shall answer for nothing.

        Raises:
            TimeoutError: some are not; says which.
        """
        end = time.monotonic() + (self.patience if seconds is None else seconds)
        before: dict[IPv4Address, set[str]] = {}
        while True:
            began = time.monotonic()
            found = self.asker.sweep(self.addresses)
            wrong = {address: nodes for address, nodes in found.items() if len(nodes) != 1 or without in nodes}
            if not wrong and found == before:
                return {address: next(iter(nodes)) for address, nodes in found.items()}
            before = found
            if time.monotonic() > end:
                few = ", ".join(f"{a}: {' and '.join(sorted(n)) or 'nobody'}" for a, n in list(wrong.items())[:5])
                few = few or "who answers differed from the look before"
                raise TimeoutError(f"{len(wrong)} of {len(found)} addresses have no one node that answers: {few}")
            time.sleep(max(0.05, time.monotonic() - began))  # as long a rest: each question goes to all nodes


class Fleet(Site):
    """The running cluster.

    Attributes:
        api: the bench's own client of the API server.
    """

    def __init__(
        self, nodes: int, addresses: int, folder: Path, *, arguments: Sequence[str] = (), period: float = PERIOD
    ) -> None:
        """Start everything, and wait until one node answers for each address.

        Args:
            nodes: how many.
            addresses: how many.
            folder: for logs.
            arguments: of the speakers, in addition.
            period: as of `Site`.
        """
        super().__init__(nodes, addresses, folder, period)
        self._arguments = tuple(arguments)
        try:
            self._start_api()
            for node in self.switch.nodes:
                self.launch(node, wait=False)
            for node in self.switch.nodes:
                self.wait_until_ready(node)
            self.settle()
        except BaseException:
            self.close()
            raise

    def _start_api(self) -> None:
        self._kubeconfig = self.folder / "kubeconfig"
        what = (str(self._kubeconfig), list(self.switch.nodes), len(self.addresses))
        command = [sys.executable, "-c", f"from bench.fleet import serve; serve(*{what!r})"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._server = server
        self.stack.callback(self._stop_api)
        if server.stdout is None or server.stdout.readline() != "ready\n":
            raise RuntimeError("the embedded API server did not start")
        self.api = Api.connect(str(self._kubeconfig))
        self.stack.callback(self.api.close)

    def _stop_api(self) -> None:
        self._server.kill()
        self._server.communicate()

    # -- speakers

    def launch(self, node: str, *, wait: bool = True) -> None:
        """Start the speaker of a node."""
        log = self.folder / f"{node}.log"
        log.write_bytes(b"")
        command = [sys.executable, "-m", "metallb_cli", "speaker", "--node", node, "--kubeconfig", self._kubeconfig]
        command += ["-n", NAMESPACE, "--port", "0", "--host", "127.0.0.1", "--log-format", "json"]
        command += ["--netns", self.switch.nodes[node].namespace.reference, *self._arguments]
        self.daemons[node] = Child(f"the speaker of {node}", [str(part) for part in command], log, {})
        if wait:
            self.wait_until_ready(node)

    def wait_until_ready(self, node: str) -> None:
        """Wait for /readyz.

        Raises:
            TimeoutError: it does not come.
            ChildDiedError: the speaker ended.
        """
        child, port = self.daemons[node], None

        def ready() -> bool:
            nonlocal port
            child.check()
            if port is None and (found := re.search(r'"port": ?(\d+)', child.log.read_text())):
                port = int(found[1])
            with contextlib.suppress(OSError):
                return port is not None and _status(f"http://127.0.0.1:{port}/readyz") == 200
            return False

        until(ready, self.patience, f"readiness of {child.name}")

    def processes(self, node: str) -> tuple[int, int]:
        """The ids of the speaker's control process and link process."""
        control, link, *_ = descendants(self.daemons[node].pid)
        return control, link

    # -- the API server

    def freeze_api(self) -> None:
        """Have the API server answer nothing any more: its connections stay, its process is stopped."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw_api(self) -> None:
        """Undo `freeze_api`."""
        self._server.send_signal(signal.SIGCONT)

    def drain(self, node: str, draining: bool = True) -> None:
        """Ask as `metallb drain` does, or as `metallb drain --undo`."""
        set_draining(self.api, node, draining)

    def move(self, address: IPv4Address, node: str) -> float:
        """Ask as `metallb move` does; return when.

        Raises:
            NotPossibleError: says why it cannot be.
        """
        plan = plan_move(address, node, read_snapshot(self.api, NAMESPACE, "config"))
        asked = time.time()
        ask_to_move(self.api, plan.service, node, plan.epoch)
        return asked


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code

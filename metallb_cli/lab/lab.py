"""The lab itself: everything that runs, started in order, watched, and gone at the end, however it ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from metallb_cli.errors import ApiUnavailableError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.resources import CORE, namespaced, speaker_leases
from metallb_cli.lab import manifests
from metallb_cli.lab.api import EmbeddedApi
from metallb_cli.lab.client import Client
from metallb_cli.lab.cluster import Cluster
from metallb_cli.lab.network import Lan
from metallb_cli.lab.processes import Child, ChildDiedError, stop_all, tail
from metallb_cli.lab.settings import Settings
from metallb_cli.lab.stopping import NotInTimeError, Stopping
from metallb_cli.lab.workloads import Object
from metallb_cli.lab.workspace import Workspace
from metallb_cli.model import Lease
from metallb_cli.reconcile.liveness import lease_name
from metallb_cli.view.lab import LabView

T = TypeVar("T")

EXAMPLE_NAMESPACE = "metal-test"
EXAMPLE_SERVICE = "nginx"
EXAMPLE_PODS = 3
CONTROLLER = "controller"
START_TIMEOUT = 20.0
"""Seconds for what takes one or two: a busy machine may be much slower."""
PER_SPEAKER = 3.0
"""Seconds more for each speaker, because all of them start at once."""


class Lab:
    """A context manager that leaves nothing behind. `start` does the work.

    Attributes:
        api, cluster, lan, client: what `start` has made.
        workspace: logs and the kubeconfig.
        speakers: the speakers' processes, by node.
        nodes: how many.
        settings: the configuration.
    """

    api: Api
    cluster: Cluster
    lan: Lan
    client: Client

    def __init__(self, nodes: int, settings: Settings, view: LabView, stopping: Stopping) -> None:
        self.nodes = nodes
        self.settings = settings
        self.workspace = Workspace()
        self.speakers: dict[str, Child] = {}
        self._children: dict[str, Child] = {}
        self._view = view
        self._stopping = stopping
        self._keep_logs = False
        self._running = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
        finally:
            self.workspace.close(keep=self._keep_logs)

    # -- bringing it up

    def start(self) -> None:
        """Bring everything up to the running example, showing each step.

        Raises:
            MetalLBError: a step failed.
        """
        view = self._view
        with view.step("Kubernetes API server, embedded in this process") as step:
            step.detail = self._start_api()
        with view.step(f"LAN with {_count(self.nodes, 'node')} and a client, in network namespaces") as step:
            self.lan = Lan(self.nodes, ranges=self.settings.ranges, name="lab")
            self._stack.callback(self.lan.remove)
            self.client = Client(self.lan)
            step.detail = str(self.lan.network)
        with view.step("nodes: kubelets and service proxies, standing in for Kubernetes' own"):
            self.cluster = Cluster(self.api, self.lan, self.workspace.folder, environment=self.workspace.environment)
            self._stack.callback(self.cluster.stop)
            self.cluster.start()
        self._running = True
        with view.step(
            f"MetalLB: controller and {_count(self.nodes, 'speaker')}, as k8s/metallb.yml runs them"
        ) as step:
            manifests.create(self.api, manifests.namespace(self.settings.namespace))
            self.start_controller()
            for node in self.lan.nodes:
                self.start_speaker(node)
            self.wait(self._all_speakers_live, "every speaker's Lease", START_TIMEOUT + self.nodes * PER_SPEAKER)
            step.detail = f"namespace {self.settings.namespace}"

    def create(self, things: Sequence[Object]) -> list[str]:
        """Create objects; what kubectl says to each."""
        return [manifests.create(self.api, thing) for thing in things]

    def _start_api(self) -> str:
        server = EmbeddedApi()
        url = server.start()
        self._stack.callback(server.stop)
        server.kubeconfig(self.workspace.kubeconfig)
        self.workspace.kubeconfig.chmod(0o644)
        self.api = Api.connect(str(self.workspace.kubeconfig))
        self._stack.callback(self.api.close)
        return url

    def start_controller(self) -> None:
        """Start `metallb controller`."""
        self._start_child(CONTROLLER, ["controller"])

    def start_speaker(self, node: str) -> None:
        """Start `metallb speaker` for a node, whose link process answers on that node's LAN."""
        arguments = ["speaker", "--node", node, "--netns", self.lan.nodes[node].namespace.reference]
        self.speakers[node] = self._start_child(f"speaker-{node}", arguments)

    def _start_child(self, name: str, arguments: Sequence[str]) -> Child:
        command = [sys.executable, "-P", "-m", "metallb_cli", *arguments]
        command += ["--kubeconfig", str(self.workspace.kubeconfig), "--namespace", self.settings.namespace]
        command += ["--config", self.settings.name, "--host", "127.0.0.1", "--port", "0", "--log-format", "text"]
        child = Child(name, command, self.workspace.log(name), self.workspace.environment)
        if not self._children:
            self._stack.callback(lambda: stop_all(list(self._children.values())))
        self._children[name] = child
        return child

    def kill_node(self, node: str) -> None:
        """Take a node off the LAN at once, and everything on it."""
        self.lan.unplug(node)
        self._children.pop(f"speaker-{node}").kill()
        self.cluster.power_off(node)

    def restore_node(self, node: str) -> None:
        """Bring a killed node back."""
        self.lan.plug_in(node)
        self.cluster.power_on(node)
        self.start_speaker(node)

    # -- watching it

    def check(self) -> None:
        """Raise ChildDiedError or MetalLBError when a part has ended by itself."""
        for child in self._children.values():
            child.check()
        if self._running:
            self.cluster.check()

    def wait(self, condition: Callable[[], T | None], what: str, timeout: float) -> T:
        """Wait for a condition, an API server that does not answer being one that is not true yet.

        Raises:
            NotInTimeError: it was not in time.
            ChildDiedError: a process ended meanwhile.
            InterruptedLabError: a signal came.
        """

        def asked() -> T | None:
            try:
                return condition()
            except ApiUnavailableError:
                return None

        return self._stopping.wait(asked, what, timeout, self.check)

    def service(self) -> Object:
        """The example's Service, as the API server has it now."""
        return self.api.request("GET", namespaced(CORE, EXAMPLE_NAMESPACE, "services", EXAMPLE_SERVICE))

    def address(self) -> IPv4Address | None:
        """The Service's external address, None while it has none."""
        found = (a for a in objects.service(self.service()).ingress if isinstance(a, IPv4Address))
        return next(found, None)

    def lease(self, node: str) -> Lease | None:
        """The Lease of a node's speaker."""
        return self._leases().get(lease_name(node))

    def _leases(self) -> dict[str, Lease]:
        resource = speaker_leases(self.settings.namespace)
        answer = self.api.request("GET", resource.path, query=resource.query())
        return {lease.name: lease for lease in map(objects.lease, answer.get("items") or ())}

    def _all_speakers_live(self) -> bool:
        leases = self._leases()
        return all((lease := leases.get(lease_name(node))) is not None and lease.holder for node in self.lan.nodes)

    # -- when it fails

    def keep_logs(self, error: BaseException) -> list[tuple[Path, list[str]]]:
        """Leave the logs where they are; returns the ends of those that the error concerns."""
        self._keep_logs = True
        if isinstance(error, ChildDiedError):
            return [(error.child.log, error.child.tail())]
        if isinstance(error, NotInTimeError):
            return [(child.log, tail(child.log, 6)) for child in self._children.values()][:4]
        return []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""The parts of a cluster that MetalLB needs around it: nodes, scheduler, kubelets, service proxies.

One thread looks at everything whenever something changed and does what is missing. With a real kube-controller-manager
beside it, that one makes the pods of StatefulSets and the EndpointSlices; on the embedded API server this does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from metallb_cli.errors import ApiError, MetalLBError, NetworkSetupError
from metallb_cli.kube.client import Api
from metallb_cli.kube.endpoints import discover_endpoints
from metallb_cli.kube.resources import CORE, ENDPOINT_SLICES, NODES, SERVICES, Resource
from metallb_cli.lab.controller_manager import ControllerManager
from metallb_cli.lab.kubelet import Kubelet
from metallb_cli.lab.network import Lan
from metallb_cli.lab.proxy import Proxy
from metallb_cli.lab.routing import as_slice, rules_for
from metallb_cli.lab.watched import Watched
from metallb_cli.lab.workloads import (
    Object,
    choose_node,
    is_ready,
    is_terminating,
    key_of,
    node,
    node_status,
    pod_status,
)

log = logging.getLogger(__name__)

PODS = Resource(f"{CORE}/pods")
STATEFUL_SETS = Resource("/apis/apps/v1/statefulsets")
NODE_LABELS = {"vlan": "50", "kubernetes.io/os": "linux"}
"""`vlan: "50"` is what the example deployment selects the speakers' nodes by."""
TICK = 1.0
"""Seconds after which everything is looked at although nothing changed: restarts and failed writes wait for that."""
HEARTBEAT = 10.0
"""Seconds between a node's signs of life for kube-controller-manager, which waits for 40."""
STOP_TIMEOUT = 5.0


class Cluster:
    """Runs pods on a LAN's nodes, as the objects in an API server ask.

    Attributes:
        failure: why it stopped by itself; None while all is well.
    """

    def __init__(
        self,
        api: Api,
        lan: Lan,
        logs: Path,
        *,
        controller_manager: bool = False,
        service_proxy: bool = True,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Prepare.

        Args:
            api: of the cluster.
            lan: its nodes.
            logs: a folder for the logs of the web servers.
            controller_manager: a kube-controller-manager runs, so do not do its work.
            service_proxy: False where kube-proxy runs on the nodes.
            environment: of the web servers, in addition to this process's own.
        """
        self.failure: BaseException | None = None
        self._api = api
        self._lan = lan
        self._controller_manager = controller_manager
        self._service_proxy = service_proxy
        self._heartbeats: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._kubelets = {
            name: Kubelet(host, logs, self._wake.set, dict(environment or {})) for name, host in lan.nodes.items()
        }
        self._proxy = Proxy({name: host.namespace for name, host in lan.nodes.items()})
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    def start(self) -> None:
        """Create the nodes, and begin.

        Raises:
            ApiError: the API server refused a node.
            ApiUnavailableError: it did not answer.
        """
        for name, host in self._lan.nodes.items():
            try:
                body = node(name, NODE_LABELS, str(host.address), str(host.pod_network), _now())
                self._api.request("POST", NODES.path, body=body)
            except ApiError as error:
                if error.status != 409:
                    raise
        endpoints, _ = discover_endpoints(self._api)
        self._slices_served = endpoints == ENDPOINT_SLICES

        def watched(resource: Resource) -> Watched:
            return Watched(self._api, resource, self._wake.set, self._fail)

        self._nodes = watched(NODES)
        self._pods = watched(PODS)
        self._services = watched(SERVICES)
        self._endpoints = watched(endpoints)
        self._watched = [self._nodes, self._pods, self._services, self._endpoints]
        self._manager: ControllerManager | None = None
        if not self._controller_manager:
            stateful_sets = watched(STATEFUL_SETS)
            self._watched.append(stateful_sets)
            self._manager = ControllerManager(stateful_sets, self._pods, self._services, self._endpoints)
        self._proxy.start()
        for each in self._watched:
            each.start()
        self._thread.start()

    def stop(self) -> None:
        """End everything, and leave the objects as they are. Can be called twice."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT)

    def check(self) -> None:
        """Raise what ended the cluster's thread, if it has ended."""
        if self.failure is not None:
            raise MetalLBError(f"the lab's cluster stopped: {self.failure}") from self.failure

    def power_off(self, node: str) -> None:
        """End a node's web servers, and have its pods counted as not ready.

        A real cluster does the second after 40 s (--node-monitor-grace-period), the lab at once.
        """
        self._kubelets[node].power_off()

    def power_on(self, node: str) -> None:
        """Undo `power_off`."""
        self._kubelets[node].power_on()

    def ready_pods(self, namespace: str) -> list[Object]:
        """The pods of a namespace that are ready."""
        return [pod for pod in self._pods.all() if key_of(pod)[0] == namespace and is_ready(pod)]

    # -- the loop

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.wait(TICK)
                self._wake.clear()
                if all(each.synced for each in self._watched) and not self._stopping.is_set():
                    self._reconcile()
        except Exception as error:
            log.critical("the lab's cluster stopped: %s", error, exc_info=True)
            self._fail(error)
        finally:
            for each in self._watched:
                each.stop()
            for kubelet in self._kubelets.values():
                kubelet.stop()
            self._proxy.stop()

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._stopping.set()
        self._wake.set()

    def _reconcile(self) -> None:
        pods = self._pods.all()
        for name in self._kubelets:
            self._report_node(name)
        if self._manager is not None:
            self._manager.reconcile()
        self._schedule(pods)
        for name, kubelet in self._kubelets.items():
            self._run_pods(kubelet, [pod for pod in pods if pod["spec"].get("nodeName") == name])
        if self._service_proxy:
            self._apply_rules()

    def _report_node(self, name: str) -> None:
        """Keep the node's condition Ready true to life, and say from time to time that it is."""
        present = self._nodes.get("", name)
        powered = self._kubelets[name].powered
        if present is None:
            return
        due = self._manager is None and powered and time.monotonic() - self._heartbeats.get(name, 0.0) >= HEARTBEAT
        if due or is_ready(present) != powered:
            address = str(self._lan.nodes[name].address)
            self._nodes.set_status(present, node_status(address, name, ready=powered, now=_now()))
            self._heartbeats[name] = time.monotonic()

    def _schedule(self, pods: Sequence[Object]) -> None:
        nodes = [found for name in self._kubelets if (found := self._nodes.get("", name)) is not None]
        for pod in pods:
            if pod["spec"].get("nodeName") or is_terminating(pod):
                continue
            target = choose_node(pod, pods, nodes)
            if target is None:
                continue
            namespace, name = key_of(pod)
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"namespace": namespace, "name": name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": target},
            }
            self._pods.create(binding, "binding")
            return  # the next one when the copy shows this one: its node counts in the choice

    def _run_pods(self, kubelet: Kubelet, pods: Sequence[Object]) -> None:
        kubelet.reconcile(pods)
        for pod in pods:
            uid = pod["metadata"]["uid"]
            state = kubelet.state(uid)
            if state is None:
                if is_terminating(pod):
                    self._pods.delete(*key_of(pod), uid=uid, at_once=True)
                continue
            status = pod_status(
                pod,
                ready=state.ready,
                address=state.address,
                host=str(kubelet.host.address),
                restarts=state.restarts,
                now=_now(),
            )
            present = pod.get("status") or {}
            if any(present.get(part) != value for part, value in status.items()):
                self._pods.set_status(pod, status)

    def _apply_rules(self) -> None:
        services = self._services.all()
        slices = self._endpoints.all()
        if not self._slices_served:
            slices = [as_slice(each) for each in slices]
        for name in self._kubelets:
            try:
                self._proxy.apply(name, rules_for(name, services, slices))
            except NetworkSetupError as error:
                # A port that somebody else listens on is no reason to end; it is tried again at the next tick.
                log.warning("service proxy: %s", error)


def _now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

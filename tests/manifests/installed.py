"""An API server with everything installed from the manifests, and daemons that reach it through a recorder."""

import contextlib
import itertools
import os
import subprocess

import yaml

from tests.manifests.objects import ROOT, kubectl, kustomize, parse
from tests.manifests.recorder import Recorder
from tests.support.raw_api import MERGE
from tests.support.roles import Role, until

# Large enough also for what other tests may have left on a shared API server.
CONFIG = "address-pools:\n- {name: p, protocol: arp, cidr: [172.30.1.0/24]}\n"
NODE = "node1"
numbers = itertools.count(1)


class Cluster:
    """An API server with everything installed, and the way to it that a daemon is given."""

    def __init__(self, raw, kubeconfig, folder, token_of=None):
        self.raw = raw
        self.folder = folder
        self.system = f"metal-system-{os.getpid()}-{next(numbers)}"
        self.apps = f"metal-test-{os.getpid()}-{next(numbers)}"
        self._token_of = token_of
        self._running = contextlib.ExitStack()
        # In a namespace of its own: a real API server without its controllers never finishes deleting one.
        settings = {"namespace": self.system, "resources": [os.path.relpath(ROOT / "k8s", folder.resolve())]}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(settings))
        text = kustomize(folder)
        self.objects = parse(text)
        done = subprocess.run(
            [kubectl(), "--kubeconfig", str(kubeconfig), "apply", "-f", "-"],
            input=text,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        raw.post("/api/v1/namespaces", {"metadata": {"name": self.apps}}).ok()
        self.raw.delete(f"/api/v1/nodes/{NODE}")
        raw.post("/api/v1/nodes", {"metadata": {"name": NODE}}).ok()

    def configure(self):
        body = {"metadata": {"name": "config"}, "data": {"config": CONFIG}}
        self.raw.post(f"/api/v1/namespaces/{self.system}/configmaps", body).ok()

    def create_service(self, name):
        body = {
            "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}},
        }
        self.raw.post(f"/api/v1/namespaces/{self.apps}/services", body).ok()

    def serve(self, name, address):
        """A Service that has its address, and a ready pod on our node."""
        self.configure()
        self.create_service(name)
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        self.raw.patch(self.service(name) + "/status", status, MERGE).ok()
        self.set_endpoint(name, ready=True)

    def service(self, name):
        return f"/api/v1/namespaces/{self.apps}/services/{name}"

    def address(self, name):
        ingress = self.raw.get(self.service(name)).ok()["status"]["loadBalancer"].get("ingress") or [{}]
        return ingress[0].get("ip")

    def set_endpoint(self, name, ready):
        """Endpoints and EndpointSlice of one pod on our node, as far as the API server knows them."""
        meta = {"metadata": {"name": name}}
        address = {"ip": "10.0.0.5", "nodeName": NODE}
        port = {"port": 80}
        subset = {"addresses" if ready else "notReadyAddresses": [address], "ports": [port]}
        self._replace(f"/api/v1/namespaces/{self.apps}/endpoints", name, {**meta, "subsets": [subset]})
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{self.apps}/endpointslices"
        if self.raw.get("/apis/discovery.k8s.io/v1").status == 200:
            labelled = {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}}
            endpoint = {"addresses": ["10.0.0.5"], "nodeName": NODE, "conditions": {"ready": ready}}
            self._replace(slices, name, {**labelled, "addressType": "IPv4", "endpoints": [endpoint], "ports": [port]})

    def _replace(self, collection, name, body):
        self.raw.delete(f"{collection}/{name}")
        self.raw.post(collection, body).ok()

    def events(self, reason):
        found = []
        for namespace in (self.apps, self.system):
            found += self.raw.get(f"/api/v1/namespaces/{namespace}/events").ok()["items"]
        return [each for each in found if each["reason"] == reason]

    def door(self, role, inside=None):
        """The way to the API server with the rights of the role's service account: its record, and a kubeconfig."""
        token = self._token_of(self.system, role) if self._token_of else None
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self.system}/leases/metallb-controller"
        for path in ("/api/v1/services?limit=1", leases):  # RBAC takes a moment to see new rules
            until(lambda path=path: self.raw.get(path, token=token).status != 403, what=f"the right to GET {path}")
        recorder = Recorder(self.raw.url, token=token, ca_file=self.raw.ca_file, inside=inside)
        self._running.callback(recorder.close)
        return recorder, recorder.kubeconfig(self.folder / f"kubeconfig-{role}", self.system)

    def start(self, role, *arguments):
        """The daemon with its own service account's rights; returns it and the record of its requests."""
        recorder, kubeconfig = self.door(role)
        options = ("--kubeconfig", kubeconfig, "-n", self.system, "--port", "0", "--host", "127.0.0.1")
        daemon = Role(self.folder, role, role, *options, *arguments)
        self._running.callback(lambda: print(daemon.log))  # pytest shows it when the test failed
        self._running.callback(daemon.kill)
        return daemon, recorder

    def close(self):
        self._running.close()

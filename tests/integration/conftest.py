"""An API server, embedded or real, with a namespace for the product and one for Services; and the roles beside it."""

import base64
import itertools
import time

import pytest

from tests.support.raw_api import MERGE, RawApi
from tests.support.roles import Role

CONFIG = """
address-pools:
- name: default
  protocol: arp
  cidr: [172.30.1.96/29]
  arp-network: 172.30.1.0/24
"""

numbers = itertools.count(1)


class Site:
    """A cluster as a test sees it: `system` is the product's namespace, `apps` one for Services."""

    def __init__(self, raw, kubeconfig, folder):
        self.raw = raw
        self.kubeconfig = kubeconfig
        self.folder = folder
        number = f"{time.monotonic_ns() % 10**9}-{next(numbers)}"
        self.system, self.apps = f"system-{number}", f"apps-{number}"
        self.running = []
        for name in (self.system, self.apps):
            raw.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()

    def configure(self, text=CONFIG):
        body = {"metadata": {"name": "config"}, "data": {"config": text}}
        path = f"/api/v1/namespaces/{self.system}/configmaps"
        if self.raw.post(path, body).status == 409:
            self.raw.patch(f"{path}/config", {"data": {"config": text}}, MERGE).ok()

    def give_key(self):
        """Make the Secret with the key of the heartbeats, as the controller would."""
        body = {"metadata": {"name": "metallb-heartbeat"}, "data": {"secretkey": base64.b64encode(bytes(32)).decode()}}
        self.raw.post(f"/api/v1/namespaces/{self.system}/secrets", body).ok()

    def service_path(self, name):
        return f"/api/v1/namespaces/{self.apps}/services/{name}"

    def create(self, name, *, ip=None, annotations=None, pool=None, **spec):
        body = {
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}, **spec},
        }
        self.raw.post(f"/api/v1/namespaces/{self.apps}/services", body).ok()
        if ip is not None:
            patch = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
            if pool is not None:
                patch["metadata"] = {"annotations": {"metallb.io/ip-allocated-from-pool": pool}}
            self.raw.patch(self.service_path(name) + "/status", patch, MERGE).ok()

    def serve(self, name, *nodes):
        """Give the Service one ready endpoint on each of the nodes, in whichever API this cluster has for that."""
        slices = "/apis/discovery.k8s.io/v1"
        addresses = {node: f"10.244.{number}.10" for number, node in enumerate(nodes, 1)}
        if self.raw.get(slices).status == 200:
            path = f"{slices}/namespaces/{self.apps}/endpointslices"
            body = {
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": [ip], "nodeName": node, "conditions": {"ready": True}}
                    for node, ip in addresses.items()
                ],
                "ports": [{"port": 80}],
            }
        else:
            path = f"/api/v1/namespaces/{self.apps}/endpoints"
            ready = [{"ip": ip, "nodeName": node} for node, ip in addresses.items()]
            body = {
                "metadata": {"name": name},
                "subsets": [{"addresses": ready, "ports": [{"port": 80}]}] if ready else [],
            }
        if self.raw.post(path, body).status == 409:
            self.raw.put(f"{path}/{name}", body).ok()

    def patch(self, name, body):
        return self.raw.patch(self.service_path(name), body, MERGE).ok()

    def delete(self, name):
        self.raw.delete(self.service_path(name)).ok()

    def get(self, name):
        return self.raw.get(self.service_path(name)).ok()

    def addresses(self, name):
        ingress = self.get(name)["status"].get("loadBalancer", {}).get("ingress") or []
        return [entry.get("ip") or entry.get("hostname") for entry in ingress]

    def events(self, name):
        items = self.raw.get(f"/api/v1/namespaces/{self.apps}/events").ok()["items"]
        return [(e["reason"], e["message"]) for e in items if e["involvedObject"]["name"] == name]

    def config_events(self):
        items = self.raw.get(f"/api/v1/namespaces/{self.system}/events").ok()["items"]
        return [(e["reason"], e["message"]) for e in items if e["involvedObject"]["kind"] == "ConfigMap"]

    def start(self, role, *arguments):
        """Start a daemon against this API server, with short times."""
        times = ("--lease-duration", "3", "--renew-deadline", "2", "--retry-period", "0.3")
        if role == "speaker":
            times = ("--lease-duration", "2", "--renew", "0.5")
        started = Role(
            self.folder, role, role, "--kubeconfig", self.kubeconfig, "-n", self.system, "--port", "0",
            "--host", "127.0.0.1", *times, *arguments,
        )  # fmt: skip
        self.running.append(started)
        return started

    def close(self):
        for role in self.running:
            if role.process.poll() is None:
                role.kill()
        # The controller looks at the Services of the whole cluster: leave none to the next test.
        for service in self.raw.get(f"/api/v1/namespaces/{self.apps}/services").ok()["items"]:
            self.raw.delete(self.service_path(service["metadata"]["name"]))
        for node in self.raw.get("/api/v1/nodes").ok()["items"]:
            self.raw.delete(f"/api/v1/nodes/{node['metadata']['name']}")
        for name in (self.apps, self.system):
            self.raw.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def embedded_site(embedded_api, tmp_path):
    path = tmp_path / "kubeconfig"
    embedded_api.kubeconfig(path)
    site = Site(RawApi(embedded_api.url), path, tmp_path)
    yield site
    embedded_api.thaw()
    site.close()


@pytest.fixture
def real_site(real_api, tmp_path):
    site = Site(real_api, real_api.kubeconfig, tmp_path)
    yield site
    site.close()


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
def site(request):
    """The same test on both API servers."""
    return request.getfixturevalue(f"{request.param}_site")

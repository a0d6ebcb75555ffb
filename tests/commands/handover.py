"""A cluster in which a test plays the speakers: it writes their Leases, as each of them would."""

import contextlib
import itertools
import json
import os
import threading
import time

from click.testing import CliRunner

from metallb_cli.cli import main
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases
from metallb_cli.model import Claim, Lease, parse_address
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    SPEAKER,
    SpeakerNote,
    encode_addresses,
    encode_claims,
    encode_speaker,
)
from tests.support.raw_api import MERGE, RawApi
from tests.support.roles import until

CONFIG = "address-pools: [{name: vlan50, protocol: layer2, addresses: [172.30.1.96/28]}]"
DURATION = 30.0
numbers = itertools.count(1)


class Scene:
    """One namespace for the product, one for Services, and nodes. `run` runs a command of the product against it."""

    def __init__(self, url, kubeconfig):
        self.raw = RawApi(url)
        self.kubeconfig = str(kubeconfig)
        number = f"{os.getpid()}-{next(numbers)}"
        self.system, self.apps = f"system-{number}", f"apps-{number}"
        self._api = Api.connect(self.kubeconfig)
        self._leases = Leases(self._api, self.system)
        self._threads = []
        for name in (self.system, self.apps):
            self.raw.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
        config = {"metadata": {"name": "config"}, "data": {"config": CONFIG}}
        self.raw.post(f"/api/v1/namespaces/{self.system}/configmaps", config).ok()

    def node(self, *names):
        for name in names:
            self.raw.post("/api/v1/nodes", {"metadata": {"name": name}}).ok()

    def service(self, name, address, *pods, policy="Cluster"):
        """A Service that has its address, and a ready pod on each of the nodes."""
        spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}}
        body = {"metadata": {"name": name}, "spec": spec | {"externalTrafficPolicy": policy}}
        self.raw.post(f"/api/v1/namespaces/{self.apps}/services", body).ok()
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        self.raw.patch(f"{self.path(name)}/status", status, MERGE).ok()
        endpoints = [
            {"addresses": [f"10.0.0.{n}"], "nodeName": pod, "conditions": {"ready": True}}
            for n, pod in enumerate(pods, 1)
        ]
        part = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"port": 80}],
        }
        self.raw.post(f"/apis/discovery.k8s.io/v1/namespaces/{self.apps}/endpointslices", part).ok()

    def path(self, name):
        return f"/api/v1/namespaces/{self.apps}/services/{name}"

    def annotations(self, path):
        return self.raw.get(path).ok()["metadata"].get("annotations") or {}

    def speaker(self, node, *addresses, epoch=1, leaving=False):
        """Write the Lease of a live speaker that announces these addresses."""
        known = self._leases.get(f"speaker-{node}", 5.0)
        ours = [parse_address(address) for address in addresses]
        notes = {
            ANNOUNCING: encode_addresses(ours),
            CLAIMS: encode_claims({address: Claim(epoch) for address in ours}),
            SPEAKER: encode_speaker(SpeakerNote(boot=1, election="sticky", leaving=leaving)),
        }
        version = known.resource_version if known else ""
        annotations = tuple(sorted(notes.items()))
        lease = Lease(f"speaker-{node}", node, duration=DURATION, resource_version=version, annotations=annotations)
        self._leases.write(lease, 5.0)

    def when(self, condition, then):
        """Do something, in a thread, as soon as the condition holds: what the speakers do about a request."""

        def play():
            until(condition, 10)
            then()

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        self._threads.append(thread)

    def run(self, *arguments):
        common = ("-n", self.system, "--kubeconfig", self.kubeconfig)
        return CliRunner().invoke(main, [*arguments, *common])

    def json(self, *arguments):
        result = self.run(*arguments, "-o", "json")
        return result.exit_code, json.loads(result.output)

    def close(self):
        for thread in self._threads:
            thread.join(15)
        self._api.close()
        for service in self.raw.get(f"/api/v1/namespaces/{self.apps}/services").ok()["items"]:
            self.raw.delete(self.path(service["metadata"]["name"]))
        for node in self.raw.get("/api/v1/nodes").ok()["items"]:
            self.raw.delete(f"/api/v1/nodes/{node['metadata']['name']}")
        for name in (self.apps, self.system):
            self.raw.delete(f"/api/v1/namespaces/{name}")


def squeezed(text):
    """The text with all its white space as single spaces."""
    return " ".join(text.split())


@contextlib.contextmanager
def less_than(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds

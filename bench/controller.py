"""How fast a controller starts in a cluster that is full already, and how fast it gives out addresses.

    python -m bench.controller [--services 10000] [--new 1000]

Everything is real but the API server, which is the embedded one in a process of its own. The comparison in the same run
is the bare minimum: reading the same list with the same client and nothing else; and writing the same number of
statuses one after the other.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.kube.listing import read_list
from metallb_cli.kube.resources import SERVICES

CONFIG = "address-pools: [{name: big, protocol: layer2, addresses: [10.8.0.0/15]}]"
SPEC = {"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": False}
PATIENCE = 120.0


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise SystemExit(f"{what} took longer than {PATIENCE:.0f} s")
        time.sleep(0.01)
    return value


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Server:
    """The embedded API server in a process of its own."""

    def __init__(self, folder):
        self.kubeconfig = folder / "kubeconfig"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metallb_cli.lab.api", "--port", "0", "--kubeconfig", str(self.kubeconfig)],
            stdout=subprocess.DEVNULL,
        )
        until(self.kubeconfig.exists, "the API server's start")
        self.api = Api.connect(str(self.kubeconfig))

    def create(self, name, ip=None):
        body = {"metadata": {"name": name}, "spec": SPEC}
        self.api.request("POST", "/api/v1/namespaces/default/services", body=body)
        if ip is not None:
            self.assign(name, ip)

    def assign(self, name, ip, annotation="metallb.io/ip-allocated-from-pool"):
        body = {
            "metadata": {"annotations": {annotation: "big"}},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        }
        path = f"/api/v1/namespaces/default/services/{name}/status"
        self.api.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def stop(self):
        self.api.close()
        self.process.terminate()
        self.process.wait(10)


class Controller:
    def __init__(self, server, folder):
        self.log = folder / "controller.log"
        self.started = time.monotonic()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "METALLB"))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metallb_cli", "controller", "--kubeconfig", str(server.kubeconfig),
                 "-n", "default", "--port", "0", "--host", "127.0.0.1", "--log-format", "json"],
                stderr=log, env=environment,
            )  # fmt: skip

    def in_use(self):
        found = re.search(r'"port": ?(\d+)', self.log.read_text())
        if not found:
            return None
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        sample = re.search(r'^metallb_allocator_addresses_in_use_total\{pool="big"\} (\S+)', text, re.MULTILINE)
        return float(sample[1]) if sample else None

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--new", type=int, default=1000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metallb-bench-") as name:
        folder = Path(name)
        server = Server(folder)
        try:
            run(server, folder, chosen.services, chosen.new)
        finally:
            server.stop()


def run(server, folder, services, new):
    server.api.request(
        "POST",
        "/api/v1/namespaces/default/configmaps",
        body={"metadata": {"name": "config"}, "data": {"config": CONFIG}},
    )
    print(f"making {services} Services with addresses...", file=sys.stderr, flush=True)
    for number in range(services):
        server.create(f"old-{number}", f"10.8.{number >> 8}.{number & 255}")

    began = time.perf_counter()
    read_list(server.api, SERVICES, lambda item: item)
    listing = time.perf_counter() - began

    began = time.perf_counter()
    for number in range(new):
        server.assign(f"old-{number}", f"10.8.{number >> 8}.{number & 255}", annotation="example.com/touched")
    writing = time.perf_counter() - began

    controller = Controller(server, folder)
    try:
        until(lambda: controller.in_use() == services, "adopting")
        adopting = time.monotonic() - controller.started
        memory = rss_mib(controller.process.pid)

        print(f"making {new} Services without addresses...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        for number in range(new):
            server.create(f"new-{number}")
        creating = time.perf_counter() - began
        until(lambda: controller.in_use() == services + new, "assigning")
        assigning = time.perf_counter() - began
    finally:
        controller.stop()

    print(f"controller, {services} Services, embedded API server")
    print(f"{'what':<58}{'seconds':>9}{'ratio':>9}")
    rows = [
        ("read the list only, same client", listing, 1.0),
        (f"process start until {services} addresses are adopted", adopting, adopting / listing),
        (f"write {new} statuses one by one, same client", writing, 1.0),
        (f"{new} new Services: first create to last address", assigning, assigning / writing),
        ("    of which creating them took", creating, creating / writing),
    ]
    for what, seconds, ratio in rows:
        print(f"{what:<58}{seconds:>9.2f}{ratio:>8.1f}x")
    print(f"memory of the controller with {services} Services: {memory:.0f} MiB")


if __name__ == "__main__":
    main()

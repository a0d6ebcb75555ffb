"""The first user's README, line by line, on a real kube-apiserver with the real controllers around it.

Real here: etcd, kube-apiserver with RBAC, kube-controller-manager, kube-proxy with iptables, kubectl, the product's
manifests and processes with the rights of its service accounts, and the kernels of three nodes and a client. Stood in
for: the scheduler, the kubelet and nginx (`metallb_cli/lab`), because there is no container runtime.
"""

import json
import shutil
import subprocess
from os.path import commonpath
from pathlib import Path

import pytest
import yaml

from metallb_cli.kube.client import Api
from metallb_cli.lab.client import Client
from metallb_cli.lab.cluster import Cluster
from metallb_cli.lab.network import Lan
from tests.support import kube_proxy
from tests.support.roles import Role, until

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.cluster, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
URL = "http://172.30.1.96"


class Site:
    """The cluster of the README: `kubectl` from a laptop, `curl` from a machine on the LAN."""

    def __init__(self, real_api, folder):
        self.real_api, self.folder, self.roles, self.proxies = real_api, folder, {}, []
        self.lan = Lan(3, name="mlbe")
        self.client = Client(self.lan)
        self.api = Api.connect(str(real_api.kubeconfig))
        self.cluster = Cluster(self.api, self.lan, folder, controller_manager=True, service_proxy=False)

    def kubectl(self, *arguments, check=True):
        command = ["kubectl", "--kubeconfig", str(self.real_api.kubeconfig), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_pod_of(self, kind, name, node=None):
        """Do what the kubelet does with a pod of the manifest: its arguments, its environment, its service account."""
        template = json.loads(self.kubectl("-n", "metal-system", "get", kind, name, "-o", "json"))["spec"]["template"]
        container = template["spec"]["containers"][0]
        fields = {"spec.nodeName": node, "metadata.namespace": "metal-system", "metadata.name": f"{name}-1"}
        environment = {}
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            environment[entry["name"]] = fields[source] if source else entry["value"]
        account = template["spec"]["serviceAccountName"]
        kubeconfig = self.folder / f"kubeconfig-{account}"
        self.real_api.write_kubeconfig(kubeconfig, self.real_api.token_of("metal-system", account), "metal-system")
        extra = ["--kubeconfig", kubeconfig, "--port", "0", "--host", "127.0.0.1"]
        if node:
            extra += ["--netns", self.lan.nodes[node].namespace.reference]
        role = Role(self.folder, f"{name}-{node}", *container["args"], *extra, environment=environment)
        self.roles[node or name] = role
        return role

    def close(self):
        for role in self.roles.values():
            if role.process.poll() is None:
                role.kill()
        for proxy in self.proxies:
            proxy.stop()
        self.cluster.stop()
        self.api.close()
        self.lan.remove()


@pytest.fixture
def own_real_api(request):
    """A kube-apiserver for this test alone: it fills whole namespaces and runs the controllers."""
    from tests.support import apiserver

    if shutil.which("kubectl") is None:
        pytest.skip("the README is followed with kubectl, which is not here")
    if reason := kube_proxy.why_not():
        pytest.skip(reason)
    try:
        api = apiserver.start_real_api()
    except apiserver.AssetsMissing as error:
        pytest.skip(str(error))
    yield api
    api.stop()


@pytest.fixture
def readme(own_real_api, tmp_path):
    site = Site(own_real_api, tmp_path)
    yield site
    site.close()


def status_that_misses(readme, node):
    """Exit code and report of `metallb status`, as soon as it calls the node's speaker dead."""
    arguments = ("-n", "metal-system", "--kubeconfig", readme.real_api.kubeconfig, "-o", "yaml")
    status = Role(readme.folder, "status", "status", *arguments)
    code = status.process.wait(20)
    report = yaml.safe_load(status.log)
    return (code, report) if {s["node"]: s["state"] for s in report["speakers"]}[node] == "dead" else None


def test_the_readme_works_line_by_line(readme, capfd):
    def say(text):
        with capfd.disabled():
            print(f"\n    {text}", end="", flush=True)

    readme.real_api.start_controllers()
    readme.cluster.start()
    for host in readme.lan.nodes.values():
        readme.proxies.append(kube_proxy.KubeProxy(readme.real_api, host, readme.folder))

    say("kubectl create -f k8s/metallb.yml")
    readme.kubectl("create", "-f", "k8s/metallb.yml")
    vlan50 = readme.kubectl("get", "nodes", "-l", "vlan=50", "-o", "name").split()
    assert vlan50 == ["node/node1", "node/node2", "node/node3"]
    controller = readme.run_pod_of("deployment", "controller")
    speakers = {name.split("/")[1]: readme.run_pod_of("daemonset", "speaker", name.split("/")[1]) for name in vlan50}

    say("kubectl apply -f examples/configmap.yml")
    readme.kubectl("apply", "-f", "examples/configmap.yml")
    controller.ready()
    for speaker in speakers.values():
        speaker.ready()

    say("kubectl create -f examples/simplehttp.yml")
    readme.kubectl("create", "-f", "examples/simplehttp.yml")
    until(
        lambda: (
            readme.kubectl("get", "statefulset", "http", "-n", "metal-test", "-o", "jsonpath={.status.readyReplicas}")
            == "3"
        ),
        60,
        pause=0.5,
        what="three ready pods",
    )

    say("kubectl get svc nginx -n metal-test")
    until(lambda: "172.30.1.96" in readme.kubectl("get", "svc", "nginx", "-n", "metal-test"), what="the address")
    table = readme.kubectl("get", "svc", "nginx", "-n", "metal-test").splitlines()
    assert table[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert table[1].split()[0:2] == ["nginx", "LoadBalancer"]
    assert table[1].split()[3] == "172.30.1.96"

    say(f"curl {URL}")
    answers = set()

    def curl():
        try:
            answers.add(readme.client.get(URL, 1.0))
        except OSError:
            return False
        return len(answers) == 3

    until(curl, 30, what=f"answers from three pods; so far {answers}; {readme.proxies[0].rules()}")
    assert answers == {f"Hello from a container http-{number}" for number in range(3)}

    say("the address is answered for by one node, and moves when its speaker dies")
    from ipaddress import IPv4Address

    owner = readme.client.owner(IPv4Address("172.30.1.96"))[1]
    speakers[owner].kill()
    until(lambda: readme.client.owner(IPv4Address("172.30.1.96"))[1] not in (owner, None), 20, what="another owner")
    until(curl, 10, what="answers after the move")

    say("metallb status --namespace metal-system")
    # Another node has taken over long before the Lease of the killed speaker has run out, which takes 6 s.
    code, report = until(lambda: status_that_misses(readme, owner), 20, what=f"a status that calls {owner} dead")
    assert code == 1, report
    assert [s["address"] for s in report["services"]] == ["172.30.1.96"]
    assert {s["node"]: s["state"] for s in report["speakers"]}[owner] == "dead"
    assert commonpath([p["subject"] for p in report["problems"]]).startswith(owner), report["problems"]

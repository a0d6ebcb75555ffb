"""What the README tells to type, with kubectl, on an API server: everything is accepted as it is."""

import json
import subprocess

import pytest

from tests.manifests.objects import EXAMPLES, ROOT, kubectl, shipped

METALLB = str(ROOT / "k8s" / "metallb.yml")


class Laptop:
    """kubectl with a kubeconfig."""

    def __init__(self, kubeconfig):
        self.kubeconfig = str(kubeconfig)

    def kubectl(self, *arguments):
        command = [kubectl(), "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        assert not done.stderr, done.stderr  # warnings about deprecated versions, for example
        return done.stdout

    def get(self, kind, name, namespace="metal-system"):
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
def laptop(request, tmp_path):
    """On an API server that has nothing of ours; on the real one the namespaces are used here and nowhere else."""
    api = request.getfixturevalue(f"{request.param}_api")
    kubeconfig = api.kubeconfig if request.param == "real" else api.kubeconfig(tmp_path / "kubeconfig")
    return Laptop(kubeconfig)


def test_the_installation_is_accepted_and_installing_it_again_changes_nothing(laptop):
    created = laptop.kubectl("create", "--save-config", "-f", METALLB).splitlines()
    assert len(created) == len(shipped())
    assert all(line.endswith(" created") for line in created)

    again = laptop.kubectl("apply", "-f", METALLB).splitlines()
    assert len(again) == len(shipped())
    assert all(line.endswith(" unchanged") for line in again)

    laptop.kubectl("apply", "-f", str(EXAMPLES / "configmap.yml"))
    assert set(laptop.get("configmap", "config")["data"]) == {"config"}

    laptop.kubectl("create", "-f", str(EXAMPLES / "simplehttp.yml"))
    assert laptop.get("service", "nginx", "metal-test")["spec"]["type"] == "LoadBalancer"

    laptop.kubectl("apply", "-k", str(EXAMPLES / "vlan-nodes"))
    pod = laptop.get("daemonset", "speaker")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "vlan": "50"}
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"add": ["NET_RAW"], "drop": ["ALL"]}

    laptop.kubectl("delete", "-n", "metal-system", "deployment/controller", "daemonset/speaker")
    laptop.kubectl("apply", "-f", METALLB)
    assert "vlan" not in laptop.get("daemonset", "speaker")["spec"]["template"]["spec"]["nodeSelector"]
    for path in (str(EXAMPLES / "simplehttp.yml"), METALLB):
        laptop.kubectl("delete", "--wait=false", "--ignore-not-found", "-f", path)

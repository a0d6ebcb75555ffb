"""The tool that users have, against the embedded API server: whatever it asks for must be there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from metallb_cli.lab.api import EmbeddedApi
from tests.contract.conftest import service

ROOT = Path(__file__).parents[2]
KUBECTL = shutil.which(os.environ.get("KUBECTL", "kubectl"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is missing: see https://kubernetes.io/docs/tasks/tools"),
]


class Kubectl:
    """Runs kubectl in a namespace; `api` is the server."""

    def __init__(self, api, folder):
        self.api = api
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        self.environment = {
            **environment,
            "HOME": str(folder),
            "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig")),
        }
        self.folder = folder

    def start(self, *arguments):
        return subprocess.Popen(
            [KUBECTL, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments, status=0):
        """The output; an assertion shows it when kubectl ends otherwise than expected."""
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == status, output
        return output

    def apply(self, text, *arguments):
        file = self.folder / "object.yaml"
        file.write_text(text)
        return self.run("apply", "-f", str(file), *arguments)

    def give_address(self, name, address):
        patch = f'{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{address}"}}]}}}}}}'
        return self.run("patch", "svc", name, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def kubectl(tmp_path):
    with EmbeddedApi() as api:
        yield Kubectl(api, tmp_path)


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '1'}\n"


def test_the_example_deployment_is_created(kubectl):
    created = kubectl.run("create", "-f", str(ROOT / "k8s" / "metallb.yml"))
    assert "daemonset.apps/speaker created" in created
    assert "configmap/config created" in kubectl.run("apply", "-f", str(ROOT / "examples" / "configmap.yml"))
    assert "service/nginx created" in kubectl.run("create", "-f", str(ROOT / "examples" / "simplehttp.yml"))
    rows = kubectl.run("get", "svc", "nginx", "-n", "metal-test").splitlines()
    assert rows[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert re.fullmatch(r"nginx +LoadBalancer +10\.96\.\d+\.\d+ +<pending> +80:3\d{4}/TCP +\d+s", rows[1])
    assert 'serviceaccount "speaker" deleted' in kubectl.run("delete", "-f", str(ROOT / "k8s" / "metallb.yml"))


def test_apply_creates_changes_and_leaves_alone(kubectl):
    assert kubectl.apply(CONFIG_MAP) == "configmap/x created\n"
    assert kubectl.apply(CONFIG_MAP) == "configmap/x unchanged\n"
    assert kubectl.apply(CONFIG_MAP.replace("a: '1'", "b: '2'")) == "configmap/x configured\n"
    assert kubectl.run("get", "cm", "x", "-o", "jsonpath={.data}") == '{"b":"2"}'


def test_apply_on_the_server_reports_conflicts(kubectl):
    assert kubectl.apply(CONFIG_MAP, "--server-side") == "configmap/x serverside-applied\n"
    kubectl.run("patch", "cm", "x", "--type=merge", "-p", '{"data":{"a":"9"}}')
    file = str(kubectl.folder / "object.yaml")
    refused = kubectl.run("apply", "--server-side", "-f", file, status=1)
    assert 'conflict with "kubectl-patch"' in refused
    assert ".data.a" in refused
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", file)
    assert kubectl.run("get", "cm", "x", "-o", "jsonpath={.data.a}") == "1"


def test_apply_merges_the_ports_of_a_service(kubectl):
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  type: LoadBalancer\n  ports:\n"
    kubectl.apply(text + "  - {name: a, port: 80}\n  - {name: b, port: 81}\n")
    kubectl.apply(text + "  - {name: b, port: 81}\n  - {name: c, port: 82}\n")
    shown = kubectl.run("get", "svc", "s", "-o", "jsonpath={.spec.ports[*].port}")
    assert shown.split() == ["81", "82"]


def test_create_refuses_what_exists_and_what_is_wrong(kubectl):
    kubectl.apply(CONFIG_MAP)
    file = kubectl.folder / "object.yaml"
    assert "(AlreadyExists)" in kubectl.run("create", "-f", str(file), status=1)
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n")
    assert "spec.ports[0].port: Invalid value: 99999" in kubectl.run("create", "-f", str(file), status=1)


def test_get_shows_wide_columns_labels_and_whole_objects(kubectl):
    kubectl.api.load([service("a")])
    kubectl.give_address("a", "192.0.2.1")
    header, row = kubectl.run("get", "svc", "a", "-o", "wide").splitlines()
    assert header.split()[-1] == "SELECTOR"
    assert row.split()[3] == "192.0.2.1"
    assert row.split()[-1] == "app=a"
    assert "app=a" in kubectl.run("get", "svc", "--show-labels")
    assert "ip: 192.0.2.1" in kubectl.run("get", "svc", "a", "-o", "yaml")
    assert kubectl.run("get", "svc", "-A", "-o", "name") == "service/a\n"
    assert kubectl.run("get", "svc", "-l", "app=b").startswith("No resources found")
    assert "(NotFound)" in kubectl.run("get", "svc", "none", status=1)
    assert "service/a" in kubectl.run("get", "all")


def test_get_watches(kubectl):
    kubectl.api.load([service("a")])
    with kubectl.start("get", "svc", "-w") as watch:
        first = [watch.stdout.readline() for _ in range(2)]
        kubectl.give_address("a", "192.0.2.1")
        second = watch.stdout.readline()
        watch.terminate()
    assert "<pending>" in first[1]
    assert "192.0.2.1" in second


def test_wait_ends_when_the_address_is_there(kubectl):
    kubectl.api.load([service("a")])
    condition = "--for=jsonpath={.status.loadBalancer.ingress[0].ip}"
    with kubectl.start("wait", "svc/a", condition, "--timeout=20s") as wait:
        kubectl.give_address("a", "192.0.2.1")
        output, _ = wait.communicate(timeout=30)
    assert output == "service/a condition met\n"
    assert "timed out" in kubectl.run("wait", "svc/a", "--for=delete", "--timeout=1s", status=1)


def test_label_annotate_and_patch(kubectl):
    kubectl.api.load([service("a")])
    kubectl.run("label", "svc", "a", "tier=web", "app-")
    kubectl.run("annotate", "svc", "a", "metallb.io/address-pool=x")
    kubectl.run("patch", "svc", "a", "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
    kubectl.run("patch", "svc", "a", "--type=json", "-p", '[{"op":"replace","path":"/spec/ports/0/port","value":81}]')
    (found,) = kubectl.api.objects("services")
    assert found["metadata"]["labels"] == {"tier": "web"}
    assert found["metadata"]["annotations"] == {"metallb.io/address-pool": "x"}
    assert found["spec"]["externalTrafficPolicy"] == "Local"
    assert found["spec"]["ports"][0]["port"] == 81


def test_describe_shows_the_service_and_its_events(kubectl):
    kubectl.api.load([service("a")])
    kubectl.give_address("a", "192.0.2.1")
    (found,) = kubectl.api.objects("services")
    involved = {key: found["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Service", "apiVersion": "v1", **involved},
        "reason": "IPAllocated",
        "message": "Assigned IP 192.0.2.1",
        "type": "Normal",
        "count": 1,
        "source": {"component": "metallb-controller"},
    }
    kubectl.api.load([event])
    shown = kubectl.run("describe", "svc", "a")
    assert re.search(r"LoadBalancer Ingress: +192\.0\.2\.1", shown)
    assert re.search(r"Normal +IPAllocated +\S+ +metallb-controller +Assigned IP 192\.0\.2\.1", shown)
    assert "IPAllocated" in kubectl.run("get", "events")


def test_delete_by_name_label_and_file(kubectl):
    kubectl.api.load([service("a"), service("b"), service("c")])
    assert 'service "a" deleted' in kubectl.run("delete", "svc", "a")
    assert 'service "b" deleted' in kubectl.run("delete", "svc", "-l", "app=b")
    assert 'service "c" deleted' in kubectl.run("delete", "svc", "--all")
    assert "(NotFound)" in kubectl.run("delete", "svc", "a", status=1)
    kubectl.apply(CONFIG_MAP)
    kubectl.run("delete", "-f", str(kubectl.folder / "object.yaml"))
    assert kubectl.api.objects("configmaps") == []


def test_a_namespace_is_deleted_with_what_is_in_it(kubectl):
    kubectl.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n")
    kubectl.apply(CONFIG_MAP, "-n", "apps")
    kubectl.run("delete", "ns", "apps", "--timeout=20s")
    assert kubectl.api.objects("configmaps") == []
    assert "apps" not in [each["metadata"]["name"] for each in kubectl.api.objects("namespaces")]


def test_a_stateful_set_is_scaled(kubectl):
    kubectl.run("create", "-f", str(ROOT / "examples" / "simplehttp.yml"))
    assert kubectl.run("scale", "sts", "http", "-n", "metal-test", "--replicas=5") == "statefulset.apps/http scaled\n"
    assert kubectl.run("get", "sts", "-n", "metal-test").splitlines()[1].split()[1] == "0/5"


def test_explain_knows_the_fields(kubectl):
    assert "loadBalancer" in kubectl.run("explain", "service.status")


def test_generators_that_send_protobuf_are_told_what_to_do(kubectl):
    refused = kubectl.run("create", "configmap", "x", "--from-literal=a=b", status=1)
    assert "--dry-run=client -o yaml | kubectl apply -f -" in refused
    text = kubectl.run("create", "configmap", "x", "--from-literal=a=b", "--dry-run=client", "-o", "yaml")
    assert kubectl.apply(text) == "configmap/x created\n"

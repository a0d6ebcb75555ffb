import os
import subprocess
import sys

import click
import pytest
import yaml

from metallb_cli import __version__
from metallb_cli.linux.ebpf.support import CAPABILITIES
from tests.manifests.objects import (
    EXAMPLES,
    ROOT,
    command_of,
    container_of,
    kustomize,
    parse,
    shipped,
    the,
)

SERVED_BY_1_20_AND_TODAY = {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"}


@pytest.fixture(params=["Deployment controller", "DaemonSet speaker"])
def workload(request):
    return the(*request.param.split())


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def options_of(command):
    return {name: option for option in command.params if isinstance(option, click.Option) for name in option.opts}


# -- one file, made from the others


def test_the_single_file_is_what_the_kustomization_makes():
    comments, objects = split_header((ROOT / "k8s" / "metallb.yml").read_text())
    assert objects == kustomize(ROOT / "k8s")
    assert "make manifests" in comments


def split_header(text):
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[:first]), "".join(lines[first:])


def test_the_check_that_make_runs_agrees():
    done = subprocess.run(
        [ROOT / "hack" / "manifests", "--check"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_an_old_and_a_new_api_server_both_know_every_kind():
    assert {each["apiVersion"] for each in shipped()} <= SERVED_BY_1_20_AND_TODAY


def test_another_namespace_takes_one_line_in_an_overlay(tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"namespace": "elsewhere", "resources": [os.path.relpath(ROOT / "k8s", tmp_path.resolve())]})
    )
    text = kustomize(tmp_path)
    assert "metal-system" not in text
    assert "metallb-system" not in text
    namespaces = {each["metadata"].get("namespace", "elsewhere") for each in parse(text)}
    assert namespaces == {"elsewhere"}
    bound = {subject["namespace"] for each in parse(text) for subject in each.get("subjects", [])}
    assert bound == {"elsewhere"}


def test_everything_is_in_the_seeds_namespace_and_carries_our_label():
    clustered = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    for each in shipped():
        assert each["metadata"]["labels"]["app"] == "metallb"
        assert each["metadata"].get("namespace") == (None if each["kind"] in clustered else "metal-system")
    assert the("Namespace", "metal-system")


# -- the daemons are started as they want to be


def test_the_image_is_this_version_and_names_no_registry(workload):
    assert container_of(workload)["image"] == f"metallb:{__version__}"


def test_every_flag_exists(workload):
    container = container_of(workload)
    command = command_of(container)
    context = click.Context(command, info_name=container["args"][0])
    known = set(options_of(command))
    given = {argument.partition("=")[0] for argument in container["args"][1:] if argument.startswith("-")}
    assert given <= known
    command.parse_args(context, [*container["args"][1:], *(["--node", "n"] if "--node" in known else [])])


def test_every_environment_variable_is_read(workload):
    container = container_of(workload)
    read = set()
    for option in options_of(command_of(container)).values():
        read |= {option.envvar} if isinstance(option.envvar, str) else set(option.envvar or ())
    assert {each["name"] for each in container["env"]} <= read


def test_every_required_option_is_given(workload):
    container = container_of(workload)
    given = {each["name"] for each in container["env"]} | {argument.partition("=")[0] for argument in container["args"]}
    for name, option in options_of(command_of(container)).items():
        if option.required:
            assert given & {name, option.envvar}, f"{name} is required"


def test_the_port_is_the_commands_default_and_the_same_everywhere(workload):
    container = container_of(workload)
    port = options_of(command_of(container))["--port"].default
    assert [each["containerPort"] for each in container["ports"]] == [port]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "monitoring"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "monitoring"}
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}


def test_the_namespace_comes_from_the_pod_and_not_from_a_constant(workload):
    environment = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container_of(workload)["env"]}
    assert environment["METALLB_NAMESPACE"] == "metadata.namespace"


def test_selector_and_labels_belong_together(workload):
    name = workload["metadata"]["name"]
    labels = {"app": "metallb", "component": name}
    assert workload["metadata"]["labels"] == labels
    assert workload["spec"]["selector"] == {"matchLabels": labels}
    assert workload["spec"]["template"]["metadata"]["labels"] == labels


def test_the_roles_are_bound_to_the_account_that_the_pod_uses(workload):
    account = pod_of(workload)["serviceAccountName"]
    assert the("ServiceAccount", account)
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        bound = [each for each in shipped() if each["kind"] == kind and each["subjects"][0]["name"] == account]
        (binding,) = bound
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "metal-system"}]
        assert the(binding["roleRef"]["kind"], binding["roleRef"]["name"])


# -- the daemons get no more than they need


def test_no_container_may_gain_rights_or_write_to_its_image(workload):
    security = container_of(workload)["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"]["drop"] == ["ALL"]
    assert pod_of(workload)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "privileged" not in security


def test_the_controller_is_an_ordinary_user_without_any_capability():
    controller = the("Deployment", "controller")
    assert "add" not in container_of(controller)["securityContext"]["capabilities"]
    assert pod_of(controller)["securityContext"]["runAsNonRoot"] is True
    assert pod_of(controller)["securityContext"]["runAsUser"] == 65534
    assert not pod_of(controller).get("hostNetwork")


def test_the_speaker_adds_raw_sockets_and_nothing_else():
    speaker = the("DaemonSet", "speaker")
    assert container_of(speaker)["securityContext"]["capabilities"]["add"] == ["NET_RAW"]
    assert pod_of(speaker)["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "volumes"} & set(pod_of(speaker))


def test_memory_is_bounded_and_cpu_is_not_throttled(workload):
    resources = container_of(workload)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}


# -- behaviour that the seed and its users count on


def test_the_speaker_is_what_the_seed_patches():
    speaker = the("DaemonSet", "speaker")
    assert container_of(speaker)["name"] == "speaker"
    assert pod_of(speaker)["serviceAccountName"] == "speaker"
    environment = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container_of(speaker)["env"]}
    assert environment["METALLB_NODE_NAME"] == "spec.nodeName"


def test_both_daemons_have_time_to_give_their_lease_back(workload):
    assert 0 < pod_of(workload)["terminationGracePeriodSeconds"] <= 30


def test_speakers_run_on_control_plane_nodes_too():
    tolerated = {each["key"] for each in pod_of(the("DaemonSet", "speaker"))["tolerations"]}
    assert tolerated == {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}


def test_a_second_controller_stands_by():
    assert the("Deployment", "controller")["spec"]["replicas"] == 2


def test_the_vlan_overlay_only_narrows_the_choice_of_nodes():
    overlaid = parse(kustomize(EXAMPLES / "vlan-nodes"))
    assert pod_of(the("DaemonSet", "speaker", overlaid))["nodeSelector"] == {"kubernetes.io/os": "linux", "vlan": "50"}
    del pod_of(the("DaemonSet", "speaker", overlaid))["nodeSelector"]["vlan"]
    assert overlaid == shipped()


def test_the_kernel_responder_overlay_only_adds_what_the_tc_engine_needs():
    overlaid = parse(kustomize(EXAMPLES / "kernel-responder"))
    pod = pod_of(the("DaemonSet", "speaker", overlaid))
    (container,) = pod["containers"]
    added = container["securityContext"]["capabilities"]["add"]
    assert {f"CAP_{name}" for name in added} == CAPABILITIES | {"CAP_NET_RAW"}
    added[:] = ["NET_RAW"]
    (volume,), (mount,) = pod.pop("volumes"), container.pop("volumeMounts")
    # Of the node's bpf file system only a directory of our own: there is no other's pin to open.
    assert volume == {
        "name": mount["name"],
        "hostPath": {"path": "/sys/fs/bpf/metallb", "type": "DirectoryOrCreate"},
    }
    assert not mount["mountPath"].startswith("/sys")  # where AppArmor's profile for containers lets nothing be written
    assert not mount.get("readOnly", False)
    assert overlaid == shipped()


@pytest.mark.parametrize("example", ["configmap.yml"])
def test_the_example_configuration_is_valid(example):
    done = subprocess.run(
        [sys.executable, "-m", "metallb_cli", "validate-config", str(EXAMPLES / example)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_configuration_is_where_the_daemons_look():
    config = the("ConfigMap", "config", parse((EXAMPLES / "configmap.yml").read_text()))
    assert config["metadata"]["namespace"] == "metal-system"
    assert set(config["data"]) == {"config"}


def test_the_example_service_is_the_seeds():
    objects = parse((EXAMPLES / "simplehttp.yml").read_text())
    service = the("Service", "nginx", objects)
    assert service["spec"]["type"] == "LoadBalancer"
    assert the("Namespace", "metal-test", objects)
    servers = the("StatefulSet", "http", objects)
    assert servers["spec"]["replicas"] == 3
    for each in (service, servers):
        assert each["metadata"]["namespace"] == "metal-test"
    labels = servers["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()

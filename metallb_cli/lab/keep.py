"""How to use a lab that stays up."""

from __future__ import annotations

import os
import shlex
import sys
from ipaddress import IPv4Address
from pathlib import Path

from metallb_cli.lab.lab import EXAMPLE_NAMESPACE, EXAMPLE_SERVICE, Lab
from metallb_cli.lab.network import Host
from metallb_cli.lab.rights import in_user_namespace
from metallb_cli.view.lab import LabView


def enter(host: Host) -> str:
    """The command, for another terminal, in front of one that is to run on a machine of the lab."""
    network = f"--net={host.namespace.reference}"
    if in_user_namespace():
        return f"nsenter --preserve-credentials --user=/proc/{os.getpid()}/ns/user {network}"
    return f"nsenter {network}" if os.geteuid() == 0 and "SUDO_USER" not in os.environ else f"sudo nsenter {network}"


def _command() -> str:
    """How to call this installation's `metallb` from any place."""
    script = Path(sys.executable).with_name("metallb")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m metallb_cli"


def show_how_to_use(lab: Lab, view: LabView, address: IPv4Address) -> None:
    """Print commands for another terminal."""
    kubeconfig = shlex.quote(str(lab.workspace.kubeconfig))
    metallb = _command()
    first = next(iter(lab.lan.nodes.values()))
    view.heading("The lab stays up. In another terminal:")
    view.shell(f"export KUBECONFIG={kubeconfig}")
    view.shell("kubectl get svc -A")
    view.shell(f"kubectl scale statefulset http -n {EXAMPLE_NAMESPACE} --replicas 5")
    view.shell(f"kubectl describe svc {EXAMPLE_SERVICE} -n {EXAMPLE_NAMESPACE}")
    view.shell(f"{metallb} status -n {lab.settings.namespace} --kubeconfig {kubeconfig}")
    view.say("    The client's place on the LAN, and a node's:")
    view.shell(f"{enter(lab.lan.client)} curl http://{address}")
    view.shell(f"{enter(first)} ip addr")
    view.say(f"    Logs are in {lab.workspace.folder}. All of it is gone after Ctrl-C.")

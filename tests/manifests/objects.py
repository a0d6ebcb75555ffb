"""The Kubernetes objects that the repository ships, read from their files."""

import os
import shutil
import subprocess
from pathlib import Path

import click
import yaml

from metallb_cli.cli import main

ROOT = Path(__file__).resolve().parents[2]
SINGLE_FILE = ROOT / "k8s" / "metallb.yml"
EXAMPLES = ROOT / "examples"


def parse(text):
    """The objects in a text of several YAML documents."""
    return [each for each in yaml.safe_load_all(text) if each is not None]


def shipped():
    """The objects of the one-file installation."""
    return parse(SINGLE_FILE.read_text())


def the(kind, name, objects=None):
    """The one object of that kind and name."""
    (found,) = (
        each
        for each in (shipped() if objects is None else objects)
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def workloads():
    """The Deployment and the DaemonSet."""
    return [the("Deployment", "controller"), the("DaemonSet", "speaker")]


def container_of(workload):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return container


def command_of(container):
    """The click command that the container runs."""
    context = click.Context(main, info_name="metallb")
    command = main.get_command(context, container["args"][0])
    assert command is not None, f"there is no command {container['args'][0]!r}"
    return command


def kubectl():
    """The path of kubectl: `make setup` puts one into .venv."""
    found = shutil.which("kubectl", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found, "there is no kubectl: run `make setup`"
    return found


def kustomize(folder):
    """What `kubectl kustomize FOLDER` prints."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

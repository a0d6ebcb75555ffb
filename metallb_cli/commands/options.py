"""Options that several subcommands share, and what follows from them."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_NAMESPACE = "metallb-system"
"""Where MetalLB's own manifests put it; used only where nothing else names a namespace."""

METRICS_PORT = 7472
"""MetalLB's port for /metrics."""

# What v0.4.6's manifests and images pass and what has no meaning here: accepted, so that swapping the image is enough.
_IGNORED = ("--logtostderr", "--alsologtostderr")
_IGNORED_WITH_VALUE = ("--master", "--node-ip", "--v", "--vmodule", "--stderrthreshold", "--log_dir")


def connection_options(command: F) -> F:
    """Add --kubeconfig, --context and --namespace."""
    for option in (
        click.option(
            "-n",
            "--namespace",
            envvar="METALLB_NAMESPACE",
            show_envvar=True,
            metavar="NAME",
            help="Namespace that MetalLB runs in; default: the pod's own, else the kubeconfig's, else metallb-system.",
        ),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
        click.option(
            "--kubeconfig",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="How to reach the cluster; default: $KUBECONFIG, ~/.kube/config, then the pod's service account.",
        ),
    ):
        command = option(command)
    return command


def cluster_options(command: F) -> F:
    """Add --config to those of `connection_options`."""
    option = click.option(
        "--config",
        "config_name",
        default="config",
        show_default=True,
        metavar="NAME",
        help="ConfigMap with the configuration.",
    )
    return connection_options(option(command))


def daemon_options(command: F) -> F:
    """Add the options of a long-running role: port, logs, class, and v0.4.6's flags that mean nothing any more."""
    for option in (
        click.option(
            "--lb-class", metavar="NAME", help="Handle only Services of this loadBalancerClass; default: those without."
        ),
        click.option(
            "--log-format",
            type=click.Choice(["json", "text"]),
            help="Default: text on a terminal, json elsewhere.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["all", "debug", "info", "warn", "error", "none"]),
            default="info",
            show_default=True,
            help="The least severe messages to log.",
        ),
        click.option(
            "--host",
            default="",
            show_default="all, of both families",
            metavar="ADDRESS",
            help="Address for /metrics, /healthz and /readyz.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=METRICS_PORT,
            show_default=True,
            help="Port for /metrics, /healthz and /readyz; 0 takes a free one and logs it.",
        ),
    ):
        command = option(command)
    for name in _IGNORED:
        command = click.option(name, is_flag=True, hidden=True, expose_value=False)(command)
    for name in _IGNORED_WITH_VALUE:
        command = click.option(name, hidden=True, expose_value=False)(command)
    return command


def speaker_options(command: F) -> F:
    """Add --lb-class and --ignore-exclude-lb: what the speakers were started with, for those who judge as they do."""
    for option in (
        click.option("--ignore-exclude-lb", is_flag=True, help="The speakers were started with this flag."),
        click.option("--lb-class", metavar="NAME", help="The loadBalancerClass that the daemons were started with."),
    ):
        command = option(command)
    return command


def waiting_options(default: float) -> Callable[[F], F]:
    """Add --timeout, --no-wait and --output, of commands that ask for something and wait until it is done.

    Args:
        default: seconds to wait.
    """

    def add(command: F) -> F:
        for option in (
            click.option(
                "-o",
                "--output",
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
                help="How to show it; json is one object at the end.",
            ),
            click.option("--no-wait", is_flag=True, help="Only ask for it, and do not wait until it is done."),
            click.option(
                "--timeout",
                type=click.FloatRange(0, 86400),
                default=default,
                show_default=True,
                metavar="SECONDS",
                help="How long to wait.",
            ),
        ):
            command = option(command)
        return command

    return add


def choose_namespace(given: str | None, found: str | None) -> str:
    """Return the namespace to work in: as told, else that of the pod or the kubeconfig, else MetalLB's own."""
    return given or found or DEFAULT_NAMESPACE


def identity(prefix: str) -> str:
    """Return a name for this process that no other, before or after it, has had."""
    return f"{prefix}_{uuid.uuid4()}"


def host_name() -> str:
    """Return the pod's or the machine's name."""
    return os.environ.get("HOSTNAME") or socket.gethostname()

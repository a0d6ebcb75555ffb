"""`metallb lab`: the whole product on this machine, without a cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from metallb_cli.kube import objects
from metallb_cli.lab import manifests, rights, settings, tour
from metallb_cli.lab.keep import show_how_to_use
from metallb_cli.lab.lab import Lab
from metallb_cli.lab.network import MAX_NODES
from metallb_cli.lab.settings import Settings
from metallb_cli.lab.stopping import InterruptedLabError, Stopping
from metallb_cli.lab.workspace import remove_leftovers
from metallb_cli.view.lab import LabView
from metallb_cli.view.problems import print_manifests

EPILOG = """\b
Examples:
  metallb lab                          a tour of half a minute
  metallb lab --keep                   stay up, for kubectl, curl and metallb status
  metallb lab --nodes 5 --config my-configmap.yml
\b
It needs root, or user namespaces, which it then uses by itself; nothing outside
its own network namespaces is touched, and nothing is left at the end.
\b
Exit codes: 0 everything worked, 1 something did not, 2 wrong usage,
130 ended by Ctrl-C, 143 by SIGTERM.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--nodes",
    type=click.IntRange(1, MAX_NODES),
    default=3,
    show_default=True,
    help="Nodes on the LAN; with 1, no node is killed.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Your configuration instead of the example's: a ConfigMap manifest, or what is in one.",
)
@click.option("--keep", is_flag=True, help="Stay up until Ctrl-C, and say how to use it.")
def command(*, nodes: int, config_file: Path | None, keep: bool) -> None:
    """Try the whole product on this machine, without a cluster.

    Real controller and speakers on a LAN of network namespaces. What Kubernetes would do is done by small stand-ins: an
    embedded API server, web servers instead of nginx pods, a service proxy instead of kube-proxy.
    """
    started = time.monotonic()
    rights.ensure(sys.argv[1:])
    chosen = _settings(config_file)
    stopping = Stopping()
    stopping.install()
    view = LabView()
    if left := remove_leftovers():
        view.say(f"Removed what {len(left)} killed lab{'s' if len(left) > 1 else ''} had left.")
    try:
        _run(nodes, chosen, view, stopping, keep=keep, started=started)
    except InterruptedLabError as error:
        view.say(f"The lab was {error}; nothing is left of it.")
        sys.exit(error.exit_code)


def _run(nodes: int, chosen: Settings, view: LabView, stopping: Stopping, *, keep: bool, started: float) -> None:
    if rights.in_user_namespace():
        view.say("Not root: the lab runs inside a user namespace.")
    with Lab(nodes, chosen, view, stopping) as lab:
        try:
            lab.start()
            address = tour.run_example(lab, view)
            tour.show_service(lab, view)
            owner = tour.show_answers(lab, view, address)
            failover = tour.fail_over(lab, view, address, owner) if nodes > 1 else None
            tour.summarize(view, objects.service(lab.service()), owner, failover, time.monotonic() - started)
            if keep:
                show_how_to_use(lab, view, address)
                stopping.wait_for_end(lab.check)
        except InterruptedLabError:
            raise
        except Exception as error:
            view.logs(lab.keep_logs(error), lab.workspace.folder)
            raise


def _settings(config_file: Path | None) -> Settings:
    """The configuration, its problems printed first.

    Raises:
        ConfigError: it cannot be used.
    """
    manifest = settings.read(config_file or manifests.example("configmap.yml"))
    if manifest.problems:
        print_manifests([manifest], sys.stderr)
    return settings.settings_of(manifest)

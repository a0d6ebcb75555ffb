"""`metallb status`: shows and explains every address of a cluster."""

from __future__ import annotations

import dataclasses
import json
import sys

import click
import yaml

from metallb_cli.commands.options import choose_namespace, cluster_options, speaker_options
from metallb_cli.kube.client import Api
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.reconcile.audit import audit
from metallb_cli.reconcile.report import Report

EPILOG = """\b
Examples:
  metallb status --namespace metal-system            tables, with every problem and what to do
  metallb status -n metal-system -o wide             also candidates, skipped interfaces, explanations
  metallb status -n metal-system -o json | jq '.problems[].message'
\b
Exit codes: 0 healthy, 1 at least one problem, 2 wrong usage, 3 the API server could not be reached.
"""


@click.command(epilog=EPILOG)
@cluster_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
@speaker_options
def command(
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config_name: str,
    output: str,
    lb_class: str | None,
    ignore_exclude_lb: bool,
) -> None:
    """Show pools, Services, speakers and problems, and say why each address is where it is.

    Works from any machine with a kubeconfig. What the speakers should do is computed by their own rules and compared
    with what their Leases say they do.
    """
    api = Api.connect(kubeconfig, context)
    try:
        namespace = choose_namespace(namespace, api.namespace)
        snapshot = read_snapshot(api, namespace, config_name, lb_class=lb_class, ignore_exclude_lb=ignore_exclude_lb)
    finally:
        api.close()
    report = audit(snapshot)
    _write(report, output)
    if not report.healthy:
        raise SystemExit(1)


def _write(report: Report, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(_plain(report), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(_plain(report), sort_keys=False), nl=False)
    else:
        # Loaded here: scripts that ask for JSON need not wait for the tables.
        from metallb_cli.view.status import show_status  # noqa: PLC0415

        show_status(report, sys.stdout, wide=output == "wide")


def _plain(report: Report) -> object:
    """Return the report as lists, dictionaries, text and numbers only."""
    return json.loads(json.dumps(dataclasses.asdict(report)))

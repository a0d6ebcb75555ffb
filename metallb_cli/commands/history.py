"""`metallb history`: when each address changed hands, and why."""

from __future__ import annotations

import json
import sys
import time

import click

from metallb_cli.commands.options import choose_namespace, connection_options
from metallb_cli.config.durations import parse_duration
from metallb_cli.errors import MetalLBError
from metallb_cli.kube.client import Api
from metallb_cli.kube.histories import read_histories
from metallb_cli.model import parse_address
from metallb_cli.reconcile.history import Entry, about, merge

EPILOG = """\b
Examples:
  metallb history -n metal-system                    what changed hands lately, newest last
  metallb history 172.30.1.96 -n metal-system        when did this address last move, and why
  metallb history -n metal-system --since 24h -o json | jq '.changes[] | select(.gap > 1)'
\b
GAP is the time in which nobody answered: from the last heartbeat of the old owner until the new one answers.
In planned moves there is none.
\b
Exit codes: 0 fine, 1 the address has no history, 2 wrong usage, 3 the API server could not be reached.
"""


def _time_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a duration as Go and kubectl write it; return seconds."""
    if value is None:
        return None
    nanoseconds = parse_duration(value)
    if isinstance(nanoseconds, str) or nanoseconds <= 0:
        raise click.BadParameter(f"{value!r} is no time span: write 90s, 30m, 1h30m or 24h", ctx, param)
    return nanoseconds / 1e9


@click.command(epilog=EPILOG)
@click.argument("address", required=False)
@connection_options
@click.option("--since", callback=_time_span, metavar="DURATION", help="Only what is not older: 90s, 30m, 1h30m, 24h.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Only the newest changes.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
def command(
    *,
    address: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    since: float | None,
    limit: int,
    output: str,
) -> None:
    """Show when addresses changed hands: from which node to which, why, and for how long nobody answered.

    With an ADDRESS, only its own changes. Every speaker keeps the newest 200 of its node; what several nodes tell of
    the same change is one line. Times are those of the nodes' clocks.
    """
    wanted = None if address is None else parse_address(address)
    if address is not None and wanted is None:
        raise MetalLBError(f"{address!r} is no IP address: write one like 172.30.1.96 or 2001:db8::1")
    api = Api.connect(kubeconfig, context)
    try:
        namespace = choose_namespace(namespace, api.namespace)
        histories = read_histories(api, namespace)
        now = time.time() + api.clock_ahead
    finally:
        api.close()
    entries = merge(histories.values())
    if wanted is not None:
        entries = about(entries, wanted)
        if not entries:
            raise MetalLBError(
                f"no speaker in the namespace {namespace} remembers that {wanted} changed hands: is it an address of a "
                "Service? See `metallb status`"
            )
    recent = [entry for entry in entries if since is None or entry.time >= now - since]
    shown = recent[-limit:]
    if output == "json":
        changes = [_plain(entry) for entry in shown]
        click.echo(json.dumps({"namespace": namespace, "nodes": sorted(histories), "changes": changes}, indent=2))
        return
    # Loaded here: scripts that ask for JSON need not wait for the tables.
    from metallb_cli.view.history import show_history  # noqa: PLC0415

    show_history(shown, sys.stdout, namespace=namespace, older=len(entries) - len(shown), nodes=len(histories))


def _plain(entry: Entry) -> dict[str, object]:
    stages = entry.stages
    return {
        "time": entry.time,
        "addresses": [str(run) for run in entry.addresses],
        "complete": entry.complete,
        "from": entry.before,
        "to": entry.after,
        "reason": entry.reason,
        "gap": entry.gap,
        "stages": {"detect": stages.detect, "decide": stages.decide, "announce": stages.announce},
        "epoch": entry.epoch,
        "recorded_by": entry.node,
    }

"""`metallb speaker-link`: the process that owns the raw sockets. The speaker starts it; nobody else should."""

from __future__ import annotations

import sys

import click

from metallb_cli.layer2.probing import PROBE_INTERVAL
from metallb_cli.linux.link import LinkOptions, run
from metallb_cli.linux.poller import MAX_SPIN
from metallb_cli.linux.port import L2Engine
from metallb_cli.telemetry import logs


@click.command("speaker-link", hidden=True)
@click.option("--fd", type=click.IntRange(min=3), required=True, help="The socket to the speaker.")
@click.option("--netns", help="Network namespace to answer in: a name or a path.")
@click.option("--exclude", multiple=True, help="Regular expression of interface names to keep away from. Repeatable.")
@click.option("--orphan-grace", type=click.FloatRange(min=0), default=0.0, help="Seconds to outlive the speaker.")
@click.option("--l2-engine", type=click.Choice(["auto", "packet", "tc"]), default="auto", help="Who answers.")
@click.option("--probe-interval", type=click.FloatRange(min=0), default=PROBE_INTERVAL, help="Seconds between probes.")
@click.option("--spin", type=click.IntRange(0, MAX_SPIN), default=0, help="Microseconds to stay awake after an answer.")
@click.option("--log-level", type=click.Choice(list(logs.LEVELS)), default="info")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="json")
def command(
    fd: int,
    netns: str | None,
    exclude: tuple[str, ...],
    orphan_grace: float,
    l2_engine: str,
    probe_interval: float,
    spin: int,
    log_level: str,
    log_format: str,
) -> None:
    """Answer on the LAN for the speaker that started this."""
    logs.configure(log_level, log_format)
    chosen = None if l2_engine == "auto" else L2Engine(l2_engine)
    sys.exit(run(LinkOptions(fd, netns, exclude, orphan_grace, chosen, probe_interval, spin / 1e6)))

"""`metallb validate-config`: check configuration files before a cluster sees them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import BinaryIO

import click

from metallb_cli.config import parse_manifest
from metallb_cli.config.loader import MAX_BYTES
from metallb_cli.config.problem import visible
from metallb_cli.config.report import json_report
from metallb_cli.errors import UsageError
from metallb_cli.view.problems import print_manifests

STDIN = "-"
LONGEST_NAME = 4096
"""PATH_MAX of Linux: file names are never cut, only made printable."""

EPILOG = """\b
Examples:
  metallb validate-config configmap.yml
  metallb validate-config --strict pools/*.yml      warnings fail as well
  kubectl get cm config -n metal-system -o yaml | metallb validate-config -
  metallb validate-config -o json configmap.yml | jq '.files[].problems[]'
\b
Exit codes: 0 fine (warnings are allowed), 1 problems were found,
2 wrong usage or a file cannot be read.
"""


@click.command("validate-config", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings as well.")
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], output: str, strict: bool) -> None:
    """Check the MetalLB configuration in each FILE, and show every problem with its line.

    A FILE is the manifest of the ConfigMap, several YAML documents or a List with it among other objects, or the bare
    configuration; - is standard input. Both formats are understood: that of v0.4.6 (protocol: arp, cidr) and that of
    0.5 to 0.12 (protocol: layer2, addresses). No cluster is needed.
    """
    if files.count(STDIN) > 1:
        raise UsageError("standard input (-) can be given only once")
    manifests = [parse_manifest(_read(name), "<stdin>" if name == STDIN else name) for name in files]
    if output == "json":
        click.echo(json.dumps(json_report(manifests), indent=2))
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a line of the file may not fit the terminal's encoding
        print_manifests(manifests, sys.stdout)
    if not all(m.valid for m in manifests) or (strict and any(m.problems for m in manifests)):
        ctx.exit(1)


def _read(name: str) -> bytes:
    """Return the file's bytes, of a file that is too large only so many that its size shows.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if name == STDIN:
            if sys.stdin is None:
                raise UsageError("cannot read -: standard input is closed")
            return _read_stream(sys.stdin.buffer)
        with Path(name).open("rb") as stream:
            return _read_stream(stream)
    except OSError as error:
        raise UsageError(f"cannot read {visible(name, LONGEST_NAME)}: {error.strerror or error}") from error


def _read_stream(stream: BinaryIO) -> bytes:
    return stream.read(MAX_BYTES + 1)

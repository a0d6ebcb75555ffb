"""The `metallb` command: a group whose subcommands are imported only when asked for.

`metallb --help` imports nothing but click, so it answers in the time of one Python start.
"""

from __future__ import annotations

import importlib

import click

from metallb_cli import __version__
from metallb_cli.errors import MetalLBError

COMMANDS: dict[str, tuple[str, str]] = {
    "controller": ("metallb_cli.commands.controller", "Give LoadBalancer Services their addresses."),
    "speaker": ("metallb_cli.commands.speaker", "Answer for addresses on the LAN of one node."),
    "validate-config": ("metallb_cli.commands.validate_config", "Check configuration files, with line numbers."),
    "status": ("metallb_cli.commands.status", "Show and explain every address of a cluster."),
    "history": ("metallb_cli.commands.history", "Show when and why addresses changed hands."),
    "drain": ("metallb_cli.commands.drain", "Hand over what one node answers for."),
    "move": ("metallb_cli.commands.move", "Let another node answer for an address."),
    "lab": ("metallb_cli.commands.lab", "Try the whole product on this machine, without a cluster."),
}
"""Subcommand: the module that holds it, as an attribute called `command`; and its line in `metallb --help`."""

HIDDEN: dict[str, str] = {
    "speaker-link": "metallb_cli.commands.speaker_link",
}
"""Subcommands that the product starts itself."""


class LazyGroup(click.Group):
    """Imports the module of a subcommand when that subcommand is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names shown in the help, in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the subcommand, or None when there is none of that name."""
        module = COMMANDS[cmd_name][0] if cmd_name in COMMANDS else HIDDEN.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the table above, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; a MetalLBError becomes one line on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except MetalLBError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


EPILOG = """\b
Examples:
  metallb lab                                   see everything work on this machine
  metallb validate-config configmap.yml         check a configuration before applying it
  metallb status --namespace metal-system       which address is where, and why
\b
Exit codes: 0 fine, 1 a problem was found, 2 wrong usage, 3 the API server could not be reached.
Shell completion: eval "$(_METALLB_COMPLETE=bash_source metallb)"   (or zsh_source, fish_source)
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="metallb")
def main() -> None:
    """MetalLB: load-balancer addresses for bare-metal Kubernetes."""

"""`python -m metallb_cli` is the `metallb` command."""

from metallb_cli.cli import main

main()

"""Subcommands: options and wiring only; every decision is made in a layer below."""

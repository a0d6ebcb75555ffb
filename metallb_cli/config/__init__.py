"""Configuration: YAML text in, pools and problems out. Pure; knows both ConfigMap generations."""

from metallb_cli.config.manifest import DATA_KEY, Manifest, Part, parse_manifest
from metallb_cli.config.parser import parse
from metallb_cli.config.problem import Code, Level, Problem
from metallb_cli.config.settings import (
    BfdProfile,
    BgpAdvertisement,
    BgpPeer,
    Config,
    LabelRequirement,
    NodeSelector,
    Parsed,
)

__all__ = [
    "DATA_KEY",
    "BfdProfile",
    "BgpAdvertisement",
    "BgpPeer",
    "Code",
    "Config",
    "LabelRequirement",
    "Level",
    "Manifest",
    "NodeSelector",
    "Parsed",
    "Part",
    "Problem",
    "parse",
    "parse_manifest",
]

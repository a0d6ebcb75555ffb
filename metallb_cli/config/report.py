"""What `validate-config -o json` prints: an object that scripts can rely on. docs/config.md describes it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import summarize_address_range

from metallb_cli.config.manifest import Manifest, Part
from metallb_cli.config.problem import Problem
from metallb_cli.model import AddressRange, Pool


def json_report(manifests: Sequence[Manifest]) -> dict[str, object]:
    """Return the report as plain lists, dictionaries, text, numbers and booleans."""
    return {"files": [_file(manifest) for manifest in manifests]}


def range_text(addresses: AddressRange) -> str:
    """Return the range as one CIDR where it is one, else as `first-last`."""
    networks = summarize_address_range(addresses.first, addresses.last)
    network = next(networks)
    return str(network) if next(networks, None) is None else str(addresses)


def _file(manifest: Manifest) -> dict[str, object]:
    return {
        "file": manifest.source,
        "valid": manifest.valid,
        "problems": [_problem(problem) for problem in manifest.problems],
        "pools": [
            _pool(part, pool) for part in manifest.parts if part.parsed.config for pool in part.parsed.config.pools
        ],
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.source,
        "line": problem.line,
        "column": problem.column,
        "value": problem.value,
    }


def _pool(part: Part, pool: Pool) -> dict[str, object]:
    return {
        "configmap": part.name,
        "name": pool.name,
        "protocol": pool.protocol.value,
        "ranges": [range_text(addresses) for addresses in pool.ranges],
        "usable": pool.size(),
        "usable_ipv4": pool.size(4),
        "usable_ipv6": pool.size(6),
        "auto_assign": pool.auto_assign,
        "avoid_buggy_ips": pool.avoid_buggy_ips,
        "arp_network": None if pool.arp_network is None else str(pool.arp_network),
    }

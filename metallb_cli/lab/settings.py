"""The configuration that the lab runs with: the example's, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metallb_cli.config import DATA_KEY, Manifest, parse_manifest
from metallb_cli.errors import ConfigError, UsageError
from metallb_cli.lab import manifests
from metallb_cli.lab.workloads import Object
from metallb_cli.model import AddressRange, Pool

NAMESPACE = "metal-system"
"""Of the product, unless the ConfigMap names another: the one of the example deployment."""
NAME = "config"


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run the product with.

    Attributes:
        source: the file that it is from.
        config_map: the object to create.
        namespace: of the product.
        name: of the ConfigMap.
        ranges: of the pools that speakers announce on the LAN.
    """

    source: str
    config_map: Object
    namespace: str
    name: str
    ranges: tuple[AddressRange, ...]


def read(path: Path) -> Manifest:
    """Read a file that holds a configuration, in any of the forms that `metallb validate-config` takes.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def settings_of(manifest: Manifest) -> Settings:
    """Take the one configuration of a file.

    Raises:
        ConfigError: it has errors, or cannot serve the example's Service.
    """
    if not manifest.valid:
        raise ConfigError(f"{manifest.source} has errors; `metallb validate-config {manifest.source}` shows them")
    if len(manifest.parts) != 1:
        raise ConfigError(f"{manifest.source} holds {len(manifest.parts)} configurations, and the lab takes one")
    config = manifest.parts[0].parsed.config
    pools = config.pools if config is not None else ()
    if not any(_serves_the_example(pool) for pool in pools):
        raise ConfigError(
            f"{manifest.source} has no address for the example's Service, which takes an IPv4 address from a pool of "
            "protocol layer2 (or arp) that does not say auto-assign: false"
        )
    config_map = _config_map(manifest)
    metadata = config_map.setdefault("metadata", {})
    metadata.setdefault("namespace", NAMESPACE)
    metadata.setdefault("name", NAME)
    ranges = tuple(r for pool in pools if pool.protocol.is_layer2 for r in pool.ranges if r.version == 4)
    return Settings(manifest.source, config_map, metadata["namespace"], metadata["name"], ranges)


def _serves_the_example(pool: Pool) -> bool:
    return pool.auto_assign and pool.protocol.is_layer2 and pool.size(4) > 0


def _config_map(manifest: Manifest) -> Object:
    """The ConfigMap object of the file; made for a bare configuration."""
    if manifest.parts[0].name:
        for thing in manifests.parse(manifest.text, manifest.source):
            if thing["kind"] == "ConfigMap" and DATA_KEY in (thing.get("data") or {}):
                return thing
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": {DATA_KEY: manifest.text}}

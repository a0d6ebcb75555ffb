"""What kubectl would print, for those who do not have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

HEADER = ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE")


def services_table(services: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """`kubectl get services`: its header and one line for each Service object."""
    return columns([HEADER, *(_row(service, now) for service in services)])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows: each column as wide as its widest value, three spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def age(seconds: float) -> str:
    """A duration as kubectl shows it: one or two units, the second only where the first is small."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def _row(service: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    metadata, spec = service["metadata"], service["spec"]
    kind = spec.get("type", "ClusterIP")
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    external = ",".join(each.get("ip") or each.get("hostname", "") for each in ingress)
    if not external:
        external = "<pending>" if kind == "LoadBalancer" else "<none>"
    ports = ",".join(
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()
    )
    created = datetime.fromisoformat(metadata["creationTimestamp"]).astimezone(UTC)
    since = age((now - created).total_seconds())
    return (metadata["name"], kind, spec.get("clusterIP") or "<none>", external, ports or "<none>", since)

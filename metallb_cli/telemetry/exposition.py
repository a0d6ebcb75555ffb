"""Prometheus' text format, version 0.0.4, with names exactly as they are given.

The client library's own writer appends `_total` to the name of every counter, which would rename MetalLB's
`metallb_layer2_requests_received` and with it break dashboards and alerts.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def write(families: Iterable[Metric]) -> bytes:
    """Return the exposition; families without a sample are left out."""
    return "".join(_family(family) for family in families if family.samples).encode()


def _family(family: Metric) -> str:
    # The library's families carry the `_total` of a counter in their samples only; the header needs it as well.
    name = family.samples[0].name if family.type == "counter" else family.name
    documentation = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {name} {documentation}", f"# TYPE {name} {family.type}"]
    lines += [_line(sample) for sample in family.samples]
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
    return f"{sample.name}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1 << 53):
        return str(int(value))
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))

"""How long takeovers took, as a histogram for each of their stages."""

from __future__ import annotations

from prometheus_client.metrics import Histogram
from prometheus_client.metrics_core import Metric

from metallb_cli.reconcile.history import Stages

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
"""Seconds. Dense around three heartbeats of 100 ms, which is what detection takes; up to a Lease that expires."""

STAGES = ("detect", "decide", "announce", "total")


class Failovers:
    """Thread-safe. All stages are there from the start, so that the first takeover is an increase."""

    def __init__(self) -> None:
        self._histogram = Histogram(
            "metallb_speaker_failover_seconds",
            "How long takeovers by this node took, by stage.",
            ["stage"],
            registry=None,
            buckets=BUCKETS,
        )
        for stage in STAGES:
            self._histogram.labels(stage)

    def observe(self, stages: Stages) -> None:
        """Take in one takeover: the stages that are known, and `total` when all are."""
        for stage, seconds in zip(STAGES, (stages.detect, stages.decide, stages.announce, stages.gap), strict=True):
            if seconds is not None:
                self._histogram.labels(stage).observe(seconds)

    def family(self) -> Metric:
        """Return the present samples, without the library's `_created`, which the text format does not have."""
        (family,) = self._histogram.collect()
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        return family

"""The two views of one Event: `v1`, which is what is stored, and `events.k8s.io/v1`."""

from __future__ import annotations

from metallb_cli.lab.api.refusals import Json

RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""Fields of events.k8s.io/v1 and what they are called in v1."""
BACK = {stored: new for new, stored in RENAMED.items()}


def to_stored(event: Json) -> Json:
    """A `v1` Event from one of events.k8s.io/v1. Without the kind and version fields, which are the caller's affair."""
    return {RENAMED.get(key, key): value for key, value in event.items()}


def from_stored(event: Json) -> Json:
    """The reverse of `to_stored`."""
    return {BACK.get(key, key): value for key, value in event.items()}

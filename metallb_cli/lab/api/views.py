"""The forms in which a stored object is sent and received."""

from __future__ import annotations

from metallb_cli.lab.api.event_versions import from_stored, to_stored
from metallb_cli.lab.api.refusals import Json, bad_request
from metallb_cli.lab.api.resources import Resource
from metallb_cli.lab.api.store import Stored, encode

SCALE = "autoscaling/v1"


def show(resource: Resource, stored: Stored, subresource: str = "") -> Json:
    """The object as a client of this resource sees it."""
    obj = stored.decode()
    if subresource == "scale":
        return _scale_of(obj)
    if resource.stored_as:
        obj = from_stored(obj)
    return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}


def show_raw(resource: Resource, stored: Stored, subresource: str = "") -> bytes:
    """The same in JSON, for nearly nothing in the usual case."""
    if subresource == "scale" or resource.stored_as:
        return encode(show(resource, stored, subresource))
    return b'{"kind":"%s","apiVersion":"%s",%s' % (
        resource.kind.encode(),
        resource.api_version.encode(),
        stored.raw[1:],
    )


def item_raw(resource: Resource, stored: Stored) -> bytes:
    """The object as an item of a list: without kind and apiVersion, custom resources excepted."""
    if resource.definition:
        return show_raw(resource, stored)
    return encode(from_stored(stored.decode())) if resource.stored_as else stored.raw


def read(resource: Resource, sent: Json, old: Stored | None = None, subresource: str = "") -> Json:
    """The object to store, from what a client sent."""
    if subresource == "scale":
        return _scaled(old, sent)
    content = {key: value for key, value in sent.items() if key not in ("kind", "apiVersion")}
    return to_stored(content) if resource.stored_as else content


def _scale_of(obj: Json) -> Json:
    metadata, spec = obj["metadata"], obj["spec"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": SCALE,
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def _scaled(old: Stored | None, scale: Json) -> Json:
    spec, metadata = scale.get("spec") or {}, scale.get("metadata") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if old is None or not isinstance(metadata, dict) or not isinstance(replicas, int):
        raise bad_request("a Scale has spec.replicas, an integer")
    obj = old.decode()
    obj["spec"]["replicas"] = replicas
    if metadata.get("resourceVersion"):
        obj["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    return obj

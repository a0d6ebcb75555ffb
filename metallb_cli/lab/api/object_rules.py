"""What holds for the metadata of every object: who may write which part of it, and how names and labels look."""

from __future__ import annotations

import re
import secrets
import uuid

from metallb_cli.lab.api.refusals import Cause, Json, Refusal, bad_request, conflict, invalid, required, wrong
from metallb_cli.lab.api.resources import Resource

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own, without vowels."""
SUFFIX_LENGTH = 5
MAX_GENERATED_BASE = 63 - SUFFIX_LENGTH
MAX_ANNOTATIONS = 256 << 10
"""Bytes of all annotations together."""
LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
PATH_SEGMENT = re.compile(r"(?!\.\.?$)[^/%]+")
NAME_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
NAME_RULES = {
    "dns1035": (
        LABEL_1035,
        63,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character",
    ),
    "label": (
        LABEL_1123,
        63,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character",
    ),
    "subdomain": (
        SUBDOMAIN,
        253,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character",
    ),
    "path": (PATH_SEGMENT, 253, "may not be '.' or '..', and may not contain '/' or '%'"),
}
SERVER_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)


def drop_nulls(obj: Json) -> Json:
    """The object without the fields that are null: for Kubernetes null means absent."""
    return {key: _without_nulls(value) for key, value in obj.items() if value is not None}


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return drop_nulls(value)
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def begin_life(resource: Resource, namespace: str, obj: Json, now: str) -> None:
    """Complete the metadata of a new object, in place.

    Raises:
        Refusal: what the client said cannot be.
    """
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
    check_namespace(resource, namespace, metadata)
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
        metadata["name"] = metadata["generateName"][:MAX_GENERATED_BASE] + suffix
    for field in SERVER_KEPT:
        metadata.pop(field, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now
    if resource.counted:
        metadata["generation"] = 1


def check_namespace(resource: Resource, namespace: str, metadata: Json) -> None:
    """Make the object's namespace that of the path.

    Raises:
        Refusal: 400, it names another one.
    """
    if not resource.namespaced:
        if metadata.pop("namespace", ""):
            raise bad_request("namespace may not be set on an object that is in no namespace")
        return
    if metadata.setdefault("namespace", namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def continue_life(resource: Resource, old: Json, new: Json, *, versioned: bool) -> None:
    """Take from the old object what a write cannot change, in place in `new`.

    Args:
        resource: of both.
        old: as stored.
        new: as the client wants it.
        versioned: whether a resourceVersion must be given.

    Raises:
        Refusal: 400 the name is another one, 409 the resourceVersion or uid is not the stored one, 422 there is none.
    """
    before, after = old["metadata"], new["metadata"]
    name = before["name"]
    if after.setdefault("name", name) != name:
        raise bad_request(f"the name of the object ({after['name']}) does not match the name on the URL ({name})")
    check_namespace(resource, before.get("namespace", ""), after)
    version = after.get("resourceVersion", "")
    if version not in ("", before["resourceVersion"]):
        raise conflict(resource, name)
    if after.get("uid", before["uid"]) != before["uid"]:
        raise conflict(
            resource,
            name,
            f"Precondition failed: UID in precondition: {after['uid']}, UID in object meta: {before['uid']}",
        )
    if versioned and not version:
        cause = wrong("metadata.resourceVersion", "", "must be specified for an update")
        raise invalid(resource.kind, resource.group, name, [cause])
    for field in (*SERVER_KEPT, "generateName"):
        if field in before:
            after[field] = before[field]
        else:
            after.pop(field, None)


def check_metadata(resource: Resource, metadata: Json, old: Json | None) -> list[Cause]:
    """What is wrong with names, labels, annotations and finalizers. `old` is the metadata of the stored version."""
    causes: list[Cause] = []
    if old is None:
        causes.extend(_check_name(resource, metadata))
    before = old or {}
    for field in ("labels", "annotations"):
        values = metadata.get(field) or {}
        if values == (before.get(field) or {}):
            continue
        for key, value in values.items():
            problem = _key_problem(key)
            if problem:
                causes.append(wrong(f"metadata.{field}", key, problem))
            if field == "labels" and value and not NAME_PART.fullmatch(value):
                causes.append(wrong("metadata.labels", value, "a valid label must be an empty string or consist of "
                                    "alphanumeric characters, '-', '_' or '.', 63 at most"))  # fmt: skip
    annotations = metadata.get("annotations") or {}
    if sum(len(key) + len(value) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        causes.append(
            Cause("FieldValueTooLong", "metadata.annotations", f"Too long: must have at most {MAX_ANNOTATIONS} bytes")
        )
    if old is not None and old.get("deletionTimestamp"):
        added = set(metadata.get("finalizers") or ()) - set(old.get("finalizers") or ())
        if added:
            causes.append(
                Cause(
                    "FieldValueForbidden",
                    "metadata.finalizers",
                    f"Forbidden: no new finalizers can be added if the object is being deleted: {sorted(added)}",
                )
            )
    return causes


def _check_name(resource: Resource, metadata: Json) -> list[Cause]:
    name = metadata.get("name", "")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    pattern, limit, rule = NAME_RULES[resource.names]
    if len(name) > limit:
        return [wrong("metadata.name", name[:80], f"must be no more than {limit} characters")]
    if not pattern.fullmatch(name):
        return [wrong("metadata.name", name, f"{rule} (regex used for validation is '{pattern.pattern}')")]
    return []


def _key_problem(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and (not SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
        return "the prefix must be a lowercase RFC 1123 subdomain"
    if not NAME_PART.fullmatch(name):
        return "the name part must consist of alphanumeric characters, '-', '_' or '.', 63 at most"
    return ""


def split_changed(new: Json, before: Json) -> tuple[Json, Json]:
    """What of an object is as before, and the rest, without nulls; each field of the metadata counts by itself."""
    same = {key: value for key, value in before.items() if key in new and new[key] == value}
    rest = {key: value for key, value in new.items() if key not in same}
    metadata, old = rest.get("metadata"), before.get("metadata")
    if isinstance(metadata, dict) and old:
        kept = {key: value for key, value in old.items() if key in metadata and metadata[key] == value}
        same["metadata"] = kept
        rest["metadata"] = {key: value for key, value in metadata.items() if key not in kept}
    return same, drop_nulls(rest)


def only_what_may_change(resource: Resource, before: Json, new: Json, subresource: str) -> Json:
    """A write to the status leaves the rest alone, and the reverse; labels and annotations may change with both.

    Custom resources are stricter: a write to their status changes nothing else at all.
    """
    if subresource == "status":
        metadata = before["metadata"] if resource.definition else new["metadata"]
        return {**before, "metadata": dict(metadata), "status": new.get("status") or {}}
    if subresource or "status" not in resource.subresources:
        return new
    if "status" in before:
        return {**new, "status": before["status"]}
    return {key: value for key, value in new.items() if key != "status"}

"""Lists: one resourceVersion for the whole list, and for all of its pages."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

from metallb_cli.lab.api.refusals import Json, bad_request, version_too_large
from metallb_cli.lab.api.selectors import Selection
from metallb_cli.lab.api.store import Store, Stored, Table

MATCHES = ("", "Exact", "NotOlderThan")


@dataclass(frozen=True, slots=True)
class Page:
    """What a list request gets.

    Attributes:
        version: all items are as they were then.
        token: asks for the next page; empty on the last one.
        remaining: how many items come after this page; None when that is not known.
    """

    items: list[Stored]
    version: int
    token: str = ""
    remaining: int | None = None

    def metadata(self) -> Json:
        """The list's own metadata."""
        return {
            "resourceVersion": str(self.version),
            **({"continue": self.token} if self.token else {}),
            **({"remainingItemCount": self.remaining} if self.remaining is not None else {}),
        }


def parse_version(text: str) -> int:
    """A resourceVersion in a query; empty means 0, which is any.

    Raises:
        Refusal: 400.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request(f'resourceVersion: Invalid value: "{text[:40]}": must be an unsigned integer')
    return int(text)


def read_page(store: Store, table: Table, selection: Selection, query: Mapping[str, str]) -> Page:
    """Answer a list request.

    Raises:
        Refusal: 400 for a query that makes no sense, 410 for a version that is forgotten, 504 for one to come.
    """
    limit = _limit(query.get("limit", ""))
    match = query.get("resourceVersionMatch", "")
    text = query.get("resourceVersion", "")
    version, after, at = parse_version(text), "", None
    if match not in MATCHES:
        raise bad_request(f'resourceVersionMatch: Unsupported value: "{match}"')
    if match and not text:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if query.get("continue"):
        if version:
            raise bad_request("specifying resource version is not allowed when using continue")
        at, after = _read_token(query["continue"], store)
    elif version > store.version:
        raise version_too_large(version, store.version)
    elif version and (match == "Exact" or (limit and not match)):
        at = version
    items = (each for each in table.scan(selection.namespace, after, at) if each in selection)
    found = list(itertools.islice(items, limit + 1) if limit else items)
    shown = at if at is not None else store.version
    if not limit or len(found) <= limit:
        return Page(found, shown)
    page = found[:limit]
    remaining = None if selection.tests else 1 + sum(1 for _ in items)
    return Page(page, shown, _token(shown, page[-1].key), remaining)


def _limit(text: str) -> int:
    try:
        return max(0, int(text[:20] or "0"))
    except ValueError:
        raise bad_request(f"limit: Invalid value: {text[:40]!r}: must be an integer") from None


def _token(version: int, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": key}).encode()).decode()


def _read_token(token: str, store: Store) -> tuple[int, str]:
    try:
        content = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        version, key = content["rv"], content["start"]
        if not isinstance(version, int) or not isinstance(key, str) or not 0 < version <= store.version:
            raise ValueError(token)
    except (ValueError, TypeError, LookupError, binascii.Error, RecursionError) as error:
        raise bad_request("continue key is not valid") from error
    return version, key

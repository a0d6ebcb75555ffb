"""The Secret with the key that speakers sign their heartbeats with. Its content leaves this module only as a result."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
from typing import Any

from metallb_cli.errors import ApiError
from metallb_cli.kube.client import Api
from metallb_cli.kube.resources import CORE, namespaced

log = logging.getLogger(__name__)

NAME = "metallb-heartbeat"

KEY = "secretkey"
PREVIOUS_KEY = "previous-secretkey"
"""The key before a rotation: still accepted, not used to sign."""

KEY_BYTES = 32
"""Of a new key: as long as what SHA-256 gives (RFC 2104 §3)."""

MIN_KEY_BYTES = 16
"""A shorter key is no key: it would be the weakest part of the signature, which has 16 bytes."""

LABELS = {"app": "metallb"}

TIMEOUT = 5.0
"""Seconds for a call."""


class HeartbeatKeys:
    """Reads and makes the Secret in one namespace; a `KeyStore`. For one thread."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._told = ""

    def read(self, timeout: float = TIMEOUT) -> tuple[bytes, ...]:
        """Return the keys, the one to sign with first; empty when there is no Secret or its `secretkey` is unusable.

        What is wrong with the Secret is logged, once until it changes.

        Raises:
            ApiError: refused, other than by 404.
            ApiUnavailableError: no answer within `timeout` seconds.
        """
        found = self._get(timeout)
        return () if found is None else self._keys(found)

    def ensure(self, timeout: float = TIMEOUT) -> bool:
        """Make the Secret with a new random key where there is none; what is there stays as it is, usable or not.

        Returns:
            Whether it was made now.

        Raises:
            ApiError: refused, other than by 404 or 409. The message does not repeat the API server's.
            ApiUnavailableError: no answer to one of the two calls within `timeout` seconds.
        """
        found = self._get(timeout)
        if found is not None:
            self._keys(found)
            return False
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME, "namespace": self._namespace, "labels": LABELS},
            "type": "Opaque",
            "data": {KEY: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()},
        }
        try:
            self._api.request("POST", self._path(), body=body, timeout=timeout)
        except ApiError as error:
            if error.status == 409:
                return False
            # A server that refuses an object may quote it.
            what = f"{error.status} {error.reason}".rstrip()
            raise ApiError(
                f"the API server refused to create the Secret {self._full_name}: {what}",
                status=error.status,
                reason=error.reason,
                retry_after=error.retry_after,
            ) from None
        return True

    def _get(self, timeout: float) -> dict[str, Any] | None:
        try:
            return self._api.request("GET", self._path(NAME), timeout=timeout)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _keys(self, found: dict[str, Any]) -> tuple[bytes, ...]:
        """Decode the keys. A bad previous key is left out; a bad present one leaves none, because nobody could sign."""
        data = found.get("data")
        entries = data if isinstance(data, dict) else {}
        names = (KEY, PREVIOUS_KEY) if PREVIOUS_KEY in entries else (KEY,)
        decoded = {name: _decode(entries.get(name)) for name in names}
        self._tell(" and ".join(f"its {name} {wrong}" for name, wrong in decoded.items() if isinstance(wrong, str)))
        keys = tuple(key for key in decoded.values() if isinstance(key, bytes))
        return keys if isinstance(decoded[KEY], bytes) else ()

    def _tell(self, problem: str) -> None:
        if problem and problem != self._told:
            log.warning(
                "the Secret %s cannot be used as it is: %s; delete it, and the controller makes a new one",
                self._full_name,
                problem,
            )
        self._told = problem

    @property
    def _full_name(self) -> str:
        return f"{self._namespace}/{NAME}"

    def _path(self, *name: str) -> str:
        return namespaced(CORE, self._namespace, "secrets", *name)


def _decode(value: object) -> bytes | str:
    """Return the key, or what is wrong with it, without quoting it."""
    if not isinstance(value, str):
        return "is missing"
    try:
        key = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return "is not base64"
    if len(key) < MIN_KEY_BYTES:
        return f"has less than {MIN_KEY_BYTES} bytes"
    return key

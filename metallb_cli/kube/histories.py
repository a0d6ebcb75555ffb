"""Reads what the speakers wrote about how addresses changed hands."""

from __future__ import annotations

from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.listing import read_list
from metallb_cli.kube.resources import history_leases
from metallb_cli.reconcile.history import Entry, node_of
from metallb_cli.reconcile.history_note import HISTORY, decode

TIMEOUT = 10.0
"""Seconds for each request: somebody sits and waits."""


def read_histories(api: Api, namespace: str) -> dict[str, tuple[Entry, ...]]:
    """Read the histories of all nodes, by node; none that cannot be understood is an error.

    Args:
        api: the cluster.
        namespace: where the product runs.

    Raises:
        ApiError: refused; for 403 the message names what the user must be allowed to do.
        ApiUnavailableError: no answer.
    """
    try:
        found, _ = read_list(api, history_leases(namespace), _history, timeout=TIMEOUT)
    except ApiError as error:
        if error.status != 403:
            raise
        raise ApiError(
            f"this user may not list leases in the namespace {namespace}. Ask for a role that allows it, or use "
            f"another --context. The API server says: {error}",
            status=403,
            reason=error.reason,
        ) from error
    return dict(found.values())


def _history(item: object) -> tuple[str, tuple[Entry, ...]] | None:
    lease = objects.lease(item)
    node = node_of(lease.name)
    return None if node is None else (node, decode(lease.annotation(HISTORY) or "", node))

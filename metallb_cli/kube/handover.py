"""What operators ask for when an address shall change hands: the annotations that say so, and watching what follows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from metallb_cli.errors import ApiError, ApiUnavailableError, NotPossibleError
from metallb_cli.kube import objects, resources
from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.kube.resources import CORE, namespaced
from metallb_cli.kube.snapshot import read_snapshot, refresh_speakers
from metallb_cli.model import ServiceKey
from metallb_cli.reconcile.audit import Snapshot

PAUSE = 0.2
"""Seconds between two looks at the Leases. A speaker writes a change on its Lease at most twice a second."""

READ_ALL_EVERY = 2.0
"""Seconds after which Services, endpoints and nodes are read anew, too; counted from the end of the last reading."""


def set_draining(api: Api, node: str, draining: bool) -> None:
    """Set the drain annotation on a Node, or remove it. Nothing else of the Node changes: it is not cordoned.

    Raises:
        NotPossibleError: there is no such Node.
        ApiError: refused.
        ApiUnavailableError: no answer, so the outcome is unknown.
    """
    value = "true" if draining else None
    _annotate(api, resources.node(node), objects.DRAIN, value, f"there is no Node {node}")


def ask_to_move(api: Api, service: ServiceKey, node: str, epoch: int) -> None:
    """Ask, with an annotation on the Service, that the node takes its address over.

    The epoch is that of the best claim now; the request is spent when there is a higher one.

    Raises:
        NotPossibleError: there is no such Service any more.
        ApiError: refused.
        ApiUnavailableError: no answer, so the outcome is unknown.
    """
    path = namespaced(CORE, service.namespace, "services", service.name)
    _annotate(api, path, objects.MOVE_TO, objects.move_request(node, epoch), f"the Service {service} is gone")


def follow(api: Api, first: Snapshot, config_name: str, timeout: float) -> Iterator[tuple[float, Snapshot]]:
    """Look again and again, and give each time the seconds since the beginning and what there was to see.

    While the API server does not answer there is nothing to see; the speakers go on meanwhile.

    Args:
        api: the cluster.
        first: what was read before; namespace and the daemons' options are taken from it.
        config_name: name of the ConfigMap.
        timeout: seconds after which it ends, with one look at least.

    Raises:
        ApiError: refused.
        ApiUnavailableError: at the end, when the last look got no answer.
    """
    started = read_all = time.monotonic()
    snapshot = first
    while True:
        silence: ApiUnavailableError | None = None
        try:
            if time.monotonic() >= read_all + READ_ALL_EVERY:
                snapshot = read_snapshot(
                    api,
                    first.namespace,
                    config_name,
                    lb_class=first.lb_class,
                    ignore_exclude_lb=first.ignore_exclude_lb,
                )
                read_all = time.monotonic()
            else:
                snapshot = refresh_speakers(api, snapshot)
        except ApiUnavailableError as error:
            silence = error
        elapsed = time.monotonic() - started
        if silence is None:
            yield elapsed, snapshot
        if elapsed >= timeout:
            if silence is not None:
                raise silence
            return
        time.sleep(min(PAUSE, max(0.0, timeout - elapsed)))


def _annotate(api: Api, path: str, name: str, value: str | None, missing: str) -> None:
    patch = {"metadata": {"annotations": {name: value}}}
    try:
        api.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
    except ApiError as error:
        if error.status == 404:
            raise NotPossibleError(missing) from error
        raise

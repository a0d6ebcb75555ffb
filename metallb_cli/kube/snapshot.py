"""Reads everything that `metallb status` explains, at one time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from typing import Any

from metallb_cli import config
from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases
from metallb_cli.kube.endpoints import EndpointsByService, discover_endpoints
from metallb_cli.kube.listing import read_list
from metallb_cli.kube.resources import CORE, NODES, SERVICES, namespaced, speaker_leases
from metallb_cli.model import Endpoints, Lease, ServiceKey
from metallb_cli.reconcile import leadership
from metallb_cli.reconcile.audit import ConfigurationState, ObservedLease, Snapshot

TIMEOUT = 10.0
"""Seconds for each request: somebody sits and waits."""


def read_snapshot(
    api: Api, namespace: str, config_name: str, *, lb_class: str | None = None, ignore_exclude_lb: bool = False
) -> Snapshot:
    """Read Services, endpoints, nodes, Leases and the configuration, side by side.

    Args:
        api: the cluster.
        namespace: where the product runs.
        config_name: name of the ConfigMap.
        lb_class: what the daemons were started with.
        ignore_exclude_lb: what the speakers were started with.

    Raises:
        ApiError: refused; for 403 the message names what the user must be allowed to do.
        ApiUnavailableError: no answer.
    """
    here = f"in the namespace {namespace}"
    with ThreadPoolExecutor(max_workers=6, thread_name_prefix="snapshot") as pool:
        services = pool.submit(lambda: read_list(api, SERVICES, objects.service, timeout=TIMEOUT)[0])
        endpoints = pool.submit(lambda: _endpoints(api))
        nodes = pool.submit(lambda: read_list(api, NODES, objects.node, timeout=TIMEOUT)[0])
        speakers = pool.submit(lambda: read_list(api, speaker_leases(namespace), objects.lease, timeout=TIMEOUT)[0])
        controller = pool.submit(lambda: Leases(api, namespace).get(leadership.LEASE, TIMEOUT))
        state = pool.submit(lambda: _configuration(api, namespace, config_name))
        with_clock: list[Future[Any]] = [speakers, controller]
        wait(with_clock)
        now = time.time() + api.clock_ahead
    _check_permissions(
        {
            "list services": services,
            "list endpointslices or endpoints": endpoints,
            "list nodes": nodes,
            f"list leases {here}": speakers,
            f"get leases {here}": controller,
            f"get configmaps {here}": state,
        }
    )
    leader = controller.result()
    return Snapshot(
        namespace=namespace,
        now=now,
        configuration=state.result(),
        services=tuple(services.result().values()),
        endpoints=endpoints.result(),
        nodes={node.name: node for node in nodes.result().values()},
        speakers=tuple(_observed(lease, now) for lease in speakers.result().values()),
        controller=None if leader is None else _observed(leader, now),
        lb_class=lb_class,
        ignore_exclude_lb=ignore_exclude_lb,
    )


def refresh_speakers(api: Api, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with the Leases of the speakers as they are now, and all else as it was.

    Raises:
        ApiError: refused.
        ApiUnavailableError: no answer.
    """
    leases = read_list(api, speaker_leases(snapshot.namespace), objects.lease, timeout=TIMEOUT)[0]
    now = time.time() + api.clock_ahead
    return replace(snapshot, now=now, speakers=tuple(_observed(lease, now) for lease in leases.values()))


def _check_permissions(reads: Mapping[str, Future[Any]]) -> None:
    """Name everything that the user may not do at once, instead of one thing per attempt."""
    errors = {what: read.exception() for what, read in reads.items()}
    denied = {what: error for what, error in errors.items() if isinstance(error, ApiError) and error.status == 403}
    if denied:
        first = next(iter(denied.values()))
        raise ApiError(
            f"this user may not {', '.join(denied)}. Ask for a role that allows it, or use another --context. "
            f"The API server says: {first}",
            status=403,
            reason=first.reason,
        ) from first


def _endpoints(api: Api) -> dict[ServiceKey, Endpoints]:
    resource, decode = discover_endpoints(api)
    joined: dict[ServiceKey, Endpoints] = {}
    join = EndpointsByService(joined.__setitem__)
    for part in read_list(api, resource, decode, timeout=TIMEOUT)[0].values():
        join.changed(None, part)
    return joined


def _configuration(api: Api, namespace: str, name: str) -> ConfigurationState:
    try:
        answer = api.request("GET", namespaced(CORE, namespace, "configmaps", name))
    except ApiError as error:
        if error.status == 404:
            return ConfigurationState(None, found=False)
        raise
    parsed = config.parse(objects.config_text(answer), source=f"ConfigMap {namespace}/{name}")
    ordered = sorted(parsed.problems, key=lambda problem: problem.severity is not config.Level.ERROR)
    return ConfigurationState(
        pools=None if parsed.config is None else parsed.config.pools,
        problems=len(ordered),
        first_problem=str(ordered[0]) if ordered else "",
    )


def _observed(lease: Lease, now: float) -> ObservedLease:
    try:
        renewed = datetime.fromisoformat(lease.renewed).timestamp()
    except (ValueError, OverflowError, OSError):
        return ObservedLease(lease, None)
    return ObservedLease(lease, max(0.0, now - renewed))

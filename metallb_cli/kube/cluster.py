"""What the daemons write: the status of Services, and Leases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from metallb_cli.errors import ApiError
from metallb_cli.kube import objects
from metallb_cli.kube.client import MERGE_PATCH, Api
from metallb_cli.kube.resources import (
    CONTROLLER_LABELS,
    COORDINATION,
    CORE,
    HISTORY_LABELS,
    SPEAKER_LABELS,
    namespaced,
)
from metallb_cli.model import IPAddress, Lease, Service, ServiceKey
from metallb_cli.reconcile import history, liveness


class ServiceStatus:
    """Writes addresses into the status of Services; a `ServiceWriter`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def write_ingress(self, service: Service, addresses: tuple[IPAddress, ...], pool: str | None) -> Service:
        """Make the status hold exactly these addresses, and the annotation name the pool, in one conditional request.

        The status subresource takes metadata along, so one PATCH does for both (as MetalLB relies on).

        Args:
            service: as read; its resource_version is the condition.
            addresses: none to clear the status.
            pool: None to delete the annotation.

        Returns:
            The Service as it is stored now.

        Raises:
            ApiError: refused; 409 when the Service changed, 404 when it is gone.
            ApiUnavailableError: no answer, so the outcome is unknown.
        """
        metadata: dict[str, Any] = {"annotations": {objects.ALLOCATED_FROM: pool}}
        if service.resource_version:
            metadata["resourceVersion"] = service.resource_version
        balancer = {"ingress": [{"ip": str(address)} for address in addresses]} if addresses else None
        path = namespaced(CORE, service.key.namespace, "services", service.key.name, "status")
        patch = {"metadata": metadata, "status": {"loadBalancer": balancer}}
        return objects.service(self._api.request("PATCH", path, body=patch, content_type=MERGE_PATCH))

    def read_service(self, key: ServiceKey) -> Service | None:
        """Read one Service from the API server itself; None when there is none.

        Raises:
            ApiError: refused, other than by 404.
            ApiUnavailableError: no answer.
        """
        try:
            return objects.service(self._api.request("GET", namespaced(CORE, key.namespace, "services", key.name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise


class Leases:
    """The Leases in one namespace; a `LeaseStore`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def get(self, name: str, timeout: float) -> Lease | None:
        """Read one Lease from the API server itself; None when there is none. `timeout` is in seconds.

        Raises:
            ApiError: refused, other than by 404.
            ApiUnavailableError: no answer.
        """
        try:
            return objects.lease(self._api.request("GET", self._path(name), timeout=timeout))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def write(self, lease: Lease, timeout: float) -> Lease:
        """Create the Lease when its resource_version is empty, else replace that version. `timeout` is in seconds.

        An empty `renewed` becomes the present time. The labels follow from the name.

        Raises:
            ApiError: 409 when somebody else wrote first.
            ApiUnavailableError: no answer.
        """
        body = objects.lease_body(lease, self._namespace, _labels(lease.name), datetime.now(UTC))
        if lease.resource_version:
            return objects.lease(self._api.request("PUT", self._path(lease.name), body=body, timeout=timeout))
        return objects.lease(self._api.request("POST", self._path(), body=body, timeout=timeout))

    def _path(self, *name: str) -> str:
        return namespaced(COORDINATION, self._namespace, "leases", *name)


def _labels(name: str) -> dict[str, str]:
    if liveness.node_of(name) is not None:
        return SPEAKER_LABELS
    return CONTROLLER_LABELS if history.node_of(name) is None else HISTORY_LABELS

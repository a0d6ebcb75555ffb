"""Which connections the lab's service proxy takes on which node, and where it sends them. Objects in, rules out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from metallb_cli.lab.workloads import SERVICE_LABEL, Object, key_of
from metallb_cli.model import parse_address


@dataclass(frozen=True, slots=True, order=True)
class Socket:
    """An IPv4 address and a TCP port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


Rules = Mapping[Socket, tuple[Socket, ...]]
"""On one node: from a Service's external address and port to the endpoints that serve it. Never to none."""


def rules_for(node: str, services: Iterable[Object], slices: Iterable[Object]) -> dict[Socket, tuple[Socket, ...]]:
    """Compute a node's rules.

    A Service without a ready endpoint (with externalTrafficPolicy Local: without one on this node) gets no rule, so a
    connection to it is refused.

    Args:
        node: its name.
        services: Services; those without external address do not matter.
        slices: EndpointSlices, or Endpoints objects; see `as_slice`.
    """
    by_service: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        namespace, _ = key_of(each)
        service = (each["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
        by_service.setdefault((namespace, service), []).append(each)
    rules: dict[Socket, tuple[Socket, ...]] = {}
    for service in sorted(services, key=key_of):
        local_only = service.get("spec", {}).get("externalTrafficPolicy") == "Local"
        for port in service.get("spec", {}).get("ports") or ():
            if port.get("protocol", "TCP") != "TCP":
                continue
            backends = _backends(by_service.get(key_of(service), ()), port, node if local_only else None)
            for address in _external_addresses(service) if backends else ():
                rules.setdefault(Socket(address, int(port["port"])), backends)
    return rules


def as_slice(endpoints: Object) -> Object:
    """Express an Endpoints object, which is what API servers before 1.21 have, as an EndpointSlice."""
    namespace, name = key_of(endpoints)
    subsets = endpoints.get("subsets") or ()
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {SERVICE_LABEL: name}},
        "endpoints": [
            {"addresses": [each["ip"]], "conditions": {"ready": True}, "nodeName": each.get("nodeName")}
            for subset in subsets
            for each in subset.get("addresses") or ()
        ],
        "ports": [port for subset in subsets[:1] for port in subset.get("ports") or ()],
    }


def _external_addresses(service: Object) -> list[str]:
    if service.get("spec", {}).get("type") != "LoadBalancer":
        return []
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [text for each in ingress if isinstance(parse_address(text := each.get("ip", "")), IPv4Address)]


def _backends(slices: Iterable[Object], port: Object, only_node: str | None) -> tuple[Socket, ...]:
    found = set()
    for each in slices:
        numbers = [
            int(p["port"])
            for p in each.get("ports") or ()
            if p.get("port") and p.get("protocol", "TCP") == "TCP" and (p.get("name") or "") == (port.get("name") or "")
        ]
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            if only_node is not None and endpoint.get("nodeName") != only_node:
                continue
            found |= {Socket(address, number) for address in endpoint["addresses"] for number in numbers}
    return tuple(sorted(found))

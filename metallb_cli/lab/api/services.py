"""Services: defaults, cluster addresses, node ports, and what may not be."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from metallb_cli.lab.api.refusals import Cause, Json, required, unsupported, wrong

CLUSTER_NETWORK = "10.96.0.0/16"
CLUSTER_NETWORK_V6 = "fd00:10:96::/112"
FIRST_ADDRESS = 10
"""The first ones of the network are left to those who choose their address themselves."""
NODE_PORTS = range(30000, 32768)
MAX_NETWORK_BITS = 20
"""Cluster addresses are taken from the first 2^20 of an IPv6 network at most, as kube-apiserver limits them."""
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
POLICIES = ("Cluster", "Local")
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)")
"""IANA_SVC_NAME of RFC 6335 section 5.1, in lower case."""
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ServiceRules:
    """Knows which cluster addresses and node ports are taken. Takes and frees them when an object is stored.

    Addresses and ports are given out in order, so that the same commands lead to the same objects.
    """

    def __init__(self, network: str = CLUSTER_NETWORK, network_v6: str = CLUSTER_NETWORK_V6) -> None:
        """Nothing is taken.

        Args:
            network: of the IPv4 cluster addresses.
            network_v6: of the IPv6 cluster addresses.
        """
        self._networks: dict[str, IPv4Network | IPv6Network] = {
            "IPv4": ip_network(network),
            "IPv6": ip_network(network_v6),
        }
        self._taken: Counter[str] = Counter()
        self._cursors = {family: self._addresses(family) for family in self._networks}
        self._port_cursor = itertools.cycle(NODE_PORTS)

    # -- what is taken

    @property
    def held(self) -> frozenset[str]:
        """The cluster addresses of the stored Services, and their node ports as `port 30000`."""
        return frozenset(self._taken)

    def stored(self, old: Json | None, new: Json | None) -> None:
        """Keep the books: a Service was stored (`old` is its former version) or removed (`new` is None)."""
        if old and new and old["spec"] == new["spec"]:
            return
        for service, change in ((old, -1), (new, 1)):
            if service is not None:
                for resource in _holdings(service["spec"]):
                    self._taken[resource] += change
                    if not self._taken[resource]:
                        del self._taken[resource]

    def _addresses(self, family: str) -> Iterator[str]:
        network = self._networks[family]
        size = min(network.num_addresses, 1 << MAX_NETWORK_BITS)
        numbers = range(min(FIRST_ADDRESS, size // 2), size - 1)  # the last one of IPv4 is the broadcast address
        while True:
            yield from (str(network[number]) for number in numbers)

    def _free_address(self, family: str) -> str | None:
        first = None
        for address in self._cursors[family]:
            if address not in self._taken:
                return address
            if first == address:
                return None
            first = first or address
        return None

    def _free_port(self, wanted: set[int]) -> int | None:
        for _ in NODE_PORTS:
            port = next(self._port_cursor)
            if _port(port) not in self._taken and port not in wanted:
                return port
        return None

    # -- before storing

    def complete(self, new: Json, old: Json | None) -> list[Cause]:
        """Fill in defaults, addresses and ports, in place; what could not be had."""
        spec = new.setdefault("spec", {})
        before = old["spec"] if old else {}
        _fill_defaults(spec)
        _drop_foreign_fields(spec, before)
        _keep_values(spec, before)
        causes = self._complete_addresses(spec, before)
        return causes + self._complete_ports(spec, before)

    def _complete_addresses(self, spec: Json, before: Json) -> list[Cause]:
        if spec["type"] == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
            return []
        wanted = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        if spec.get("clusterIP") and wanted[0] != spec["clusterIP"]:
            wanted[0] = spec["clusterIP"]
        families = spec.get("ipFamilies") or [family for family in map(_family, wanted) if family] or ["IPv4"]
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack" if len(families) > 1 else "SingleStack")
        if policy == "SingleStack":
            families = families[:1]
        elif len(families) == 1:
            families = [*families, "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec["ipFamilies"] = families
        if wanted[:1] == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return []
        held = set(before.get("clusterIPs") or ())
        addresses, causes = [], []
        for index, family in enumerate(families):
            address = wanted[index] if index < len(wanted) else None
            problem = self._address_problem(address, family) if address is not None and address not in held else ""
            if address is None:
                address = self._free_address(family) if family in self._networks else None
                problem = "" if address else "no address is left" if family in self._networks else "unknown family"
            if problem:
                causes.append(wrong("spec.clusterIPs", [address], f"failed to allocate an {family} address: {problem}"))
            addresses.append(address)
        if not causes:
            spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
        return causes

    def _address_problem(self, address: str, family: str) -> str:
        network = self._networks.get(family)
        if network is None or _family(address) != family or ip_address(address) not in network:
            return f"provided IP is not in the valid range. The range of valid IPs is {network}"
        return "provided IP is already allocated" if address in self._taken else ""

    def _complete_ports(self, spec: Json, before: Json) -> list[Cause]:
        causes = []
        ports = spec.get("ports") or []
        held = {number for number in _node_ports(before) if number}
        wanted = {port["nodePort"] for port in ports if port.get("nodePort")}
        given: set[int] = set()
        for index, port in enumerate(ports):
            number, field = port.get("nodePort"), f"spec.ports[{index}].nodePort"
            if number and number not in NODE_PORTS:
                limits = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
                detail = f"provided port is not in the valid range. The range of valid ports is {limits}"
                causes.append(wrong(field, number, detail))
            elif number and number not in held and number not in given and _port(number) in self._taken:
                causes.append(wrong(field, number, "provided port is already allocated"))
            elif not number and _needs_node_ports(spec):
                port["nodePort"] = self._free_port(wanted | given)
                if port["nodePort"] is None:
                    del port["nodePort"]
                    causes.append(wrong(field, 0, "failed to allocate a nodePort: range is full"))
            if port.get("nodePort"):
                given.add(port["nodePort"])
        if spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            if not spec.get("healthCheckNodePort"):
                spec["healthCheckNodePort"] = before.get("healthCheckNodePort") or self._free_port(wanted | given)
        else:
            spec.pop("healthCheckNodePort", None)
        return causes


def check_service(new: Json, old: Json | None) -> list[Cause]:
    """What is wrong with the complete spec of a Service."""
    spec, causes = new["spec"], []
    if spec["type"] not in TYPES:
        causes.append(unsupported("spec.type", spec["type"], TYPES))
    ports = spec.get("ports") or []
    if spec["type"] == "ExternalName":
        if not spec.get("externalName"):
            causes.append(required("spec.externalName"))
    elif not ports and spec.get("clusterIP") != "None":
        causes.append(required("spec.ports"))
    if spec["type"] in ("LoadBalancer", "NodePort") and spec.get("clusterIP") == "None":
        causes.append(wrong("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services"))
    seen: set[tuple[str, int]] = set()
    names: set[str] = set()
    for index, port in enumerate(ports):
        causes.extend(_check_port(f"spec.ports[{index}]", port, named=len(ports) > 1, names=names, seen=seen))
    for field, known in (
        ("externalTrafficPolicy", POLICIES),
        ("internalTrafficPolicy", POLICIES),
        ("sessionAffinity", ("ClientIP", "None")),
        ("ipFamilyPolicy", FAMILY_POLICIES),
    ):
        if field in spec and spec[field] not in known:
            causes.append(unsupported(f"spec.{field}", spec[field], known))
    for index, source in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        if not _is_network(source.strip()):
            causes.append(wrong(f"spec.loadBalancerSourceRanges[{index}]", source, "must be a valid CIDR"))
    if spec.get("loadBalancerClass") and spec["type"] != "LoadBalancer":
        causes.append(
            Cause(
                "FieldValueForbidden",
                "spec.loadBalancerClass",
                "Forbidden: may only be used when `type` is 'LoadBalancer'",
            )
        )
    if old:
        causes.extend(_check_transition(spec, old["spec"]))
    return causes


def complete_service_status(new: Json) -> list[Cause]:
    """Fill in the status of a Service, in place; what is wrong with it."""
    ingress = new.setdefault("status", {}).setdefault("loadBalancer", {}).get("ingress") or ()
    return [
        wrong(f"status.loadBalancer.ingress[{index}].ip", entry["ip"], "must be a valid IP address")
        for index, entry in enumerate(ingress)
        if entry.get("ip") and _family(entry["ip"]) is None
    ]


def _check_port(path: str, port: Json, *, named: bool, names: set[str], seen: set[tuple[str, int]]) -> list[Cause]:
    causes = []
    name, number, target = port.get("name", ""), port.get("port"), port.get("targetPort")
    if named and not name:
        causes.append(required(f"{path}.name"))
    if name and not LABEL.fullmatch(name):
        causes.append(wrong(f"{path}.name", name, "must be a lowercase RFC 1123 label"))
    if name and name in names:
        causes.append(Cause("FieldValueDuplicate", f"{path}.name", f'Duplicate value: "{name}"'))
    names.add(name)
    if number is None or not 1 <= number <= 65535:
        causes.append(wrong(f"{path}.port", number or 0, "must be between 1 and 65535, inclusive"))
    if isinstance(target, int) and not 1 <= target <= 65535:
        causes.append(wrong(f"{path}.targetPort", target, "must be between 1 and 65535, inclusive"))
    if isinstance(target, str) and not PORT_NAME.fullmatch(target):
        causes.append(wrong(f"{path}.targetPort", target, "must be the name of a port (IANA_SVC_NAME)"))
    if port["protocol"] not in PROTOCOLS:
        causes.append(unsupported(f"{path}.protocol", port["protocol"], PROTOCOLS))
    if number is not None and (port["protocol"], number) in seen:
        causes.append(Cause("FieldValueDuplicate", path, f"Duplicate value: {port['protocol']} {number}"))
    seen.add((port["protocol"], number or 0))
    return causes


def _check_transition(spec: Json, before: Json) -> list[Cause]:
    causes = []
    if "ExternalName" not in (spec["type"], before["type"]):
        old, new = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
        if old and new and old[0] != new[0]:
            causes.append(wrong("spec.clusterIPs[0]", new, "may not change once set"))
    if spec["type"] == before["type"] == "LoadBalancer" and spec.get("loadBalancerClass") != before.get(
        "loadBalancerClass"
    ):
        causes.append(wrong("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set"))
    return causes


def _fill_defaults(spec: Json) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _drop_foreign_fields(spec: Json, before: Json) -> None:
    """Drop what the former type left behind and the new one has no use for, unless the client has changed it."""
    if not before or spec["type"] == before["type"]:
        return
    kept = {
        "externalTrafficPolicy": spec["type"] in ("NodePort", "LoadBalancer"),
        "allocateLoadBalancerNodePorts": spec["type"] == "LoadBalancer",
        "loadBalancerClass": spec["type"] == "LoadBalancer",
    }
    for field, keep in kept.items():
        if not keep and spec.get(field) == before.get(field):
            spec.pop(field, None)
    if not _needs_node_ports(spec):
        numbers = {(port["protocol"], port["port"]): port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") == numbers.get((port["protocol"], port.get("port"))):
                port.pop("nodePort", None)


def _keep_values(spec: Json, before: Json) -> None:
    """A PUT that says nothing about allocated values keeps them."""
    if not before or "ExternalName" in (spec["type"], before["type"]):
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for field in ("clusterIP", "clusterIPs"):
            if field in before:
                spec[field] = before[field]
    for field in ("ipFamilies", "ipFamilyPolicy"):
        if field in before:
            spec.setdefault(field, before[field])
    if _needs_node_ports(spec) and _needs_node_ports(before):
        numbers = {(port["protocol"], port["port"]): port.get("nodePort") for port in before.get("ports") or ()}
        used = _node_ports(spec)
        for port in spec.get("ports") or ():
            number = numbers.get((port["protocol"], port.get("port")))
            if not port.get("nodePort") and number and number not in used:
                port["nodePort"] = number


def _needs_node_ports(spec: Json) -> bool:
    if spec["type"] == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return bool(spec["type"] == "NodePort")


def _node_ports(spec: Json) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _holdings(spec: Json) -> list[str]:
    """The cluster addresses and node ports of a stored Service, each once."""
    addresses = [address for address in spec.get("clusterIPs") or () if address != "None"]
    check = spec.get("healthCheckNodePort")
    return addresses + [_port(number) for number in _node_ports(spec) | ({check} if check else set())]


def _port(number: int) -> str:
    return f"port {number}"


def _family(address: str) -> str | None:
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return None


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True

"""Sentences about who answers for an address: why, and what to do when nobody does."""

from __future__ import annotations

from collections.abc import Sequence

from metallb_cli.layer2.probing import REPROBE_PERIOD
from metallb_cli.model import Reason
from metallb_cli.reconcile.announce import Verdict
from metallb_cli.reconcile.interface_notes import InterfaceNote

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"

SHOWN = 5
"""How many nodes a sentence names before it says how many more there are."""


def explain(verdict: Verdict, namespace: str) -> tuple[str, str]:
    """Return what is so, and what to do about it (empty when nothing has to be done).

    Args:
        verdict: the speakers' decision.
        namespace: where the product runs, for the commands to type.
    """
    service, address = verdict.service, verdict.address
    speakers = f"kubectl -n {namespace} get pods -l app=metallb,component=speaker -o wide"
    match verdict.reason:
        case Reason.ANNOUNCED:
            chosen = f", chosen of {names(verdict.candidates)}" if len(verdict.candidates) > 1 else ""
            return f"announced by {verdict.owner}{chosen}", ""
        case Reason.NOT_ALLOWED:
            return (
                f"not announced: {address} may be given out by no pool and was not assigned here",
                "add it to a pool, or remove it from the status of the Service",
            )
        case Reason.BGP_NOT_ANNOUNCED:
            return (
                "not announced: its pool has protocol bgp, which is not announced yet",
                "move the address to a pool with protocol layer2",
            )
        case Reason.NO_ENDPOINTS:
            return (
                "not announced: the Service has no ready endpoint",
                "look at its pods: "
                f"kubectl -n {service.namespace} get endpointslices -l kubernetes.io/service-name={service.name}",
            )
        case Reason.NO_LOCAL_ENDPOINTS:
            nodes = names(_excluded_for(verdict, Reason.NO_LOCAL_ENDPOINTS))
            elsewhere = names(_excluded_for(verdict, Reason.NODE_NOT_ON_NETWORK))
            others = f"; {elsewhere} cannot answer, not being on the network of {address}" if elsewhere else ""
            return (
                f"not announced: externalTrafficPolicy is Local, and no ready endpoint is on {nodes}{others}",
                "run a pod of the Service on one of them, or set externalTrafficPolicy to Cluster",
            )
        case Reason.NODE_NETWORK_UNAVAILABLE:
            nodes = names(_excluded_for(verdict, Reason.NODE_NETWORK_UNAVAILABLE))
            return (
                f"not announced: the condition NetworkUnavailable is True on {nodes}",
                f"look at the network plugin of the node: kubectl describe node {_first(verdict)}",
            )
        case Reason.NODE_NO_INTERFACE:
            nodes = names(_excluded_for(verdict, Reason.NODE_NO_INTERFACE))
            return (
                f"not announced: the speaker has no usable interface on {nodes}",
                f"read why in metallb status -n {namespace} -o wide, under Interfaces",
            )
        case Reason.NODE_EXCLUDED:
            nodes = names(_excluded_for(verdict, Reason.NODE_EXCLUDED))
            return (
                f"not announced: the label {EXCLUDE_LABEL} is on {nodes}",
                f"remove it: kubectl label node {_first(verdict)} {EXCLUDE_LABEL}-",
            )
        case _:
            return "not announced: no speaker is alive", f"look at the speakers: {speakers}"


def explain_conflict(address: str, mac: str | None) -> tuple[str, str]:
    """Return why an address that another host has is not announced, and what to do about it.

    Args:
        address: as text.
        mac: of that host; None when not known.
    """
    host = f"the machine with MAC address {mac}" if mac else "another machine"
    return (
        f"not announced: {host} has {address} already",
        f"take it off that machine or out of the pool; it is tried again every {REPROBE_PERIOD:g} s",
    )


_INTERFACES = {
    Reason.USABLE: "answering",
    Reason.INTERFACE_EXCLUDED: "excluded by its name (--exclude)",
    Reason.INTERFACE_LOOPBACK: "loopback, where nobody asks",
    Reason.INTERFACE_DOWN: "switched off (ip link set {name} up)",
    Reason.INTERFACE_NO_CARRIER: "no carrier: look at cable and switch",
    Reason.INTERFACE_ENSLAVED: "port of {master}, which answers in its place",
    Reason.INTERFACE_NO_ARP: "does without ARP",
    Reason.INTERFACE_NOT_ETHERNET: "not Ethernet",
    Reason.INTERFACE_FAILED: "the kernel refused a socket; the log of the speaker says why",
}


def explain_interface(interface: InterfaceNote) -> str:
    """Return why a speaker answers on an interface or not, in words."""
    sentences = {reason.value: sentence for reason, sentence in _INTERFACES.items()}
    sentence = sentences.get(interface.verdict, interface.verdict)
    return sentence.replace("{name}", interface.name).replace("{master}", interface.master or "a bridge or bond")


def _excluded_for(verdict: Verdict, reason: Reason) -> tuple[str, ...]:
    return tuple(node for node, why in verdict.excluded.items() if why is reason)


def _first(verdict: Verdict) -> str:
    return next(iter(_excluded_for(verdict, verdict.reason)), "NODE")


def names(nodes: Sequence[str]) -> str:
    """Return the first few of them, and how many more there are."""
    shown = ", ".join(nodes[:SHOWN])
    return shown if len(nodes) <= SHOWN else f"{shown} and {len(nodes) - SHOWN} more"

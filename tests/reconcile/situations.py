"""Clusters in which addresses are about to change hands."""

from ipaddress import ip_address

from metallb_cli.model import Claim, Endpoints, Lease, Node
from metallb_cli.reconcile.audit import ConfigurationState, ObservedLease, Snapshot
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    SPEAKER,
    SpeakerNote,
    encode_addresses,
    encode_claims,
    encode_speaker,
)
from tests.reconcile.build import DEFAULT, service

A, B = ip_address("172.30.1.96"), ip_address("172.30.1.97")
WEB = service("web", str(A), allocated_pool="default")
DNS = service("dns", str(B), allocated_pool="default")
NODES = ("node1", "node2", "node3")


def speaker(node, *addresses, epoch=1, age=1.0, holder=None, note=None, notes=(ANNOUNCING, CLAIMS, SPEAKER)):
    """The Lease of a speaker that announces these addresses, as it would write it."""
    text = {
        ANNOUNCING: encode_addresses(addresses),
        CLAIMS: encode_claims(dict.fromkeys(addresses, Claim(epoch))),
        SPEAKER: encode_speaker(note or SpeakerNote(boot=1, election="sticky")),
    }
    annotations = tuple((name, text[name]) for name in notes)
    return ObservedLease(
        Lease(f"speaker-{node}", node if holder is None else holder, "t", 6.0, annotations=annotations), age
    )


def cluster(*speakers, services=(WEB, DNS), nodes=NODES, draining=(), pods=NODES, **fields):
    """A snapshot with these Leases; nodes without one have no speaker."""
    return Snapshot(
        namespace="metal-system",
        now=5000.0,
        configuration=ConfigurationState((DEFAULT,)),
        services=services,
        endpoints={s.key: Endpoints(frozenset(pods)) for s in services},
        nodes={n: Node(n, draining=n in draining) for n in nodes} | fields.pop("special", {}),
        speakers=speakers,
        **fields,
    )

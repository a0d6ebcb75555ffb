"""A speaker as its Lease describes it, and the claims that it makes there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from metallb_cli.model import Claim, IPAddress, Lease
from metallb_cli.reconcile.explain import explain_interface
from metallb_cli.reconcile.interface_notes import INTERFACES, decode_interfaces
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    PEERS,
    decode_addresses,
    decode_claims,
    decode_contested,
    decode_peers,
    speaker_note,
)
from metallb_cli.reconcile.report import ClaimReport, InterfaceReport, SpeakerReport


def claims_on(lease: Lease) -> Mapping[IPAddress, Claim]:
    """Return what the speaker claims."""
    return decode_claims(lease.annotation(CLAIMS) or "").claims


def claim_reports(lease: Lease) -> dict[IPAddress, ClaimReport]:
    """Return the claims with the MAC address of the host that contests one."""
    macs = decode_contested(speaker_note(lease).contested)
    return {
        address: ClaimReport(claim.epoch, claim.strong, claim.contested, macs.get(address) if claim.contested else None)
        for address, claim in claims_on(lease).items()
    }


def speaker_report(node: str, lease: Lease, state: str, age: float | None) -> SpeakerReport:
    """Describe a speaker, all but its relation to others.

    Args:
        node: where it runs.
        lease: its Lease.
        state: as in SpeakerReport.
        age: seconds since the Lease was renewed.
    """
    announcing = lease.annotation(ANNOUNCING)
    announced = decode_addresses(announcing or "")
    note, peers = speaker_note(lease), decode_peers(lease.annotation(PEERS) or "")
    sends = note.interval > 0
    return SpeakerReport(
        node=node,
        state=state,
        age=age,
        interfaces=tuple(
            InterfaceReport(i.name, i.verdict, tuple(map(str, i.networks or ())), explain_interface(i))
            for i in decode_interfaces(lease.annotation(INTERFACES) or "")
        ),
        addresses=tuple(str(a) for a in sorted(announced.addresses, key=lambda a: (a.version, int(a)))),
        complete=announced.complete and announcing is not None,
        lease_duration=lease.duration or None,
        renew=note.renew or None,
        heartbeat_interval=note.interval if sends else None,
        heartbeat_misses=note.misses if sends else None,
        live_peers=peers.count if sends else None,
        peers=peers.names if sends else (),
        election=note.election or None,
        api_outage=note.api_outage or None,
        leaving=note.leaving,
        unsteady=note.unsteady,
        fenced=note.fenced,
        started=note.boot / 1e9 if note.boot else None,
    )


def with_expected_peers(speakers: Iterable[SpeakerReport]) -> tuple[SpeakerReport, ...]:
    """Say of each speaker that sends heartbeats how many others it could hear."""
    known = tuple(speakers)
    sending = {s.node for s in known if s.live and s.heartbeat_interval is not None}
    return tuple(
        replace(s, expected_peers=len(sending - {s.node})) if s.heartbeat_interval is not None else s for s in known
    )

"""What is wrong between the speakers: who hears nobody, sends no heartbeats, or runs with other settings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network

from metallb_cli.layer2.heartbeat import ETHERTYPE
from metallb_cli.model import IPNetwork, Reason
from metallb_cli.reconcile.explain import names
from metallb_cli.reconcile.report import Finding, SpeakerReport

SETTLING = 10.0
"""Seconds after its start in which a speaker may be without a key and without peers: both take a moment."""


def fenced(speakers: Sequence[SpeakerReport]) -> Iterator[Finding]:
    """Speakers that answer for nothing because they were late."""
    for speaker in speakers:
        if speaker.live and speaker.fenced:
            yield Finding(
                Reason.FENCED.value,
                speaker.node,
                f"the speaker on {speaker.node} answers for nothing: its heartbeats were late, so others may have "
                "taken over; if this lasts or comes again, look at the load of that node",
            )


def isolated(speakers: Sequence[SpeakerReport], taken: float) -> Iterator[Finding]:
    """Speakers that send heartbeats and hear nobody, although others on their networks send them too: one finding."""
    sending = [s for s in speakers if s.live and s.heartbeat_interval and not s.cut_off and _settled(s, taken)]
    networks = {s.node: _networks(s) for s in sending}
    alone = [
        s.node
        for s in sending
        if s.live_peers == 0 and any(o is not s and _meet(networks[s.node], networks[o.node]) for o in sending)
    ]
    if alone:
        one = len(alone) == 1
        whose = "its cable, switch and VLAN; its" if one else "their cables, switch and VLAN; their"
        yield Finding(
            Reason.ISOLATED.value,
            alone[0] if one else "speakers",
            f"{names(alone)} {'hears' if one else 'hear'} no other speaker on the LAN, so two may answer for one "
            f"address; look at {whose} heartbeats use EtherType 0x{ETHERTYPE:04X}",
        )


def without_heartbeats(speakers: Sequence[SpeakerReport], taken: float) -> Iterator[Finding]:
    """Speakers that know heartbeats and send none: they have no key. One finding for all."""
    mute = [s.node for s in speakers if s.live and s.election and s.heartbeat_interval is None and _settled(s, taken)]
    if mute:
        yield Finding(
            Reason.NO_HEARTBEATS.value,
            mute[0] if len(mute) == 1 else "speakers",
            f"no heartbeats from {names(mute)}, so others miss them only when their Leases expire: the Secret "
            "metallb-heartbeat is missing, or they may not read it; the controller makes it, and the log of the "
            "speaker says more. If the rights are older than the image, apply k8s/metallb.yml again",
        )


def different_settings(speakers: Sequence[SpeakerReport]) -> Iterator[Finding]:
    """Settings in which live speakers differ: one finding for all. What a speaker does not say is left out."""
    described: dict[str, Callable[[SpeakerReport], str | None]] = {
        "--election": lambda s: s.election,
        "--heartbeat-interval": lambda s: None if s.heartbeat_interval is None else f"{s.heartbeat_interval:g} s",
        "--heartbeat-misses": lambda s: None if s.heartbeat_misses is None else str(s.heartbeat_misses),
        "--lease-duration": lambda s: f"{s.lease_duration:g} s" if s.election and s.lease_duration else None,
        "--on-api-outage": lambda s: s.api_outage,
    }
    different = []
    for name, value_of in described.items():
        nodes: dict[str, list[str]] = {}
        for speaker in speakers:
            value = value_of(speaker) if speaker.live else None
            if value is not None:
                nodes.setdefault(value, []).append(speaker.node)
        if len(nodes) > 1:
            different.append(f"{name} {', '.join(f'{value} on {names(those)}' for value, those in nodes.items())}")
    if different:
        yield Finding(
            Reason.SETTINGS_DIFFER.value,
            "speakers",
            f"the speakers run with different settings: {'; '.join(different)}; start all of them with the same ones",
        )


def _settled(speaker: SpeakerReport, taken: float) -> bool:
    return speaker.started is None or taken - speaker.started >= SETTLING


def _networks(speaker: SpeakerReport) -> list[IPNetwork]:
    return [ip_network(network) for interface in speaker.interfaces for network in interface.networks]


def _meet(mine: Sequence[IPNetwork], others: Sequence[IPNetwork]) -> bool:
    return any(network.version == other.version and network.overlaps(other) for network in mine for other in others)

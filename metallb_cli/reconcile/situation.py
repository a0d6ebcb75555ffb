"""Who answers for which address now, and who else may: what `metallb drain` and `metallb move` decide by. Pure.

Who may answer is the speakers' own rule (`announce.judge`); who does, is what they say on their Leases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from metallb_cli.model import IPAddress, Reason
from metallb_cli.reconcile.announce import Verdict, judge
from metallb_cli.reconcile.audit import Snapshot, as_daemons_see, by_node, cluster_state
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    AnnouncedAddresses,
    SpeakerNote,
    decode_addresses,
    speaker_note,
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What was read at one time.

    Attributes:
        announced: of each node with a live speaker, what it says that it announces.
        notes: of each such node, what the speaker says of itself.
        leaving: nodes that hand over what they have: drained ones, and those whose speakers are stopping.
        verdicts: for the addresses that were asked about and that a Service has, who may answer.
    """

    announced: Mapping[str, AnnouncedAddresses]
    notes: Mapping[str, SpeakerNote]
    leaving: frozenset[str]
    verdicts: Mapping[IPAddress, Verdict]

    def holders(self, address: IPAddress) -> tuple[str, ...]:
        """Return the nodes that say that they announce the address, sorted."""
        return tuple(sorted(node for node, known in self.announced.items() if address in known.addresses))

    def heirs(self, address: IPAddress, node: str) -> tuple[str, ...]:
        """Return the nodes that may take the address over from this one, sorted."""
        verdict = self.verdicts.get(address)
        return tuple(n for n in verdict.candidates if n != node and n not in self.leaving) if verdict else ()

    def obstacles(self, address: IPAddress, node: str) -> tuple[str, ...]:
        """Return why each other node may not take the address over: `NODE (REASON)`, sorted."""
        verdict = self.verdicts[address]
        reasons = {**verdict.excluded, **dict.fromkeys(set(verdict.candidates) & self.leaving, Reason.NODE_DRAINING)}
        return tuple(f"{other} ({reason.value})" for other, reason in sorted(reasons.items()) if other != node)


def situation(snapshot: Snapshot, addresses: Collection[IPAddress]) -> Situation:
    """Work out who answers, and who may answer for these addresses."""
    live = {node: observed.lease for node, observed in by_node(snapshot.speakers) if observed.state == "live"}
    notes = {node: speaker_note(lease) for node, lease in live.items()}
    drained = {name for name, node in snapshot.nodes.items() if node.draining}
    state = cluster_state(snapshot)
    verdicts: dict[IPAddress, Verdict] = {}
    for service in snapshot.services:
        if service.load_balancer_class != snapshot.lb_class or not any(a in addresses for a in service.ingress):
            continue
        for verdict in judge(as_daemons_see(service, snapshot.configuration), state):
            known = verdicts.get(verdict.address)
            if verdict.address in addresses and (known is None or known.owner is None):
                verdicts[verdict.address] = verdict
    return Situation(
        announced={node: _announced(lease.annotation(ANNOUNCING)) for node, lease in live.items()},
        notes=notes,
        leaving=frozenset(drained | {node for node, note in notes.items() if note.leaving}),
        verdicts=verdicts,
    )


def _announced(note: str | None) -> AnnouncedAddresses:
    return decode_addresses(note) if note is not None else AnnouncedAddresses(frozenset(), complete=False)

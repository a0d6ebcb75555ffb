"""What a speaker says of itself on its Lease: for `metallb status`, and for speakers that do not hear this one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from metallb_cli.daemon.membership import Membership
from metallb_cli.layer2.messages import AnnouncementSet
from metallb_cli.model import LinkState, Peer
from metallb_cli.reconcile.interface_notes import INTERFACES, encode_interfaces
from metallb_cli.reconcile.lease_notes import (
    ANNOUNCING,
    CLAIMS,
    PEERS,
    SPEAKER,
    SpeakerNote,
    encode_addresses,
    encode_claims,
    encode_contested,
    encode_peers,
    encode_speaker,
)
from metallb_cli.reconcile.shown_notes import ShownContests, ShownInterfaces


class Description:
    """Has the Lease written when there is something new to say.

    Args:
        membership: writes.
        settings: what stays the same as long as the speaker runs.
    """

    def __init__(self, membership: Membership, settings: SpeakerNote) -> None:
        self._membership = membership
        self._settings = settings
        self._interfaces = ShownInterfaces(settings.interval * settings.misses)
        self._contests = ShownContests()
        self._seen: tuple[LinkState, Sequence[Peer], AnnouncementSet, int, bool] | None = None
        self._notes: dict[str, str] = {}

    def next_deadline(self) -> float | None:
        """When time alone changes what the Lease should say."""
        deadlines = (self._interfaces.next_deadline(), self._contests.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def write(
        self,
        state: LinkState,
        peers: Sequence[Peer],
        sent: AnnouncementSet,
        boot: int,
        *,
        hears: bool,
        now: float,
    ) -> None:
        """Describe the speaker as it is now.

        Args:
            state: of the link process.
            peers: everybody who is or was heard.
            sent: what the link process was told last.
            boot: which start this is.
            hears: whether it takes part in the heartbeats.
            now: monotonic seconds.
        """
        before, self._seen = self._seen, (state, peers, sent, boot, hears)
        due = self.next_deadline()
        if before is not None and all(map(operator.is_, before, self._seen)) and (due is None or now < due):
            return  # as in most turns, of which those for peers' claims come in crowds
        live = [peer.node for peer in peers if peer.live]
        note = replace(
            self._settings,
            boot=boot,
            interval=self._settings.interval if hears else 0.0,
            leaving=sent.leaving,
            unsteady=sent.unsteady,
            fenced=state.fenced,
            contested=encode_contested(self._contests.show(state.contested, now)),
        )
        said = dict(self._notes)
        was_alone = before is None or not any(peer.live for peer in before[1])
        if before is None or state.announced is not before[0].announced:
            self._notes[ANNOUNCING] = encode_addresses(state.announced)
        if before is None or sent is not before[2]:
            self._notes[CLAIMS] = encode_claims(sent.claims)
        self._notes[INTERFACES] = encode_interfaces(self._interfaces.show(state.interfaces, now))
        self._notes[SPEAKER] = encode_speaker(note)
        self._notes[PEERS] = encode_peers(live)
        # Who hears whom changes for everybody at once when a node dies, and only operators read it: that can wait.
        news = any(said.get(name) != text for name, text in self._notes.items() if name != PEERS)
        self._membership.describe(self._notes, soon=news or was_alone is bool(live))

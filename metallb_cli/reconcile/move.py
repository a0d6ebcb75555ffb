"""Moving an address to a node: which Service to ask, at which epoch, or why it cannot be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from metallb_cli.election.claims import MAX_EPOCH
from metallb_cli.errors import NotPossibleError
from metallb_cli.model import IPAddress, Reason, ServiceKey
from metallb_cli.reconcile.announce import Verdict
from metallb_cli.reconcile.audit import Snapshot, by_node
from metallb_cli.reconcile.explain import explain, names
from metallb_cli.reconcile.lease_notes import CLAIMS, decode_claims
from metallb_cli.reconcile.situation import Situation, situation

ALWAYS_THE_HASH = "metallb"
"""The value of `--election` with which the owner is always the same, whatever anybody asks for."""

_OBSTACLES = {
    Reason.NO_LOCAL_ENDPOINTS: "externalTrafficPolicy is Local, and no ready pod of {service} runs there",
    Reason.NODE_NETWORK_UNAVAILABLE: "its condition NetworkUnavailable is True",
    Reason.NODE_EXCLUDED: "it has the label node.kubernetes.io/exclude-from-external-load-balancers",
    Reason.NODE_NO_INTERFACE: "its speaker has no usable interface",
    Reason.NODE_NOT_ON_NETWORK: "it is not on the network of the address, and other nodes are",
}


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What to ask for.

    Attributes:
        owners: the nodes that announce the address now.
        epoch: of the best claim to it, or of an earlier request if that is higher, so that this one ends that one too.
            The request is spent when there is a claim with a higher one.
    """

    address: IPAddress
    service: ServiceKey
    node: str
    owners: tuple[str, ...]
    epoch: int


def plan_move(address: IPAddress, node: str, snapshot: Snapshot) -> MovePlan:
    """Find the Service that has the address, and make sure that the node may take it over.

    Raises:
        NotPossibleError: says why not.
    """
    now = situation(snapshot, (address,))
    verdict = now.verdicts.get(address)
    if verdict is None:
        raise NotPossibleError(
            f"no Service has the address {address}; `metallb status -n {snapshot.namespace}` shows those in use"
        )
    known_node(node, snapshot)
    if node not in now.announced:
        raise NotPossibleError(
            f"no speaker is alive on {node}: "
            f"kubectl -n {snapshot.namespace} get pods -l app=metallb,component=speaker -o wide"
        )
    owners = now.holders(address)
    if node in owners:
        raise NotPossibleError(f"{node} announces {address} already")
    _check_candidate(verdict, node, now, snapshot.namespace)
    epoch = max(_epoch(address, owners, snapshot), _requested_before(verdict.service, snapshot))
    return MovePlan(address, verdict.service, node, owners, epoch)


def holders(plan: MovePlan, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the nodes that say that they announce the address, sorted."""
    return situation(snapshot, ()).holders(plan.address)


def known_node(name: str, snapshot: Snapshot) -> None:
    """Make sure that there is a Node of this name.

    Raises:
        NotPossibleError: there is none; names one that is spelled nearly so.
    """
    if name in snapshot.nodes:
        return
    near = get_close_matches(name, snapshot.nodes, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {names(sorted(snapshot.nodes)) or 'none'}"
    raise NotPossibleError(f"there is no Node {name}{hint}")


def _check_candidate(verdict: Verdict, node: str, now: Situation, namespace: str) -> None:
    address = verdict.address
    if verdict.owner is None:
        explanation, action = explain(verdict, namespace)
        raise NotPossibleError(f"{address} ({verdict.service}) is {explanation}; {action}")
    if node in verdict.excluded:
        reason = verdict.excluded[node]
        why = _OBSTACLES.get(reason, "").replace("{service}", str(verdict.service))
        raise NotPossibleError(
            f"{node} may not answer for {address}: {reason.value}{f', {why}' if why else ''}. "
            f"These may: {names(verdict.candidates)}"
        )
    if node in now.leaving:
        raise NotPossibleError(
            f"{node} is being drained or its speaker is stopping, so it takes nothing over; "
            f"`metallb drain {node} --undo` ends a drain"
        )
    if now.notes[node].election == ALWAYS_THE_HASH:
        raise NotPossibleError(
            f"the speakers run with --election={ALWAYS_THE_HASH}, by which {verdict.owner} always answers for "
            f"{address}; without that, addresses can be moved"
        )


def _requested_before(service: ServiceKey, snapshot: Snapshot) -> int:
    """Return the epoch of the request that the Service carries, spent or not; 0 for none, or one that never counts."""
    epochs = (found.move_epoch for found in snapshot.services if found.key == service)
    return max((epoch for epoch in epochs if epoch < MAX_EPOCH), default=0)


def _epoch(address: IPAddress, owners: tuple[str, ...], snapshot: Snapshot) -> int:
    """Return the highest epoch in the claims of those who announce the address, else of any live speaker, else 0.

    Raises:
        NotPossibleError: a node that announces it does not say the epoch of its claim.
    """
    epochs = {}
    for node, observed in by_node(snapshot.speakers):
        claim = decode_claims(observed.lease.annotation(CLAIMS) or "").claims.get(address)
        if claim is not None and observed.state == "live" and (node in owners or not owners):
            epochs[node] = claim.epoch
    silent = [node for node in owners if node not in epochs]
    if silent:
        raise NotPossibleError(
            f"the speaker on {silent[0]} announces {address}, but does not write its claim on its Lease: "
            "it is of an older version, or has just begun; update it, or try again"
        )
    return max(epochs.values(), default=0)

"""What is wrong in a cluster, the gravest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metallb_cli.model import Reason
from metallb_cli.reconcile import speaker_findings
from metallb_cli.reconcile.explain import names
from metallb_cli.reconcile.report import (
    ConfigurationReport,
    ControllerReport,
    Finding,
    PoolReport,
    ServiceReport,
    SpeakerReport,
)

QUIET = frozenset({Reason.NO_ENDPOINTS.value, Reason.ANNOUNCED.value})
"""States of an announcement that are no problem of ours: a Service without ready pods is its owner's business."""


def find_problems(
    services: Sequence[ServiceReport],
    pools: Sequence[PoolReport],
    speakers: Sequence[SpeakerReport],
    configuration: ConfigurationReport,
    controller: ControllerReport | None,
    taken: float,
) -> tuple[Finding, ...]:
    """List the problems: first what breaks traffic now, then what will, then what has stopped.

    `taken` is when all of it was read, in seconds since the epoch.
    """
    return (
        *_several_holders(services),
        *_wrong_holder(services),
        *_strange_addresses(services, speakers),
        *_owner_not_holding(services),
        *_not_announced(services, speakers),
        *_without_interface(speakers),
        *speaker_findings.fenced(speakers),
        *speaker_findings.isolated(speakers, taken),
        *_with_reason(services, stranded=True),
        *_with_reason(services, stranded=False),
        *_exhausted(services, pools),
        *_configuration(configuration),
        *speaker_findings.without_heartbeats(speakers, taken),
        *speaker_findings.different_settings(speakers),
        *_stopped(speakers, controller),
    )


def _several_holders(services: Sequence[ServiceReport]) -> Iterator[Finding]:
    # Two Services may claim one address; its holders are one problem.
    for row in {row.address: row for row in reversed(services)}.values():
        if len(row.holders) > 1:
            yield _finding(
                Reason.UNEXPECTED_HOLDER,
                row,
                f"{len(row.holders)} nodes answer for {row.address}: {names(row.holders)}; {_should(row)}",
            )


def _wrong_holder(services: Sequence[ServiceReport]) -> Iterator[Finding]:
    for row in services:
        if (row.owner is None or row.contested) and len(row.holders) == 1:
            yield _finding(
                Reason.UNEXPECTED_HOLDER, row, f"{row.address} is announced by {row.holders[0]}; {_should(row)}"
            )


def _should(row: ServiceReport) -> str:
    if row.owner is None or row.contested:
        return f"nobody should ({row.announcement}); if this lasts, restart the speaker there"
    return (
        f"only {row.owner} should; if this lasts, they do not hear each other: look at the LAN between them, "
        "then restart the speakers on the other nodes"
    )


def _strange_addresses(services: Sequence[ServiceReport], speakers: Sequence[SpeakerReport]) -> Iterator[Finding]:
    known = {row.address for row in services}
    for speaker in speakers:
        strange = [address for address in speaker.addresses if address not in known]
        if speaker.live and strange:
            yield Finding(
                Reason.UNEXPECTED_HOLDER.value,
                speaker.node,
                f"{speaker.node} announces {names(strange)}, which no Service has; "
                "if this lasts, restart the speaker on that node",
            )


def _owner_not_holding(services: Sequence[ServiceReport]) -> Iterator[Finding]:
    for row in services:
        if row.owner is not None and row.agrees is False and not row.contested and row.owner not in row.holders:
            yield _finding(
                Reason.OWNER_NOT_HOLDING,
                row,
                f"{row.owner} should announce {row.address}, but {names(row.holders) or 'nobody'} does; "
                f"if this lasts, look at the interfaces and the log of the speaker on {row.owner}",
            )


def _not_announced(services: Sequence[ServiceReport], speakers: Sequence[SpeakerReport]) -> Iterator[Finding]:
    rows = [row for row in services if row.announcement is not None and row.announcement not in QUIET]
    if rows and not any(speaker.live for speaker in speakers):
        nobody = [row.address or "" for row in rows if row.announcement == Reason.NO_SPEAKER.value]
        if nobody:
            yield Finding(
                Reason.NO_SPEAKER.value,
                "speakers",
                f"no speaker is alive, so nobody announces {names(nobody)}; start the speaker DaemonSet",
            )
        rows = [row for row in rows if row.announcement != Reason.NO_SPEAKER.value]
    for row in rows:
        if row.reason == row.announcement:
            yield Finding(row.reason, _name(row), f"{row.address}: {_advice(row)}")


def _without_interface(speakers: Sequence[SpeakerReport]) -> Iterator[Finding]:
    ordinary = {Reason.INTERFACE_EXCLUDED.value, Reason.INTERFACE_LOOPBACK.value}
    for speaker in speakers:
        if speaker.live and speaker.cut_off:
            why = [f"{i.name}: {i.explanation}" for i in speaker.interfaces if i.verdict not in ordinary]
            yield Finding(
                Reason.NODE_NO_INTERFACE.value,
                speaker.node,
                f"the speaker on {speaker.node} has no usable interface, so it answers for nothing: "
                f"{names(why) or 'all are excluded by their names (--exclude)'}",
            )


def _with_reason(services: Sequence[ServiceReport], *, stranded: bool) -> Iterator[Finding]:
    """Services whose address is not what it should be, or missing. The configuration's own faults are told once."""
    left_out = {Reason.OTHER_CLASS.value, Reason.CONFIG_INVALID.value, Reason.CONFIG_MISSING.value}
    for row in services:
        if row.reason in left_out or row.reason == row.announcement:
            continue
        if (row.reason == Reason.STRANDED.value) is stranded:
            subject = f"{row.address}: " if row.address else ""
            yield Finding(row.reason, _name(row), f"{subject}{_advice(row)}")


def _exhausted(services: Sequence[ServiceReport], pools: Sequence[PoolReport]) -> Iterator[Finding]:
    """Full pools, when a Service waits: a pool that is exactly as large as needed is no problem."""
    waiting = sum(row.reason == Reason.POOL_EXHAUSTED.value for row in services)
    for pool in pools if waiting else ():
        full4, full6 = (
            total and not free for total, free in ((pool.total_v4, pool.free_v4), (pool.total_v6, pool.free_v6))
        )
        if full4 or full6:
            total = pool.total_v4 if full4 else pool.total_v6
            yield Finding(
                Reason.POOL_EXHAUSTED.value,
                pool.name,
                f"all {total} IPv{4 if full4 else 6} addresses of the pool are in use, and Services wait; "
                "add addresses to it",
            )


def _configuration(configuration: ConfigurationReport) -> Iterator[Finding]:
    if configuration.state == "missing":
        yield Finding(Reason.CONFIG_MISSING.value, "configuration", "the ConfigMap does not exist; create it")
    elif configuration.state == "invalid":
        yield Finding(
            Reason.CONFIG_INVALID.value,
            "configuration",
            f"the configuration is invalid: {configuration.first_problem}; "
            "`metallb validate-config` shows every problem",
        )


def _stopped(speakers: Sequence[SpeakerReport], controller: ControllerReport | None) -> Iterator[Finding]:
    for speaker in speakers:
        if speaker.state == "dead":
            yield Finding(
                Reason.NO_SPEAKER.value,
                speaker.node,
                f"the speaker on {speaker.node} stopped renewing its Lease {_ago(speaker.age)}; "
                f"look at the node, or delete the Lease speaker-{speaker.node} if it is gone for good",
            )
    if controller is not None and controller.state != "live":
        yield Finding(
            Reason.NO_CONTROLLER.value,
            "controller",
            f"no controller leads (the last one renewed its Lease {_ago(controller.age)}), so new Services get no "
            "address; start the controller Deployment",
        )


def _finding(reason: Reason, row: ServiceReport, message: str) -> Finding:
    return Finding(reason.value, _name(row), message)


def _name(row: ServiceReport) -> str:
    return f"{row.namespace}/{row.name}"


def _advice(row: ServiceReport) -> str:
    return f"{row.explanation}; {row.action}" if row.action else row.explanation


def _ago(age: float | None) -> str:
    return "at an unknown time" if age is None else f"{age:.0f} s ago"

"""`metallb speaker`: answers for addresses on the LAN of one node."""

from __future__ import annotations

import logging
import re

import click

from metallb_cli import __version__
from metallb_cli.commands.options import choose_namespace, cluster_options, daemon_options, identity
from metallb_cli.commands.process import Fatal, configure_logs, seconds, settle_memory, stop_on_signals
from metallb_cli.daemon.heartbeat_key import HeartbeatKeyThread
from metallb_cli.daemon.inbox import Inbox
from metallb_cli.daemon.membership import LeaseTimes, Membership
from metallb_cli.daemon.recorder import Recorder
from metallb_cli.daemon.speaker import Key, Options, Speaker, Task
from metallb_cli.election import Mode
from metallb_cli.errors import UsageError
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases
from metallb_cli.kube.events import EventRecorder
from metallb_cli.kube.feeds import SpeakerFeeds
from metallb_cli.kube.secrets import HeartbeatKeys
from metallb_cli.linux import privileges
from metallb_cli.linux.link_client import LinkProcess
from metallb_cli.linux.links import DEFAULT_EXCLUDE, Excluded
from metallb_cli.linux.poller import MAX_SPIN
from metallb_cli.reconcile.api_outage import ApiOutagePolicy
from metallb_cli.telemetry.metrics import SpeakerMetrics
from metallb_cli.telemetry.server import StatusServer

log = logging.getLogger(__name__)

MAX_NODE = 245
"""Characters: 253 are the limit of a name in the API, and the Lease puts `speaker-` or `history-` before it."""

EPILOG = """\b
Examples:
  metallb speaker --node "$NODE"                         in a pod with hostNetwork and NET_RAW
  metallb speaker --node node1 --kubeconfig ~/.kube/config -n metal-system --log-format text
  metallb speaker --node node1 --exclude '^wlan.*' --exclude '^lo$'
\b
Exit codes: 0 stopped by a signal, 1 a failure, 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--node",
    "--node-name",
    "node",
    envvar="METALLB_NODE_NAME",
    show_envvar=True,
    required=True,
    metavar="NAME",
    help="Name of the Kubernetes node that this speaker runs on.",
)
@cluster_options
@daemon_options
@click.option(
    "--exclude",
    multiple=True,
    metavar="REGEX",
    help="Interfaces not to answer on, instead of MetalLB's list (docker.*, veth.*, cali.*, ...); repeatable.",
)
@click.option(
    "--lease-duration",
    type=seconds(1),
    metavar="SECONDS",
    default=6.0,
    show_default=True,
    help="Seconds after which others take over from a node that died and is not heard on the LAN.",
)
@click.option(
    "--renew",
    type=seconds(0.05),
    metavar="SECONDS",
    default=2.0,
    show_default=True,
    help="Seconds between Lease renewals; at most half of --lease-duration.",
)
@click.option(
    "--heartbeat-interval",
    type=click.FloatRange(0.02, 1),
    metavar="SECONDS",
    default=0.1,
    show_default=True,
    help="Seconds between heartbeats on the LAN; the same on all nodes.",
)
@click.option(
    "--heartbeat-misses",
    type=click.IntRange(2, 100),
    metavar="NUMBER",
    default=3,
    show_default=True,
    help="Heartbeats in a row that must be missing until others take over; in all less than --lease-duration.",
)
@click.option(
    "--probe-interval",
    type=click.FloatRange(0, 10),
    metavar="SECONDS",
    default=0.2,
    show_default=True,
    help="Seconds between the three questions whether another host has a new address; 0 asks nobody.",
)
@click.option(
    "--election",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.STICKY.value,
    show_default=True,
    help="sticky: an address stays while its node lives; metallb: it follows the hash, also back, as in MetalLB.",
)
@click.option(
    "--on-api-outage",
    type=click.Choice([policy.value for policy in ApiOutagePolicy]),
    default=ApiOutagePolicy.FREEZE.value,
    show_default=True,
    help="While the API server is away: go on; go on with a majority of the speakers; or answer for nothing.",
)
@click.option(
    "--l2-engine",
    type=click.Choice(["auto", "packet", "tc"]),
    default="auto",
    show_default=True,
    help="Who answers on the LAN: a process (packet; NET_RAW), or the kernel (tc; BPF and NET_ADMIN too) where it can.",
)
@click.option(
    "--spin",
    type=click.IntRange(0, MAX_SPIN),
    default=0,
    show_default=True,
    help="Microseconds for which the process that answers stays awake after each answer (packet engine): the next "
    "answer comes sooner, and each costs up to so much processor time.",
)
@click.option("--ignore-exclude-lb", is_flag=True, help="Announce also from nodes labelled as excluded.")
@click.option(
    "--netns", metavar="NAME|PATH", help="Answer in this network namespace instead of the process's own; needs root."
)
def command(
    *,
    node: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config_name: str,
    host: str,
    port: int,
    log_level: str,
    log_format: str | None,
    lb_class: str | None,
    exclude: tuple[str, ...],
    lease_duration: float,
    renew: float,
    heartbeat_interval: float,
    heartbeat_misses: int,
    probe_interval: float,
    election: str,
    on_api_outage: str,
    l2_engine: str,
    spin: int,
    ignore_exclude_lb: bool,
    netns: str | None,
) -> None:
    """Answer ARP and NDP requests for the addresses that this node owns, on the usable interfaces of their networks.

    Two processes: this one talks to the API server and has no raw socket; the one that it starts has the raw sockets
    and no token.
    """
    try:
        times = LeaseTimes(lease_duration, renew)
    except ValueError as error:
        raise UsageError(str(error)) from None
    _check_node(node)
    _check_heartbeats(heartbeat_interval, heartbeat_misses, lease_duration)
    Excluded(exclude)  # a pattern that is none is the operator's mistake, and not the link process's
    log_format = configure_logs(log_level, log_format)
    api = Api.connect(kubeconfig, context)
    namespace = choose_namespace(namespace, api.namespace)
    log.info("MetalLB speaker %s on node %s, namespace %s, API server %s", __version__, node, namespace, api.server)

    fatal = Fatal()
    inbox: Inbox[Key] = Inbox()
    events = EventRecorder(api, component="metallb-speaker", namespace=namespace, config_name=config_name, host=node)
    leases = Leases(api, namespace)
    recorder = Recorder(leases, node, on_failure=fatal)
    membership = Membership(
        leases,
        node,
        identity(node),
        times,
        on_change=lambda: inbox.put(Task.EVERYTHING),
        on_failure=fatal,
        on_notes=lambda old, new: speaker.on_notes(old, new),  # noqa: PLW0108 - there is none yet
    )
    feeds = SpeakerFeeds(
        api,
        namespace=namespace,
        config_name=config_name,
        on_service=inbox.put,
        on_config=lambda: inbox.put(Task.CONFIG),
        on_nodes=lambda: inbox.put(Task.EVERYTHING),
        on_lease=membership.observe,
        on_failure=fatal,
    )
    metrics = SpeakerMetrics(node=node, api_silence=feeds.silence, events_dropped=lambda: events.dropped)
    speaker = Speaker(
        feeds=feeds,
        inbox=inbox,
        membership=membership,
        events=events,
        metrics=metrics,
        recorder=recorder,
        options=Options(
            node,
            lb_class,
            ignore_exclude_lb,
            Mode(election),
            ApiOutagePolicy(on_api_outage),
            heartbeat_interval,
            heartbeat_misses,
        ),
    )
    keys = HeartbeatKeyThread(HeartbeatKeys(api, namespace), speaker.on_keys, fatal)
    link = LinkProcess(
        netns=netns,
        exclude=exclude or DEFAULT_EXCLUDE,
        on_state=speaker.on_link_state,
        on_exit=speaker.on_link_exit,
        on_peers=speaker.neighbours.on_peers,
        on_claims=speaker.neighbours.on_claims,
        probe_interval=probe_interval,
        l2_engine=l2_engine,
        spin=spin,
        log_level=log_level,
        log_format=log_format,
    )
    fatal.stops(speaker.stop)

    server = StatusServer(host, port, metrics=metrics.exposition, healthz=fatal.why, readyz=speaker.why_not_ready)
    # The link process inherits the right to raw sockets; after that this process, which has the token, gives it up.
    link.start()
    privileges.keep_only(())
    stop_on_signals(speaker.stop)
    server.start()
    log.info("listening on port %d", server.port, extra={"port": server.port})
    events.start()
    recorder.start()
    settle_memory()
    try:
        speaker.run(link, joined=keys.start)
    finally:
        keys.stop()
        recorder.stop()
        link.stop(2.0)
        events.stop()
        server.stop()
        api.close()
    fatal.check()


def _check_node(node: str) -> None:
    """Refuse what is no name of a Node (RFC 1123 subdomain): the Lease and the heartbeats carry it."""
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    if len(node) > MAX_NODE or not re.fullmatch(rf"{label}(\.{label})*", node):
        raise UsageError(f"--node {node!r} is not the name of a Node: lower-case letters, digits, '-' and '.'")


def _check_heartbeats(interval: float, misses: int, lease_duration: float) -> None:
    """Refuse heartbeats that would show a death later than the Lease does."""
    if interval * misses >= lease_duration:
        raise UsageError(
            f"{misses} heartbeats that are {interval:g} s apart take {interval * misses:g} s: "
            f"that must be less than --lease-duration, {lease_duration:g} s"
        )

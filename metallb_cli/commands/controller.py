"""`metallb controller`: gives LoadBalancer Services their addresses."""

from __future__ import annotations

import logging

import click

from metallb_cli import __version__
from metallb_cli.commands.options import choose_namespace, cluster_options, daemon_options, host_name, identity
from metallb_cli.commands.process import Fatal, configure_logs, seconds, settle_memory, stop_on_signals
from metallb_cli.daemon.controller import Controller, Options, Task, Waker
from metallb_cli.daemon.key_keeper import KeyKeeper
from metallb_cli.daemon.leader import Election
from metallb_cli.errors import UsageError
from metallb_cli.kube.client import Api
from metallb_cli.kube.cluster import Leases, ServiceStatus
from metallb_cli.kube.events import EventRecorder
from metallb_cli.kube.feeds import ControllerFeeds
from metallb_cli.kube.secrets import HeartbeatKeys
from metallb_cli.reconcile.leadership import LEASE, Terms
from metallb_cli.reconcile.service import Stranded
from metallb_cli.telemetry.metrics import ControllerMetrics
from metallb_cli.telemetry.server import StatusServer

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  metallb controller                                     in a pod
  metallb controller --kubeconfig ~/.kube/config -n metal-system --log-format text
  metallb controller --on-stranded reassign              as MetalLB since 0.14.2
\b
Exit codes: 0 stopped by a signal, 1 a failure, 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@cluster_options
@daemon_options
@click.option(
    "--on-stranded",
    type=click.Choice([policy.value for policy in Stranded]),
    default=Stranded.KEEP.value,
    show_default=True,
    help="What becomes of an assigned address that the configuration does not contain any more.",
)
@click.option("--lease-duration", type=seconds(1), default=15.0, show_default=True, help="Seconds; leader election.")
@click.option(
    "--renew-deadline", type=seconds(0.1), default=10.0, show_default=True, help="Seconds until a leader gives up."
)
@click.option("--retry-period", type=seconds(0.05), default=2.0, show_default=True, help="Seconds between attempts.")
def command(
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config_name: str,
    host: str,
    port: int,
    log_level: str,
    log_format: str | None,
    lb_class: str | None,
    on_stranded: str,
    lease_duration: float,
    renew_deadline: float,
    retry_period: float,
) -> None:
    """Give every Service of type LoadBalancer an address from the configured pools.

    Any number of replicas may run: one leads, by a Lease, and another takes over when it stops.
    """
    configure_logs(log_level, log_format)
    try:
        terms = Terms(lease_duration, renew_deadline, retry_period)
    except ValueError as error:
        raise UsageError(str(error)) from None
    api = Api.connect(kubeconfig, context)
    namespace = choose_namespace(namespace, api.namespace)
    log.info("MetalLB controller %s, namespace %s, API server %s", __version__, namespace, api.server)

    fatal = Fatal()
    feeds: list[ControllerFeeds] = []
    events = EventRecorder(api, component="metallb-controller", namespace=namespace, config_name=config_name)
    metrics = ControllerMetrics(
        api_silence=lambda: feeds[-1].silence() if feeds else {}, events_dropped=lambda: events.dropped
    )

    def open_feeds(wake: Waker) -> ControllerFeeds:
        opened = ControllerFeeds(
            api,
            namespace=namespace,
            config_name=config_name,
            on_service=wake,
            on_config=lambda: wake(Task.CONFIG),
            on_failure=fatal,
        )
        feeds[:] = [opened]
        return opened

    election = Election(Leases(api, namespace), LEASE, identity(host_name()), terms, on_failure=fatal)
    keeper = KeyKeeper(HeartbeatKeys(api, namespace), election.leading, on_failure=fatal)
    controller = Controller(
        open_feeds=open_feeds,
        writer=ServiceStatus(api),
        events=events,
        metrics=metrics,
        leading=election.leading,
        options=Options(Stranded(on_stranded), lb_class),
    )
    fatal.stops(controller.stop)

    def not_ready() -> str:
        if election.leading():
            return "" if controller.working else "leading, but not everything has been read yet"
        # A replica that waits is ready for its work, which is to take over.
        return "" if election.holder else "nobody is known to lead yet"

    server = StatusServer(host, port, metrics=metrics.exposition, healthz=fatal.why, readyz=not_ready)
    stop_on_signals(controller.stop)
    server.start()
    log.info("listening on port %d", server.port, extra={"port": server.port})
    events.start()
    election.start()
    keeper.start()
    settle_memory()
    try:
        controller.run()
    finally:
        election.stop()
        keeper.stop()
        events.stop()
        server.stop()
        api.close()
    fatal.check()

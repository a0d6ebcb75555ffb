"""`metallb move`: lets another node answer for an address."""

from __future__ import annotations

import json

import click

from metallb_cli.commands.options import choose_namespace, cluster_options, speaker_options, waiting_options
from metallb_cli.errors import ApiUnavailableError
from metallb_cli.kube.client import Api
from metallb_cli.kube.handover import ask_to_move, follow
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.model import IPAddress, parse_address
from metallb_cli.reconcile.audit import Snapshot
from metallb_cli.reconcile.move import MovePlan, holders, plan_move
from metallb_cli.view.handover import HandoverView

EPILOG = """\b
Examples:
  metallb move 172.30.1.96 node2 -n metal-system
  metallb move 2001:db8::7 node2 -n metal-system --no-wait
  metallb move 172.30.1.96 node2 -n metal-system -o json | jq .seconds
\b
It sets the annotation metallb.io/move-to on the Service. That request is spent as
soon as somebody has taken the address over; afterwards it stays like any other.
\b
Exit codes: 0 the node announces the address, 1 it cannot or took too long, 2 wrong
usage, 3 the API server could not be reached, 130 ended by Ctrl-C.
"""


def _parse(ctx: click.Context, param: click.Parameter, value: str) -> IPAddress:
    address = parse_address(value)
    if address is None:
        raise click.BadParameter(f"{value!r} is no IPv4 or IPv6 address", ctx, param)
    return address


@click.command(epilog=EPILOG)
@click.argument("address", callback=_parse)
@click.argument("node")
@waiting_options(30.0)
@speaker_options
@cluster_options
def command(
    *,
    address: IPAddress,
    node: str,
    timeout: float,
    no_wait: bool,
    output: str,
    lb_class: str | None,
    ignore_exclude_lb: bool,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config_name: str,
) -> None:
    """Let NODE take ADDRESS over, and wait until it has.

    NODE answers before the present owner stops, so nobody waits for an answer. When NODE may not answer for the
    address, nothing is changed, and the command says why.
    """
    view = HandoverView(quiet=output == "json")
    api = Api.connect(kubeconfig, context)
    state = "nothing was changed"
    try:
        namespace = choose_namespace(namespace, api.namespace)
        snapshot = read_snapshot(api, namespace, config_name, lb_class=lb_class, ignore_exclude_lb=ignore_exclude_lb)
        plan = plan_move(address, node, snapshot)
        state = f"whether {node} was asked to take {address} over is not known"
        ask_to_move(api, plan.service, node, plan.epoch)
        state = f"the request stays on the Service {plan.service}: {node} takes {address} over as soon as it can"
        seconds, now = (0.0, plan.owners) if no_wait else _wait(plan, api, snapshot, config_name, timeout, view)
        _show(plan, seconds, now, view, waited=not no_wait)
        if output == "json":
            click.echo(json.dumps(_plain(plan, seconds, now), indent=2))
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {state}.", err=True)
        raise SystemExit(130) from None
    except ApiUnavailableError as error:
        raise ApiUnavailableError(f"{error}; {state}") from error
    finally:
        api.close()
    if not (no_wait or node in now):
        raise SystemExit(1)


def _wait(
    plan: MovePlan, api: Api, snapshot: Snapshot, config_name: str, timeout: float, view: HandoverView
) -> tuple[float, tuple[str, ...]]:
    """Look until the node has the address, or out of time. Returns the seconds that took, and who announces it."""
    taken, now = 0.0, plan.owners
    with view.waiting(f"waiting for {plan.node} to answer for {plan.address}"):
        for seconds, seen in follow(api, snapshot, config_name, timeout):
            taken, now = seconds, holders(plan, seen)
            if plan.node in now:
                break
    return taken, now


def _plain(plan: MovePlan, seconds: float, now: tuple[str, ...]) -> dict[str, object]:
    return {
        "address": str(plan.address),
        "service": str(plan.service),
        "from": plan.owners,
        "to": plan.node,
        "epoch": plan.epoch,
        "done": plan.node in now,
        "seconds": seconds,
        "holders": now,
    }


def _show(plan: MovePlan, seconds: float, now: tuple[str, ...], view: HandoverView, *, waited: bool) -> None:
    source = ", ".join(plan.owners) or "nobody"
    if not waited:
        view.say(f"{plan.node} is asked to take {plan.address} ({plan.service}) over from {source}")
    elif plan.node in now:
        view.moved(str(plan.address), str(plan.service), source, plan.node, seconds)
    else:
        view.warn(
            f"{plan.address} ({plan.service}) is announced by {', '.join(now) or 'nobody'} after {seconds:.0f} s, "
            f"not by {plan.node}: look at the logs of the speakers. The request stays on the Service until somebody "
            "takes the address over"
        )

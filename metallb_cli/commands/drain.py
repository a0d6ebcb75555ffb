"""`metallb drain`: hands over what one node answers for."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from metallb_cli.commands.options import choose_namespace, cluster_options, speaker_options, waiting_options
from metallb_cli.errors import ApiUnavailableError
from metallb_cli.kube.client import Api
from metallb_cli.kube.handover import follow, set_draining
from metallb_cli.kube.snapshot import read_snapshot
from metallb_cli.reconcile.audit import Snapshot
from metallb_cli.reconcile.drain import Drain
from metallb_cli.reconcile.move import known_node
from metallb_cli.view.handover import HandoverView

EPILOG = """\b
Examples:
  metallb drain node1 -n metal-system                 before the node is switched off
  metallb drain node1 -n metal-system --undo          when it is back
  metallb drain node1 -n metal-system --no-wait
  metallb drain node1 -n metal-system -o json | jq '.addresses[].holders'
\b
It sets the annotation metallb.io/drain on the Node. Pods stay where they are: for
them there is kubectl drain.
\b
Exit codes: 0 the node announces nothing any more, 1 something stays on it or took
too long, 2 wrong usage, 3 the API server could not be reached, 130 ended by Ctrl-C.
"""


@click.command(epilog=EPILOG)
@click.argument("node")
@click.option("--undo", is_flag=True, help="End the drain: the node may be chosen again.")
@waiting_options(60.0)
@speaker_options
@cluster_options
def command(
    *,
    node: str,
    undo: bool,
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
    """Let other nodes take over what NODE answers for, and wait until they have.

    Each of them answers before NODE stops, so nobody waits for an answer. The node gets nothing new until the drain is
    ended. An address for which no other node may answer stays where it is, and the command says why.
    """
    view = HandoverView(quiet=output == "json")
    api = Api.connect(kubeconfig, context)
    state = f"nothing was changed on {node}"
    try:
        if undo:
            state = f"whether the drain of {node} was ended is not known"
            set_draining(api, node, draining=False)
            view.say(f"{node} may be chosen again; addresses stay where they are until they have to move")
            if output == "json":
                click.echo(json.dumps({"node": node, "draining": False}, indent=2))
            return
        namespace = choose_namespace(namespace, api.namespace)
        snapshot = read_snapshot(api, namespace, config_name, lb_class=lb_class, ignore_exclude_lb=ignore_exclude_lb)
        known_node(node, snapshot)
        state = f"whether {node} was asked to hand over is not known"
        set_draining(api, node, draining=True)
        state = f"{node} goes on handing over; `metallb drain {node} --undo` ends that"
        drain = Drain(node)
        drain.observe(snapshot, 0.0)
        seconds = 0.0 if no_wait else _wait(drain, api, snapshot, config_name, timeout, view)
        _show(drain, seconds, view, waited=not no_wait)
        if output == "json":
            click.echo(json.dumps(_plain(drain, seconds), indent=2))
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {state}.", err=True)
        raise SystemExit(130) from None
    except ApiUnavailableError as error:
        raise ApiUnavailableError(f"{error}; {state}") from error
    finally:
        api.close()
    if not (no_wait or drain.done):
        raise SystemExit(1)


def _wait(drain: Drain, api: Api, snapshot: Snapshot, config_name: str, timeout: float, view: HandoverView) -> float:
    """Look until the drain is done, stuck or out of time. Returns the seconds that took."""
    seconds = 0.0
    if drain.addresses:
        view.say(f"{drain.node} hands over {_count(len(drain.addresses))}")
    with view.waiting(f"waiting for the speaker on {drain.node}"):
        for seconds, seen in follow(api, snapshot, config_name, timeout):
            view.drained(drain.node, drain.observe(seen, seconds))
            view.still(f"{_count(sum(not each.settled for each in drain.addresses))} left on {drain.node}")
            if drain.done or drain.stuck:
                break
    return seconds


def _plain(drain: Drain, seconds: float) -> dict[str, object]:
    return {
        "node": drain.node,
        "draining": True,
        "speaker": drain.speaker,
        "done": drain.done,
        "seconds": seconds,
        "addresses": [asdict(each) | {"state": each.state.value} for each in drain.addresses],
    }


def _show(drain: Drain, seconds: float, view: HandoverView, *, waited: bool) -> None:
    node = drain.node
    undo = f"`metallb drain {node} --undo` ends the drain"
    if not waited:
        view.say(f"{node} hands over {_count(len(drain.addresses))}; {undo}")
    elif drain.done:
        why = "" if drain.speaker else ", having no live speaker"
        view.say(f"{node} announces nothing any more{why}; {undo}")
    else:
        view.left(node, drain.addresses)
        if not drain.complete:
            view.warn(f"the speaker on {node} does not say all that it announces: look at its log")
        how = "Let another node answer for what stays" if drain.stuck else f"Not done after {seconds:.0f} s"
        view.say(f"{how}; {undo}")


def _count(number: int) -> str:
    return f"{number} address{'' if number == 1 else 'es'}"

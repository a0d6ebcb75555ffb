"""What the lab shows: the example gets an address, a client reaches it, a node dies and its address moves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from metallb_cli.lab import manifests
from metallb_cli.lab.client import PROBE_INTERVAL, PROBE_TIMEOUT, Prober
from metallb_cli.lab.lab import EXAMPLE_NAMESPACE, EXAMPLE_PODS, EXAMPLE_SERVICE, Lab
from metallb_cli.lab.workloads import key_of
from metallb_cli.model import Lease, Service
from metallb_cli.view.kubectl import services_table
from metallb_cli.view.lab import LabView

POD_TIMEOUT = 20.0
ADDRESS_TIMEOUT = 15.0
ANSWER_TIMEOUT = 15.0
FAILOVER_TIMEOUT = 30.0
RETURN_TIMEOUT = 30.0
MAX_CURLS = 30
"""Of three pods in turn, three answer in three requests; a proxy that chooses at random needs more."""
BEFORE = 0.5
"""Seconds of undisturbed probes before a node is killed."""


@dataclass(frozen=True, slots=True)
class Failover:
    """What a client saw of a node's death.

    Attributes:
        dead: the node that held the address.
        heir: the node that took over.
        seconds: from the death to the first answer.
        lost: probes without an answer.
        sent: probes in all, from before the death to the end.
        lost_on_return: probes without an answer from when the dead node was switched on again.
        owner_after_return: who held the address at the end.
    """

    dead: str
    heir: str
    seconds: float
    lost: int
    sent: int
    lost_on_return: int
    owner_after_return: str


def run_example(lab: Lab, view: LabView) -> IPv4Address:
    """Create the example, and wait until its Service has an address.

    Raises:
        MetalLBError: that failed.
    """
    with view.step(f"kubectl apply -f {Path(lab.settings.source).name}") as step:
        [step.detail] = lab.create([lab.settings.config_map])
    with view.step("kubectl create -f simplehttp.yml") as step:
        step.detail = f"{len(lab.create(manifests.read(manifests.example('simplehttp.yml'))))} objects created"
    with view.step("web servers, one after the other; small Python programs stand in for nginx") as step:
        lab.wait(
            lambda: len(lab.cluster.ready_pods(EXAMPLE_NAMESPACE)) == EXAMPLE_PODS, "three ready pods", POD_TIMEOUT
        )
        pods = lab.cluster.ready_pods(EXAMPLE_NAMESPACE)
        step.detail = ", ".join(f"{key_of(pod)[1]} on {pod['spec']['nodeName']}" for pod in pods)
    with view.step(f"address for Service {EXAMPLE_NAMESPACE}/{EXAMPLE_SERVICE}, from the controller") as step:
        address = lab.wait(lab.address, "an address in the Service's status", ADDRESS_TIMEOUT)
        step.detail = str(address)
    return address


def show_service(lab: Lab, view: LabView) -> None:
    """Show the Service as kubectl does."""
    view.heading("In Kubernetes")
    view.shell(
        f"kubectl get svc {EXAMPLE_SERVICE} -n {EXAMPLE_NAMESPACE}",
        services_table([lab.service()], datetime.now(UTC)),
    )


def show_answers(lab: Lab, view: LabView, address: IPv4Address) -> str:
    """Ask from the client until all pods have answered; returns the node that holds the address.

    Raises:
        NotInTimeError: some did not answer.
    """
    url = f"http://{address}"
    view.heading("On the LAN, from a machine that knows nothing of Kubernetes")

    def answers() -> bool:
        try:
            return bool(lab.client.get(url))
        except OSError:
            return False

    lab.wait(answers, f"an answer from {url}", ANSWER_TIMEOUT)
    seen: set[str] = set()

    def ask() -> bool:
        command, answer = lab.client.curl(url)
        if answer not in seen:
            view.shell(command, [answer])
        seen.add(answer)
        return len(seen) >= EXAMPLE_PODS

    lab.wait(ask, f"{EXAMPLE_PODS} different answers from {url}", ANSWER_TIMEOUT)
    mac, owner = lab.wait(lambda: lab.client.owner(address), f"{address} in the client's ARP cache", ANSWER_TIMEOUT)
    view.shell(f"ip neigh show {address}", [f"{address} dev eth0 lladdr {mac.hex(':')}    <- that is {owner}"])
    return owner or ""


def fail_over(lab: Lab, view: LabView, address: IPv4Address, owner: str) -> Failover:
    """Kill the node that holds the address while the client goes on asking, and bring it back.

    Raises:
        NotInTimeError: the address did not move, or the node did not come back.
    """
    view.heading(f"{owner} dies: cable out, speaker and pods killed with SIGKILL")
    prober = Prober(lab.client, f"http://{address}")
    prober.start()
    try:
        return _fail_over(lab, view, address, owner, prober)
    finally:
        prober.stop()


def _fail_over(lab: Lab, view: LabView, address: IPv4Address, owner: str, prober: Prober) -> Failover:
    view.say(
        "Kubernetes would wait 40 s before it counts the dead pods out; the lab does so at once, to show MetalLB alone."
    )
    begun = time.monotonic()
    lab.wait(lambda: prober.wait_for_answer(begun + BEFORE, 0.1), "probes being answered", ANSWER_TIMEOUT)
    with view.step(f"{address} moves, while the client asks every {PROBE_INTERVAL * 1000:.0f} ms") as step:
        lab.kill_node(owner)
        died = time.monotonic()
        first = lab.wait(lambda: prober.wait_for_answer(died, 0.1), f"{address} answering again", FAILOVER_TIMEOUT)
        seconds = first.finished - died
        heir = lab.wait(lambda: _owner(lab, address, not_=owner), "the new owner in the ARP cache", ANSWER_TIMEOUT)
        step.detail = f"{owner} -> {heir}, {seconds:.2f} s without an answer"
    with view.step(f"{owner} comes back") as step:
        before = lab.lease(owner)
        returned = time.monotonic()
        lab.restore_node(owner)
        lab.wait(lambda: _renewed(lab.lease(owner), before), f"the Lease of {owner}'s speaker", RETURN_TIMEOUT)
        lab.wait(
            lambda: len(lab.cluster.ready_pods(EXAMPLE_NAMESPACE)) == EXAMPLE_PODS, "three ready pods", POD_TIMEOUT
        )
        settled = time.monotonic()
        lab.wait(lambda: prober.wait_for_answer(settled + BEFORE, 0.1), "probes being answered", ANSWER_TIMEOUT)
        after = lab.wait(lambda: _owner(lab, address), "an owner in the ARP cache", ANSWER_TIMEOUT)
        step.detail = f"{after} {'keeps' if after == heir else 'has'} {address}"
    probes = prober.stop()
    lost = [probe for probe in probes if probe.answer is None]
    return Failover(
        dead=owner,
        heir=heir,
        seconds=seconds,
        lost=sum(probe.started < returned for probe in lost),
        sent=len(probes),
        lost_on_return=sum(probe.started >= returned for probe in lost),
        owner_after_return=after,
    )


def _owner(lab: Lab, address: IPv4Address, *, not_: str = "") -> str | None:
    found = lab.client.owner(address)
    return found[1] if found is not None and found[1] != not_ else None


def _renewed(now: Lease | None, before: Lease | None) -> bool:
    return now is not None and bool(now.holder) and (before is None or now.holder != before.holder)


def summarize(view: LabView, service: Service, owner: str, failover: Failover | None, seconds: float) -> None:
    """Say what was seen."""
    view.heading("Summary")
    addresses = ", ".join(map(str, service.ingress))
    facts = [
        ("address", f"{addresses} of pool {service.allocated_pool}, answered for by {owner}"),
        ("pods", f"all {EXAMPLE_PODS} answered the client"),
    ]
    if failover is not None:
        facts += [
            (
                "node death",
                f"{failover.dead} -> {failover.heir} in {failover.seconds:.2f} s",
            ),
            (
                "probes",
                f"{failover.lost} lost of {failover.sent} (one every {PROBE_INTERVAL * 1000:.0f} ms, lost after "
                f"{PROBE_TIMEOUT:.0f} s without an answer)",
            ),
            (
                "node return",
                f"{failover.lost_on_return} probes lost; {failover.owner_after_return} has the address now",
            ),
        ]
    facts.append(("time", f"{seconds:.1f} s in all"))
    view.facts(facts)

"""A MetalLB speaker as another responder: the program that METALLB_SPEAKER names, in the node's network namespace.

    METALLB_SPEAKER=/path/to/speaker python -m bench.arp

Any release that reads its configuration from a ConfigMap, v0.4.6 to v0.12. It finds all that it needs from a cluster:
an API server (the embedded one, also in the node's namespace) with its node, a ConfigMap, and a Service with a status
and an endpoint for each address. Which flags it gets depends on what its `--help` names. It runs in a mount namespace
of its own, in which it finds its Kubernetes namespace where a pod would.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from ipaddress import ip_network, summarize_address_range
from pathlib import Path
from typing import IO, Any

from bench.cable import ROOT, Cable
from bench.responders import Responder, Start, own_processor
from metallb_cli.lab.api import EmbeddedApi
from metallb_cli.layer2.schedule import GRATUITOUS_PERIOD
from metallb_cli.model import IPAddress, parse_address

VARIABLE = "METALLB_SPEAKER"
NODE, NAMESPACE, PORT = "node1", "metallb-system", 7472
LIMIT = 30.0
"""Seconds until it must answer for one address. v0.4.6 needs a few for its election."""
PER_ADDRESS = 0.01
"""Seconds more for each address."""
IN_A_POD = """
mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount && test /var/run -ef /run &&
printf %s "$0" >/run/secrets/kubernetes.io/serviceaccount/namespace && exec "$@"
"""
"""v0.4.6 reads its namespace from /var/run/secrets and has no flag for it."""


def cases() -> dict[str, Start]:
    """The responder to measure beside the others: none without METALLB_SPEAKER."""
    path = os.environ.get(VARIABLE)
    if not path:
        return {}
    if not os.access(path, os.X_OK) or not Path(path).is_file():
        sys.exit(f"{VARIABLE}={path} is not a program; give the path of a MetalLB speaker, v0.4.6 to v0.12")
    program = str(Path(path).resolve())
    return {"given speaker": lambda cable: start(cable, program)}


def start(cable: Cable, program: str) -> Responder:
    """Start the cluster and the speaker, and wait until it answers.

    Raises:
        SystemExit: it ended, or does not answer; says what to do.
    """
    folder = Path(cable.stack.enter_context(tempfile.TemporaryDirectory(prefix="metallb-bench-")))
    cable.node.add_address("lan0", cable.questions.way_back)
    usage = _usage(program)
    _start_api(cable, folder / "kubeconfig", usage)
    arguments = flags(usage, folder / "kubeconfig", cable.questions.way_back.partition("/")[0])
    process = _start_speaker(cable, [program, *arguments])
    log: deque[bytes] = deque(maxlen=20)
    reader = threading.Thread(target=_read, args=(process.stdout, log), daemon=True)
    reader.start()
    try:
        _wait_for_answers(cable, process)
    except TimeoutError as error:
        _end(process)
        reader.join(10)
        said = b"".join(log).decode(errors="replace") or "nothing"
        raise SystemExit(
            f"{VARIABLE}={program}: {error}. Make sure that it is a MetalLB speaker of v0.4.6 to v0.12 for this "
            f"machine. It was called with {' '.join(arguments)}, and said at last:\n{said}"
        ) from None
    pids = descendants(process.pid)
    for pid in pids:
        own_processor(pid)
    return Responder(pids, settled_at=time.monotonic() + 1.5 + GRATUITOUS_PERIOD)


def flags(usage: str, kubeconfig: Path, address: str) -> list[str]:
    """The arguments for a speaker that prints this text for `--help`.

    v0.4.6 needs the address of its node; `--config-ns` and later `--namespace` came after it.
    """
    values = {
        "kubeconfig": str(kubeconfig),
        "config": "config",
        "node-name": NODE,
        "node-ip": address,
        "config-ns": NAMESPACE,
        "namespace": NAMESPACE,
        "port": str(PORT),
    }
    given = [f"--{name}={value}" for name, value in values.items() if _knows(usage, name)]
    return [*given, "--logtostderr"] if _knows(usage, "logtostderr") else given


def objects(addresses: Sequence[IPAddress], usage: str) -> Iterator[dict[str, Any]]:
    """What a cluster has when a controller has given these addresses to as many Services."""
    first, last = addresses[0], addresses[-1]
    pool = {"name": "bench", "protocol": "layer2", "addresses": [f"{first}-{last}"]}
    if _knows(usage, "node-ip"):
        networks = [str(network) for network in summarize_address_range(first, last)]
        around = ip_network((first, 8), strict=False)  # v0.4.6 wants it, and leaves out its first and last address
        pool = {"name": "bench", "protocol": "arp", "cidr": networks, "arp-network": str(around)}
    config = json.dumps({"address-pools": [pool]})
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    place = {"namespace": NAMESPACE, "name": "config"}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": {"config": config}}
    yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    for number, address in enumerate(addresses):
        yield from _service(f"bench-{number}", str(address))


def _service(name: str, address: str) -> Iterator[dict[str, Any]]:
    metadata = {"namespace": "default", "name": name}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": False},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }
    pod = {"ip": "10.244.1.10", "nodeName": NODE}
    subsets = [{"addresses": [pod], "ports": [{"port": 80}]}]
    yield {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod["ip"]], "nodeName": NODE, "conditions": {"ready": True}}],
        "ports": [{"port": 80}],
    }


def serve(kubeconfig: str, first: str, count: int, usage: str) -> None:
    """Be the API server of that cluster until standard input ends."""
    api = EmbeddedApi()
    api.start()
    api.load(objects([parse_address(first) + n for n in range(count)], usage))
    api.kubeconfig(kubeconfig, NAMESPACE)
    print("ready", flush=True)
    sys.stdin.read()
    api.stop()


def _usage(program: str) -> str:
    try:
        asked = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"{VARIABLE}={program} cannot be asked for its flags: {error}") from None
    return asked.stdout + asked.stderr


def _start_api(cable: Cable, kubeconfig: Path, usage: str) -> None:
    addresses = cable.questions.addresses
    what = (str(kubeconfig), str(addresses[0]), len(addresses), usage)
    command = [sys.executable, "-c", f"from bench.given_speaker import serve; serve(*{what!r})"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = cable.node.popen(command, **pipes, text=True, cwd=ROOT)
    cable.stack.callback(server.communicate)
    cable.stack.callback(_end, server)
    if server.stdout.readline() != "ready\n":
        raise RuntimeError("the embedded API server did not start")


def _start_speaker(cable: Cable, command: list[str]) -> subprocess.Popen[bytes]:
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_A_POD, NAMESPACE, *command]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "METALLB"))}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = cable.node.popen(argv, **pipes, env=clean)
    cable.stack.callback(_end, process)
    return process


def _wait_for_answers(cable: Cable, process: subprocess.Popen[bytes]) -> None:
    """Ask for all addresses until every question is answered."""
    count = len(cable.questions.addresses)
    limit = LIMIT + PER_ADDRESS * count
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if process.poll() is not None:
            raise TimeoutError(f"it ended with status {process.returncode}")
        with contextlib.suppress(TimeoutError):
            cable.ask_one_by_one(count)
            return
    raise TimeoutError(f"it does not answer for {count:,} addresses after {limit:.0f} s")


def _knows(usage: str, flag: str) -> bool:
    return re.search(rf"(?<![\w-])--?{flag}(?![\w-])", usage) is not None


def descendants(pid: int) -> tuple[int, ...]:
    """A process and all that it has started."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return (pid, *(found for child in children for found in descendants(child)))


def _read(output: IO[bytes], log: deque[bytes]) -> None:
    with output:
        log.extend(output)


def _end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL to one that does not care."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)

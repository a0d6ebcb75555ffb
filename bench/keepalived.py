"""keepalived on two nodes: VRRPv3 with `nopreempt`, the nearest other thing that moves addresses between hosts.

Debian's package is fetched with apt-get and unpacked into a folder, not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from bench.fleet import Site, until
from metallb_cli.lab.processes import Child

VIRTUAL = 20
"""Addresses of one virtual router, at most: what its documentation names as the limit of an advertisement."""

CONFIG = """
global_defs {{
    router_id {node}
    vrrp_version 3
}}
vrrp_instance bench {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    nopreempt
    virtual_ipaddress {{
{addresses}
    }}
}}
"""


class Missing(Exception):
    """Says why there is no keepalived."""


def obtain(folder: Path) -> tuple[str, str]:
    """Return the path of a keepalived, and the folders of the libraries that it needs in addition.

    Args:
        folder: gets the package, if there is none on this machine.

    Raises:
        Missing: this is no Debian, or apt-get could not get it.
    """
    if found := shutil.which("keepalived"):
        return found, ""
    if os.geteuid() != 0 or not shutil.which("apt-get") or not shutil.which("nsenter"):
        raise Missing("it is not installed, and only root on Debian can fetch it")
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    command = ["apt-get", "install", "--download-only", "--yes", "--no-install-recommends"]
    done = subprocess.run(
        [*command, "-o", f"Dir::Cache::archives={archives}", "keepalived"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Missing(f"apt-get could not fetch it ({' '.join(why)}); `apt-get update` may help")
    root = folder / "root"
    for package in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True, timeout=60)
    program = root / "usr/sbin/keepalived"
    if not program.exists():
        raise Missing("the package of Debian has no /usr/sbin/keepalived")
    return str(program), ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))


class Pair(Site):
    """Two nodes that share addresses by VRRP."""

    def __init__(self, program: tuple[str, str], interval: str, addresses: int, folder: Path) -> None:
        """Start both, and wait until one of them answers.

        Args:
            program: from `obtain`.
            interval: between advertisements, in seconds.
            addresses: how many, up to VIRTUAL.
            folder: for configurations and logs.
        """
        super().__init__(2, min(addresses, VIRTUAL), folder)
        self._program, self._interval = program, interval
        self.patience = 20.0
        try:
            for node in self.switch.nodes:
                self.launch(node, wait=False)
            self.settle()
        except BaseException:
            self.close()
            raise

    def launch(self, node: str, *, wait: bool = True) -> None:
        """Start keepalived on a node. One advertisement after it is ready, it has heard the other one."""
        path, libraries = self._program
        host = self.switch.nodes[node]
        log = self.folder / f"{node}.log"
        log.write_bytes(b"")
        file = self.folder / f"{node}.conf"
        lines = "\n".join(f"        {address}/32" for address in self.addresses)
        file.write_text(CONFIG.format(node=node, priority=100 - host.number, interval=self._interval, addresses=lines))
        pids = [self.folder / f"{node}.{kind}" for kind in ("pid", "vrrp_pid")]
        for pid in pids:  # of one that was killed: who collects the dead may not have come yet
            pid.unlink(missing_ok=True)
        command = ["/usr/bin/nsenter", f"--net={host.namespace.reference}", path, "--dont-fork", "--vrrp"]
        command += ["--log-console", f"--use-file={file}"]
        command += [f"--{pid.suffix[1:]}={pid}" for pid in pids]
        environment = {"LD_LIBRARY_PATH": libraries} if libraries else {}
        self.daemons[node] = Child(f"keepalived of {node}", command, log, environment)
        if wait:
            until(lambda: "Startup complete" in log.read_text(), self.patience, f"the start of keepalived on {node}")
            time.sleep(float(self._interval))

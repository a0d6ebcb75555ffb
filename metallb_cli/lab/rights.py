"""Which rights the lab needs, and getting them: as root, or without root inside a user namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from metallb_cli.errors import MetalLBError, PermissionMissingError, UsageError
from metallb_cli.linux import privileges
from metallb_cli.linux.netns import Namespace

NEEDED = frozenset({"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW"})
"""To make network namespaces and enter them; to build links in them; to answer ARP."""

MARK = "METALLB_LAB_USER_NAMESPACE"
"""Environment variable of a lab that has put itself into a user namespace, so that it does so once."""

UNSHARE = ("unshare", "--user", "--map-root-user", "--")
PROBE_TIMEOUT = 10.0
PROBE = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"
"""Fails without CAP_NET_RAW, which some systems withhold inside a user namespace."""

SETTINGS = (
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""sysctl; the value that forbids user namespaces to users; the value that allows them."""


def ensure(arguments: Sequence[str]) -> None:
    """Return when this process may do all that the lab does; else start again inside a user namespace, if that helps.

    Args:
        arguments: of this process, after `metallb`, to start again with.

    Raises:
        UsageError: this is no Linux.
        PermissionMissingError: says which right is missing and how to get it.
    """
    if sys.platform != "linux":
        raise UsageError(
            f"the lab is built from Linux network namespaces, and this is {sys.platform}: use a Linux machine"
        )
    missing = sorted(NEEDED - privileges.held())
    if not missing:
        _try_namespace()
    elif os.environ.get(MARK):
        raise PermissionMissingError(f"{_lacking(missing)}, also inside a user namespace. {_advice()}")
    elif obstacle := _obstacle():
        raise PermissionMissingError(
            f"{_lacking(missing)}, and user namespaces cannot be used: {obstacle}. {_advice()}"
        )
    else:
        _start_again(arguments)


def in_user_namespace() -> bool:
    """Whether this lab runs without root, in a user namespace."""
    return bool(os.environ.get(MARK))


def _try_namespace() -> None:
    """Make a namespace: a container may forbid that although it leaves the capabilities."""
    try:
        with Namespace.create("metallb-lab-probe", mount=False) as probe:
            probe.add_bridge("probe")
            probe.add_veth("probe-a", "probe-b")
    except MetalLBError as error:
        raise PermissionMissingError(
            f"{error}, although this process has {', '.join(sorted(NEEDED))}: a container's seccomp or AppArmor "
            "profile may forbid it, or the kernel lacks the modules bridge and veth. In Docker: --privileged, or at "
            "least --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
        ) from error


def _obstacle() -> str:
    """Why a user namespace does not help here; empty when it does."""
    if shutil.which(UNSHARE[0]) is None:
        return "the program unshare is missing (package util-linux)"
    for name, forbids, allows in SETTINGS:
        path = Path("/proc/sys", name)
        if path.exists() and path.read_text().strip() == forbids:
            return f"allow them with `sudo sysctl -w {name.replace('/', '.')}={allows}`"
    command = [*UNSHARE, "unshare", "--net", sys.executable, "-I", "-c", PROBE]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"unshare does not end within {PROBE_TIMEOUT:.0f} s"
    lines = (probe.stderr.strip() or f"exit status {probe.returncode}").splitlines()
    return lines[-1] if probe.returncode else ""


def _start_again(arguments: Sequence[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    command = [*UNSHARE, sys.executable, "-P", "-m", "metallb_cli", *arguments]
    os.execvpe(command[0], command, {**os.environ, MARK: "1"})  # noqa: S606 - no shell is wanted


def _lacking(missing: Sequence[str]) -> str:
    return f"the lab needs {', '.join(missing)} to build its network"


def _advice() -> str:
    return (
        "Run it as root: `sudo metallb lab`; in Docker: --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN "
        "--security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    )

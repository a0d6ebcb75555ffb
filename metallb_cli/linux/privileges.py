"""What this process may do: which capabilities it holds, and giving up what it does not need.

All of it concerns the calling thread and those it starts later, so call it while there is only one.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import struct
from collections.abc import Collection
from pathlib import Path

from metallb_cli.errors import PermissionMissingError

log = logging.getLogger(__name__)

CAPABILITIES = {
    "CAP_KILL": 5,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""Bit numbers of linux/capability.h, of the capabilities that anything here asks for."""

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
# The same on every architecture:
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_PATH_BENEATH = 1
_READ_DIR, _REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = (1 << bit for bit in (3, 4, 5, 7, 8))
_libc = ctypes.CDLL(None, use_errno=True)


def held() -> frozenset[str]:
    """The effective capabilities of this thread, of those that CAPABILITIES names."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)
    return frozenset()


def require(capabilities: Collection[str], *, purpose: str) -> None:
    """Check that the capabilities are held.

    Args:
        capabilities: such as {"CAP_NET_RAW"}.
        purpose: completes "this needs … to".

    Raises:
        PermissionMissingError: says which are missing and three ways to get them.
    """
    missing = sorted(set(capabilities) - held())
    if missing:
        short = ", ".join(name.removeprefix("CAP_") for name in missing)
        raise PermissionMissingError(
            f"this needs {' and '.join(missing)} to {purpose}. In Kubernetes, give the container "
            f"`securityContext: {{capabilities: {{add: [{short}]}}}}`; on a machine, use sudo; "
            "to try it in a network of its own without root, run it under `unshare -Urn`"
        )


def keep_only(capabilities: Collection[str]) -> None:
    """Give up every other capability for good, also over an exec.

    Raises:
        PermissionMissingError: one to keep is not held now.
    """
    require(capabilities, purpose="go on after dropping the others")
    bits = sum(1 << CAPABILITIES[name] for name in capabilities)
    for bit in range(
        64
    ):  # stops at the last that the kernel knows, or at once without CAP_SETPCAP, where it adds nothing
        if not bits >> bit & 1 and _libc.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0) != 0:
            break
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = struct.pack("=6I", low, low, 0, high, high, 0)  # effective, permitted, inheritable
    if _libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), f"cannot drop capabilities: {os.strerror(ctypes.get_errno())}")
    no_new_privileges()


def no_new_privileges() -> None:
    """Make sure that no exec from here on adds a right (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, whatever state either is in.

    The signal follows the parent *thread*, not the process (prctl(2), PR_SET_PDEATHSIG).
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def close_files(pins: Path | None = None) -> bool:
    """Open no file, and make no TCP connection, from here on; what is open stays open.

    Uses Landlock (landlock(7)): every access that the kernel's version knows is refused, but for what pinning needs.
    Everything that will ever be imported must be imported before.

    Args:
        pins: a directory in a bpf file system, below which names may still be made, listed and removed, and which may
            be removed itself when it is empty. To open what has a name, bpf(2) asks for no right of Landlock.

    Returns:
        Whether the kernel does it; False on kernels before 5.13 or where Landlock is switched off.
    """
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    # linux/landlock.h: 13 kinds of file access in version 1, then REFER (2), TRUNCATE (3), IOCTL_DEV (5).
    kinds = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    attributes = struct.pack("=Q", (1 << kinds) - 1)
    if version >= 4:
        attributes += struct.pack("=Q", 0b11)  # bind and connect of TCP
    if version >= 6:
        attributes += struct.pack("=Q", 0b11)  # abstract sockets and signals of processes outside
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    no_new_privileges()
    try:
        if pins is not None:
            _allow(ruleset, pins, _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG)
            _allow(ruleset, pins.parent, _REMOVE_DIR)
        return bool(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, directory: Path, rights: int) -> None:
    """Except a directory, and all below it, from what the ruleset refuses."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        rule = struct.pack("=Qi", rights, fd)
        if _libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_PATH_BENEATH, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"cannot keep {directory} open: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)

"""Whether the `tc` engine can work here, and if not, what is missing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from metallb_cli.errors import BpfError
from metallb_cli.linux import privileges
from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.maps import Addresses, Hits, Lease
from metallb_cli.linux.ebpf.programs import arp_program, ndp_program
from metallb_cli.linux.ebpf.syscalls import ATTACH_TCX_INGRESS, BEFORE_ALL, PROGRAM_TC, SYSCALL_NUMBERS

CAPABILITIES = frozenset({"CAP_BPF", "CAP_NET_ADMIN"})
"""To load the programs, and to attach them to an interface."""

_NO_INTERFACE = 0x7FFFFFFF
_TIME_OFFSETS = Path("/proc/self/timens_offsets")


def supported() -> str | None:
    """Try everything but attaching to a real interface; 2 ms.

    Returns:
        None, or why not: completes the sentence "the tc engine is not used: …", with what to do.
    """
    machine = os.uname().machine
    if machine not in SYSCALL_NUMBERS:
        return f"the number of the bpf system call on {machine} is not known"
    missing = sorted(CAPABILITIES - privileges.held())
    if missing:
        short = ", ".join(name.removeprefix("CAP_") for name in missing)
        return (
            f"{' and '.join(missing)} missing; in Kubernetes, give the container "
            f"`securityContext: {{capabilities: {{add: [{short}]}}}}`"
        )
    if _shifted_clock():
        return "this process lives in a time namespace, so its clocks are not those that the kernel's programs read"
    try:
        _try_everything()
    except BpfError as error:
        if error.errno == errno.EPERM:
            return f"{error}; in a user namespace, or under a seccomp profile without bpf(2), the capabilities are void"
        return str(error)
    return None


def _try_everything() -> None:
    maps: list[Lease | Hits | Addresses] = []
    programs: list[int] = []
    try:
        lease, hits = Lease(), Hits(1)
        maps += [lease, hits]
        for assemble, key_size in ((arp_program, 4), (ndp_program, 16)):
            addresses = Addresses(key_size, 1)
            maps.append(addresses)
            code = assemble(bytes(6), addresses=addresses.fd, hits=hits.fd, lease=lease.fd, slots=1)
            programs.append(syscalls.program_load(PROGRAM_TC, code, "metallb_probe"))
        _try_to_attach(programs[0])
    finally:
        for made in maps:
            made.close()
        for program in programs:
            os.close(program)


def _try_to_attach(program: int) -> None:
    """Attach to no interface: a kernel with tcx says that there is none, one without that it knows no such thing."""
    try:
        os.close(syscalls.link_create(program, _NO_INTERFACE, ATTACH_TCX_INGRESS, BEFORE_ALL))
    except BpfError as error:
        if error.errno == errno.ENODEV:
            return
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise BpfError(
                f"Linux {os.uname().release} has no tcx, which came with 6.6 (CONFIG_NET_XGRESS)", errno=error.errno
            ) from error
        raise


def _shifted_clock() -> bool:
    """Whether a time namespace shifts the clocks (time_namespaces(7))."""
    try:
        lines = _TIME_OFFSETS.read_text().splitlines()
    except OSError:  # a kernel without time namespaces
        return False
    return any(field != "0" for line in lines for field in line.split()[1:])

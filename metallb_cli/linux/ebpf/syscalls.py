"""bpf(2), as far as it is used here. The structures are `union bpf_attr` in linux/bpf.h.

What makes something in the kernel returns a file descriptor, which the kernel opens with close-on-exec. Every function
raises BpfError when the kernel refuses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metallb_cli.errors import BpfError

SYSCALL_NUMBERS = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "armv7l": 386,
    "ppc64le": 361,
    "s390x": 351,
}
"""The number of bpf(2) by `os.uname().machine`."""

LICENSE = b"Apache-2.0"
"""Of the loaded programs. They call no helper that the kernel keeps for the GPL."""

MAP_HASH, MAP_ARRAY = 1, 2
NO_PREALLOCATION, MMAPABLE = 1 << 0, 1 << 10  # flags of a map
PROGRAM_TC, PROGRAM_XDP = 3, 6
ATTACH_XDP, ATTACH_TCX_INGRESS = 37, 46
BEFORE_ALL = 1 << 3  # BPF_F_BEFORE without another program to be before

_MAP_CREATE, _PROG_LOAD, _OBJ_PIN, _OBJ_GET, _TEST_RUN, _INFO_BY_FD = 0, 5, 6, 7, 10, 15
_LOOKUP_BATCH, _UPDATE_BATCH, _DELETE_BATCH, _LINK_CREATE, _LINK_UPDATE = 24, 26, 27, 28, 29

_MAP_ATTR = struct.Struct("=5I8x16s")
_BATCH_ATTR = struct.Struct("=4Q2I2Q")
_BATCH_COUNT = 32  # offset of the number of elements, in which the kernel answers
_LOAD_ATTR = struct.Struct("=2I2Q2IQ2I16s")
_OBJECT_ATTR = struct.Struct("=QII")
_INFO_ATTR = struct.Struct("=IIQ")
_LINK_ATTR = struct.Struct("=4I8xQ")
_LINK_UPDATE_ATTR = struct.Struct("=4I")
_TEST_ATTR = struct.Struct("=4I2Q4I2Q3I4x")
_TEST_ANSWER = struct.Struct("=4xI4xI20xI")  # the value, the length of the packet, the duration

_LOG_SIZE = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class MapInfo(NamedTuple):
    """The layout of a map: see `map_create`."""

    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class Run(NamedTuple):
    """What a program did in `run_program`: its return value, the packet afterwards, nanoseconds for each repetition."""

    value: int
    packet: bytes
    duration: int


def map_create(info: MapInfo, name: str) -> int:
    """Make a map. `name`: at most 15 letters, shown by bpftool."""
    return _bpf(_MAP_CREATE, _MAP_ATTR.pack(*info, name.encode()), f"create map {name}")


def map_info(fd: int) -> MapInfo:
    """The layout of a map (`struct bpf_map_info`)."""
    kind, _, key_size, value_size, max_entries, flags = struct.unpack("=6I", _info(fd, 24))
    return MapInfo(kind, key_size, value_size, max_entries, flags)


def map_update(fd: int, keys: Sequence[bytes], values: bytes) -> None:
    """Set elements, in one call. `values`: of all keys, one behind the other."""
    if keys:
        key_bytes = b"".join(keys)
        attr = _BATCH_ATTR.pack(0, 0, _address(key_bytes), _address(values), len(keys), fd, 0, 0)
        _bpf(_UPDATE_BATCH, attr, f"set {len(keys)} elements of a map")


def map_delete(fd: int, keys: Sequence[bytes]) -> None:
    """Delete elements that exist, in one call."""
    if keys:
        key_bytes = b"".join(keys)
        attr = _BATCH_ATTR.pack(0, 0, _address(key_bytes), 0, len(keys), fd, 0, 0)
        _bpf(_DELETE_BATCH, attr, f"delete {len(keys)} elements of a map")


def map_items(fd: int, key_size: int, value_size: int, room: int) -> dict[bytes, bytes]:
    """Every element, in one call. `room`: no fewer than there are."""
    keys, values = ctypes.create_string_buffer(room * key_size), ctypes.create_string_buffer(room * value_size)
    end = ctypes.create_string_buffer(8)
    attr = _BATCH_ATTR.pack(0, ctypes.addressof(end), ctypes.addressof(keys), ctypes.addressof(values), room, fd, 0, 0)
    result, answer = _call(_LOOKUP_BATCH, attr)
    if result < 0 and result != -errno.ENOENT:  # ENOENT: the end of the map was reached, as it should be
        raise _refused("read a map", -result)
    (count,) = struct.unpack_from("=I", answer, _BATCH_COUNT)
    key_bytes, value_bytes = keys.raw, values.raw
    return {
        key_bytes[i * key_size : (i + 1) * key_size]: value_bytes[i * value_size : (i + 1) * value_size]
        for i in range(count)
    }


def program_load(kind: int, code: bytes, name: str) -> int:
    """Have the kernel verify and translate a program; the error holds the end of the verifier's log."""
    fd, log = _load(kind, code, name, log_level=0)
    if fd < 0:
        _, log = _load(kind, code, name, log_level=1)
        raise _refused(f"load program {name}", -fd, log[-4000:])
    return fd


def verifier_log(kind: int, code: bytes, name: str) -> str:
    """Load the program, drop it, and return what the verifier said, with its statistics."""
    fd, log = _load(kind, code, name, log_level=4)
    if fd < 0:
        raise _refused(f"load program {name}", -fd, log)
    os.close(fd)
    return log


def link_create(program: int, ifindex: int, attach: int, flags: int = 0) -> int:
    """Attach a program to an interface of this thread's network namespace, until the last descriptor is closed."""
    return _bpf(_LINK_CREATE, _LINK_ATTR.pack(program, ifindex, attach, flags, 0), f"attach to interface {ifindex}")


def link_update(link: int, program: int) -> None:
    """Exchange the program of a link between two packets."""
    _bpf(_LINK_UPDATE, _LINK_UPDATE_ATTR.pack(link, program, 0, 0), "exchange the attached program")


def tcx_link_interface(link: int) -> int:
    """The interface a tcx link is attached to; 0 when that is gone (`struct bpf_link_info`)."""
    return int(struct.unpack_from("=I", _info(link, 24), 16)[0])


def pin(fd: int, path: Path) -> None:
    """Give the object a name in a bpf file system, which holds it from then on."""
    name = os.fsencode(path)
    _bpf(_OBJ_PIN, _OBJECT_ATTR.pack(_address(name), fd, 0), f"pin {path}")


def open_pinned(path: Path) -> int:
    """Open an object by its name in a bpf file system."""
    name = os.fsencode(path)
    return _bpf(_OBJ_GET, _OBJECT_ATTR.pack(_address(name), 0, 0), f"open {path}")


def run_program(
    program: int, packet: bytes, *, context: bytes = b"", repeat: int = 1, flags: int = 0, batch: int = 0
) -> Run:
    """Run a program on a packet (BPF_PROG_TEST_RUN).

    Args:
        program: its descriptor.
        packet: a whole frame.
        context: `struct __sk_buff` or `struct xdp_md` as far as it is given; of the former, `ifindex` at offset 40
            names the interface that the packet seems to come from.
        repeat: how often, each time on what the time before left.
        flags: BPF_F_TEST_XDP_LIVE_FRAMES is 2.
        batch: packets at a time, for live frames.
    """
    room = 0 if flags else len(packet) + 256  # live frames go somewhere else
    after = ctypes.create_string_buffer(room or 1)
    attr = _TEST_ATTR.pack(
        program,
        0,
        len(packet),
        room,
        _address(packet),
        ctypes.addressof(after) if room else 0,
        repeat,
        0,
        len(context),
        0,
        _address(context) if context else 0,
        0,
        flags,
        0,
        batch,
    )
    result, answer = _call(_TEST_RUN, attr)
    if result < 0:
        raise _refused("test a program", -result)
    value, length, duration = _TEST_ANSWER.unpack_from(answer)
    return Run(value, after.raw[:length], duration)


def _load(kind: int, code: bytes, name: str, log_level: int) -> tuple[int, str]:
    """The descriptor or the negative error number, and the log."""
    log = ctypes.create_string_buffer(_LOG_SIZE if log_level else 1)
    attr = _LOAD_ATTR.pack(
        kind,
        len(code) // 8,
        _address(code),
        _address(LICENSE),
        log_level,
        _LOG_SIZE if log_level else 0,
        ctypes.addressof(log) if log_level else 0,
        0,
        0,
        name.encode(),
    )
    return _call(_PROG_LOAD, attr)[0], log.value.decode(errors="replace")


def _info(fd: int, length: int) -> bytes:
    """The first bytes of what the kernel tells of an object."""
    info = ctypes.create_string_buffer(length)
    _bpf(_INFO_BY_FD, _INFO_ATTR.pack(fd, length, ctypes.addressof(info)), "ask about an object")
    return info.raw


def _address(data: bytes) -> int:
    """Where the bytes are. They must have a name of their own until the system call returns."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _bpf(command: int, attr: bytes, what: str) -> int:
    result, _ = _call(command, attr)
    if result < 0:
        raise _refused(what, -result)
    return result


def _call(command: int, attr: bytes) -> tuple[int, bytes]:
    """The result or the negative error number, and the attributes as the kernel left them."""
    number = SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None or sys.platform != "linux":
        return -errno.ENOSYS, attr
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = int(_libc.syscall(ctypes.c_long(number), command, buffer, len(attr)))
    return (result if result >= 0 else -ctypes.get_errno()), buffer.raw


def _refused(what: str, code: int, log: str = "") -> BpfError:
    reason = f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"
    return BpfError(f"cannot {what}: {reason}" + (f"\n{log}" if log else ""), errno=code)

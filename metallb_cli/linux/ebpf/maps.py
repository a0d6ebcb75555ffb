"""The maps that the programs work with. Lease and hits are memory shared with the kernel: no system call reads them."""

from __future__ import annotations

import mmap
import os
import struct
import time
from array import array
from collections.abc import Collection, Sequence

from metallb_cli.linux.ebpf import syscalls
from metallb_cli.linux.ebpf.syscalls import MAP_ARRAY, MAP_HASH, MMAPABLE, MapInfo

_NANOSECONDS = 1_000_000_000
_MAX_DEADLINE = (1 << 63) - 1


class _Memory:
    """An array map with one element of 64-bit numbers, as memory.

    Args:
        numbers: how many.
        name: for bpftool.
        fd: of a map to adopt, or None to make one.
    """

    def __init__(self, numbers: int, name: str, fd: int | None) -> None:
        self.fd = syscalls.map_create(self.layout(numbers), name) if fd is None else fd
        self._memory = mmap.mmap(self.fd, -(-numbers * 8 // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._numbers = memoryview(self._memory).cast("Q")[:numbers]

    @staticmethod
    def layout(numbers: int) -> MapInfo:
        """What such a map looks like to the kernel."""
        return MapInfo(MAP_ARRAY, 4, 8 * numbers, 1, MMAPABLE)

    def close(self) -> None:
        """Let go. The kernel keeps the map while a program or a pin holds it."""
        self._numbers.release()
        self._memory.close()
        os.close(self.fd)


class Lease(_Memory):
    """The fence: the programs answer until a deadline and then fall silent, whatever becomes of this process."""

    LAYOUT = _Memory.layout(1)

    def __init__(self, fd: int | None = None) -> None:
        super().__init__(1, "metallb_lease", fd)

    def renew(self, deadline: float) -> None:
        """Move the deadline, for all addresses at once, by storing one number (one move of 8 bytes, so never torn).

        Args:
            deadline: on CLOCK_MONOTONIC, like every time here; 0 or a time in the past silences at once. It is stored
                on CLOCK_BOOTTIME, so that a machine that wakes up does not go on with a lease from before its sleep.
        """
        asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._numbers[0] = min(max(0, int(deadline * _NANOSECONDS) + asleep), _MAX_DEADLINE) if deadline > 0 else 0

    @property
    def boottime(self) -> int:
        """The deadline as the programs see it, in nanoseconds of CLOCK_BOOTTIME."""
        return int(self._numbers[0])


class Hits(_Memory):
    """How often each slot was answered for."""

    def __init__(self, slots: int, fd: int | None = None) -> None:
        super().__init__(slots, "metallb_hits", fd)

    def read(self) -> list[int]:
        """All counters; 0.1 ms for 16384."""
        return self._numbers.tolist()


class Addresses:
    """From an address in network order to its slot. The kernel finds it by a hash.

    Args:
        key_size: 4 or 16 bytes.
        capacity: elements, which the kernel allocates at once, so that adding thousands takes few milliseconds.
        fd: of a map to adopt, or None to make one.
    """

    def __init__(self, key_size: int, capacity: int, fd: int | None = None) -> None:
        self._info = self.layout(key_size, capacity)
        self.fd = syscalls.map_create(self._info, f"metallb_ip{key_size * 8}") if fd is None else fd

    @staticmethod
    def layout(key_size: int, capacity: int) -> MapInfo:
        """What such a map looks like to the kernel."""
        return MapInfo(MAP_HASH, key_size, 4, capacity, 0)

    def add(self, addresses: Sequence[bytes], slots: Sequence[int]) -> None:
        """Add addresses with the slot of each."""
        syscalls.map_update(self.fd, addresses, array("I", slots).tobytes())

    def remove(self, addresses: Collection[bytes]) -> None:
        """Remove addresses, all of which are there."""
        syscalls.map_delete(self.fd, list(addresses))

    def items(self) -> dict[bytes, int]:
        """Every address with its slot."""
        found = syscalls.map_items(self.fd, self._info.key_size, 4, self._info.max_entries)
        return {address: int(struct.unpack("=I", slot)[0]) for address, slot in found.items()}

    def close(self) -> None:
        """Let go. The kernel keeps the map while a program or a pin holds it."""
        os.close(self.fd)

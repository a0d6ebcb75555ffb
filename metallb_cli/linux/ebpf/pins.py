"""Names in a bpf file system, which keep programs and maps alive after the process that made them."""

from __future__ import annotations

import os
from pathlib import Path

from metallb_cli.linux.ebpf import syscalls


class Pins:
    """The pinned objects of one interface. Without a directory, nothing is ever pinned or found.

    Args:
        directory: in a bpf file system; made when the first object is pinned.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def open(self, name: str) -> int | None:
        """Return a descriptor of the object, or None when there is none of that name."""
        if self._directory is None or not (self._directory / name).exists():
            return None
        return syscalls.open_pinned(self._directory / name)

    def put(self, name: str, fd: int) -> None:
        """Give the object a name, instead of the one that had it."""
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self.drop(name)
            syscalls.pin(fd, self._directory / name)

    def drop(self, name: str) -> None:
        """Remove a name. An attachment that nobody else holds ends."""
        if self._directory is not None:
            (self._directory / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every name, and the directory."""
        if self._directory is not None and self._directory.is_dir():
            for path in self._directory.iterdir():
                path.unlink()
            self._directory.rmdir()


def bpf_file_system() -> Path | None:
    """The first mounted bpf file system that can be written, usually /sys/fs/bpf; None without one.

    A container sees one only if the pod mounts it: `hostPath: {path: /sys/fs/bpf}`.
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind == "bpf" and os.access(path, os.W_OK):
            return Path(path)
    return None

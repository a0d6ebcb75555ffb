"""Names in a bpf file system, which keep programs and maps alive after the process that made them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from metallb_cli.errors import BpfError
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
            with _explained(f"pin {name} in {self._directory}"):
                self._directory.mkdir(exist_ok=True)
            self.drop(name)
            syscalls.pin(fd, self._directory / name)

    def drop(self, name: str) -> None:
        """Remove a name. An attachment that nobody else holds ends."""
        if self._directory is not None:
            with _explained(f"remove {name} from {self._directory}"):
                (self._directory / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every name, and the directory."""
        if self._directory is not None and self._directory.is_dir():
            with _explained(f"remove {self._directory}"):
                for path in self._directory.iterdir():
                    path.unlink()
                self._directory.rmdir()


class PinDirectory:
    """The directory for the pins of this network namespace, which is this process's alone until it ends.

    So the speakers of several namespaces on one machine, as in the lab, never touch each other's pins. A process that
    was killed gives the directory free with everything in it.

    Args:
        file_system: a bpf file system, in which `metallb/INODE` is made, with the inode number of the namespace.

    Raises:
        BpfError: it cannot be made, or another process has it.
    """

    def __init__(self, file_system: Path) -> None:
        self.path = file_system / "metallb" / str(Path("/proc/thread-self/ns/net").stat().st_ino)
        with _explained(f"use {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise BpfError(f"{self.path} is in use by another process", errno=error.errno or 0) from error

    def remove(self) -> None:
        """Remove the directory, which is empty when every engine was closed, and give it free."""
        with contextlib.suppress(OSError):
            self.path.rmdir()
        os.close(self._fd)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BpfError(f"cannot {what}: {error.strerror}", errno=error.errno or 0) from error


def bpf_file_system() -> Path | None:
    """The first mounted bpf file system that can be written, usually /sys/fs/bpf; None without one.

    A container sees one only if the pod mounts it, or better a directory of it, with `hostPath`.
    """
    for line in Path("/proc/thread-self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind == "bpf" and os.access(path, os.W_OK):
            return Path(path)
    return None

"""Sends many frames with one system call (sendmmsg(2)), which Python's sockets do not offer."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from itertools import groupby

FRAMES_PER_CALL = 512
"""The gratuitous frames of one turn, and more than the answers of one (`schedule.BATCH`, `driver.FRAMES_PER_TURN`)."""

PASSING = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.ENOMEM, errno.EINTR})
"""The interface's queue is full for the moment: a lost frame, as on any wire. Whoever needs it asks again."""

_MSG_DONTWAIT = 0x40
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class FrameSender:
    """Sends from one socket, which it neither owns nor closes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._layouts: dict[int, _Layout] = {}

    def send(self, frames: Sequence[bytes]) -> int:
        """Send the frames in order. Returns how many were lost because a queue was full.

        Raises:
            OSError: the kernel refuses for another reason; the frames from there on were not sent.
        """
        lost = 0
        lengths = set(map(len, frames))
        runs = [(lengths.pop(), frames)] if len(lengths) == 1 else groupby(frames, len)
        for length, group in runs:
            layout = self._layouts.get(length)
            if layout is None:
                layout = self._layouts[length] = _Layout(length)
            same = list(group)
            for start in range(0, len(same), FRAMES_PER_CALL):
                lost += layout.send(self._fd, same[start : start + FRAMES_PER_CALL])
        return lost


class _Layout:
    """A buffer for frames of one length, and the kernel's description of it, which is made once."""

    def __init__(self, length: int) -> None:
        self._length = length
        buffer = ctypes.create_string_buffer(length * FRAMES_PER_CALL)
        self._buffer = memoryview(buffer).cast("B")  # keeps the memory, too
        start = ctypes.addressof(buffer)
        vectors = b"".join(struct.pack("@PN", start + length * n, length) for n in range(FRAMES_PER_CALL))
        self._vectors = ctypes.create_string_buffer(vectors)
        start = ctypes.addressof(self._vectors)
        # struct mmsghdr: name and its length, iovec and how many, control and its length, flags; bytes sent.
        headers = [struct.pack("@PIPNPNi0P", 0, 0, start + 16 * n, 1, 0, 0, 0) for n in range(FRAMES_PER_CALL)]
        headers = [header + struct.pack("@I0P", 0) for header in headers]
        self._size = len(headers[0])
        self._headers = ctypes.create_string_buffer(b"".join(headers))
        self._start = ctypes.addressof(self._headers)

    def send(self, fd: int, frames: Sequence[bytes]) -> int:
        count = len(frames)
        self._buffer[: self._length * count] = b"".join(frames)
        sent = lost = 0
        while sent < count:
            done = _libc.sendmmsg(fd, self._start + self._size * sent, count - sent, _MSG_DONTWAIT)
            if done <= 0:
                code = ctypes.get_errno()
                if code not in PASSING:
                    raise OSError(code, os.strerror(code))
                lost += 1
                done = 1
            sent += done
        return lost

"""AF_PACKET sockets (packet(7)): whole Ethernet frames of one interface and one protocol. Needs CAP_NET_RAW.

Frames come through a ring in memory that the kernel shares with this process, so that receiving takes no system call.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from metallb_cli.layer2.socket_filter import MAX_RANGES, SNAP_LENGTH, Instruction, compile_filter, encode
from metallb_cli.linux.frame_sender import PASSING, FrameSender
from metallb_cli.model import AddressRange

ETHERTYPE_ARP = 0x0806

SLOTS = 4096
"""Frames that can wait: at 500 000 frames/s for this process, 8 ms."""

SEND_BUFFER = 1 << 20
"""Bytes, as the kernel counts them: some 1300 frames on their way out. net.core.wmem_max limits it."""

_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_RX_RING, _PACKET_VERSION = 263, 5, 10
_TPACKET_V2 = 1
# struct tpacket2_hdr: status (4 bytes), length, length here (at 8), where the Ethernet frame begins (2 bytes at 12),
# when it came: seconds (at 16) and nanoseconds.
_LENGTH_WORD, _START_HALF, _SECONDS_WORD = 2, 6, 4
_FRAME_OFFSET = 66  # of the Ethernet frame in a slot: the header, an address, and alignment
_TP_STATUS_KERNEL = 0  # else the slot is ours, with reasons that do not matter here
_BLOCK = 1 << 16
_FEWER_RANGES = (MAX_RANGES, MAX_RANGES // 5, MAX_RANGES // 25, 1)


class PacketSocket:
    """Receives the frames that a filter lets pass, and no other frame ever; sends any.

    Args:
        name, index: the interface, in the network namespace of the calling thread.
        ethertype: of the frames to receive.
        program: the filter.
        snap_length: bytes of a frame that are looked at; longer ones are cut.
        slots: frames that can wait.

    Raises:
        OSError: the kernel refuses.
    """

    def __init__(
        self,
        name: str,
        index: int,
        ethertype: int,
        program: list[Instruction],
        snap_length: int = SNAP_LENGTH,
        slots: int = SLOTS,
    ) -> None:
        self._slots = slots
        # Protocol 0 receives nothing: frames only come with the bind, when the filter is in place.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self.set_filter(program)
            self._slot = 1 << (_FRAME_OFFSET + snap_length - 1).bit_length()
            self._make_ring()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._socket.bind((name, ethertype))
            if socket.if_nametoindex(name) != index:
                raise OSError(errno.ENODEV, "the interface was replaced by another of its name")
        except BaseException:
            self._socket.close()
            raise
        self._next = 0
        self._sender = FrameSender(self._socket.fileno())

    def _make_ring(self) -> None:
        size = self._slot * self._slots
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        self._socket.setsockopt(
            _SOL_PACKET, _PACKET_RX_RING, struct.pack("@4I", _BLOCK, size // _BLOCK, self._slot, self._slots)
        )
        self._memory = mmap.mmap(self._socket.fileno(), size)
        self._words = memoryview(self._memory).cast("I")
        self._halves = memoryview(self._memory).cast("H")
        self._statuses = memoryview(struct.pack("=I", _TP_STATUS_KERNEL) * self._slots).cast("I")

    def fileno(self) -> int:
        """The descriptor that is readable when frames wait."""
        return self._socket.fileno()

    def set_filter(self, program: list[Instruction]) -> None:
        """Replace the filter; the kernel exchanges it between two frames.

        Raises:
            OSError: the kernel refuses; ENOMEM means that the program is too long.
        """
        attach_filter(self._socket, program)

    def receive(self, limit: int, stamps: list[float] | None = None) -> list[bytes]:
        """Take waiting frames, at most `limit`; add to `stamps` when each came (CLOCK_REALTIME). No frame: none waits.

        Raises:
            OSError: the interface went down or away.
        """
        frames = self._take(limit, stamps)
        if frames and not self._next:  # the end of the ring: what waits at its beginning, too
            frames += self._take(limit - len(frames), stamps)
        if not frames and (code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            raise OSError(code, os.strerror(code))
        return frames

    def _take(self, limit: int, stamps: list[float] | None) -> list[bytes]:
        """Take frames up to the end of the ring. The numbers of all slots are read at once, which is half the work."""
        words, step = self._words, self._slot >> 2
        first = self._next * step
        end = first + step * min(limit, self._slots - self._next)
        if first == end or words[first] == _TP_STATUS_KERNEL:
            return []
        # The kernel sets a slot's status after its contents. Python has no read barrier, so that a processor with weak
        # ordering could show an old frame in a new slot: then a question is answered twice and another asked again.
        if first + step < end and words[first + step] == _TP_STATUS_KERNEL:
            end = first + step  # a lone frame
        statuses = words[first:end:step].tolist()
        if _TP_STATUS_KERNEL in statuses:
            end = first + step * statuses.index(_TP_STATUS_KERNEL)
        starts = self._halves[2 * first + _START_HALF : 2 * end : 2 * step].tolist()
        lengths = words[first + _LENGTH_WORD : end : step].tolist()
        slots = range(4 * first, 4 * end, self._slot)
        if stamps is not None:
            seconds = words[first + _SECONDS_WORD : end : step].tolist()
            nanoseconds = words[first + _SECONDS_WORD + 1 : end : step].tolist()
            stamps += [whole + part / 1e9 for whole, part in zip(seconds, nanoseconds, strict=True)]
        memory = self._memory
        frames = [memory[at + start : at + start + n] for at, start, n in zip(slots, starts, lengths, strict=True)]
        words[first:end:step] = self._statuses[: len(frames)]
        self._next = (self._next + len(frames)) % self._slots
        return frames

    def send(self, frames: Sequence[bytes]) -> int:
        """Send frames in order. Returns how many were lost because a queue was full.

        Raises:
            OSError: the interface went down or away.
        """
        if len(frames) > 1:
            return self._sender.send(frames)
        try:
            for frame in frames:
                self._socket.send(frame)  # half the work for a lone one
        except OSError as error:
            if error.errno not in PASSING:
                raise
            return 1
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back. Can be called twice."""
        self._words.release()
        self._halves.release()
        self._memory.close()
        self._socket.close()


class ArpSocket(PacketSocket):
    """Receives the ARP frames for addresses in `ranges`. Otherwise like PacketSocket."""

    def __init__(self, name: str, index: int, ranges: Sequence[AddressRange]) -> None:
        self._index = index
        super().__init__(name, index, ETHERTYPE_ARP, compile_filter((), interface=index))
        try:
            self.set_ranges(ranges)
        except BaseException:
            self.close()
            raise

    def set_ranges(self, ranges: Sequence[AddressRange]) -> None:
        """Receive ARP for these addresses from now on.

        Raises:
            OSError: the kernel refuses even the shortest program.
        """
        for limit in _FEWER_RANGES:
            try:
                self.set_filter(compile_filter(ranges, interface=self._index, max_ranges=limit))
                return
            except OSError as error:
                # Kernels before 6.9 allow a socket 20 KiB (net.core.optmem_max), less than the longest program.
                if error.errno != errno.ENOMEM or limit == _FEWER_RANGES[-1]:
                    raise


def attach_filter(sock: socket.socket, program: list[Instruction]) -> None:
    """Give a socket a classic BPF program.

    Raises:
        OSError: the kernel refuses; ENOMEM means that the program is too long.
    """
    code = ctypes.create_string_buffer(encode(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


def explain(error: OSError) -> str:
    """The error in words, with its number's name."""
    return f"{os.strerror(error.errno or 0)} ({errno.errorcode.get(error.errno or 0, error.errno)})"

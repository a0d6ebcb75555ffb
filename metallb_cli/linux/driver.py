"""Moves frames between one socket and one protocol engine."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Protocol

from metallb_cli.layer2.responder import Counts
from metallb_cli.layer2.socket_filter import SNAP_LENGTH
from metallb_cli.linux.frame_sender import PASSING, FrameSender

FRAMES_PER_TURN = 64
"""Frames taken in a row: then the other sockets have their turn, however many more wait."""


class Engine(Protocol):
    """What the engine of every protocol looks like; see `layer2.responder`."""

    own_macs: frozenset[bytes]

    @property
    def drops(self) -> Mapping[Any, int]:
        """Frames not answered, by an enum member."""

    @property
    def conflicts(self) -> dict[tuple[bytes, bytes], int]:
        """Frames that claimed one of our addresses, by address and MAC."""

    def announce(self, addresses: Iterable[Any], now: float) -> None:
        """Answer for exactly these."""

    def receive_frame(self, frame: bytes, now: float) -> Enum | None:
        """Take in a frame."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When something is due."""

    def frames_to_send(self) -> list[bytes]:
        """Take what is to be sent."""

    def take_counts(self, limit: int) -> dict[bytes, Counts]:
        """Take what was counted."""


class Driver:
    """One interface and one protocol. Of no use any more once `error` is set.

    Args:
        sock: non-blocking; belongs to the caller.
        snap_length: bytes of a frame that the engine looks at.

    Attributes:
        error: the first that was not passing.
        worked: a frame came or went since this was last set to False.
        send_errors: frames that could not be sent.
    """

    def __init__(self, sock: socket.socket, engine: Engine, snap_length: int = SNAP_LENGTH) -> None:
        self.socket = sock
        self.engine = engine
        self.error: OSError | None = None
        self.worked = False
        self.send_errors = 0
        self._sender = FrameSender(sock.fileno())
        self._snap_length = snap_length

    def receive(self, now: float) -> None:
        """Take in the waiting frames, at most FRAMES_PER_TURN, and answer them.

        The first is answered before the next is looked for, so that a single question waits for nothing; the others
        are answered together.
        """
        self.worked = True
        receive, length, engine = self.socket.recv, self._snap_length, self.engine.receive_frame
        try:
            if engine(receive(length), now) is None:
                self._send()
            try:
                for _ in range(FRAMES_PER_TURN - 1):
                    engine(receive(length), now)
            finally:
                self._send()
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error

    def tick(self, now: float) -> None:
        """Let the engine do what is due."""
        deadline = self.engine.next_deadline()
        if deadline is None or deadline > now:
            return
        self.worked = True
        self.engine.handle_timer(now)
        try:
            self._send()
        except OSError as error:
            self.error = error

    def _send(self) -> None:
        frames = self.engine.frames_to_send()
        if len(frames) > 1:
            self.send_errors += self._sender.send(frames)
        elif frames:
            try:
                self.socket.send(frames[0])
            except OSError as error:
                if error.errno not in PASSING:
                    raise
                self.send_errors += 1

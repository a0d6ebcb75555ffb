"""Moves frames between one socket and one protocol engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metallb_cli.layer2.engine import Drop, Engine
from metallb_cli.linux.poller import Done

FRAMES_PER_TURN = 256
"""Frames taken in a row: then the other sockets have their turn, however many more wait. Some 1.2 ms of work, like
a turn of gratuitous frames (`schedule.BATCH`). With 64 a flood is answered a fifth more slowly."""


class Frames(Protocol):
    """Where frames come from and go to: a `packet_socket.PacketSocket`."""

    def receive(self, limit: int) -> list[bytes]:
        """Take waiting frames. Raises OSError."""

    def send(self, frames: Sequence[bytes]) -> int:
        """Send; return how many were lost. Raises OSError."""


class Driver:
    """One interface and one protocol. Of no use any more once `error` is set.

    Attributes:
        error: what ended it.
        worked: a frame came or went since this was last set to False.
        limit: frames taken in a row.
        send_errors: frames that could not be sent because a queue was full.
    """

    def __init__(self, sock: Frames, engine: Engine) -> None:
        self.engine = engine
        self.error: OSError | None = None
        self.worked = False
        self.limit = FRAMES_PER_TURN
        self.send_errors = 0
        self.socket = sock

    def receive(self, now: float) -> Done | None:
        """Take in the waiting frames, at most `limit`, and answer them together. While fenced, forget them.

        Returns None for the first frames since `worked` was set to False, and when more than counters may have changed.
        """
        engine, first = self.engine, not self.worked
        try:
            frames = self.socket.receive(self.limit)
            if not frames:
                return Done.NOTHING
            self.worked = True
            if engine.fenced:
                engine.drops[Drop.FENCED] += len(frames)
                return None
            receive_frame = engine.receive_frame
            for frame in frames:
                receive_frame(frame, now)
            answers = self._send()
        except OSError as error:
            self.error = error
            return None
        if first or engine.changed:
            return None
        return Done.ANSWERED if answers else Done.IGNORED

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None for never, as while fenced."""
        return None if self.engine.fenced else self.engine.next_deadline()

    def tick(self, now: float) -> None:
        """Let the engine do what is due."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return
        self.worked = True
        self.engine.handle_timer(now)
        try:
            self._send()
        except OSError as error:
            self.error = error

    def _send(self) -> bool:
        """Send what the engine has queued. Returns whether there was any."""
        frames = self.engine.frames_to_send()
        if frames:
            self.send_errors += self.socket.send(frames)
        return bool(frames)

"""The link process's end of the socket to the control process."""

from __future__ import annotations

import socket

from metallb_cli.layer2.message_codec import MessageReader, encode
from metallb_cli.layer2.messages import Message


class Channel:
    """The socket to the control process: never blocks, and holds back what the other side is too slow to take."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._reader = MessageReader()
        self._unsent = b""

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def receive(self) -> list[Message] | None:
        """The messages that arrived, or None when the other side is gone.

        Raises:
            LinkError: it does not speak the protocol.
        """
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._reader.feed(data) if data else None

    def send(self, message: Message) -> None:
        """Send a message, or as much of it as fits now; `flush` sends the rest."""
        self._unsent += encode(message)
        self.flush()

    def flush(self) -> bool:
        """Send what was held back. Returns whether nothing is left."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError:  # the other side is gone: `receive` says so
            self._unsent = b""
        return True

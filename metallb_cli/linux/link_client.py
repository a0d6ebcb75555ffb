"""The control process's end of the link process: starts it, talks to it, learns when it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable

from metallb_cli.errors import LinkError
from metallb_cli.layer2.message_codec import MessageReader, encode
from metallb_cli.layer2.messages import (
    AnnouncementSet,
    HeartbeatSettings,
    LinkReport,
    PeerClaims,
    PeersReport,
    Refusal,
    Stop,
    fold,
)
from metallb_cli.layer2.probing import PROBE_INTERVAL
from metallb_cli.linux import privileges
from metallb_cli.linux.links import DEFAULT_EXCLUDE
from metallb_cli.model import Conflict, IPAddress, LinkState

log = logging.getLogger(__name__)

START_TIMEOUT = 15.0
"""Seconds until a link process must have reported for the first time."""

SEND_TIMEOUT = 5.0
"""Seconds in which it must take a message. One that does not is stuck, and is killed."""

KEPT_ENVIRONMENT = frozenset({"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
"""What the link process gets of the environment: nothing that leads to the API server or to a credential."""


class LinkProcess:
    """A running link process. Implements `daemon.ports.Link`.

    Args:
        netns: network namespace to answer in, by name or path; None is the present one.
        exclude: regular expressions of interface names to keep away from.
        on_state: called with each new state, from a thread of this object. Must not block.
        on_exit: called once, from that thread, when the process has ended: with its exit code, negative for a signal.
        on_peers: called with the peers on the LAN after each change, as `on_state` is.
        on_claims: called with each section of claims of a live peer that is new or has changed, as `on_state` is.
        orphan_grace: seconds for which it goes on answering when this process dies without `stop`.
        l2_engine: `packet`, `tc`, or `auto` for the kernel (`tc`) where it can answer.
        probe_interval: seconds between the probes for an address that nobody had before; 0 for no probes.
        spin: microseconds, at most `poller.MAX_SPIN`, for which it stays awake after it has answered a question.
        log_level: of its log, which goes to this process's standard error, in MetalLB's words.
        log_format: `json` or `text`.
    """

    def __init__(
        self,
        netns: str | None = None,
        exclude: tuple[str, ...] = DEFAULT_EXCLUDE,
        on_state: Callable[[LinkState], None] = lambda _state: None,
        on_exit: Callable[[int], None] = lambda _code: None,
        *,
        on_peers: Callable[[PeersReport], None] = lambda _peers: None,
        on_claims: Callable[[PeerClaims], None] = lambda _claims: None,
        orphan_grace: float = 0.0,
        l2_engine: str = "auto",
        probe_interval: float = PROBE_INTERVAL,
        spin: int = 0,
        log_level: str = "info",
        log_format: str = "json",
    ) -> None:
        self._arguments = ["--log-level", log_level, "--log-format", log_format, "--orphan-grace", str(orphan_grace)]
        self._arguments += ["--l2-engine", l2_engine, "--probe-interval", str(probe_interval), "--spin", str(spin)]
        if netns is not None:
            self._arguments += ["--netns", netns]
        for pattern in exclude:
            self._arguments += ["--exclude", pattern]
        self._on_state = on_state
        self._on_exit = on_exit
        self._on_peers = on_peers
        self._on_claims = on_claims
        self._socket, self._far_end = socket.socketpair()
        self._lock = threading.Lock()
        self._sets = {0: AnnouncementSet()}  # those sent since the one that was in force by the last report
        self._process: subprocess.Popen[bytes] | None = None
        self._settled = threading.Event()  # it has reported, or failed to
        self._problem = ""
        self._thread = threading.Thread(target=self._follow, name="link", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process, once started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process and wait until it works.

        Raises:
            LinkError: it cannot; the message says why.
        """
        # A send that waits longer means a stuck process. The kernel keeps the time, as the reader shares the socket.
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", *divmod(int(SEND_TIMEOUT * 1e6), 1_000_000))
        )
        self._thread.start()
        if not self._settled.wait(START_TIMEOUT):
            self._problem = f"it did not report within {START_TIMEOUT:.0f} s"
        if self._problem:
            self.stop(0.0)
            raise LinkError(f"the link process did not start: {self._problem}")

    def announce(self, announcements: AnnouncementSet) -> None:
        """Hand over the whole set of addresses to answer for. From any thread.

        Raises:
            LinkError: the process has ended, or is stuck and was killed.
        """
        data = encode(announcements)
        self._sets[announcements.generation] = announcements
        self._send(data)

    def heartbeats(self, settings: HeartbeatSettings) -> None:
        """Have it send heartbeats, or go on with other keys. From any thread.

        Raises:
            LinkError: the process has ended, or is stuck and was killed.
        """
        self._send(encode(settings))

    def stop(self, timeout: float = 2.0) -> None:
        """End the process and reap it: ask, after half of `timeout` seconds terminate, after all of it kill."""
        deadline = time.monotonic() + timeout
        with contextlib.suppress(LinkError):
            self._send(encode(Stop("the speaker ends")))
        self._thread.join(max(0.0, timeout / 2))
        if self._thread.is_alive() and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and self._process is not None:
            self._kill()
            self._thread.join()

    def _send(self, data: bytes) -> None:
        with self._lock:
            try:
                self._socket.sendall(data)
            except BlockingIOError as error:
                self._kill()
                raise LinkError(f"the link process took no message for {SEND_TIMEOUT:.0f} s; it was killed") from error
            except OSError as error:
                raise LinkError(f"the link process has ended: {error.strerror}") from error

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    # -- in the thread

    def _follow(self) -> None:
        """Start the process, read what it says, reap it.

        All in one thread that lives as long as the process: the kernel ties the process to the thread that started it.
        """
        try:
            self._process = self._spawn()
        except OSError as error:
            self._problem = f"cannot run {sys.executable}: {error.strerror}"
            self._settled.set()
            return
        finally:
            self._far_end.close()
        privileges.keep_only(())  # rights are per thread, and from here on this one only reads
        try:
            self._read()
        except LinkError as error:
            self._problem = str(error)
            log.error("%s; killing the link process", error)  # noqa: TRY400 - the message says it all
            self._kill()
        code = self._process.wait()
        with self._lock:
            self._socket.close()
        if not self._settled.is_set():
            self._problem = self._problem or f"it ended with code {code}; its messages are above"
            self._settled.set()
        self._on_exit(code)

    def _spawn(self) -> subprocess.Popen[bytes]:
        fd = self._far_end.fileno()
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "metallb_cli", "speaker-link", "--fd", str(fd), *self._arguments],
            pass_fds=(fd,),
            env={name: value for name, value in os.environ.items() if name in KEPT_ENVIRONMENT},
            cwd="/",
            stdin=subprocess.DEVNULL,
        )

    def _read(self) -> None:
        reader, state = MessageReader(), LinkState()
        in_force: tuple[object, ...] = ()
        announced: tuple[IPAddress, ...] = ()
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except OSError:
                return
            if not data:
                return
            for message in reader.feed(data):
                if isinstance(message, LinkReport):
                    silent = message.probing, _addresses(message.contested), message.released
                    if (message.generation, message.answering, silent) != in_force:
                        in_force = message.generation, message.answering, silent
                        announced = self._announced(message)
                    state = fold(state, message, announced)
                    self._on_state(state)
                    self._settled.set()
                elif isinstance(message, PeersReport):
                    self._on_peers(message)
                elif isinstance(message, PeerClaims):
                    self._on_claims(message)
                elif isinstance(message, Refusal):
                    self._problem = message.message
                    self._settled.set()

    def _announced(self, report: LinkReport) -> tuple[IPAddress, ...]:
        """What the link process says it answers for; forget the sets from before."""
        sent = self._sets.get(report.generation)
        if sent is None:
            raise LinkError(f"the link process reports generation {report.generation}, which it was not given")
        for generation in [generation for generation in list(self._sets) if generation < report.generation]:
            del self._sets[generation]
        silent = {*report.probing, *_addresses(report.contested), *report.released}
        return tuple(a for a in sent.addresses if a.version in report.answering and a not in silent)


def _addresses(conflicts: Iterable[Conflict]) -> tuple[IPAddress, ...]:
    return tuple(conflict.address for conflict in conflicts)

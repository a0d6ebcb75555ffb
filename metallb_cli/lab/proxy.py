"""The lab's service proxy, standing in for kube-proxy: on each node, external address and port to a ready endpoint.

It relays TCP only, in user space. The external address goes on the node's loopback interface, as kube-proxy's IPVS mode
puts it on a dummy interface: the kernel takes the packets for its own, and with arp_ignore=1 answers no ARP for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future

from metallb_cli.errors import NetworkSetupError
from metallb_cli.lab.routing import Rules, Socket
from metallb_cli.linux.netns import Namespace

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
"""On one node at a time; more are closed at once. Each holds two file descriptors, and shells give a process 1024."""
CONNECT_TIMEOUT = 2.0
IDLE_TIMEOUT = 60.0
"""Seconds without a byte in either direction, after which a connection is closed."""
CALL_TIMEOUT = 5.0
CHUNK = 65536


class Proxy:
    """All nodes' proxies, in one thread. Call `apply` from one thread."""

    def __init__(self, nodes: Mapping[str, Namespace]) -> None:
        self._nodes = {name: _NodeProxy(namespace) for name, namespace in nodes.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Begin, with no rules."""
        self._thread.start()

    def apply(self, node: str, rules: Rules) -> None:
        """Make these the rules of a node, from the next connection on. Nothing happens when they are already.

        Raises:
            NetworkSetupError: an address could not be added, or a port not be listened on.
        """
        proxy = self._nodes[node]
        if rules == proxy.rules:
            return
        proxy.add_addresses(rules)
        self._call(proxy.listen(rules))
        proxy.remove_addresses(rules)

    def stop(self) -> None:
        """Close all sockets and take the addresses back. Can be called twice."""
        if not self._thread.is_alive():
            return
        for proxy in self._nodes.values():
            with contextlib.suppress(NetworkSetupError, TimeoutError):
                self._call(proxy.close())
                proxy.remove_addresses({})
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT)
        if not self._thread.is_alive():
            self._loop.close()

    def _call(self, coroutine: Coroutine[None, None, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(CALL_TIMEOUT)


class _NodeProxy:
    """One node. `rules`, `_servers` and `_connections` belong to the event loop's thread."""

    def __init__(self, namespace: Namespace) -> None:
        self.rules: Rules = {}
        self._namespace = namespace
        self._addresses: set[str] = set()
        self._servers: dict[Socket, asyncio.Server] = {}
        self._turns: dict[Socket, Iterator[int]] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def add_addresses(self, rules: Rules) -> None:
        """Put the addresses that are new on the loopback interface."""
        for address in sorted({listen.address for listen in rules} - self._addresses):
            self._namespace.add_address("lo", f"{address}/32")
            self._addresses.add(address)

    def remove_addresses(self, rules: Rules) -> None:
        """Take those back that have no rule."""
        for address in sorted(self._addresses - {listen.address for listen in rules}):
            self._namespace.delete_address("lo", f"{address}/32")
            self._addresses.discard(address)

    async def listen(self, rules: Rules) -> None:
        """Open and close listening sockets, and use the endpoints of these rules from now on."""
        for gone in self._servers.keys() - rules.keys():
            self._servers.pop(gone).close()
            del self._turns[gone]
        for new in rules.keys() - self._servers.keys():
            self._servers[new] = await self._server(new)
            self._turns[new] = itertools.count()
        self.rules = dict(rules)

    async def close(self) -> None:
        """Close everything."""
        await self.listen({})
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _server(self, listen: Socket) -> asyncio.Server:
        def open_socket() -> socket.socket:
            return socket.create_server((listen.address, listen.port), backlog=128)

        try:
            inside = self._namespace.run(open_socket)
        except OSError as error:
            raise NetworkSetupError(f"{self._namespace.name}: cannot listen on {listen}: {error.strerror}") from error

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= MAX_CONNECTIONS:
                writer.transport.abort()
                return
            task = asyncio.get_running_loop().create_task(self._relay(listen, reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        return await asyncio.start_server(accepted, sock=inside)

    async def _relay(self, listen: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            backends = self.rules.get(listen, ())
            if not backends:
                return
            backend = backends[next(self._turns[listen]) % len(backends)]
            try:
                far_reader, far_writer = await self._connect(backend)
            except OSError as error:  # TimeoutError is one
                log.info("%s: no connection from %s to %s: %s", self._namespace.name, listen, backend, error)
                return
            with contextlib.closing(far_writer):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async def _connect(self, backend: Socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        inside = self._namespace.run(socket.socket, socket.AF_INET, socket.SOCK_STREAM)
        inside.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(inside, (backend.address, backend.port))
        except BaseException:
            inside.close()
            raise
        return await asyncio.open_connection(sock=inside)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, and pass the end on; a broken or idle connection ends both directions."""
    try:
        while data := await asyncio.wait_for(reader.read(CHUNK), IDLE_TIMEOUT):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()

"""The listening socket, the sweep over deadlines, and the drain."""

import asyncio
import errno
import socket
import ssl
from time import monotonic

from triptych.edge.protocol import Application, EdgeLimits, ServerProtocol

SWEEP_S = 0.25
DRAIN_POLL_S = 0.02


def unknown_host(host: str, port: int) -> OSError:
    """The system's own words do not name it. They are as asyncio has them for a strange address."""
    return OSError(errno.EADDRNOTAVAIL, f"address {(host, port)}: the name is not known")


class Server:
    """All client connections of this process."""

    def __init__(self, application: Application, limits: EdgeLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._application = application
        self._limits = limits
        self._loop = loop
        self._connections: set[ServerProtocol] = set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None, *, shared: bool = False) -> int:
        """Bind and accept; returns the port. ``shared``: with other processes, among which the kernel
        chooses. Raises OSError when the address cannot be had."""
        try:
            self._server = await self._loop.create_server(
                lambda: ServerProtocol(self._application, self._limits, self._connections, self._loop),
                host,
                port,
                ssl=tls,
                backlog=2048,
                reuse_port=shared or None,
            )
        except (socket.gaierror, UnicodeError) as error:
            raise unknown_host(host, port) from error
        self._sweep = self._loop.call_later(SWEEP_S, self._sweep_deadlines)
        sockets = self._server.sockets
        return int(sockets[0].getsockname()[1])

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def busy_connections(self) -> int:
        return sum(connection.busy for connection in self._connections)

    @property
    def running_exchanges(self) -> int:
        return sum(connection.in_exchange for connection in self._connections)

    async def drain(self, limit_s: float) -> int:
        """Wait for running exchanges, at most ``limit_s``; then cancel the rest and wait for their
        outcomes. Returns how many were cancelled."""
        deadline_s = monotonic() + limit_s
        while self.busy_connections and monotonic() < deadline_s:
            await asyncio.sleep(DRAIN_POLL_S)
        late = [connection for connection in self._connections if connection.busy]
        for connection in late:
            connection.cancel()
        for _ in range(int(5.0 / DRAIN_POLL_S)):
            if not self.busy_connections:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        return len(late)

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.transport.close()
        if self._server is not None:
            await self._server.wait_closed()

    def _sweep_deadlines(self) -> None:
        now_s = monotonic()
        for connection in [c for c in self._connections if c.deadline_s <= now_s]:
            connection.expire()
        self._sweep = self._loop.call_later(SWEEP_S, self._sweep_deadlines)

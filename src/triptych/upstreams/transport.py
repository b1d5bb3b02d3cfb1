"""The way out: pooled HTTP/1.1 connections to providers, on httptools and asyncio.

Per request there is no task, no timer and one future per wait. All timeouts of all connections
are kept by one sweep: a number on each connection, compared every 100 ms while anything is
under way, so a limit is noticed up to 100 ms late. Redirects are never followed, cookies never
kept, and a proxy is never taken from the environment.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from itertools import chain, zip_longest

from triptych.core.call import always
from triptych.core.failure import Failure, FailureKind
from triptych.core.unreachable import why_unreachable
from triptych.upstreams.http1_connection import Connection, HttpAnswer
from triptych.upstreams.http1_head import Origin

_SWEEP_S = 0.1
_MAX_ADDRESSES = 6
_TOLD_AGAIN_S = 60.0
_DISTRUSTED = "upstream could not be reached: its certificate is not trusted (the gateway's log says why)"

logger = logging.getLogger("triptych.upstreams")


class HttpTransport:
    """All connections of one process to its providers. Belongs to the event loop it first runs in.

    Times in seconds. ``connect_timeout_s`` covers DNS, connect and TLS; ``first_byte_timeout_s``
    everything from the request to the end of the answer's head; ``idle_timeout_s`` the wait for
    more of a body (a pause for our own reader's sake does not count). ``tls`` replaces the
    context for https origins; None means the system's roots, verified, host name checked.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        max_idle_per_origin: int = 256,
        idle_keepalive_s: float = 30.0,
        max_answer_head_bytes: int = 65536,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.first_byte_timeout_s = first_byte_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.max_idle_per_origin = max_idle_per_origin
        self.idle_keepalive_s = idle_keepalive_s
        self.max_answer_head_bytes = max_answer_head_bytes
        self.closed = False
        self._tls = tls
        self._pools: dict[Origin, OriginPool] = {}
        self.connections: set[Connection] = set()
        """Every open connection, idle ones included; the pools add and remove."""
        self._timer: asyncio.TimerHandle | None = None
        self.sweeping = False

    def pool(self, origin: Origin) -> "OriginPool":
        """The connections to one origin, the same object for every caller."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = OriginPool(self, origin)
        return pool

    def close(self) -> None:
        """Close every connection at once and refuse further calls. Idempotent. Calls waiting for
        a head raise SERVICE_UNAVAILABLE, reads UPSTREAM_INTERRUPTED."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self.connections):
            connection.fail(FailureKind.UPSTREAM_INTERRUPTED)

    def tls_context(self) -> ssl.SSLContext:
        """The context for https origins; the system's roots are loaded once, when first needed."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that the sweep runs while an exchange is under way."""
        if not self.sweeping:
            if self._timer is not None:
                self._timer.cancel()
            self.sweeping = True
            self._timer = loop.call_later(_SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        busy = False
        next_limit_s = float("inf")
        for connection in tuple(self.connections):
            connection.sweep(now_s, self.idle_timeout_s)
            busy = busy or connection.busy
            next_limit_s = min(next_limit_s, connection.limit_s)
        self.sweeping = busy
        self._timer = None
        if busy:
            self._timer = loop.call_later(_SWEEP_S, self._sweep, loop)
        elif self.connections:
            # Only idle connections are left: sleep until the first of them has been idle enough.
            delay_s = max(_SWEEP_S, next_limit_s - now_s)
            self._timer = loop.call_later(delay_s, self._sweep, loop)


class OriginPool:
    """Connections to one origin: the one used last is used first, so the others can go idle."""

    def __init__(self, transport: HttpTransport, origin: Origin) -> None:
        self._transport = transport
        self._origin = origin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: dict[Connection, None] = {}
        self._told = ""
        """Why it could not be reached, as it was logged last, and when."""
        self._told_s = 0.0

    async def exchange(
        self,
        head: bytes,
        body: bytes,
        deadline_s: float,
        may_resend: Callable[[], bool] = always,
        confirm: Callable[[], None] | None = None,
    ) -> HttpAnswer:
        """Send a request and wait for the answer's head.

        ``head`` is the request line and field lines, each with its CRLF, without content-length
        and without the empty line. Raises Failure as ``Upstream.call`` says, and
        SERVICE_UNAVAILABLE once the transport is closed.

        A pooled connection may be closed by the provider in the very moment it is reused. When it
        closes before a single byte of an answer, the request is sent once more on a fresh
        connection (RFC 9112 section 9.3.1 leaves that to the client). A provider that took the
        request and died without a word has then been asked twice, the same as in a retry of
        ``UPSTREAM_UNREACHABLE`` by the caller; ``may_resend`` is asked first, and may count it as one.
        ``confirm`` is called right before each of them, and may raise instead.
        """
        transport = self._transport
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        connection = self._take()
        while True:
            if transport.closed:
                raise Failure(FailureKind.SERVICE_UNAVAILABLE)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(loop, deadline_s)
            now_s = loop.time()
            if now_s >= deadline_s:
                self.released(connection)
                raise Failure(FailureKind.UPSTREAM_TIMEOUT)
            if confirm is not None:
                try:
                    confirm()
                except Failure:
                    self.released(connection)
                    raise
            if not transport.sweeping:
                transport.watch(loop)
            answer = connection.send(
                head, body, head_limit_s=now_s + transport.first_byte_timeout_s, deadline_s=deadline_s
            )
            kind = await answer.head()
            if kind is None:
                return answer
            if transport.closed:
                raise Failure(FailureKind.SERVICE_UNAVAILABLE)
            if not reused or kind is not FailureKind.UPSTREAM_UNREACHABLE or not may_resend():
                raise answer.failure()
            connection = None

    def released(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        transport = self._transport
        if transport.closed or len(self._idle) >= transport.max_idle_per_origin or self._loop is None:
            connection.fail(FailureKind.UPSTREAM_INTERRUPTED)
            return
        connection.limit_s = self._loop.time() + transport.idle_keepalive_s
        self._idle[connection] = None

    def opened(self, connection: Connection) -> None:
        """Count a connection that is established."""
        self._transport.connections.add(connection)

    def lost(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self._idle.pop(connection, None)
        self._transport.connections.discard(connection)

    def _take(self) -> Connection | None:
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> Connection:
        transport = self._transport
        limit_s = loop.time() + transport.connect_timeout_s
        try:
            async with asyncio.timeout_at(min(limit_s, deadline_s)):
                connection = await self._connect_to_any_address(loop, limit_s)
        except TimeoutError as error:
            # Which limit it was, not what the clock says: timers may fire a moment early.
            late = deadline_s <= limit_s
            if not late:
                self._tell(error, loop.time())
            kind = FailureKind.UPSTREAM_TIMEOUT if late else FailureKind.UPSTREAM_UNREACHABLE
            raise Failure(kind) from error
        except OSError as error:
            # DNS, refused, reset, TLS: ssl.SSLError and socket.gaierror are OSErrors too.
            self._tell(error, loop.time())
            distrusted = isinstance(error, ssl.SSLCertVerificationError)
            raise Failure(FailureKind.UPSTREAM_UNREACHABLE, _DISTRUSTED if distrusted else None) from error
        if transport.closed:
            connection.fail(FailureKind.UPSTREAM_INTERRUPTED)
            raise Failure(FailureKind.SERVICE_UNAVAILABLE)
        if not connection.usable:
            raise Failure(FailureKind.UPSTREAM_UNREACHABLE)
        return connection

    def _tell(self, error: OSError, now_s: float) -> None:
        """The operator, once a minute: callers are told only that the provider cannot be reached."""
        why = why_unreachable(error)
        if why != self._told or now_s >= self._told_s + _TOLD_AGAIN_S:
            self._told, self._told_s = why, now_s
            origin = self._origin
            logger.warning("%s://%s:%d cannot be reached: %s", origin.scheme, origin.host, origin.port, why)

    async def _connect_to_any_address(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> Connection:
        """Try the host's addresses in turn, families alternating; each gets an equal share of the
        time left, so that one that swallows packets does not use up all of it."""
        origin = self._origin
        secure = origin.scheme == "https"
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = _alternate_families([(info[0], str(info[4][0])) for info in found])[:_MAX_ADDRESSES]
        last_error: OSError = OSError("the host has no address")
        for index, address in enumerate(addresses):
            share_s = (limit_s - loop.time()) / (len(addresses) - index)
            try:
                async with asyncio.timeout(share_s):
                    socket_transport, connection = await loop.create_connection(
                        self._make_connection,
                        address,
                        origin.port,
                        ssl=self._transport.tls_context() if secure else None,
                        server_hostname=origin.host if secure else None,
                    )
            except TimeoutError:
                last_error = OSError("an address did not answer in its share of the time")
                continue
            except OSError as error:
                last_error = error
                continue
            _tune(socket_transport)
            return connection
        raise last_error

    def _make_connection(self) -> Connection:
        assert self._loop is not None
        return Connection(self, self._loop, self._transport.max_answer_head_bytes)


def _alternate_families(addresses: list[tuple[int, str]]) -> list[str]:
    """The resolver's order, but families in turn (RFC 8305 section 4)."""
    if not addresses:
        return []
    first_family = addresses[0][0]
    first = [address for family, address in addresses if family == first_family]
    second = [address for family, address in addresses if family != first_family]
    return [a for a in chain.from_iterable(zip_longest(first, second)) if a is not None]


def _tune(socket_transport: asyncio.Transport) -> None:
    raw = socket_transport.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

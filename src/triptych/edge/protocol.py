"""The server side of HTTP/1.1 (RFC 9112) on httptools: one object per connection.

A connection reads a head, lets the application decide on it (route, method, size, key) before any
body is awaited, gathers the body within its limit, and runs the endpoint as one task. While the
endpoint runs, the socket is still read, so a client that leaves is noticed at once: its task is
cancelled, and with it the upstream call.

A refusal that comes before the body was read is answered at once; the rest of the body is read and
thrown away for a bounded time ("lingering close", as nginx does it), because closing a socket with
unread data resets the connection and the client would never see the answer.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from itertools import chain
from time import monotonic
from typing import NoReturn, Protocol

import httptools
import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.edge.request_head import read_head

# Pipelined requests wait here while one is answered; a client that sends more is no longer read.
MAX_PIPELINED = 16
# One read may bring thousands of small requests: no more than these many bytes are taken apart before it is
# looked how many wait.
FEED_BYTES = 16_384
# A refused body is thrown away up to here for the sake of keeping the connection.
MAX_DISCARD_TO_KEEP_BYTES = 1 << 20
LINGER_S = 30.0
KEEP_ALIVE_S = 75.0
# A body may take its time, and so may what a pipelined request waits for; a key may be revoked meanwhile.
ADMITTED_FOR_S = 0.5
VERSIONS = ("1.1", "1.0")

Endpoint = Callable[[Request, Reply], Awaitable[None]]


class EdgeLimits(msgspec.Struct, frozen=True):
    max_header_bytes: int
    max_headers: int
    max_body_bytes: int
    header_timeout_s: float
    body_timeout_s: float


class Application(Protocol):
    """What the edge asks the application."""

    def admit(self, request: Request) -> Endpoint | Response:
        """Decide on a head: the endpoint that will see the body, or a refusal."""
        ...

    def confirm(self, request: Request) -> Response | None:
        """Look once more at the caller of a request that was admitted a while ago: a refusal, or None."""
        ...

    def refuse(self, request: Request, failure: Failure) -> Response:
        """Render a failure of framing in the form of the surface that owns the path."""
        ...


class State(Enum):
    IDLE = 0
    HEAD = 1
    BODY = 2
    DISCARD = 3
    """The request is answered; the rest of its body is thrown away."""
    CLOSING = 4
    """Nothing will be answered any more; input is thrown away until the client is done."""


class ServerProtocol(asyncio.Protocol):
    """One client connection."""

    def __init__(
        self,
        application: Application,
        limits: EdgeLimits,
        connections: "set[ServerProtocol]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._application = application
        self._limits = limits
        self._connections = connections
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._state = State.IDLE
        self._pipeline: deque[tuple[Request, Endpoint | Response]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._request: Request | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._decision: Endpoint | Response | None = None
        self._answering: Request | None = None
        self._url = b""
        self._pieces: list[bytes] = []
        self._lines_bytes = 0
        """Received since a head began, or since the last piece of its body: fields, chunk sizes and
        trailers, whole or not."""
        self._body_bytes = 0
        self._fault: Failure | None = None
        self._resuming = False
        """Whether the parser is being fed the stand-in head of a message whose head is known."""
        self._upgrading = False
        self._paused = False
        """Whether enough requests wait: nothing more is read before all of them have begun."""
        self._unread = b""
        """What had come by then."""
        self.blocked: asyncio.Future[None] | None = None
        self._peer = ""
        self.deadline_s = float("inf")
        """``time.monotonic()`` after which the sweep gives up on this connection."""
        self.disconnected = False
        self.transport: asyncio.Transport

    # -- connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._connections.add(self)
        self.deadline_s = monotonic() + self._limits.header_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnected = True
        self._connections.discard(self)
        self._state = State.CLOSING
        self._pipeline.clear()
        self._unblock()
        if self._task is not None:
            # Not at once: a task that never took its first step would end without an outcome.
            self._loop.call_soon(self._task.cancel)

    def eof_received(self) -> bool:
        # A client that has closed its sending side has left: the transport closes, and the
        # running exchange is cancelled by connection_lost. Not before it is lost, and a transport
        # that closes writes what it holds first, which a client that does not read would prevent.
        if self._task is not None:
            self.transport.abort()
        return False

    def data_received(self, data: bytes) -> None:
        if self._paused:
            self._unread += data
            return
        if len(data) <= FEED_BYTES:
            self._feed(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), FEED_BYTES):
            self._feed(view[start : start + FEED_BYTES])
            if len(self._pipeline) >= MAX_PIPELINED:
                self._unread += view[start + FEED_BYTES :]
                return

    def _feed(self, data: bytes | memoryview) -> None:
        if self._state is State.CLOSING:
            return
        if self._state is State.IDLE and data:
            self._state = State.HEAD
            self.deadline_s = monotonic() + self._limits.header_timeout_s
        self._lines_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            if self._fault is None:
                self._fault = Failure(FailureKind.INVALID_BODY, "The request is not valid HTTP/1.1.")
        if self._fault is not None:
            self._refuse_framing(self._fault)
        elif self._lines_bytes > self._limits.max_header_bytes:
            self._refuse_framing(_headers_too_large(self._limits))

    def _ignore_upgrade(self, rest: bytes | memoryview) -> None:
        """Go on in HTTP/1.1, as RFC 9110, 7.8 allows (Java's client asks for h2c on each first
        request). The parser stops at the head of such a message; a fresh one that is told the same
        framing reads the body."""
        self._parser = httptools.HttpRequestParser(self)
        request = self._request
        if self._fault is not None or request is None or self._state is State.CLOSING:
            self._feed(b"")
            return
        length = request.content_length
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: -\r\n" + framing + b"\r\n\r\n")
        self._resuming = False
        if rest:
            self._feed(rest)

    # -- flow control -------------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self.blocked is None:
            self.blocked = self._loop.create_future()

    def resume_writing(self) -> None:
        self._unblock()
        self._go_on()

    def _unblock(self) -> None:
        if self.blocked is not None:
            if not self.blocked.done():
                self.blocked.set_result(None)
            self.blocked = None

    # -- parser callbacks ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._resuming:
            return
        self._request = Request(self._peer)
        self._headers = self._request.headers
        self._url = b""
        self._pieces = []
        self._body_bytes = 0
        self._decision = None

    def on_url(self, url: bytes) -> None:
        if self._resuming:
            return
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._resuming:
            return
        if self._decision is None:
            # The parser leaves the white space that may follow a value (RFC 9110, 5.5).
            self._headers.append((name.lower(), value.rstrip(b" \t")))
        # Else it is a trailer: everything was decided on the head, and a field that comes after it
        # must not change how the body is read or what is forwarded (RFC 9110, 6.5.1).

    def on_headers_complete(self) -> None:
        request = self._request
        assert request is not None
        if self._state is State.CLOSING or self._fault is not None or self._resuming:
            return
        request.method = self._parser.get_method()
        too_many = len(request.headers) > self._limits.max_headers
        # Of each field also a colon, a space and the line's end.
        head_bytes = len(self._url) + sum(map(len, chain.from_iterable(request.headers)))
        head_bytes += 4 * len(request.headers)
        if too_many or head_bytes > self._limits.max_header_bytes:
            self._stop(_headers_too_large(self._limits))
        version = self._parser.get_http_version()
        if version not in VERSIONS:
            self._stop(Failure(FailureKind.INVALID_BODY, "Only HTTP/1.1 and HTTP/1.0 are spoken here."))
        request.version_10 = version == "1.0"
        self._upgrading = self._parser.should_upgrade()
        request.keep_alive = self._upgrading or self._parser.should_keep_alive()
        fault = read_head(request, self._url)
        if fault is not None:
            self._stop(fault)
        decision = self._application.admit(request)
        request.admitted_s = monotonic()
        self._state = State.BODY
        self._lines_bytes = 0
        if isinstance(decision, Response):
            has_body = request.content_length is None or request.content_length > 0
            if has_body and (
                request.expects_continue or (request.content_length or 0) > MAX_DISCARD_TO_KEEP_BYTES
            ):
                request.keep_alive = False
            self._decision = decision
            if has_body and self._answering is None and not self._pipeline and self.blocked is None:
                self._state = State.DISCARD
                self.deadline_s = monotonic() + LINGER_S
                self._begin(request, decision)
            return
        self._decision = decision
        self.deadline_s = monotonic() + self._limits.body_timeout_s
        if request.expects_continue and request.content_length != 0:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self._lines_bytes = 0
        if self._state is not State.BODY or self._fault is not None:
            return
        self._body_bytes += len(piece)
        if isinstance(self._decision, Response):
            return
        if self._body_bytes > self._limits.max_body_bytes:
            self._stop(Failure(FailureKind.PAYLOAD_TOO_LARGE))
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._lines_bytes = 0
        if self._upgrading:
            self._upgrading = False
            return
        if self._fault is not None or self._state is State.CLOSING:
            return
        request, decision = self._request, self._decision
        assert request is not None
        answered = self._state is State.DISCARD
        self._state = State.IDLE
        self.deadline_s = float("inf") if self._answering else monotonic() + KEEP_ALIVE_S
        if answered:
            return
        assert decision is not None
        pieces = self._pieces
        request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        request.received_s = monotonic()
        if self._answering is None and self.blocked is None:
            self._begin(request, decision)
        else:
            self._pipeline.append((request, decision))
            if len(self._pipeline) >= MAX_PIPELINED and not self._paused:
                self._paused = True
                self.transport.pause_reading()

    def _stop(self, fault: Failure) -> NoReturn:
        """Leave the parser: what follows in the same read is not to be looked at any more."""
        self._fault = fault
        raise fault

    # -- answering ----------------------------------------------------------------------------

    def _begin(self, request: Request, decision: Endpoint | Response) -> None:
        self._answering = request
        self.deadline_s = float("inf") if self._state is State.IDLE else self.deadline_s
        reply = Reply(self, request)
        if not isinstance(decision, Response) and monotonic() - request.admitted_s > ADMITTED_FOR_S:
            decision = self._application.confirm(request) or decision
        if isinstance(decision, Response):
            reply.respond(decision)
            return
        self._task = self._loop.create_task(self._run(decision, request, reply))

    async def _run(self, endpoint: Endpoint, request: Request, reply: Reply) -> None:
        try:
            await endpoint(request, reply)
        except asyncio.CancelledError:
            # The client left, or the drain limit passed. Either way nobody is to be answered.
            self.transport.abort()
        finally:
            if not reply.complete:
                self.transport.abort()

    def answered(self, request: Request) -> None:
        """The answer is complete: close, or go on with the next request."""
        self._answering = None
        self._task = None
        if self.disconnected:
            return
        if not request.keep_alive:
            self._close_gently()
            return
        if self._state is State.IDLE or self._paused:
            self.deadline_s = monotonic() + KEEP_ALIVE_S
        self._go_on()

    def _go_on(self) -> None:
        """Take the next request, unless the client must read its answers first: who sends and never reads
        would fill the memory with them."""
        if self._answering is not None or self.blocked is not None or self.transport.is_closing():
            return
        if self._pipeline:
            following, decision = self._pipeline.popleft()
            self._loop.call_soon(self._begin_if_open, following, decision)
            self._answering = following
        if self._paused and not self._pipeline:
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._pipeline or not self._paused:
            return
        if self._state in (State.HEAD, State.BODY):
            body = self._state is State.BODY
            self.deadline_s = monotonic() + (
                self._limits.body_timeout_s if body else self._limits.header_timeout_s
            )
        self._paused = False
        unread, self._unread = self._unread, b""
        self.data_received(unread)
        if len(self._pipeline) < MAX_PIPELINED and not self.transport.is_closing():
            self.transport.resume_reading()

    def _begin_if_open(self, request: Request, decision: Endpoint | Response) -> None:
        if not self.disconnected:
            self._begin(request, decision)

    def _refuse_framing(self, failure: Failure) -> None:
        """Answer what cannot be parsed or is too large, then close: the stream is out of step."""
        request = self._request or Request(self._peer)
        if not request.path:
            # The surface that owns the path says how the refusal looks, whatever else is wrong.
            read_head(request, self._url)
        answered = self._state is State.DISCARD
        self._fault = None
        self._state = State.CLOSING
        earlier = self._answering or (self._pipeline[0][0] if self._pipeline else None)
        if earlier is not None:
            # An earlier pipelined request is still being answered, or waits for its client; its answer
            # must not be followed by one for bytes that made no sense.
            earlier.keep_alive = False
            if self._answering is None:
                self.deadline_s = monotonic() + LINGER_S
            return
        request.keep_alive = False
        if answered:
            # This very request has had its answer; a second one would pass for the next one's.
            self._close_gently()
            return
        self._answering = request
        Reply(self, request).respond(self._application.refuse(request, failure))

    def _close_gently(self) -> None:
        """Send FIN, and read on for a while so that the client can still read the answer."""
        reading = self._state is not State.IDLE
        self._state = State.CLOSING
        self._pipeline.clear()
        if self._paused:
            self._read_on()
        if reading and self.transport.can_write_eof():
            self.transport.write_eof()
            self.deadline_s = monotonic() + LINGER_S
        else:  # TLS says goodbye in its own way, and reads on until the other side has done so
            self.transport.close()

    def expire(self) -> None:
        """Called by the sweep once ``deadline_s`` has passed."""
        self.deadline_s = float("inf")
        if self._paused and self._answering is not None:
            return  # nobody is late with what is not read
        if self._state is State.BODY and self._answering is None and not self._paused:
            self._refuse_framing(Failure(FailureKind.BODY_TIMEOUT))
            return
        self.transport.abort() if self._state is State.CLOSING else self.transport.close()

    @property
    def busy(self) -> bool:
        return self._answering is not None or bool(self._pipeline)

    @property
    def in_exchange(self) -> bool:
        """Whether it is busy with a caller's request, and not with a look at the gateway itself."""
        return self._answering is not None and self._answering.principal is not None

    def cancel(self) -> None:
        """End a running exchange because the gateway stops."""
        if self._task is not None:
            self._task.cancel()


def _headers_too_large(limits: EdgeLimits) -> Failure:
    return Failure(
        FailureKind.HEADERS_TOO_LARGE,
        f"The request's headers are too large. The limits are {limits.max_header_bytes} bytes "
        f"and {limits.max_headers} fields.",
    )

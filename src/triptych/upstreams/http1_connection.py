"""One client connection and the answer it carries: HTTP/1.1 framing on httptools (llhttp, strict).

The connection pushes what it parses into its answer and lets go of it as soon as the message is
complete, so that it serves the next call while the answer is still being read. There is no timer
here: each connection carries ``limit_s``, the loop time at which it is out of time, and the
transport's sweep compares it (see transport.py).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from triptych.core.call import Headers
from triptych.core.failure import Failure, FailureKind

_ONE_READER = "an answer has one reader: another one waits already"
_PAUSE_ABOVE_BYTES = 256 * 1024


class ConnectionOwner(Protocol):
    """Who keeps connections between answers."""

    def opened(self, connection: "Connection") -> None:
        """The connection is established, TLS included."""
        ...

    def released(self, connection: "Connection") -> None:
        """The answer is complete and the connection may carry another."""
        ...

    def lost(self, connection: "Connection") -> None:
        """The connection is closed."""
        ...


class _NotAnAnswer(Exception):
    """Raised inside a parser callback to stop the parser: this is not an answer to our request."""


class HttpAnswer:
    """An answer being received; implements ``UpstreamAnswer``. One reader at a time."""

    __slots__ = (
        "_buffered_bytes",
        "_cause",
        "_chunks",
        "_connection",
        "_ended",
        "_failure_kind",
        "_loop",
        "_raised",
        "_take",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: "Connection") -> None:
        self.status = 0
        self.headers: Headers = ()
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._ended = False
        self._failure_kind: FailureKind | None = None
        self._cause: BaseException | None = None
        self._loop = loop
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._raised: Exception | None = None
        self._connection: Connection | None = connection

    async def head(self) -> FailureKind | None:
        """Wait until the head is there (None) or never will be (why). A cancelled wait closes
        the connection."""
        if self.status == 0 and self._failure_kind is None:
            await self._wait()
        return self._failure_kind if self.status == 0 else None

    def failure(self) -> Failure:
        """The failure this answer ended with, ready to be raised; the private cause attached."""
        failure = Failure(self._failure_kind or FailureKind.UPSTREAM_INTERRUPTED)
        failure.__cause__ = self._cause
        return failure

    async def read(self) -> bytes:
        """See ``UpstreamAnswer.read``. Bytes that arrived before a failure are returned first."""
        while True:
            chunks = self._chunks
            if chunks:
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                self._buffered_bytes = 0
                if self._connection is not None:
                    self._connection.resume()
                return data
            if self._ended:
                return b""
            if self._failure_kind is not None:
                raise self.failure()
            await self._wait()

    async def push(self, take: Callable[[bytes], bool]) -> bool:
        """See ``PushedAnswer.push``. Bytes that arrived before a failure are handed on first."""
        while True:
            if self._chunks or self._ended or self._failure_kind is not None:
                piece = await self.read()
                if not piece or take(piece):
                    return bool(piece)
                continue
            self._take = take
            try:
                enough = await self._wait()
                raised = self._raised
            finally:
                self._take = self._raised = None
            if raised is not None:
                try:
                    raise raised
                finally:
                    # An error keeps the frames it went through: one that knows it back would keep it, and
                    # the pieces in them, until the next garbage collection.
                    del raised
            if enough:
                return True

    def hand_on(self, piece: bytes) -> bool:
        """A piece has come. False: nobody takes it now, it must be kept for ``read``. The word of ``take``,
        or its error, is for the task that pushes."""
        take, waiter = self._take, self._waiter
        # A task that is being cancelled has not run yet.
        if take is None or waiter is None or waiter.done():
            return False
        try:
            enough = take(piece)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._raised, enough = error, True
        # What it wrote may have ended this answer.
        if enough and not waiter.done():
            waiter.set_result(True)
        return True

    def close(self) -> None:
        """See ``UpstreamAnswer.close``. A complete answer's connection is not touched."""
        self._chunks.clear()
        if self._connection is not None:
            self._connection.fail(FailureKind.UPSTREAM_INTERRUPTED)

    async def _wait(self) -> bool:
        """True: ``take`` has had enough."""
        if self._waiter is not None:
            raise RuntimeError(_ONE_READER)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(False)


class Connection(asyncio.Protocol):
    """A connection to one origin, carrying at most one exchange at a time."""

    __slots__ = (
        "_answer",
        "_chunked",
        "_complete",
        "_deadline_s",
        "_framed",
        "_headers",
        "_interim",
        "_keep_alive",
        "_loop",
        "_max_head_bytes",
        "_moved",
        "_owner",
        "_parser",
        "_paused",
        "_received",
        "_transport",
        "_unparsed_bytes",
        "limit_s",
        "on_body",
    )

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop, max_head_bytes: int) -> None:
        self.limit_s = float("inf")
        self._owner = owner
        self._loop = loop
        self._max_head_bytes = max_head_bytes
        self._transport: asyncio.Transport
        self._answer: HttpAnswer | None = None
        self._deadline_s = 0.0
        self._received: list[bytes] = []
        # The parser looks its callbacks up once: the list's own append is the fastest of them.
        self.on_body = self._received.append
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._unparsed_bytes = 0
        self._moved = False
        self._paused = False
        self._interim = False
        self._complete = False
        self._keep_alive = False
        self._framed = False
        self._chunked = False

    @property
    def usable(self) -> bool:
        """Whether another request may be written to it."""
        return not self._transport.is_closing()

    @property
    def busy(self) -> bool:
        return self._answer is not None

    def send(self, head: bytes, body: bytes, *, head_limit_s: float, deadline_s: float) -> HttpAnswer:
        """Write a request and return the answer to wait for. ``head`` lacks the content-length
        line and the empty line; both times are of the loop's clock."""
        self._answer = answer = HttpAnswer(self._loop, self)
        self._deadline_s = deadline_s
        self.limit_s = min(deadline_s, head_limit_s)
        # Trailers of the answer before may be in it.
        self._headers = []
        self._unparsed_bytes = 0
        self._complete = self._framed = self._interim = False
        self._transport.writelines((head, b"content-length: %d\r\n\r\n" % len(body), body))
        return answer

    def resume(self) -> None:
        """Read on after a pause for backpressure."""
        if self._paused:
            self._paused = False
            self._moved = True
            self._transport.resume_reading()

    def sweep(self, now_s: float, idle_timeout_s: float) -> None:
        """Close the connection if its time is up. Waiting for our own reader is not idleness."""
        answer = self._answer
        if answer is not None and answer.status and (self._moved or self._paused):
            self._moved = False
            self.limit_s = min(self._deadline_s, now_s + idle_timeout_s)
        if now_s >= self.limit_s:
            self.fail(FailureKind.UPSTREAM_TIMEOUT)

    def fail(self, kind: FailureKind, cause: BaseException | None = None) -> None:
        """End the exchange, if one runs, with a failure, and close the connection at once."""
        answer = self._answer
        if answer is not None:
            self._answer = None
            answer._failure_kind = kind
            answer._cause = cause
            answer._connection = None
            answer._wake()
        self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # create_connection makes stream transports, on either loop.
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Bytes nobody asked for: the next answer could not be told from them.
            self._transport.abort()
            return
        self._moved = True
        head_was_there = answer.status
        failed: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            failed = error
            self._keep_alive = False
        received = self._received
        unparsed_bytes = self._unparsed_bytes + len(data)
        if received:
            piece = received[0] if len(received) == 1 else b"".join(received)
            received.clear()
            if not answer.hand_on(piece):
                answer._chunks.append(piece)
                answer._buffered_bytes += len(data)
            self._unparsed_bytes = 0
        elif not self._complete:
            # Head, chunk framing or trailers: parsed, but bounded as long as no body comes of it.
            self._unparsed_bytes = unparsed_bytes
            if unparsed_bytes > self._max_head_bytes:
                answer.status = head_was_there
                self.fail(FailureKind.UPSTREAM_INVALID_RESPONSE)
                return
        if not head_was_there and answer.status:
            self.limit_s = self._deadline_s
            if unparsed_bytes > self._max_head_bytes and self._head_bytes() > self._max_head_bytes:
                answer.status = 0
                failed, self._complete = _NotAnAnswer("head too large"), False
        if self._complete:
            self._finish(answer)
        elif failed is not None:
            self.fail(FailureKind.UPSTREAM_INVALID_RESPONSE, failed)
        elif answer.status:
            if answer._buffered_bytes > _PAUSE_ABOVE_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            if answer._chunks or not head_was_there:
                answer._wake()

    def eof_received(self) -> None:
        self._lose(None)
        # Not close(): that would wait for a request body the peer no longer reads.
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(error)
        self._owner.lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise _NotAnAnswer("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if 100 <= status < 200 and status != 101:
            self._interim = True
            return
        if not 200 <= status < 600:
            raise _NotAnAnswer("unusable status")
        self._chunked = False
        for name, value in headers:
            if name == b"content-length":
                self._framed = True
            elif name == b"transfer-encoding":
                # Any other coding, or two, is one we never asked for (RFC 9112 section 6.1).
                if value.lower() != b"chunked" or self._chunked:
                    raise _NotAnAnswer("unknown transfer-encoding")
                self._framed = self._chunked = True
        answer = self._answer
        if answer is not None:
            answer.headers = headers
            answer.status = status

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # Ends

    def _finish(self, answer: HttpAnswer) -> None:
        answer._ended = True
        answer._connection = None
        self._answer = None
        answer._wake()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._keep_alive and not self._transport.get_write_buffer_size():
            self._owner.released(self)
        else:
            # Also when the answer overtook our request: the rest of it would precede the next.
            self._transport.abort()

    def _lose(self, error: Exception | None) -> None:
        """The peer is gone: what that means for the exchange depends on how far it was."""
        answer = self._answer
        if answer is None:
            return
        self._answer = None
        answer._connection = None
        answer._cause = error
        if answer.status and not self._framed and error is None:
            answer._ended = True
        elif answer.status:
            answer._failure_kind = FailureKind.UPSTREAM_INTERRUPTED
        elif self._unparsed_bytes:
            answer._failure_kind = FailureKind.UPSTREAM_INVALID_RESPONSE
        else:
            answer._failure_kind = FailureKind.UPSTREAM_UNREACHABLE
        answer._wake()

    def _head_bytes(self) -> int:
        assert self._answer is not None
        return sum(len(name) + len(value) + 4 for name, value in self._answer.headers)

"""What an endpoint writes its answer to: one head, then a body at once or in pieces.

Framing (RFC 9112) is decided here: a whole answer has a content-length, a streamed one is chunked,
or ends with the connection for HTTP/1.0. The head leaves with the first piece of the body, so a
failure before that piece can still become a plain HTTP error.
"""

import asyncio
import time
from email.utils import formatdate
from typing import Protocol

from triptych.core.call import Headers
from triptych.core.response import Response
from triptych.edge.message import REASONS, Request


class Connection(Protocol):
    """What a reply needs of the connection under it."""

    transport: asyncio.Transport
    disconnected: bool
    blocked: asyncio.Future[None] | None
    """Set while the client reads too slowly; resolves when more may be written."""

    def answered(self, request: Request) -> None:
        """The answer is complete: go on with the next request, or close."""
        ...


class _DateLine:
    """The ``date`` header line, made once per second (RFC 9110, 6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return self._line


_date_line = _DateLine()
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, b"Status")) for status in range(100, 600)
}


def encode_head(status: int, headers: Headers, framing: bytes) -> bytes:
    """Status line and headers. ``framing`` is the ready line(s) that delimit the body."""
    lines = [_STATUS_LINES[status], _date_line()]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    lines += (framing, b"\r\n")
    return b"".join(lines)


class Reply:
    """The answer to one request. Exactly one of ``respond`` or ``start``+``finish`` is called."""

    __slots__ = ("_chunked", "_connection", "_head", "_request", "bytes_out", "complete", "started")

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._head = b""
        self._chunked = False
        self.started = False
        """Whether a byte of the answer has left: from then on the status cannot change."""
        self.complete = False
        self.bytes_out = 0
        """Body bytes handed to the socket."""

    @property
    def disconnected(self) -> bool:
        """Whether the client has left; nothing more can reach it."""
        return self._connection.disconnected

    def _closing_line(self) -> bytes:
        request = self._request
        if not request.keep_alive:
            return b"connection: close\r\n"
        # A client of HTTP/1.0 that asked for it waits for the end of the connection unless it is told
        # (RFC 9112, C.2.2).
        return b"connection: keep-alive\r\n" if request.version_10 else b""

    def respond(self, response: Response) -> None:
        """Send a whole answer; a HEAD request gets the head only (RFC 9110, 9.3.2)."""
        body = response.body
        # What has no content by its status has no length either (RFC 9110, 8.6).
        length = b"" if response.status == 204 else b"content-length: %d\r\n" % len(body)
        framing = length + self._closing_line()
        head = encode_head(response.status, response.headers, framing)
        if self._request.method == b"HEAD":
            body = b""
        self.started = True
        if self._connection.disconnected:
            self._complete()
            return
        self.bytes_out += len(body)
        if len(body) < 65536:
            self._connection.transport.write(head + body)
        else:  # a big body is not copied once more
            self._connection.transport.write(head)
            self._connection.transport.write(body)
        self._complete()

    def start(self, status: int, headers: Headers) -> None:
        """Prepare the head of a streamed answer; it leaves with the first piece."""
        if self._request.version_10:
            self._request.keep_alive = False
            framing = b"connection: close\r\n"
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n" + self._closing_line()
        self._head = encode_head(status, headers, framing)

    def write(self, piece: bytes) -> asyncio.Future[None] | None:
        """Send a piece at once. Returns a future to await when the client reads too slowly.

        Nothing happens once the client has left: a closed transport refuses bytes with an error,
        and the cancellation that ends the exchange may come a turn of the loop later.
        """
        connection = self._connection
        if piece and not connection.disconnected:
            data = b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            if self._head:
                self._send(data)
            else:
                connection.transport.write(data)
            self.bytes_out += len(piece)
        return connection.blocked

    def finish(self, piece: bytes = b"") -> None:
        """Send the last piece and end the body."""
        if self._connection.disconnected:
            self._complete()
            return
        self.bytes_out += len(piece)
        if not self._chunked:
            self._send(piece)
        elif piece:
            self._send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece))
        else:
            self._send(b"0\r\n\r\n")
        self._complete()

    def abort(self) -> None:
        """Close the connection without ending the body: the client can tell it was cut."""
        self.complete = True
        self._connection.transport.abort()

    def _send(self, data: bytes) -> None:
        if self._head:
            data = self._head + data
            self._head = b""
        self.started = True
        if data:
            self._connection.transport.write(data)

    def _complete(self) -> None:
        self.complete = True
        self._connection.answered(self._request)

"""One connection to Redis or Valkey that runs the admission script: several calls a round trip.

The wire is RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), of which a script's
callers need five kinds of reply. A general client library cost 180 us of CPU a round trip here, this
costs 35; and a round trip given up in the middle closes the connection, so that no answer can reach
the wrong question.
"""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Final
from urllib.parse import unquote, urlsplit

logger = logging.getLogger("triptych.limits")

_PARTS: Final = ("admission.lua", "books.lua")
SCRIPT: Final = b"\n".join(
    resources.files("triptych.storage.limits").joinpath(part).read_bytes() for part in _PARTS
)
_SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
_HEAD: Final = b"*9\r\n$7\r\nEVALSHA\r\n$40\r\n" + _SHA + b"\r\n$1\r\n1\r\n"
_PORT: Final = 6379
_MOST_REPLY_BYTES: Final = 1 << 26

Reply = bytes | int | None


class LinkLostError(ConnectionError):
    """The server cannot be used: it is away, not ready, full, or will not let us in."""


class ReplyError(Exception):
    """The server answered with an error."""


Replies = list[Reply | ReplyError]
Answers = list[bytes | None]


LinkError = (OSError, TimeoutError)
"""What a link raises when it must be connected again (``LinkLostError`` is one)."""


class _Wire(asyncio.Protocol):
    """Bytes in, replies out, in the order of the questions; one question at a time."""

    def __init__(self, lost: Callable[[LinkLostError], None]) -> None:
        """``lost``: called when the connection ends while nothing was asked."""
        self._lost = lost
        self._buffer = bytearray()
        self._replies: list[Reply | ReplyError] = []
        self._wanted = 0
        self._done: Callable[[Replies | LinkLostError], None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's is always one

    def connection_lost(self, error: Exception | None) -> None:
        self.close(LinkLostError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        try:
            while (parsed := _parse(self._buffer, at)) is not None:
                reply, at = parsed
                self._replies.append(reply)
        except ValueError:
            self.close(LinkLostError("what answers does not speak the protocol of Redis"))
            return
        del self._buffer[:at]
        done = self._done
        if done is not None and len(self._replies) >= self._wanted:
            self._done = None
            done(self._replies)

    def ask(self, question: bytes, replies: int, done: "Callable[[Replies | LinkLostError], None]") -> None:
        """``done`` is called once, with so many replies or with what went wrong."""
        if self.transport is None:
            done(LinkLostError("the connection was closed"))
            return
        self._replies, self._wanted, self._done = [], replies, done
        self.transport.write(question)

    def close(self, reason: LinkLostError) -> None:
        """A question that is not answered yet ends with ``reason``."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        done, self._done = self._done, None
        if done is not None:
            done(reason)
        elif transport is not None:
            self._lost(reason)


class RedisLink:
    """Not for concurrent use: one ``run`` at a time."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """``url``: ``redis://[[user]:password@]host[:port][/database]``, or ``rediss://`` for TLS."""
        self.lost: Callable[[LinkLostError], None] = _nobody
        """Called when the server closes the connection while nothing is asked."""
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or _PORT
        self._tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        self._user = unquote(parts.username or "").encode()
        self._password = unquote(parts.password or "").encode()
        self._database = parts.path.strip("/").encode() or b"0"
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._run_id = b""

    @property
    def run_id(self) -> bytes:
        """Of the server's process: what another run of it kept on disk may be out of date."""
        return self._run_id

    async def connect(self) -> None:
        """Connect anew and load the script. Raises one of ``LinkError``."""
        self.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                told = await self._introduce()
        except BaseException:
            self.close()
            raise
        facts = dict(line.partition(b":")[::2] for line in (told or b"").split(b"\r\n"))
        self._run_id = facts.get(b"run_id", b"") or b"unknown"

    async def _introduce(self) -> bytes | None:
        loop = asyncio.get_running_loop()
        _, self._wire = await loop.create_connection(
            lambda: _Wire(self._lost), self._host, self._port, ssl=self._tls
        )
        if self._password:
            await self._command(b"AUTH", *([self._user] if self._user else []), self._password)
        if self._database != b"0":
            await self._command(b"SELECT", self._database)
        await self._command(b"SCRIPT", b"LOAD", SCRIPT)
        return await self._command(b"INFO", b"server")

    def _lost(self, reason: LinkLostError) -> None:
        if self._wire is not None:
            self.lost(reason)

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(LinkLostError("closed"))

    def run(
        self,
        calls: Sequence[tuple[bytes, bytes, bytes, bytes, bytes]],
        done: Callable[[Answers | LinkLostError], None],
    ) -> None:
        """Run the script for each (key prefix, lease in ms, operations, now, version) in one round trip.

        ``done`` is called with the answers, None where the script itself failed; or with what says
        that the link must be connected anew: nobody knows then what was done.
        """
        wire = self._wire
        if wire is None:
            done(LinkLostError("not connected"))
            return
        question = bytearray()
        run_id = self._run_id
        for prefix, *facts in calls:
            question += _HEAD
            for argument in (prefix, run_id, *facts):
                question += b"$%d\r\n%b\r\n" % (len(argument), argument)
        timer = asyncio.get_running_loop().call_later(self._timeout_s, wire.close, _LATE)

        def answered(replies: Replies | LinkLostError) -> None:
            timer.cancel()
            done(replies if isinstance(replies, LinkLostError) else _answers(replies))

        wire.ask(bytes(question), len(calls), answered)

    async def _command(self, *words: bytes) -> bytes | None:
        question = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
        assert self._wire is not None
        answered: asyncio.Future[Replies | LinkLostError] = asyncio.get_running_loop().create_future()
        self._wire.ask(question, 1, lambda told: None if answered.done() else answered.set_result(told))
        told = await answered
        if isinstance(told, LinkLostError):
            raise told
        reply = told[0]
        if isinstance(reply, ReplyError):
            raise LinkLostError(f"{words[0].decode()} was refused: {str(reply)[:120]}")
        return reply if isinstance(reply, bytes) else None


def _nobody(reason: LinkLostError) -> None:
    pass


_LATE: Final = LinkLostError("no answer in time")


def _answers(replies: Replies) -> Answers | LinkLostError:
    answers: Answers = []
    for reply in replies:
        if isinstance(reply, ReplyError):
            # A script that fails did so by itself; a server that refuses is as good as away.
            if not str(reply).startswith("ERR ") or "script" not in str(reply):
                return LinkLostError(f"the server refused: {str(reply)[:120]}")
            logger.error("the admission script failed: %s", reply)
            answers.append(None)
        else:
            answers.append(reply if isinstance(reply, bytes) else None)
    return answers


def _parse(buffer: bytearray, at: int) -> tuple[Reply | ReplyError, int] | None:
    """The reply that begins there and where the next one does; None: not all of it is here yet.
    Raises ValueError."""
    end = buffer.find(b"\r\n", at)
    if end < 0:
        if len(buffer) - at > _MOST_REPLY_BYTES:
            raise ValueError("an endless line")
        return None
    kind, line = buffer[at], bytes(buffer[at + 1 : end])
    if kind == 0x24:  # $
        length = int(line)
        if length < 0:
            return None, end + 2
        if length > _MOST_REPLY_BYTES:
            raise ValueError("a reply too long")
        last = end + 2 + length
        return (bytes(buffer[end + 2 : last]), last + 2) if len(buffer) >= last + 2 else None
    if kind == 0x2D:  # -
        return ReplyError(line.decode(errors="replace")), end + 2
    if kind == 0x2B:  # +
        return line, end + 2
    if kind == 0x3A:  # :
        return int(line), end + 2
    raise ValueError("an unknown kind of reply")

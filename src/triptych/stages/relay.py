"""Call the provider and pass its answer on, byte for byte.

Before the first byte: retries for what may pass by itself, and every failure is a plain HTTP error.
After it: nothing is retried, each chunk is passed on as it comes (whole events only, see the wire's
stream meter), and a broken stream becomes an error frame. A provider's own error is never rewritten.
"""

import asyncio
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any, Protocol

import msgspec

from triptych.core.call import Headers, Upstream, UpstreamAnswer, UpstreamCall, header
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.outcome import Ending
from triptych.core.response import JSON_TYPE, Response
from triptych.core.usage import Usage
from triptych.stages.settle import Dialect, Reply, Settlement

RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 529})
BACKOFF_BASE_S = 0.25
# How a wire's stream meter names a terminal event that tells of a failure.
FAILED_ENDINGS = ("error", "failed")
MAX_ANSWER_BYTES = 64 << 20
MAX_ERROR_BYTES = 8 << 20
# The end of the body usually comes with the terminal event; a provider that dawdles after it does
# not delay the client for longer than this.
TRAILING_S = 0.05
# An error that is not passed on is read to its end only if that comes soon.
DISCARD_S = 0.25

# What of a provider's headers reaches the client, and under which name.
PASSED_HEADERS = {
    b"content-type": b"content-type",
    b"retry-after": b"retry-after",
    b"request-id": b"x-upstream-request-id",
    b"anthropic-organization-id": b"anthropic-organization-id",
    b"openai-processing-ms": b"openai-processing-ms",
}
STREAM_HEADERS: Headers = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class RetryRule(msgspec.Struct, frozen=True):
    """How often, and for how long in all, a call is tried again before its first byte."""

    attempts: int = 2
    max_wait_s: float = 2.0


class _Said(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Said


_ERROR = msgspec.json.Decoder(_ErrorBody)


class StreamMeter(Protocol):
    """A wire's reading of a provider's event stream (sans-IO)."""

    @property
    def final(self) -> bytes | None: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def held(self) -> int: ...
    def feed(self, chunk: bytes) -> bytes: ...
    def usage(self) -> Usage: ...


class AnswerReader(Protocol):
    """What relaying needs to know of a wire, or of the way from one wire to another."""

    def stream_meter(self, parsed: Any, request_bytes: int) -> StreamMeter:
        """``request_bytes`` (of the body) are for an estimate where the provider does not count."""
        ...

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        """Check a plain answer and count its tokens; returns what the client gets: the very same
        bytes where the wires are the same. Raises Failure UPSTREAM_INVALID_RESPONSE."""
        ...


class Relay:
    """``render_errors``: a provider's error of a translated call is told in the caller's envelope
    (status and message are kept); without it the body stays the provider's, whatever its shape."""

    def __init__(self, rule: RetryRule, *, render_errors: bool = False) -> None:
        self._rule = rule
        self._render_errors = render_errors

    async def __call__(
        self,
        exchange: Exchange,
        upstream: Upstream,
        call: UpstreamCall,
        reader: AnswerReader,
        parsed: object,
        dialect: Dialect,
        reply: Reply,
        settlement: Settlement,
    ) -> None:
        """Leaves what the client gets last in ``settlement``. Raises Failure (provider kinds)."""
        answer = await self._send(exchange, upstream, call)
        try:
            exchange.upstream_status = exchange.status = answer.status
            request_id = header(answer.headers, b"request-id")
            if request_id is not None:
                exchange.upstream_request_id = request_id[:128].decode("latin-1")
            if answer.status >= 400:
                settlement.answer = await self._error(exchange, answer, dialect)
            elif not 200 <= answer.status < 300:
                raise Failure(
                    FailureKind.UPSTREAM_INVALID_RESPONSE,
                    f"upstream answered with status {answer.status}, which is never followed",
                )
            elif call.stream:
                exchange.meter = meter = reader.stream_meter(parsed, len(call.body))
                settlement.last_piece = await self._stream(exchange, answer, meter, dialect, reply)
            else:
                settlement.answer = await self._plain(
                    exchange, answer, reader, parsed, len(call.body), dialect
                )
        finally:
            answer.close()

    async def _send(self, exchange: Exchange, upstream: Upstream, call: UpstreamCall) -> UpstreamAnswer:
        """The first answer that is not worth another try."""
        waited_s = 0.0
        for attempt in range(self._rule.attempts + 1):
            last = attempt == self._rule.attempts
            asked_s: float | None = None
            try:
                answer = await upstream.call(call)
            except Failure as failure:
                if failure.kind is not FailureKind.UPSTREAM_UNREACHABLE or last:
                    raise
                wait_s = self._backoff_s(attempt)
                if waited_s + wait_s > self._rule.max_wait_s:
                    raise
            else:
                if answer.status not in RETRYABLE_STATUSES or last:
                    return answer
                asked_s = retry_after_s(header(answer.headers, b"retry-after"))
                wait_s = self._backoff_s(attempt) if asked_s is None else asked_s
                if waited_s + wait_s > self._rule.max_wait_s:
                    return answer
                await _discard(answer)
            exchange.retries += 1
            waited_s += wait_s
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    @staticmethod
    def _backoff_s(attempt: int) -> float:
        """Exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""
        return random.uniform(0.0, BACKOFF_BASE_S * 2**attempt)  # noqa: S311 - not for secrets

    async def _error(self, exchange: Exchange, answer: UpstreamAnswer, dialect: Dialect) -> Response:
        body = await _read_all(answer, MAX_ERROR_BYTES)
        if not body.strip():
            raise Failure(
                FailureKind.UPSTREAM_EMPTY_BODY,
                f"upstream returned status {answer.status} with an empty body",
                details={"upstream_status": answer.status},
            )
        exchange.ending = Ending.FAILED
        exchange.failure_kind = FailureKind.UPSTREAM_ERROR
        exchange.first_byte_s = monotonic()
        headers = dialect.answer_headers(exchange) + passed(answer.headers)
        if exchange.upstream_wire is not None:
            if self._render_errors and (message := error_message(body)) is not None:
                kept = [pair for pair in headers if pair[0] != b"content-type"]
                rendered = dialect.provider_error(exchange, answer.status, message)
                return Response(answer.status, (JSON_TYPE, *kept), rendered)
            headers.append((b"x-triptych-upstream-wire", exchange.upstream_wire.encode()))
        return Response(answer.status, headers, body)

    async def _plain(
        self,
        exchange: Exchange,
        answer: UpstreamAnswer,
        reader: AnswerReader,
        parsed: object,
        request_bytes: int,
        dialect: Dialect,
    ) -> Response:
        body = await _read_all(answer, MAX_ANSWER_BYTES)
        if not body.strip():
            raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
        body, exchange.usage = reader.read_answer(parsed, body, request_bytes)
        exchange.first_byte_s = monotonic()
        return Response(answer.status, dialect.answer_headers(exchange) + passed(answer.headers), body)

    async def _stream(
        self, exchange: Exchange, answer: UpstreamAnswer, meter: StreamMeter, dialect: Dialect, reply: Reply
    ) -> bytes:
        """Pass events on until the terminal one, which is returned: it waits for the end row."""
        content_type = header(answer.headers, b"content-type") or b""
        if not content_type.lower().startswith(b"text/event-stream"):
            if not (await _read_all(answer, MAX_ANSWER_BYTES)).strip():
                raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "upstream did not answer a streamed request with a stream",
            )
        feed, read, write = meter.feed, answer.read, reply.write
        try:
            while meter.final is None:
                chunk = await read()
                if not chunk:
                    # Half an event, or comments, are not nothing.
                    if not (meter.started or meter.held or reply.started):
                        raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
                    raise Failure(FailureKind.UPSTREAM_INTERRUPTED)
                ready = feed(chunk)
                if not ready:
                    continue
                if exchange.first_byte_s is None:
                    exchange.first_byte_s = monotonic()
                    reply.start(answer.status, self._stream_headers(exchange, answer, dialect))
                blocked = write(ready)
                if blocked is not None:
                    await blocked
            if not reply.started:
                exchange.first_byte_s = monotonic()
                reply.start(answer.status, self._stream_headers(exchange, answer, dialect))
            final = meter.final + await self._trailing(answer, meter)
        finally:
            exchange.usage = meter.usage()
        if meter.ended in FAILED_ENDINGS:
            exchange.ending = Ending.FAILED
            exchange.failure_kind = FailureKind.UPSTREAM_STREAM_ERROR
        return final

    @staticmethod
    def _stream_headers(exchange: Exchange, answer: UpstreamAnswer, dialect: Dialect) -> Headers:
        return [*dialect.answer_headers(exchange), *STREAM_HEADERS, *passed(answer.headers)]

    async def _trailing(self, answer: UpstreamAnswer, meter: StreamMeter) -> bytes:
        """What follows the terminal event; the end of the answer lets its connection be reused."""
        trailing = b""
        try:
            async with asyncio.timeout(TRAILING_S):
                while chunk := await answer.read():
                    trailing += meter.feed(chunk)
        except (TimeoutError, Failure):
            pass
        return trailing


async def _read_all(answer: UpstreamAnswer, limit_bytes: int) -> bytes:
    first = await answer.read()
    if not first:
        return first
    second = await answer.read()
    if not second:
        return first
    pieces = [first, second]
    size = len(first) + len(second)
    while piece := await answer.read():
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE, "upstream's answer is too large")
    return b"".join(pieces)


async def _discard(answer: UpstreamAnswer) -> None:
    """Read a small answer to its end, so that its connection can serve the next try."""
    try:
        async with asyncio.timeout(DISCARD_S):
            await _read_all(answer, 65536)
    except (TimeoutError, Failure):
        pass
    finally:
        answer.close()


def passed(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The provider's headers that reach the client."""
    return [(PASSED_HEADERS[name], value) for name, value in headers if name in PASSED_HEADERS]


def error_message(body: bytes) -> str | None:
    """The sentence of a provider's error, where every wire has it: ``error.message``."""
    try:
        return _ERROR.decode(body).error.message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds a provider asks to wait (RFC 9110, 10.2.3: a number or an HTTP date), or None."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

"""Call the provider and pass its answer on, byte for byte.

Before the first byte: retries for what may pass by itself, other targets for what one of them cannot
do (``route.py``), and every failure is a plain HTTP error. After it: nothing is tried again, each chunk
is passed on as it comes (whole events only, see the wire's stream meter), and a broken stream becomes
an error frame. A provider's own error is never rewritten.
"""

import asyncio
import math
from functools import partial
from time import monotonic

import msgspec

from triptych.core.breaker import Circuit
from triptych.core.call import Headers, UpstreamAnswer, header, pass_on
from triptych.core.exchange import Exchange
from triptych.core.failure import Blame, Failure, FailureKind
from triptych.core.outcome import Ending
from triptych.core.response import JSON_TYPE, Response
from triptych.core.usage import NO_USAGE
from triptych.stages.ask import Ask, RetryRule, discard, fault, read_all, retry_after_s
from triptych.stages.departure import Departure, Elsewhere, StreamMeter
from triptych.stages.opening import Blocked, Opening
from triptych.stages.settle import Dialect, Reply, Settlement

# Other targets are asked also where the provider has something against us, not against the caller.
REFUSING_STATUSES = frozenset({401, 402, 403, 408, 429})
# With these it has something against the caller's own body.
REJECTING_STATUSES = frozenset({400, 422})
# How a wire's stream meter names a terminal event that tells of a failure.
FAILED_ENDINGS = ("error", "failed")
MAX_ANSWER_BYTES = 64 << 20
MAX_ERROR_BYTES = 8 << 20
# To translate or to restore an answer from this size on takes milliseconds.
LARGE_ANSWER_BYTES = 65_536
# The end of the body usually comes with the terminal event; a provider that dawdles after it does
# not delay the client for longer than this.
TRAILING_S = 0.05

# What of a provider's headers reaches the client, and under which name.
PASSED_HEADERS = {
    b"content-type": b"content-type",
    b"retry-after": b"retry-after",
    b"request-id": b"x-upstream-request-id",
    b"anthropic-organization-id": b"anthropic-organization-id",
    b"openai-processing-ms": b"openai-processing-ms",
}
# Failures of an answer that had a body all the same.
_BODIED = (FailureKind.UPSTREAM_INVALID_RESPONSE, FailureKind.UPSTREAM_STREAM_ERROR)
STREAM_HEADERS: Headers = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
STREAM_TYPE = (b"content-type", b"text/event-stream; charset=utf-8")


class _Said(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Said


_ERROR = msgspec.json.Decoder(_ErrorBody)


class Relay:
    """``render_errors``: a provider's error of a translated call is told in the caller's envelope
    (status and message are kept); without it the body stays the provider's, whatever its shape."""

    def __init__(self, rule: RetryRule, *, render_errors: bool = False) -> None:
        self._ask = Ask(rule)
        self.may_resend = self._ask.may_resend
        self._render_errors = render_errors

    async def __call__(
        self,
        exchange: Exchange,
        departure: Departure,
        parsed: object,
        dialect: Dialect,
        reply: Reply,
        settlement: Settlement,
        detours: Elsewhere | None = None,
    ) -> None:
        """Leaves what the client gets last in ``settlement``. Raises Failure (provider kinds).

        ``detours``: where else to ask while nothing has reached the client; None when nowhere.
        """
        ask = self._ask
        ask.running += 1
        try:
            while True:
                answer: UpstreamAnswer | None = None
                try:
                    answer = await ask.call(exchange, departure, detours)
                    exchange.upstream_status = exchange.status = status = answer.status
                    request_id = header(answer.headers, b"request-id")
                    if request_id is not None:
                        exchange.upstream_request_id = request_id[:128].decode("latin-1")
                    if status >= 400:
                        if detours is not None and (status >= 500 or status in REFUSING_STATUSES):
                            await _turn_away(answer, detours)
                        if dialect.verbatim:
                            settlement.answer = await self._error(exchange, answer, dialect)
                        else:
                            settlement.fail(await provider_failure(answer))
                    elif not 200 <= status < 300:
                        raise Failure(
                            FailureKind.UPSTREAM_INVALID_RESPONSE,
                            f"upstream answered with status {status}, which is never followed",
                        )
                    elif departure.call.stream:
                        meter = departure.reader.stream_meter(parsed, len(departure.call.body))
                        exchange.meter = meter
                        settlement.last_piece = await self._stream(
                            exchange, answer, meter, dialect, reply, departure, detours
                        )
                    else:
                        settlement.answer = await self._plain(exchange, answer, departure, parsed, dialect)
                    return
                except Failure as failure:
                    self._note(exchange, departure, answer, failure)
                    if (
                        detours is None
                        or exchange.first_byte_s is not None
                        or not (failure.blame is Blame.PROVIDER or answer is None)
                        or not detours.prepare(monotonic())
                    ):
                        raise
                except asyncio.CancelledError:
                    if answer is not None and answer.status < 400 and exchange.usage is NO_USAGE:
                        exchange.usage = departure.given_up()
                    raise
                finally:
                    if answer is not None:
                        answer.close()
                following = detours.take()
                _forget(exchange)
                if isinstance(following, Response):
                    settlement.answer, exchange.status = following, following.status
                    return
                departure = following
        finally:
            ask.running -= 1

    def _note(
        self, exchange: Exchange, departure: Departure, answer: UpstreamAnswer | None, failure: Failure
    ) -> None:
        """Tell the circuit of an answer that broke; errors were counted when they came."""
        if answer is None or answer.status >= 400 or failure.blame is not Blame.PROVIDER:
            return
        begun = exchange.first_byte_s is not None
        late = failure.kind is FailureKind.UPSTREAM_TIMEOUT and monotonic() >= departure.call.deadline_s
        if not (begun and late):
            fault(departure, bodied=begun or failure.kind in _BODIED, begun=begun)

    async def _error(self, exchange: Exchange, answer: UpstreamAnswer, dialect: Dialect) -> Response:
        body = await _error_body(answer)
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
        departure: Departure,
        parsed: object,
        dialect: Dialect,
    ) -> Response:
        body = await read_all(answer, MAX_ANSWER_BYTES)
        if not body.strip():
            raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
        request_bytes = len(departure.call.body)
        read_answer = departure.reader.read_answer
        if len(body) < LARGE_ANSWER_BYTES:
            body, usage = read_answer(parsed, body, request_bytes)
        else:
            # The loop, which all others need, gets the interpreter every few milliseconds meanwhile.
            body, usage = await asyncio.to_thread(read_answer, parsed, body, request_bytes)
        exchange.usage = departure.weighed(usage)
        exchange.first_byte_s = now_s = monotonic()
        if (circuit := departure.leg.circuit) is not None:
            circuit.answered(now_s)
        headers = [*dialect.answer_headers(exchange), *_told_headers(exchange, answer, JSON_TYPE)]
        return Response(answer.status, headers, body)

    async def _stream(
        self,
        exchange: Exchange,
        answer: UpstreamAnswer,
        meter: StreamMeter,
        dialect: Dialect,
        reply: Reply,
        departure: Departure,
        detours: Elsewhere | None,
    ) -> bytes:
        """Pass events on until the terminal one, which is returned: it waits for the end row."""
        circuit = departure.leg.circuit
        content_type = header(answer.headers, b"content-type") or b""
        if not content_type.lower().startswith(b"text/event-stream"):
            if not (await read_all(answer, MAX_ANSWER_BYTES)).strip():
                raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "upstream did not answer a streamed request with a stream",
            )

        feed, write = meter.feed, reply.write
        blocked: Blocked = None

        def relayed(chunk: bytes) -> bool:
            """True: the stream has ended, or the client must read first."""
            nonlocal blocked
            ready = feed(chunk)
            if ready:
                if exchange.first_byte_s is None:
                    self._begin(exchange, answer, dialect, reply, circuit)
                blocked = write(ready)
                if blocked is not None:
                    return True
            return meter.final is not None

        try:
            if detours is not None and not detours.over:
                begin = partial(self._begin, exchange, answer, dialect, reply, circuit)
                opening = Opening(begin, write, lambda: detours.prepare(monotonic()))
                await self._hold(answer, meter, opening, detours)
            while meter.final is None:
                if not await pass_on(answer, relayed):
                    # Half an event, or comments, are not nothing.
                    if not (meter.started or meter.held or exchange.first_byte_s is not None):
                        raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
                    raise Failure(FailureKind.UPSTREAM_INTERRUPTED)
                if blocked is not None:
                    await blocked
            if meter.ended in FAILED_ENDINGS and not dialect.verbatim:
                raise Failure(FailureKind.UPSTREAM_STREAM_ERROR)
            if exchange.first_byte_s is None:
                self._begin(exchange, answer, dialect, reply, circuit)
            final = meter.final + await self._trailing(answer, meter)
        finally:
            exchange.usage = departure.weighed(meter.usage())
        if meter.ended in FAILED_ENDINGS:
            exchange.ending = Ending.FAILED
            exchange.failure_kind = FailureKind.UPSTREAM_STREAM_ERROR
            fault(departure, bodied=True, begun=True)
        return final

    @staticmethod
    def _begin(
        exchange: Exchange, answer: UpstreamAnswer, dialect: Dialect, reply: Reply, circuit: Circuit | None
    ) -> None:
        """From here on the client has this answer, and no other."""
        exchange.first_byte_s = now_s = monotonic()
        told = _told_headers(exchange, answer, STREAM_TYPE)
        reply.start(answer.status, [*dialect.answer_headers(exchange), *STREAM_HEADERS, *told])
        if circuit is not None:
            circuit.answered(now_s)

    @staticmethod
    async def _hold(answer: UpstreamAnswer, meter: StreamMeter, opening: Opening, detours: Elsewhere) -> None:
        """Keep the first events back until the model says something: a provider that gives up before
        that can still be left for another."""
        try:
            while meter.final is None and not opening.over:
                chunk = await answer.read()
                if not chunk:
                    if not (meter.started or meter.held):
                        raise Failure(FailureKind.UPSTREAM_EMPTY_BODY)
                    raise Failure(FailureKind.UPSTREAM_INTERRUPTED)
                blocked = opening.add(meter.feed(chunk))
                if blocked is not None:
                    await blocked
            if opening.over:
                return
            if meter.ended in FAILED_ENDINGS and detours.prepare(monotonic()):
                raise Failure(FailureKind.UPSTREAM_STREAM_ERROR)
            blocked = opening.end()
            if blocked is not None:
                await blocked
        finally:
            opening.close()

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


async def _turn_away(answer: UpstreamAnswer, detours: Elsewhere) -> None:
    """Raises Failure UPSTREAM_ERROR when another target is asked instead of showing this error."""
    if detours.prepare(monotonic()):
        await discard(answer)
        raise Failure(FailureKind.UPSTREAM_ERROR)


async def provider_failure(answer: UpstreamAnswer) -> Failure:
    """A provider's error status as a failure: the caller's own fault where the provider says so of the
    body. Raises Failure UPSTREAM_EMPTY_BODY."""
    body = await _error_body(answer)
    status = answer.status
    if status in REJECTING_STATUSES:
        return Failure(FailureKind.UPSTREAM_REJECTED, error_message(body))
    asked_s = retry_after_s(header(answer.headers, b"retry-after"))
    return Failure(
        FailureKind.UPSTREAM_ERROR,
        f"The provider answered with status {status}.",
        retry_after_s=None if asked_s is None else math.ceil(asked_s),
    )


async def _error_body(answer: UpstreamAnswer) -> bytes:
    body = await read_all(answer, MAX_ERROR_BYTES)
    if not body.strip():
        raise Failure(
            FailureKind.UPSTREAM_EMPTY_BODY,
            f"upstream returned status {answer.status} with an empty body",
            details={"upstream_status": answer.status},
        )
    return body


def _forget(exchange: Exchange) -> None:
    """What one target left in the exchange is not the outcome: another one is asked."""
    exchange.fallbacks += 1
    exchange.status = 0
    exchange.upstream_status = exchange.upstream_request_id = exchange.meter = None
    exchange.usage = NO_USAGE


def _told_headers(
    exchange: Exchange, answer: UpstreamAnswer, ours: tuple[bytes, bytes]
) -> list[tuple[bytes, bytes]]:
    """What is told of a good answer: a translated one is written here, and is of our own type."""
    told = passed(answer.headers)
    if exchange.upstream_wire is None:
        return told
    return [ours, *(pair for pair in told if pair[0] != ours[0])]


def passed(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The provider's headers that reach the client."""
    return [(PASSED_HEADERS[name], value) for name, value in headers if name in PASSED_HEADERS]


def error_message(body: bytes) -> str | None:
    """The sentence of a provider's error, where every wire has it: ``error.message``."""
    try:
        return _ERROR.decode(body).error.message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

"""Ask one target, and again where that may help; its circuit is told how it went."""

import asyncio
import logging
import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic

import msgspec

from triptych.core.call import Headers, UpstreamAnswer, header
from triptych.core.exchange import Exchange
from triptych.core.failure import Blame, Failure, FailureKind
from triptych.stages.departure import Departure, Elsewhere

logger = logging.getLogger("triptych.ask")

RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 529})
BACKOFF_BASE_S = 0.25
# Of all calls under way so many may be tries after the first: when a provider fails, retries must not
# be what keeps it down.
RETRY_SHARE = 0.2
FEWEST_RETRIES = 20
# An error that is not passed on is read to its end only if that comes soon.
DISCARD_S = 0.25


class RetryRule(msgspec.Struct, frozen=True):
    """How often, and for how long in all, a call is tried again before its first byte."""

    attempts: int = 2
    max_wait_s: float = 2.0


class Told:
    """An error the provider told before the next try, read to its end; implements ``UpstreamAnswer``."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Nothing is held."""


class Ask:
    """The calls of one process; ``running`` is how many exchanges are under way."""

    def __init__(self, rule: RetryRule) -> None:
        self._rule = rule
        self._retrying = 0
        self.running = 0

    def may_resend(self, exchange: Exchange) -> bool:
        """Whether a call that met a dead connection may be sent once more, which counts as a retry.
        A provider that closes idle connections is no reason to fail, even where nothing is retried."""
        if exchange.retries >= max(1, self._rule.attempts):
            return False
        exchange.retries += 1
        return True

    async def call(
        self, exchange: Exchange, departure: Departure, detours: Elsewhere | None
    ) -> UpstreamAnswer:
        """The first answer that is not worth another try. Raises Failure as ``Upstream.call`` does."""
        asked_s = 0.0 if detours is None else monotonic()
        outcome: UpstreamAnswer | Failure
        try:
            outcome = await departure.upstream.call(departure.call)
        except Failure as failure:
            outcome = failure
            if detours is not None and failure.kind is FailureKind.UPSTREAM_TIMEOUT:
                _pace(departure, asked_s)
        except asyncio.CancelledError:
            exchange.usage = departure.given_up()
            raise
        else:
            if outcome.status < 400:
                if detours is not None:
                    _pace(departure, asked_s)
                return outcome
        return await self._persist(exchange, departure, outcome, detours)

    async def _persist(
        self,
        exchange: Exchange,
        departure: Departure,
        outcome: UpstreamAnswer | Failure,
        detours: Elsewhere | None,
    ) -> UpstreamAnswer:
        """Try the same target again while that may help."""
        waited_s = 0.0 if detours is None else detours.waited_s
        slots = 0
        told: Told | None = None
        try:
            while True:
                asked_s = self._count(departure, outcome)
                wait_s = self._wait_s(exchange, departure, outcome, asked_s, detours)
                if (
                    wait_s is None
                    or waited_s + wait_s > self._rule.max_wait_s
                    or not (slots or self._retrying < max(FEWEST_RETRIES, RETRY_SHARE * self.running))
                ):
                    if not isinstance(outcome, Failure):
                        return outcome
                    # The provider's last error is what the client sees, also where the try after it
                    # reached nobody.
                    if told is not None and outcome.kind is FailureKind.UPSTREAM_UNREACHABLE:
                        return told
                    raise outcome
                self._retrying += 1 - slots
                slots = 1
                exchange.retries += 1
                if not isinstance(outcome, Failure):
                    body = await discard(outcome)
                    told = Told(outcome.status, outcome.headers, body) if body.strip() else None
                waited_s += wait_s
                if detours is not None:
                    detours.waited_s = waited_s
                await asyncio.sleep(wait_s)
                try:
                    outcome = await departure.upstream.call(departure.call)
                except Failure as failure:
                    outcome = failure
                except asyncio.CancelledError:
                    exchange.usage = departure.given_up()
                    raise
                else:
                    if outcome.status < 400:
                        return outcome
        finally:
            self._retrying -= slots

    def _wait_s(
        self,
        exchange: Exchange,
        departure: Departure,
        outcome: UpstreamAnswer | Failure,
        asked_s: float | None,
        detours: Elsewhere | None,
    ) -> float | None:
        """How long to wait for another try of the same target; None: there is none."""
        if isinstance(outcome, Failure):
            passing = outcome.kind is FailureKind.UPSTREAM_UNREACHABLE
        else:
            passing = outcome.status in RETRYABLE_STATUSES
        circuit = departure.leg.circuit
        if not passing or exchange.retries >= self._rule.attempts or not (circuit is None or circuit.closed):
            return None
        # Other targets of the model stand in at once. Another model is another answer: it is asked
        # after this one was tried again, unless its provider asked for time.
        if detours is not None and not detours.over and (asked_s is not None or not detours.last_of_model):
            return None
        return self._backoff_s(exchange.retries) if asked_s is None else asked_s

    def _count(self, departure: Departure, outcome: UpstreamAnswer | Failure) -> float | None:
        """Tell the circuit what came instead of an answer; returns the seconds of ``Retry-After``."""
        circuit = departure.leg.circuit
        if isinstance(outcome, Failure):
            if outcome.blame is Blame.PROVIDER:
                fault(departure, bodied=False)
            return None
        headers = outcome.headers
        asked_s = retry_after_s(header(headers, b"retry-after"))
        if circuit is None:
            return asked_s
        now_s = monotonic()
        if asked_s is not None and outcome.status in RETRYABLE_STATUSES:
            circuit.asked_to_wait(asked_s, now_s)
        if outcome.status >= 500:
            fault(departure, bodied=header(headers, b"content-length") != b"0")
        else:
            circuit.answered(now_s)
        return asked_s

    @staticmethod
    def _backoff_s(attempt: int) -> float:
        """Exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""
        return random.uniform(0.0, BACKOFF_BASE_S * 2**attempt)  # noqa: S311 - not for secrets


def fault(departure: Departure, *, bodied: bool, begun: bool = False) -> None:
    """Tell the circuit of a failure; see ``Circuit.faulted``."""
    leg = departure.leg
    if leg.circuit is not None and leg.circuit.faulted(monotonic(), bodied=bodied, begun=begun):
        logger.warning(
            "model %s: %s as %s keeps failing and is not asked for a while",
            leg.model.id,
            leg.target.provider,
            leg.target.upstream_model,
        )


def _pace(departure: Departure, asked_s: float) -> None:
    circuit = departure.leg.circuit
    if circuit is not None:
        now_s = monotonic()
        circuit.paced(now_s - asked_s, now_s, stream=departure.call.stream)


async def read_all(answer: UpstreamAnswer, limit_bytes: int) -> bytes:
    """The body. Raises Failure as ``UpstreamAnswer.read`` does, and UPSTREAM_INVALID_RESPONSE."""
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


async def discard(answer: UpstreamAnswer) -> bytes:
    """Read a small answer to its end, so that its connection can serve the next try. The body, or
    nothing when it was not to be had."""
    try:
        async with asyncio.timeout(DISCARD_S):
            return await read_all(answer, 65536)
    except (TimeoutError, Failure):
        return b""
    finally:
        answer.close()


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds a provider asks to wait (RFC 9110, 10.2.3: a number or an HTTP date), or None."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        # Not all that Python takes for a number: nobody can wait for infinity.
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

"""``Idempotency-Key`` (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/):
a repeated request gets the first one's answer, and is neither counted nor billed again.

Only good answers are kept: what was refused, failed or was cancelled may be tried again under its key.
A stream cannot be given twice: while it runs its key is taken, afterwards it is free.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from triptych.core.admission import Admission, RequestScope
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.outcome import Outcome
from triptych.core.response import Response
from triptych.edge.message import Request
from triptych.stages.authorize import authorize_call
from triptych.stages.settle import Dialect, HoldIndex, Ledger, Reply, Reporter, Settlement
from triptych.storage.errors import SpoiltContent, StorageError
from triptych.storage.idempotency import Claim, Claimant, IdempotencyKeys, InProgress, Reused

logger = logging.getLogger("triptych.idempotent")

HEADER = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")
MAX_KEY_CHARS = 255

# Of one exchange alone; a replay has its own, or none.
_OF_ONE_EXCHANGE = frozenset({b"request-id", b"x-request-id", b"date", b"retry-after"})
_LIMITS = (b"x-ratelimit-", b"anthropic-ratelimit-")

Govern = Callable[[Exchange], Awaitable[None]]


class ReplayIndex(HoldIndex, Protocol):
    def look(self, scopes: tuple[RequestScope, ...]) -> Admission | Awaitable[Admission]: ...


class Idempotency:
    """The keys of every surface that takes them."""

    def __init__(self, keys: IdempotencyKeys, ledger: Ledger, report: Reporter, index: ReplayIndex) -> None:
        self._keys = keys
        self._ledger = ledger
        self._report = report
        self._index = index

    def named(self, request: Request) -> bool:
        """Whether a request brings a key."""
        return any(name == HEADER for name, _ in request.headers)

    async def govern(
        self,
        request: Request,
        exchange: Exchange,
        scope: str | None,
        dialect: Dialect,
        reply: Reply,
        govern: Govern,
    ) -> None:
        """Answer an exchange whose request brings a key: with the first answer, or by ``govern``, which
        must end in a Settlement and let ``exchange.once`` take the key once the request is valid."""
        try:
            claimant = _claimant(request, exchange)
        except Failure as failure:
            # Told in its place among the checks, to a request that was counted.
            exchange.once = _NoKey(failure)
            await govern(exchange)
            return
        try:
            once = _Once(self._keys, exchange, dialect, claimant, self._index)
            known = await once.known()
        except (Failure, SpoiltContent) as error:
            async with self._settlement(exchange, dialect, reply):
                raise error from None
            return
        if known is None:
            exchange.once = once
            await govern(exchange)
            return
        async with self._settlement(exchange, dialect, reply) as settlement:
            if scope is not None:
                authorize_call(exchange.principal, scope)
            settlement.answer, exchange.status = known, known.status

    def _settlement(self, exchange: Exchange, dialect: Dialect, reply: Reply) -> Settlement:
        return Settlement(exchange, self._ledger, dialect, reply, self._report, self._index)


class _NoKey:
    """What came as a key and is none; ``core.exchange.Once``."""

    held = False

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    async def take(self, stream: bool) -> Response | None:
        raise self._failure

    def writes(self, outcome: Outcome, ended_us: int, answer: Response | None) -> tuple[Any, ...]:
        return ()

    async def end(self, answer: Response | None) -> None:
        pass

    def answered_in(self, connection: Any, answer: Response) -> None:
        pass


class _Once:
    """The key of one exchange; ``core.exchange.Once``."""

    def __init__(
        self,
        keys: IdempotencyKeys,
        exchange: Exchange,
        dialect: Dialect,
        claimant: Claimant,
        index: ReplayIndex,
    ) -> None:
        self._keys = keys
        self._exchange = exchange
        self._dialect = dialect
        self._claimant = claimant
        self._index = index
        # The body is let go before the end; an encoding is part of what was asked.
        self._request = b"\0".join((exchange.query, exchange.content_encoding, exchange.body))
        self._claim: Claim | None = None
        self._answered = False

    @property
    def held(self) -> bool:
        return self._claim is not None

    async def known(self) -> Response | None:
        """The first answer, if there is one. Raises Failure SERVICE_UNAVAILABLE, SpoiltContent."""
        try:
            answer = await asyncio.to_thread(self._keys.find, self._claimant, self._request)
        except SpoiltContent:
            raise  # nothing that passes by itself
        except StorageError as error:
            raise _unavailable() from error
        if answer is None:
            return None
        exchange = self._exchange
        with suppress(Failure):  # an answer that is there does not need the limits
            standing = self._index.look(exchange.principal.request_scopes)
            exchange.admission = standing if isinstance(standing, Admission) else await standing
        replay = self._replay(answer)
        # For its headers only: an exchange with an admission counts as a request of its day.
        exchange.admission = None
        return replay

    async def take(self, stream: bool) -> Response | None:
        keys, exchange_id = self._keys, self._exchange.id
        try:
            claimed = await uninterrupted(
                asyncio.to_thread(keys.claim, self._claimant, self._request, exchange_id, stream=stream),
                self._hold,
            )
        except Reused:
            raise Failure(
                FailureKind.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key came with another request before. Give each request a key of its own.",
            ) from None
        except InProgress:
            raise Failure(
                FailureKind.IDEMPOTENCY_IN_PROGRESS,
                "The first request with this Idempotency-Key is still being answered. Retry shortly.",
                retry_after_s=1,
            ) from None
        except SpoiltContent:
            raise  # as above
        except StorageError as error:
            raise _unavailable() from error
        self._request = b""
        return self._replay(claimed) if isinstance(claimed, Response) else None

    def _hold(self, claimed: "Claim | Response") -> None:
        if isinstance(claimed, Claim):
            self._claim = claimed

    def writes(self, outcome: Outcome, ended_us: int, answer: Response | None) -> tuple[Any, ...]:
        claim, self._claim = self._claim, None
        assert claim is not None
        if self._answered:
            return ()
        if answer is None:
            return claim.given_up()
        return claim.answered(_kept(answer), ended_us, outcome.ending.value)

    async def end(self, answer: Response | None) -> None:
        claim, self._claim = self._claim, None
        assert claim is not None
        if self._answered and answer is not None:
            return
        kept = None if answer is None else _kept(answer)
        try:
            await uninterrupted(asyncio.to_thread(self._keys.end, claim, kept))
        except asyncio.CancelledError:
            pass  # done all the same, and the exchange's end must still be recorded
        except StorageError as error:
            # It lapses by itself; the answer is as good without.
            logger.warning("an idempotency key could not be settled: %s", error)

    def answered_in(self, connection: Any, answer: Response) -> None:
        claim = self._claim
        if claim is not None:
            self._keys.answer(connection, claim, _kept(answer))
            self._answered = True

    def _replay(self, answer: Response) -> Response:
        fresh = self._dialect.answer_headers(self._exchange)
        names = {name for name, _ in fresh}
        old = [pair for pair in answer.headers if pair[0] not in names]
        return Response(answer.status, (*fresh, *old, REPLAYED), answer.body)


async def uninterrupted(work: Awaitable[Any], then: Callable[[Any], None] = lambda result: None) -> Any:
    """Wait for work in a thread to its end also when cancelled: it cannot be called back, and what it
    claimed must be known."""
    task = asyncio.ensure_future(work)
    try:
        result = await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            then(task.result())
        raise
    then(result)
    return result


def _kept(answer: Response) -> Response:
    headers = [
        pair for pair in answer.headers if pair[0] not in _OF_ONE_EXCHANGE and not pair[0].startswith(_LIMITS)
    ]
    return Response(answer.status, headers, answer.body)


def _claimant(request: Request, exchange: Exchange) -> Claimant:
    values = [value for name, value in request.headers if name == HEADER]
    key = values[0]
    if (
        len(values) > 1
        or not 0 < len(key) <= MAX_KEY_CHARS
        or not (key.isascii() and key.decode().isprintable())
    ):
        raise Failure(
            FailureKind.INVALID_VALUE,
            f"Idempotency-Key must be sent once, with 1 to {MAX_KEY_CHARS} printable ASCII characters.",
            param="Idempotency-Key",
        )
    principal = exchange.principal
    endpoint = f"{exchange.surface} {request.method.decode()} {request.path.decode('latin-1')}"
    return Claimant(principal.org_id, principal.key_id, endpoint, key)


def _unavailable() -> Failure:
    return Failure(
        FailureKind.SERVICE_UNAVAILABLE, "The gateway cannot look up the Idempotency-Key right now."
    )

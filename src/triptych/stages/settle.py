"""Exactly one outcome per exchange: leaving the settlement records it and sends the last bytes.

Whatever ends the governed path - an answer, a refusal, a crash, a cancellation - ends here. The end
row is durable before the last byte goes out, so a client that saw its answer finished can be sure
that the row exists.
"""

import asyncio
import logging
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

from triptych.core.call import Headers
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange, Keeper
from triptych.core.failure import Blame, Failure, FailureKind
from triptych.core.origin import origin
from triptych.core.outcome import Ending, Opened, Outcome
from triptych.core.response import Response
from triptych.core.usage import all_tokens
from triptych.stages.book import Book

logger = logging.getLogger("triptych.settle")


class Ledger(Protocol):
    def open(self, opened: Opened) -> asyncio.Future[None]: ...
    def end(
        self, exchange_id: str, outcome: Outcome, ended_us: int, kept: tuple[Any, ...] = ()
    ) -> asyncio.Future[bool]: ...
    def refuse(self, opened: Opened, outcome: Outcome, ended_us: int) -> None: ...


class HoldIndex(Protocol):
    def settle(
        self, exchange_id: str, actual_tokens: int, actual_nusd: int, actual_credits: int
    ) -> object: ...


class Reply(Protocol):
    """The edge's reply, as far as stages use it."""

    @property
    def started(self) -> bool: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def disconnected(self) -> bool:
        """Whether the client has left."""
        ...

    def respond(self, response: Response) -> None: ...
    def start(self, status: int, headers: Headers) -> None: ...
    def write(self, piece: bytes) -> asyncio.Future[None] | None: ...
    def finish(self, piece: bytes = b"") -> None: ...
    def abort(self) -> None: ...


class Dialect(Protocol):
    """How a surface spells refusals, stream errors and common headers on one of its wires."""

    @property
    def verbatim(self) -> bool:
        """Whether a provider's own error is passed on as it came; else it is a failure like others."""
        ...

    def refusal(self, exchange: Exchange, failure: Failure) -> Response: ...
    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes: ...
    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]: ...
    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        """The body that tells of a provider's error in this envelope."""
        ...


class Reporter(Protocol):
    """Metrics and the log line of a finished exchange."""

    def __call__(self, exchange: Exchange, outcome: Outcome) -> None: ...


class Settlement:
    """``async with Settlement(...) as settlement``: the one way out of the governed path.

    The body stores what the client gets last: ``settlement.answer`` (a whole response) or
    ``settlement.last_piece`` (the end of a stream that was started).
    """

    __slots__ = (
        "_book",
        "_dialect",
        "_exchange",
        "_index",
        "_ledger",
        "_outcome",
        "_reply",
        "_report",
        "_speechless",
        "answer",
        "last_piece",
    )

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        dialect: Dialect,
        reply: Reply,
        report: Reporter,
        index: HoldIndex,
        book: Book | None = None,
    ) -> None:
        """``index`` gets back what the exchange held, once its end row is durable."""
        self._exchange = exchange
        self._ledger = ledger
        self._dialect = dialect
        self._reply = reply
        self._report = report
        self._index = index
        self._book = book
        self._outcome: Outcome | None = None
        self.answer: Response | None = None
        self.last_piece = b""
        self._speechless = False
        """Whether a stream must be cut, because even its error frame could not be written."""

    async def __aenter__(self) -> "Settlement":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        exchange, reply = self._exchange, self._reply
        cancelled = isinstance(error, asyncio.CancelledError)
        if self._book is not None:
            booked = self._book.late(exchange)
            if booked is not None:
                await booked
        if cancelled and reply.disconnected:
            exchange.ending, exchange.failure_kind = Ending.CANCELLED, FailureKind.CLIENT_DISCONNECTED
            if exchange.once is not None and exchange.once.held and not exchange.opened:
                await exchange.once.end(None)
            recorded = self._record(bytes_out=reply.bytes_out)
            if recorded is None:
                self._settle()
            else:
                recorded.add_done_callback(self._settle)
            return False
        if cancelled and exchange.stopped is not None:
            cancelled = False
            self._failed(exchange.stopped)
            exchange.ending = Ending.CANCELLED
        elif cancelled:
            self._failed(Failure(FailureKind.INTERRUPTED, "The gateway is shutting down."))
            exchange.ending = Ending.INTERRUPTED
        elif error is not None:
            self._failed(error if isinstance(error, Failure) else _unexpected(exchange, error))
        if exchange.keeper is not None and exchange.opened:
            self._conclude(exchange.keeper)
        if exchange.once is not None and exchange.once.held and not exchange.opened:
            # Before the row: whoever sees the row of a key's exchange takes the key for free.
            await exchange.once.end(self.answer if answered_well(exchange, self.answer) else None)
        answer = self.answer
        pending = len(answer.body) if answer is not None else len(self.last_piece)
        recorded = self._record(bytes_out=reply.bytes_out + pending)
        try:
            if recorded is not None:
                cancelled = await self._durable(recorded) or cancelled
        finally:
            self._settle()
        if self._speechless:
            reply.abort()
        elif self.answer is not None and not reply.started:
            reply.respond(self.answer)
        else:
            reply.finish(self.last_piece)
        if cancelled and error is None:
            raise asyncio.CancelledError
        return not cancelled

    def fail(self, failure: Failure) -> None:
        """The exchange is over, and this is what the client gets."""
        self._failed(failure)

    def _conclude(self, keeper: Keeper) -> None:
        """What is kept is what the client gets: the last of it is told where, like the rest."""
        try:
            self.answer, self.last_piece = keeper.conclude(self.answer, self.last_piece)
        except Exception as error:  # noqa: BLE001 - a bug in keeping must not cost the row
            self._failed(error if isinstance(error, Failure) else _unexpected(self._exchange, error))

    def _kept(self, keeper: Keeper, outcome: Outcome, ended_us: int) -> tuple[Any, ...]:
        try:
            return keeper.writes(outcome, ended_us)
        except Exception as error:  # noqa: BLE001 - as above
            _unexpected(self._exchange, error)
            return ()

    async def _durable(self, recorded: asyncio.Future[bool]) -> bool:
        """Wait until the end row is on disk; returns whether the gateway was told to stop meanwhile
        (the answer still goes out: its row is as good as written)."""
        stopping = False
        try:
            try:
                written = recorded.result() if recorded.done() else await _uncancelled(recorded)
            except asyncio.CancelledError:
                if self._reply.disconnected:
                    raise
                stopping = True
                written = await recorded
            if not written:
                raise RuntimeError("another node took this one for dead, and settled it as interrupted")
        except Exception as lost:  # noqa: BLE001 - whatever the ledger raises means: not recorded
            # The row stays open and is settled as interrupted; the client must not see a finished
            # answer that no row vouches for.
            logger.error("outcome of %s could not be recorded: %s", self._exchange.request_id, lost)
            # Who is told to come again already has no answer, and may know why.
            if self._exchange.failure_kind is not FailureKind.SERVICE_UNAVAILABLE:
                self._failed(Failure(FailureKind.SERVICE_UNAVAILABLE, "The outcome could not be recorded."))
        return stopping

    def _failed(self, failure: Failure) -> None:
        """Make the failure what the client gets, before the first byte or inside the stream."""
        exchange = self._exchange
        exchange.failure_kind = failure.kind
        exchange.ending = Ending.REFUSED if failure.blame in _REFUSING else Ending.FAILED
        try:
            if self._reply.started:
                self.last_piece = self._dialect.stream_error(exchange, failure)
            else:
                self.answer = self._dialect.refusal(exchange, failure)
                exchange.status = self.answer.status
        except Exception as broken:  # noqa: BLE001 - a bug in the wording must not cost the row
            _unexpected(exchange, broken)
            self._speechless = self._reply.started
            if not self._speechless:
                self.answer = _WORDLESS
                exchange.status = _WORDLESS.status

    def _record(self, bytes_out: int) -> asyncio.Future[bool] | None:
        """Hand the outcome to the ledger. A refusal before the start row is queued, not awaited."""
        exchange = self._exchange
        self._outcome = outcome = exchange.end_row(monotonic(), bytes_out)
        recorded: asyncio.Future[bool] | None = None
        if exchange.opened:
            ended_us = now_us()
            kept = self._kept(exchange.keeper, outcome, ended_us) if exchange.keeper is not None else ()
            if exchange.once is not None and exchange.once.held:
                answer = self.answer if answered_well(exchange, self.answer) else None
                kept += exchange.once.writes(outcome, ended_us, answer)
            recorded = self._ledger.end(exchange.id, outcome, ended_us, kept)
            if not exchange.recordable:
                # The ledger goes on trying; its verdict comes too late for this answer.
                recorded.add_done_callback(_ignore)
                recorded = None
        else:
            self._ledger.refuse(exchange.start_row(), outcome, now_us())
        # The row first: metrics may be wrong by one, the ledger may not.
        self._report(exchange, outcome)
        return recorded

    def _settle(self, recorded: asyncio.Future[bool] | None = None) -> None:
        """Give the index back what was held, less what was used: also of an end row that could not be
        written yet, for the ledger goes on trying."""
        exchange, outcome = self._exchange, self._outcome
        if recorded is not None and not recorded.cancelled():
            recorded.exception()
        if exchange.occupies and outcome is not None:
            exchange.occupies = False
            tokens = all_tokens(outcome.usage)
            self._index.settle(exchange.id, tokens, outcome.cost_nusd, outcome.credits)
        if exchange.booked_late and self._book is not None and outcome is not None:
            exchange.booked_late = False
            self._book.settle(exchange, outcome.cost_nusd, outcome.credits)


def answered_well(exchange: Exchange, answer: Response | None) -> bool:
    """Whether the answer is one that a repeated request may get too: no refusal and no failure."""
    return (
        answer is not None
        and exchange.ending is Ending.COMPLETED
        and exchange.failure_kind is None
        and _OK <= answer.status < _REDIRECTED
    )


def _uncancelled(recorded: asyncio.Future[bool]) -> asyncio.Future[bool]:
    """A future that follows ``recorded`` and may be cancelled without it: ``asyncio.shield``, at a
    fifth of its cost, for a future that is known to be one."""
    waiter: asyncio.Future[bool] = recorded.get_loop().create_future()

    def follow(done: asyncio.Future[bool]) -> None:
        error = None if done.cancelled() else done.exception()
        if waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(done.result())

    recorded.add_done_callback(follow)
    return waiter


def _ignore(recorded: asyncio.Future[bool]) -> None:
    if not recorded.cancelled():
        recorded.exception()


_OK, _REDIRECTED = 200, 300
_REFUSING = (Blame.CLIENT, Blame.POLICY)
_WORDLESS = Response(500, (), b"")


def _unexpected(exchange: Exchange, error: BaseException) -> Failure:
    """A bug of ours: the place goes to the log, the values and the message go nowhere."""
    logger.error("unexpected %s in %s at %s", type(error).__name__, exchange.request_id, origin(error))
    failure = Failure(
        FailureKind.INTERNAL_ERROR, f"Internal error. Report it with the request id {exchange.request_id}."
    )
    failure.__cause__ = error
    return failure

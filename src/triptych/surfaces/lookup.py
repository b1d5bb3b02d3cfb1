"""Requests that ask the gateway and no provider: the same caller, limits and row, but no model call.

They cost nothing and nothing of them leaves the process, so there is no start row to wait for: one
row, ended already, is queued when the answer goes out, just as for a refusal (``Settlement``).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic

from triptych.core.exchange import Exchange
from triptych.core.response import Response
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.stages.authorize import authorize_call
from triptych.stages.relay import STREAM_HEADERS
from triptych.stages.settle import Dialect, HoldIndex, Ledger, Reporter, Settlement
from triptych.stages.throttle import Throttle
from triptych.surfaces.governed import SCOPE, taken
from triptych.surfaces.idempotent import Idempotency

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")

LookUp = Callable[[Exchange, tuple[bytes, ...], Dialect], Awaitable[Response | AsyncIterator[bytes]]]
"""Exchange, parameters of the path, dialect, to the answer: whole, or a stream of events (whole
ones). Raises Failure."""
DialectOf = Callable[[Request], Dialect]


class Lookup:
    """The governed path of everything that needs no provider."""

    def __init__(
        self,
        surface: str,
        throttle: Throttle,
        ledger: Ledger,
        report: Reporter,
        index: HoldIndex,
        check_size: Callable[[int], None] | None = None,
    ) -> None:
        """``check_size``: a limit of the surface's own on the body's bytes, looked at once the request
        is counted; raises Failure."""
        self._surface = surface
        self._check_size = check_size
        self._throttle = throttle
        self._index = index
        self._ledger = ledger
        self._report = report

    def serve(
        self,
        name: str,
        look_up: LookUp,
        dialect_of: DialectOf,
        *,
        scope: str | None = SCOPE,
        idempotency: Idempotency | None = None,
        slot: bool = True,
    ) -> Callable[[Request, Reply], Awaitable[None]]:
        """The endpoint of one kind of look-up; ``name`` stands in its rows. ``scope`` None: any valid key.
        Without ``slot`` limits of concurrency do not count it: what it asks about may hold the last slot.
        With ``idempotency`` it takes idempotency keys; ``look_up`` must then let ``exchange.once`` take
        the key before it does anything that shows."""

        async def endpoint(request: Request, reply: Reply) -> None:
            exchange = taken(request, self._surface, name)
            dialect = dialect_of(request)
            if idempotency is None or not idempotency.named(request):
                await govern(request, exchange, dialect, reply)
                return

            def once(exchange: Exchange) -> Awaitable[None]:
                return govern(request, exchange, dialect, reply)

            await idempotency.govern(request, exchange, scope, dialect, reply, once)

        async def govern(request: Request, exchange: Exchange, dialect: Dialect, reply: Reply) -> None:
            async with Settlement(
                exchange, self._ledger, dialect, reply, self._report, self._index
            ) as settlement:
                admission = self._throttle(exchange, slot=slot)
                if admission is not None:
                    await admission
                if self._check_size is not None:
                    self._check_size(exchange.bytes_in)
                if scope is not None:
                    authorize_call(exchange.principal, scope)
                answer = await look_up(exchange, request.parameters, dialect)
                if isinstance(answer, Response):
                    exchange.status = answer.status
                    settlement.answer = answer
                    return
                exchange.status, exchange.stream = 200, True
                headers = (*dialect.answer_headers(exchange), EVENT_STREAM, *STREAM_HEADERS)
                if request.method == b"HEAD":
                    settlement.answer = Response(200, headers, b"")
                    return
                reply.start(200, headers)
                async for piece in answer:
                    if exchange.first_byte_s is None:
                        exchange.first_byte_s = monotonic()
                    blocked = reply.write(piece)
                    if blocked is not None:
                        await blocked

        return endpoint

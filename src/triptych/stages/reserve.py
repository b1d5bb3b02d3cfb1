"""May this call be paid for? Tokens, money and credits are set aside before it, in one step."""

from collections.abc import Awaitable, Sequence
from decimal import Decimal
from typing import Protocol

from triptych.core.admission import CREDITS, TPM, Admission, BudgetScope, RequestScope, Reservation
from triptych.core.clock import MICROSECONDS_PER_S, rfc3339
from triptych.core.cycle import cycle_of, start_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.hold import Hold, held_output_tokens, hold
from triptych.core.target import Model
from triptych.core.usage import NANO_USD_PER_USD
from triptych.stages.route import Leg
from triptych.stages.throttle import Throttled, decide
from triptych.wires.request_size import estimate_request_tokens

_WHOSE = {"key": "the API key", "user": "the user", "group": "the group", "org": "the org"}


class BudgetIndex(Protocol):
    def reserve(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation | Awaitable[Reservation]: ...


class BilledRequest(Protocol):
    """What a hold depends on, whatever the wire."""

    @property
    def body(self) -> bytes: ...
    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def choices(self) -> int: ...


class Reserve:
    def __init__(self, index: BudgetIndex) -> None:
        self._index = index

    def __call__(
        self,
        exchange: Exchange,
        legs: Sequence[Leg],
        request: BilledRequest,
        throttled: Throttled | None = None,
    ) -> Awaitable[None] | None:
        """None: set aside, or nobody asked for it. An index that must be asked over the network gives
        something to await. ``legs``: all that may answer; the dearest model is reckoned with.
        ``throttled``: the decision on the request, where it waits for this one; what is returned
        then has both.

        Raises Failure BUDGET_EXCEEDED, CREDITS_EXHAUSTED, RATE_LIMITED (tokens a minute), and
        SERVICE_UNAVAILABLE when the index cannot be asked.
        """
        principal = exchange.principal
        live = principal.environment == "live"
        if not principal.reserves:
            return throttled
        # What a test key does costs nothing.
        budgets = principal.budgets_at(exchange.started_us) if live else ()
        input_tokens = estimate_request_tokens(request.body)
        held: Hold | None = None
        for leg in legs:
            one = _hold(exchange, leg.model, request, input_tokens, budgets)
            held = one if held is None else _dearer(held, one)
        assert held is not None
        exchange.budgets, exchange.hold, exchange.occupies = budgets, held, True
        joinable = None if throttled is None else throttled.joinable
        if joinable is not None:
            both = joinable.reserve(exchange.id, held.tokens, budgets, held.nusd, held.credits)
            return _decided_with_request(exchange, both)
        decision = self._index.reserve(
            exchange.id, principal.request_scopes, held.tokens, budgets, held.nusd, held.credits
        )
        if type(decision) is not Reservation:
            return _decided(exchange, decision)  # type: ignore[arg-type]  # no other is left
        exchange.reservation = decision
        if not decision.admitted:
            raise _refusal(exchange, decision)
        return None


async def _decided_with_request(
    exchange: Exchange, asked: Awaitable[tuple[Admission, Reservation | None]]
) -> None:
    admission, reservation = await asked
    decide(exchange, admission)
    assert reservation is not None
    exchange.reservation = reservation
    if not reservation.admitted:
        raise _refusal(exchange, reservation)


async def _decided(exchange: Exchange, asked: Awaitable[Reservation]) -> None:
    exchange.reservation = decision = await asked
    if not decision.admitted:
        raise _refusal(exchange, decision)


def _hold(
    exchange: Exchange,
    model: Model,
    request: BilledRequest,
    input_tokens: int,
    budgets: tuple[BudgetScope, ...],
) -> Hold:
    output_tokens = held_output_tokens(request.max_output_tokens, model, request.choices)
    price = model.price_at(exchange.started_us)
    return hold(model, price, input_tokens, output_tokens, budgets, exchange.principal.charged)


def _dearer(first: Hold, other: Hold) -> Hold:
    """The greater of each; what is charged if nobody lives to tell is the first model's."""
    return Hold(
        max(first.tokens, other.tokens),
        max(first.nusd, other.nusd),
        max(first.credits, other.credits),
        first.booking,
    )


def _refusal(exchange: Exchange, decision: Reservation) -> Failure:
    if decision.refused_by == TPM:
        return Failure(
            FailureKind.RATE_LIMITED,
            f"Rate limit exceeded: {decision.limit} tokens per minute for this {decision.scope}. Retry "
            f"after {decision.retry_after_s} s.",
            retry_after_s=decision.retry_after_s,
            details={
                "retry_after_seconds": decision.retry_after_s,
                "limit": decision.limit,
                "scope": decision.scope,
            },
        )
    _, following = cycle_of(exchange.principal.cycle_anchor_day, decision.cycle)
    reset = rfc3339(start_us(following) // MICROSECONDS_PER_S)
    wait_s = max(1, -(-(start_us(following) - exchange.started_us) // MICROSECONDS_PER_S))
    whose = _WHOSE[decision.scope]
    if decision.refused_by == CREDITS:
        message = f"The credits of {whose} are used up: {decision.used} of {decision.limit} in this cycle"
        if decision.used < decision.limit:
            message += f", and this request needs more than the rest ({decision.held} held by running ones)"
        return Failure(
            FailureKind.CREDITS_EXHAUSTED,
            f"{message}. They come back at {reset}.",
            retry_after_s=wait_s,
            details={
                "cycle_reset_at": reset,
                "credits_used": decision.used,
                "credits_allotment": decision.limit,
                "scope": decision.scope,
            },
        )
    spent, cap = _usd(decision.used), _usd(decision.limit)
    message = f"The spend cap of {whose} is reached: {spent} of {cap} USD in this cycle"
    if decision.used < decision.limit:
        held = _usd(decision.held)
        message += f", and this request may cost more than the rest ({held} USD held by running ones)"
    return Failure(
        FailureKind.BUDGET_EXCEEDED,
        f"{message}. It begins anew at {reset}.",
        retry_after_s=wait_s,
        details={
            "cycle_reset_at": reset,
            "current_spend_usd": decision.used / NANO_USD_PER_USD,
            "cap_usd": decision.limit / NANO_USD_PER_USD,
            "scope": decision.scope,
        },
    )


def _usd(nusd: int) -> str:
    """Exact, without zeros that say nothing."""
    text = f"{Decimal(nusd) / NANO_USD_PER_USD:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

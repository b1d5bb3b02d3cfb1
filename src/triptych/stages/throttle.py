"""May this key, this user and this org make one more request now? One decision over all three."""

from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from triptych.core.admission import Admission, JoinableAdmission, RequestScope
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind

_UNITS = {"minute": "minute", "day": "day (UTC)"}


class RequestIndex(Protocol):
    def admit_request(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...]
    ) -> Admission | Awaitable[Admission]: ...


class Throttle:
    def __init__(self, index: RequestIndex, *, slots: bool = False) -> None:
        """``slots``: whether limits of concurrency hold. Then every exchange that was admitted must
        be settled in the index at its end, however it ends."""
        self._index = index
        self._slots = slots

    def __call__(self, exchange: Exchange, *, slot: bool = True) -> "Throttled | None":
        """None: admitted. An index that must be asked over the network gives something to await.
        Without ``slot`` it is no request "at the same time": it counts in the windows only.

        Raises Failure RATE_LIMITED or CONCURRENCY_EXCEEDED (a refusal consumes nothing), and
        SERVICE_UNAVAILABLE when the index cannot be asked.
        """
        scopes = exchange.principal.request_scopes
        # Slots are counted by key, and given back at the end.
        occupies = exchange.occupies = slot and self._slots and scopes[0].limits.concurrency is not None
        admission = self._index.admit_request(exchange.id if occupies else None, scopes)
        if type(admission) is not Admission:
            return Throttled(exchange, admission)  # type: ignore[arg-type]  # no other is left
        decide(exchange, admission)
        return None


class Throttled:
    """A decision that is still to come: ``await`` it. Raises Failure as :class:`Throttle` does."""

    __slots__ = ("_asked", "_exchange")

    def __init__(self, exchange: Exchange, asked: Awaitable[Admission]) -> None:
        self._exchange = exchange
        self._asked = asked

    @property
    def joinable(self) -> JoinableAdmission | None:
        """Set where the decision may wait until the exchange also knows what it sets aside."""
        asked = self._asked
        return asked if hasattr(asked, "reserve") else None  # type: ignore[return-value]

    def __await__(self) -> Generator[Any, None, None]:
        decide(self._exchange, (yield from self._asked.__await__()))


def decide(exchange: Exchange, admission: Admission) -> None:
    """Raises Failure when it is a no."""
    exchange.admission = admission
    if not admission.admitted:
        raise _refusal(admission)


def _refusal(admission: Admission) -> Failure:
    details = {
        "retry_after_seconds": admission.retry_after_s,
        "limit": admission.limit,
        "scope": admission.scope,
    }
    if admission.window == "slots":
        kind = FailureKind.CONCURRENCY_EXCEEDED
        message = (
            f"Too many concurrent requests: {admission.limit} at the same time for this {admission.scope}. "
            "Retry when one of them has ended."
        )
    else:
        kind = FailureKind.RATE_LIMITED
        message = (
            f"Rate limit exceeded: {admission.limit} requests per {_UNITS[admission.window]} for this "
            f"{admission.scope}. Retry after {admission.retry_after_s} s."
        )
    return Failure(kind, message, retry_after_s=admission.retry_after_s, details=details)

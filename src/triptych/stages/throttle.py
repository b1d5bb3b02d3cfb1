"""May this key, this user and this org make one more request now? One decision over all three."""

from collections.abc import Awaitable
from typing import Protocol

from triptych.core.admission import Admission, RequestScope
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

    def __call__(self, exchange: Exchange) -> Awaitable[None] | None:
        """None: admitted. An index that must be asked over the network gives something to await.

        Raises Failure RATE_LIMITED or CONCURRENCY_EXCEEDED (a refusal consumes nothing), and
        SERVICE_UNAVAILABLE when the index cannot be asked.
        """
        scopes = exchange.principal.request_scopes
        # Slots are counted by key, and given back at the end.
        occupies = exchange.occupies = self._slots and scopes[0].limits.concurrency is not None
        admission = self._index.admit_request(exchange.id if occupies else None, scopes)
        if type(admission) is not Admission:
            return _decided(exchange, admission)  # type: ignore[arg-type]  # no other is left
        exchange.admission = admission
        if not admission.admitted:
            raise _refusal(admission)
        return None


async def _decided(exchange: Exchange, asked: Awaitable[Admission]) -> None:
    exchange.admission = admission = await asked
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

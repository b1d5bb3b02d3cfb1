"""May this key, this user and this org make one more request now? One decision over all three."""

from typing import Protocol

from triptych.core.exchange import Admission, Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import RequestLimits


class RequestWindows(Protocol):
    def admit(self, scopes: tuple[tuple[str, RequestLimits], ...]) -> Admission: ...


class Throttle:
    def __init__(self, windows: RequestWindows) -> None:
        self._windows = windows

    def __call__(self, exchange: Exchange) -> None:
        """Raises Failure RATE_LIMITED; a refusal of the limit itself consumes nothing."""
        principal = exchange.principal
        admission = self._windows.admit(
            (
                (principal.key_id, principal.key_limits),
                (principal.user_id, principal.user_limits),
                (principal.org_id, principal.org_limits),
            )
        )
        exchange.admission = admission
        if admission.admitted:
            return
        unit = "minute" if admission.window == "minute" else "day (UTC)"
        raise Failure(
            FailureKind.RATE_LIMITED,
            f"Rate limit exceeded: {admission.limit} requests per {unit} for this {admission.scope}. "
            f"Retry after {admission.retry_after_s} s.",
            retry_after_s=admission.retry_after_s,
            details={
                "retry_after_seconds": admission.retry_after_s,
                "limit": admission.limit,
                "scope": admission.scope,
            },
        )

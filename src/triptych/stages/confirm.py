"""Does what an exchange holds still stand? Asked right before anything leaves for a provider.

A process that stood still (stopped, suspended, short of memory) does not know it. Meanwhile others took
it for dead, settled what it ran and gave away what that had held: what it asked a provider for then would
be paid twice, or by nobody. So what is in doubt is not sent.
"""

from collections.abc import Callable
from typing import Protocol

from triptych.core.clock import passed_s
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind

_RETRY_S = 1


class Lease(Protocol):
    """In between, nobody can take this node for dead."""

    @property
    def since_s(self) -> float:
        """Monotonic time."""
        ...

    @property
    def until_s(self) -> float:
        """By ``core.clock.passed_s``."""
        ...


class Confirm:
    def __init__(self, lease: Callable[[], Lease], stands: Callable[[str], bool]) -> None:
        """``stands``: whether nobody else can have been given what the exchange of this id holds."""
        self._lease = lease
        self._stands = stands

    def __call__(self, exchange: Exchange) -> None:
        """Raises Failure SERVICE_UNAVAILABLE."""
        lease = self._lease()
        if passed_s() < lease.until_s and lease.since_s <= exchange.received_s and self._stands(exchange.id):
            return
        raise Failure(
            FailureKind.SERVICE_UNAVAILABLE,
            "The gateway stood still, or was cut off: what the request may cost is perhaps no longer set "
            "aside for it. Nothing was sent. Retry.",
            retry_after_s=_RETRY_S,
        )

"""Tokens an org may have analysed in a calendar month (UTC)."""

from datetime import UTC, datetime
from typing import Protocol

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage, UsageSource


class Counter(Protocol):
    def count(self, org_id: str, tokens: int) -> None: ...
    def used(self, org_id: str) -> int: ...


class Quota:
    def __init__(self, counter: Counter, monthly_tokens: int) -> None:
        """``monthly_tokens`` 0: no limit."""
        self._counter = counter
        self._monthly_tokens = monthly_tokens

    def check(self, exchange: Exchange) -> None:
        """Admits while anything is left. Raises Failure QUOTA_EXCEEDED."""
        limit = self._monthly_tokens
        if not limit or self._counter.used(exchange.principal.org_id) < limit:
            return
        now = datetime.now(UTC)
        following = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = following.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
        raise Failure(
            FailureKind.QUOTA_EXCEEDED,
            f"The monthly quota of {limit} analyse_tokens is used up. It begins anew at "
            f"{following:%Y-%m-%dT%H:%M:%SZ}.",
            retry_after_s=int((following - now).total_seconds()) + 1,
        )

    def count(self, exchange: Exchange, tokens: int) -> None:
        self._counter.count(exchange.principal.org_id, tokens)


def analysed(tokens: int) -> Usage:
    """What a row says of texts that the gateway itself worked on."""
    return Usage(input_tokens=tokens, source=UsageSource.COUNTED)

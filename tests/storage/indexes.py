"""The two admission indexes behind one synchronous face, on a clock that tests move by hand."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from triptych.core.admission import (
    Admission,
    BudgetScope,
    RequestLimits,
    RequestScope,
    Reservation,
    Seed,
)
from triptych.storage.limits.memory import MemoryIndex
from triptych.storage.limits.redis_index import RedisIndex
from triptych.storage.limits.redis_link import RedisLink

REDIS_URL = os.environ.get("TRIPTYCH_TEST_REDIS_URL")
NOON_US = 1_763_683_200_000_000 + 12 * 3_600_000_000 - 1_763_683_200_000_000 % 86_400_000_000
CYCLE = 20_000


def needed_redis_url() -> str:
    if not REDIS_URL:
        pytest.skip("Redis is NOT tested: TRIPTYCH_TEST_REDIS_URL is not set")
    return REDIS_URL


def own_prefix() -> str:
    return f"triptych-test-{uuid.uuid4().hex}"


class Clock:
    """``ms`` runs on; ``skew_us`` is how far the wall clock was set, after the fact."""

    def __init__(self) -> None:
        self.ms = NOON_US // 1000
        self.skew_us = 0

    def monotonic(self) -> int:
        return self.ms

    def wall(self) -> int:
        return self.ms * 1000 + self.skew_us


class Index:
    """What both have in common, and nothing to await."""

    def admit(self, scopes: tuple[RequestScope, ...], exchange_id: str | None = None) -> Admission:
        raise NotImplementedError

    def look(self, scopes: tuple[RequestScope, ...]) -> Admission:
        raise NotImplementedError

    def reserve(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...] = (),
        tokens: int = 0,
        budgets: tuple[BudgetScope, ...] = (),
        nusd: int = 0,
        credits: int = 0,
    ) -> Reservation:
        raise NotImplementedError

    def settle(self, exchange_id: str, tokens: int = 0, nusd: int = 0, credits: int = 0) -> None:
        raise NotImplementedError


class InMemory(Index):
    def __init__(self, clock: Clock) -> None:
        self.index = MemoryIndex(clock.monotonic, clock.wall)

    def admit(self, scopes, exchange_id=None):
        return self.index.admit_request(exchange_id, scopes)

    def look(self, scopes):
        return self.index.look(scopes)

    def reserve(self, exchange_id, scopes=(), tokens=0, budgets=(), nusd=0, credits=0):
        return self.index.reserve(exchange_id, scopes or org(), tokens, budgets, nusd, credits)

    def settle(self, exchange_id, tokens=0, nusd=0, credits=0):
        self.index.settle(exchange_id, tokens, nusd, credits)


class InRedis(Index):
    def __init__(self, clock: Clock | None, url: str, **changes: Any) -> None:
        self.loop = asyncio.new_event_loop()
        facts: dict[str, Any] = {
            "hold_lease_s": 30,
            "local": False,
            "known_nodes": lambda: 1,
            "key_prefix": own_prefix(),
            "clock_us": clock.wall if clock is not None else None,
            "timeout_s": 20.0,  # of a busy machine
            **changes,
        }
        self.key_prefix = facts["key_prefix"]
        self.index = RedisIndex(url, facts.pop("source", lambda org_id, held=(): Seed()), **facts)
        self.run(self.index.start())

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    def admit(self, scopes, exchange_id=None):
        return self.run(self.index.admit_request(exchange_id, scopes))

    def look(self, scopes):
        return self.run(self.index.look(scopes))

    def reserve(self, exchange_id, scopes=(), tokens=0, budgets=(), nusd=0, credits=0):
        return self.run(self.index.reserve(exchange_id, scopes or org(), tokens, budgets, nusd, credits))

    def settle(self, exchange_id, tokens=0, nusd=0, credits=0):
        self.index.settle(exchange_id, tokens, nusd, credits)
        self.deliver()

    def deliver(self) -> None:
        async def delivered() -> None:
            while self.index._calls.busy:
                await asyncio.sleep(0.001)

        self.run(delivered())

    def close(self) -> None:
        self.run(self.index.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


async def command(url: str, *words: str) -> Any:
    """One command to the server, such as tests need and the index does not."""
    link = RedisLink(url, timeout_s=2)
    await link.connect()
    try:
        return await link._command(*(word.encode() for word in words))
    finally:
        link.close()


def key(rpm: int | None = None, rpd: int | None = None, **limits: int) -> tuple[RequestScope, ...]:
    return (
        RequestScope("K", RequestLimits(rpm, rpd, **limits)),
        RequestScope("U", RequestLimits()),
        RequestScope("O", RequestLimits()),
    )


def org(tpm: int | None = None) -> tuple[RequestScope, ...]:
    return (
        RequestScope("K", RequestLimits()),
        RequestScope("U", RequestLimits()),
        RequestScope("O", RequestLimits(tpm=tpm)),
    )


def budget(
    cap_nusd: int | None = None,
    credits: int | None = None,
    *,
    kind: str = "org",
    id: str = "O",
    cycle: int = CYCLE,
) -> BudgetScope:
    return BudgetScope(kind, id, cap_nusd, credits, cycle)


Opener = Callable[..., InRedis]


def three(*scopes: tuple[str, RequestLimits]) -> tuple[RequestScope, ...]:
    return tuple(RequestScope(name, limits) for name, limits in scopes)

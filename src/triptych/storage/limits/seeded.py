"""The index in memory that reads each org's balances from the database before its first request."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from triptych.core.admission import (
    Admission,
    BudgetScope,
    Metering,
    OpenHold,
    RequestScope,
    Reservation,
    Seed,
    SeedSource,
    Settled,
)
from triptych.core.clock import now_us
from triptych.core.failure import Failure, FailureKind
from triptych.storage.errors import reason
from triptych.storage.limits.memory import MemoryIndex, monotonic_ms

logger = logging.getLogger("triptych.limits")

UNAVAILABLE = "The gateway cannot tell how much of the limits is used right now."


class SeededMemoryIndex(MemoryIndex):
    """Nothing of an org is admitted until what it spent, holds and asked today is known."""

    def __init__(
        self,
        source: SeedSource,
        clock_ms: Callable[[], int] = monotonic_ms,
        wall_clock_us: Callable[[], int] = now_us,
    ) -> None:
        super().__init__(clock_ms, wall_clock_us)
        self._source = source
        # Orgs whose days are known, and those whose money is known and kept up.
        self._counted: set[str] = set()
        self._booked: set[str] = set()
        # Orgs without any cap or credits, as of the last change of the directory.
        self._free: frozenset[str] = frozenset()
        # By org, and whether its money is read or its days.
        self._reading: dict[tuple[str, bool], asyncio.Task[None]] = {}
        # Exchanges that ended while a read was under way, which may have seen them open.
        self._ended: dict[str, tuple[int, int]] = {}

    def admit_request(  # type: ignore[override]  # the protocol's, which may have to be awaited
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...]
    ) -> Admission | Coroutine[None, None, Admission]:
        if scopes[-1].id in self._counted:
            return self._admit(exchange_id, scopes)
        return self._admit_after(exchange_id, scopes)

    def look(  # type: ignore[override]
        self, scopes: tuple[RequestScope, ...]
    ) -> Admission | Coroutine[None, None, Admission]:
        if scopes[-1].id in self._counted:
            return self._admit(None, scopes, 0)
        return self._admit_after(None, scopes, 0)

    def reserve(  # type: ignore[override]
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation | Coroutine[None, None, Reservation]:
        if not budgets or budgets[-1].id in self._booked:
            return self._reserve(exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)
        return self._reserve_after(exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)

    def settle(
        self,
        exchange_id: str,
        actual_tokens: int,
        actual_nusd: int,
        actual_credits: int,
        org_id: str | None = None,
    ) -> Settled:
        if self._reading:
            self._ended[exchange_id] = (actual_nusd, actual_credits)
        return super().settle(exchange_id, actual_tokens, actual_nusd, actual_credits, org_id)

    def keep(self, metering: Metering) -> None:
        """Call when the directory has changed: orgs without any cap or credits are no longer
        reserved for, so what is known of their money grows old and is read again if need be."""
        self._free = metering.free
        for org_id in self._booked - metering.metered:
            self.recount(org_id)

    def recount(self, org_id: str) -> None:
        """Read an org's balances from the database again before any of its money is set aside."""
        self._booked.discard(org_id)
        self.forget(org_id)

    _admit = MemoryIndex.admit_request
    _reserve = MemoryIndex.reserve

    async def _admit_after(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...], requests: int = 1
    ) -> Admission:
        await self._read(scopes[-1].id, money=False)
        return self._admit(exchange_id, scopes, requests)

    async def _reserve_after(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation:
        await self._read(budgets[-1].id, money=True)
        return self._reserve(exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)

    async def _read(self, org_id: str, *, money: bool) -> None:
        """One read for all who wait; one of them that leaves does not stop it. Raises Failure."""
        reading = self._reading.get((org_id, money))
        if reading is None:
            reading = asyncio.ensure_future(self._take_over(org_id, money))
            # Those who waited for it may all have left.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._reading[org_id, money] = reading
        try:
            await asyncio.shield(reading)
        except Exception as error:
            logger.warning("could not read the balances of an org: %s", reason(error))
            raise Failure(FailureKind.SERVICE_UNAVAILABLE, UNAVAILABLE, retry_after_s=1) from error

    async def _take_over(self, org_id: str, money: bool) -> None:
        was_free = org_id in self._free
        try:
            seed = await asyncio.to_thread(self._source, org_id)
            if money:
                self.seed_book(org_id, seed)
                self._settle_ended(seed.holds)
                # A request may have been judged by caps that are gone: what it reads is not kept up.
                if seed.metered if was_free else org_id not in self._free:
                    self._booked.add(org_id)
            else:
                self.seed_days(seed)
                self._counted.add(org_id)
        finally:
            del self._reading[org_id, money]
            if not self._reading:
                self._ended.clear()

    def _settle_ended(self, holds: tuple[OpenHold, ...]) -> None:
        for opened in holds:
            used = self._ended.get(opened.exchange_id)
            if used is not None:
                super().settle(opened.exchange_id, 0, *used)


def empty_seed(org_id: str) -> Seed:
    """For an index that nothing was counted for before."""
    return Seed()

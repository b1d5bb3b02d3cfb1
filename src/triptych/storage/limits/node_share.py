"""One node's part of the limits, while the nodes cannot count together.

Of each limit a node admits the limit divided by the nodes known, rounded down; of a cap, of credits
and of a daily limit, what was left when it began to count alone, divided likewise. So all nodes
together stay within the limits, with two bounds that a minute heals: what the nodes admitted together
in the minute before does not count, and a node that starts meanwhile adds a share. A key whose limit
is lower than the number of nodes is refused.
"""

from collections.abc import Callable

import msgspec

from triptych.core.admission import (
    Admission,
    BudgetScope,
    RequestLimits,
    RequestScope,
    Reservation,
    Seed,
    SeedSource,
)
from triptych.core.clock import now_us
from triptych.storage.limits.memory import monotonic_ms
from triptych.storage.limits.seeded import SeededMemoryIndex
from triptych.storage.limits.windows import DAY_US


class NodeShare(SeededMemoryIndex):
    """Counts in this process, within its share."""

    def __init__(
        self,
        source: SeedSource,
        nodes: int,
        clock_ms: Callable[[], int] = monotonic_ms,
        wall_clock_us: Callable[[], int] = now_us,
    ) -> None:
        super().__init__(source, clock_ms, wall_clock_us)
        self._nodes = nodes
        # Used already when this node began to count alone: by scope and day, or scope and cycle.
        self._requests_before: dict[tuple[str, int], int] = {}
        self._used_before: dict[tuple[str, int], list[int]] = {}
        self.orgs: set[str] = set()
        """Orgs for which anything was held: their books elsewhere are out of date."""

    def seed_days(self, seed: Seed) -> None:
        super().seed_days(seed)
        for count in seed.days:
            self._requests_before[count.id, count.day] = count.requests

    def seed_book(self, org_id: str, seed: Seed) -> None:
        super().seed_book(org_id, seed)
        before: dict[tuple[str, int], list[int]] = {}
        for spent in seed.spent:
            used = before.setdefault((spent.id, spent.cycle), [0, 0])
            used[0] += spent.nusd
            used[1] += spent.credits
        for opened in seed.holds:
            for _, scope_id, cycle in opened.budgets:
                used = before.setdefault((scope_id, cycle), [0, 0])
                used[0] += opened.nusd
                used[1] += opened.credits
        # It may be read again, and stands in place of what was read before.
        self._used_before.update(before)

    async def admit(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...], requests: int = 1
    ) -> Admission:
        """``admit_request`` within the share, or ``look``. Raises Failure SERVICE_UNAVAILABLE."""
        org_id = scopes[-1].id
        if org_id not in self._counted:
            await self._read(org_id, money=False)
        self.orgs.add(org_id)
        return self._admit(exchange_id, tuple(self._scope(scope) for scope in scopes), requests)

    async def hold(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation:
        """``reserve`` within the share. Raises Failure SERVICE_UNAVAILABLE."""
        if budgets and budgets[-1].id not in self._booked:
            await self._read(budgets[-1].id, money=True)
        self.orgs.add(scopes[-1].id)
        shared = tuple(self._budget(budget) for budget in budgets)
        return self._reserve(
            exchange_id,
            tuple(self._scope(scope) for scope in scopes),
            tokens,
            shared,
            hold_nusd,
            hold_credits,
        )

    def _scope(self, scope: RequestScope) -> RequestScope:
        limits = scope.limits
        today = self._wall_clock_us() // DAY_US
        before = self._requests_before.get((scope.id, today), 0)
        return RequestScope(
            scope.id,
            RequestLimits(
                self._share(limits.rpm),
                self._share(limits.rpd, before),
                self._share(limits.tpm),
                self._share(limits.concurrency),
            ),
        )

    def _budget(self, budget: BudgetScope) -> BudgetScope:
        nusd, credits = self._used_before.get((budget.id, budget.cycle), (0, 0))
        return msgspec.structs.replace(
            budget, cap_nusd=self._share(budget.cap_nusd, nusd), credits=self._share(budget.credits, credits)
        )

    def _share(self, limit: int | None, before: int = 0) -> int | None:
        return None if limit is None else max(0, before + (limit - before) // self._nodes)

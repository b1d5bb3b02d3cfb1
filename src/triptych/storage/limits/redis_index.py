"""The admission index of several processes, in Redis or Valkey.

Every decision is one run of one script over all scopes (``admission.lua`` and ``books.lua``). What
comes up while the last round trip runs goes together in the next. The index holds nothing that the
database does not know: a server that was restarted, emptied or replaced admits nothing of an org until
one node has rebuilt its book; the others then bring what they run.

Redis away: requests are refused, or counted by each node alone (``local``) within its share: the
limit, or what was left of it, divided by the nodes known. Settlements wait until it is back.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Final

from triptych.core.admission import (
    CREDITS,
    SCOPE_KINDS,
    SPEND_CAP,
    TPM,
    Admission,
    BudgetScope,
    Metering,
    RequestScope,
    Reservation,
    SeedSource,
    Settled,
)
from triptych.core.clock import passed_s
from triptych.core.failure import Failure
from triptych.storage.limits.node_share import NodeShare
from triptych.storage.limits.redis_calls import MOST_CALLS, RedisCalls, Waiting
from triptych.storage.limits.redis_link import RedisLink
from triptych.storage.limits.redis_running import Running
from triptych.storage.limits.windows import whole_s

logger = logging.getLogger("triptych.limits")

KEY_PREFIX: Final = "triptych"
_LIMITS: Final = {1: TPM, 2: SPEND_CAP, 3: CREDITS}
_WINDOWS: Final = {1: "minute", 2: "day", 3: "slots"}


class Asked:
    """A request that waits to be decided on: nothing is sent before it is awaited."""

    __slots__ = ("_exchange_id", "_index", "_scopes")

    def __init__(
        self, index: "RedisIndex", exchange_id: str | None, scopes: tuple[RequestScope, ...]
    ) -> None:
        self._index = index
        self._exchange_id = exchange_id
        self._scopes = scopes

    def __await__(self) -> Generator[Any, None, Admission]:
        return self._index.admit(self._exchange_id, self._scopes).__await__()

    def reserve(
        self,
        exchange_id: str,
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Awaitable[tuple[Admission, Reservation | None]]:
        """See ``JoinableAdmission``."""
        return self._index.admit_and_reserve(
            self._exchange_id, exchange_id, self._scopes, tokens, budgets, hold_nusd, hold_credits
        )


class RedisIndex:
    """All methods are for the event loop's thread."""

    def __init__(
        self,
        url: str,
        source: SeedSource,
        *,
        hold_lease_s: float,
        local: bool,
        known_nodes: Callable[[], int],
        version: Callable[[], int] = lambda: 0,
        timeout_s: float = 1.0,
        key_prefix: str = KEY_PREFIX,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        """``local``: count alone while Redis is away, within 1 / ``known_nodes()`` of the limits.
        ``version``: of the directory that requests are judged by. ``timeout_s``: how long a round trip
        may take. ``clock_us``: in place of the server's."""
        lease_ms = int(hold_lease_s * 1000)
        self._calls = RedisCalls(
            RedisLink(url, timeout_s=timeout_s),
            key_prefix=key_prefix,
            lease_ms=lease_ms,
            timeout_s=timeout_s,
            clock_us=clock_us,
            version=version,
            source=source,
            renewed=self._bring,
            back=self._together,
        )
        self._source = source
        self._lease_s = hold_lease_s
        self._local_allowed = local
        self._known_nodes = known_nodes
        self._local: NodeShare | None = None
        self._running: dict[str, Running] = {}
        self._free: frozenset[str] = frozenset()
        self._upkeep: asyncio.Task[None] | None = None
        # When the server was last found to be back: it may have lost what it said before.
        self._back_s = -math.inf

    @property
    def healthy(self) -> bool:
        """Whether Redis answers."""
        return self._calls.up

    @property
    def undelivered(self) -> int:
        """Settlements that wait for Redis to come back."""
        return self._calls.undelivered

    @property
    def round_trips(self) -> int:
        """Since the start."""
        return self._calls.round_trips

    async def start(self) -> None:
        """Connect. A server that is away does not keep the gateway from starting: it is asked for
        until it is there."""
        self._loop = asyncio.get_running_loop()
        await self._calls.start()
        self._upkeep = asyncio.create_task(self._keep_up())

    def stands(self, exchange_id: str) -> bool:
        """Whether nobody else can have been given what an exchange holds, as far as can be known without
        asking. It is false while that is in doubt: the server is away, or this process stood still."""
        running = self._running.get(exchange_id)
        if running is None or running.token == "":  # counted alone
            return True
        if self._local_allowed:
            return running.stands(-math.inf)
        return self._calls.up and running.stands(self._back_s)

    async def close(self) -> None:
        """Deliver what waits, for at most one round trip's time, and disconnect."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._calls.close()

    def keep(self, metering: Metering) -> None:
        """Call at the start and when the directory has changed: orgs without any cap or credits are not
        reserved for, so what is known of their money grows old and is read again once they have one."""
        for org_id in metering.free - self._free:
            self._calls.put(Waiting(org_id, ("free", metering.version), None))
        self._free = metering.free
        if self._local is not None:
            self._local.keep(metering)

    def forget(self, org_ids: Iterable[str]) -> None:
        """Read these orgs from the database again before anything more of them is admitted. Only where nobody
        holds anything for them: a hold whose start row is still on its way would be missing."""
        for org_id in org_ids:
            self._calls.put(Waiting(org_id, ("forget",), None))

    def recount(self, org_id: str) -> None:
        """Read an org's balances from the database again before any of its money is set aside: something was
        charged there that was never held here. What is held stays."""
        self._calls.put(Waiting(org_id, ("recount",), None))
        if self._local is not None:
            self._local.recount(org_id)

    # -- the index -----------------------------------------------------------------------------

    def admit_request(self, exchange_id: str | None, scopes: tuple[RequestScope, ...]) -> "Asked":
        """See ``AdmissionIndex`` and ``JoinableAdmission``. Raises Failure SERVICE_UNAVAILABLE."""
        return Asked(self, exchange_id, scopes)

    async def look(self, scopes: tuple[RequestScope, ...]) -> Admission:
        """See ``AdmissionIndex``. Raises Failure SERVICE_UNAVAILABLE."""
        return await self.admit(None, scopes, 0)

    async def admit(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...], requests: int = 1
    ) -> Admission:
        """What awaiting ``admit_request`` does, or ``look``."""
        running = self._begin(exchange_id, scopes)
        if not self._calls.up and self._local_allowed:
            return await self._admit_alone(running, exchange_id, scopes, requests)
        operation = ("admit", exchange_id or "", _packed_scopes(scopes), requests)
        try:
            token, told = await self._calls.ask(scopes[-1].id, operation)
        except Failure:
            if not self._local_allowed or self._calls.up:
                raise
            return await self._admit_alone(running, exchange_id, scopes, requests)
        return self._admitted(running, exchange_id, token, told)

    async def reserve(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation:
        """See ``AdmissionIndex``. Raises Failure SERVICE_UNAVAILABLE."""
        running = self._asking(exchange_id, scopes)
        asked = (exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)
        if not self._calls.up and self._local_allowed:
            return await self._reserve_alone(running, *asked)
        try:
            token, told = await self._calls.ask(scopes[-1].id, _reserve_operation(*asked))
        except Failure:
            if not self._local_allowed or self._calls.up:
                raise
            return await self._reserve_alone(running, *asked)
        return self._reserved(running, *asked, token, told)

    async def admit_and_reserve(
        self,
        slot_id: str | None,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> tuple[Admission, Reservation | None]:
        """Both in one round trip; ``slot_id`` is ``admit_request``'s exchange."""
        occupying = self._begin(slot_id, scopes)
        running = self._asking(exchange_id, scopes)
        asked = (exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)
        if self._calls.up or not self._local_allowed:
            operation = (
                "both",
                ("admit", slot_id or "", _packed_scopes(scopes), 1),
                _reserve_operation(*asked),
            )
            try:
                token, (first, second) = await self._calls.ask(scopes[-1].id, operation)
            except Failure:
                if not self._local_allowed or self._calls.up:
                    raise
            else:
                admission = self._admitted(occupying, slot_id, token, first)
                if not admission.admitted:
                    self._running.pop(exchange_id, None)
                    return admission, None
                return admission, self._reserved(running, *asked, token, second)
        admission = await self._admit_alone(occupying, slot_id, scopes)
        if not admission.admitted:
            self._running.pop(exchange_id, None)
            return admission, None
        return admission, await self._reserve_alone(running, *asked)

    def _begin(self, exchange_id: str | None, scopes: tuple[RequestScope, ...]) -> Running | None:
        """Of an exchange that takes slots."""
        slots = [] if exchange_id is None else [s.id for s in scopes if s.limits.concurrency is not None]
        if not slots or exchange_id is None:
            return None
        running = self._running[exchange_id] = Running(scopes[-1].id, self._loop.time(), self._lease_s)
        running.slots = slots
        return running

    def _asking(self, exchange_id: str, scopes: tuple[RequestScope, ...]) -> Running:
        running = self._running.get(exchange_id)
        if running is None:
            running = self._running[exchange_id] = Running(scopes[-1].id, self._loop.time(), self._lease_s)
        return running

    def _admitted(
        self, running: Running | None, exchange_id: str | None, token: str, told: Sequence[Any]
    ) -> Admission:
        admitted, limit, remaining, reset_ms, wait_ms, position, window, tokens, left, tokens_reset = told
        if running is not None and exchange_id is not None:
            running.token = token
            if not admitted:
                self._running.pop(exchange_id, None)
        return Admission(
            bool(admitted),
            None if limit < 0 else limit,
            remaining,
            int(reset_ms),
            None if admitted else whole_s(int(wait_ms)),
            SCOPE_KINDS[position],
            _WINDOWS[window],
            None if tokens < 0 else tokens,
            left,
            int(tokens_reset),
        )

    def _reserved(
        self,
        running: Running,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
        token: str,
        told: Sequence[Any],
    ) -> Reservation:
        if told[0]:
            running.holds(budgets, hold_nusd, hold_credits, token)
            _, limit, left, reset_ms = told
            if limit < 0:
                return Reservation(True)
            return Reservation(True, tokens_limit=limit, tokens_remaining=left, tokens_reset_ms=int(reset_ms))
        running.token = token
        self._refused(exchange_id, running)
        _, limit, left, reset_ms, refused_by, position, value, used, held, cycle, wait_ms = told
        scope: RequestScope | BudgetScope = scopes[position] if refused_by == 1 else budgets[position]
        return Reservation(
            False,
            _LIMITS[refused_by],
            scope.kind if isinstance(scope, BudgetScope) else SCOPE_KINDS[position],
            scope.id,
            int(value),
            int(used),
            int(held),
            int(cycle),
            whole_s(int(wait_ms)) if refused_by == 1 else None,
            None if limit < 0 else limit,
            left,
            int(reset_ms),
        )

    def settle(
        self,
        exchange_id: str,
        actual_tokens: int,
        actual_nusd: int,
        actual_credits: int,
        org_id: str | None = None,
    ) -> Settled | None:
        """See ``AdmissionIndex``: on its way when this returns, and tried until it is through."""
        running = self._running.pop(exchange_id, None)
        if self._local is not None:
            self._local.settle(exchange_id, actual_tokens, actual_nusd, actual_credits)
        if running is not None:
            org_id = running.org_id
        if org_id is not None:
            operation = ("settle", exchange_id, actual_tokens, actual_nusd, actual_credits)
            self._calls.put(Waiting(org_id, operation, None))
        return None

    def _refused(self, exchange_id: str, running: Running) -> None:
        """Nothing is held; slots taken before are."""
        if not running.slots:
            self._running.pop(exchange_id, None)

    # -- alone ---------------------------------------------------------------------------------

    def _together(self) -> Iterable[str]:
        """Redis is back. What was counted alone is in the database, not in the books."""
        alone, self._local = self._local, None
        self._back_s = passed_s()
        self._renew(self._running)
        return () if alone is None else alone.orgs

    def _alone(self) -> NodeShare:
        if self._local is None:
            nodes = max(1, self._known_nodes())
            logger.warning("limits are counted by this node alone, with 1/%d of each", nodes)
            self._local = NodeShare(self._source, nodes)
        return self._local

    async def _admit_alone(
        self,
        running: Running | None,
        exchange_id: str | None,
        scopes: tuple[RequestScope, ...],
        requests: int = 1,
    ) -> Admission:
        admission = await self._alone().admit(exchange_id, scopes, requests)
        if running is not None and exchange_id is not None:
            # No book of Redis has it: it is brought there when Redis is back.
            running.token = ""
            if not admission.admitted:
                self._running.pop(exchange_id, None)
        return admission

    async def _reserve_alone(
        self,
        running: Running,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation:
        reservation = await self._alone().hold(exchange_id, scopes, tokens, budgets, hold_nusd, hold_credits)
        if reservation.admitted:
            running.holds(budgets, hold_nusd, hold_credits, "")
        else:
            self._refused(exchange_id, running)
        return reservation

    # -- books ---------------------------------------------------------------------------------

    def _bring(self, org_id: str, token: str) -> None:
        """The org's book is a new one: bring what this node runs, if the database did not show it."""
        entries = []
        for exchange_id, running in self._running.items():
            if running.org_id == org_id and running.token is not None and running.token != token:
                running.token = token
                entries.append((exchange_id, running.slots, running.places, running.nusd, running.credits))
        if entries:
            self._calls.put(Waiting(org_id, ("restore", entries), None, self._brought))

    def _brought(self, ids: list[str]) -> None:
        """The new book did not have them: others may have been admitted in their place."""
        for exchange_id in ids:
            if (running := self._running.get(exchange_id)) is not None:
                running.lost()

    async def _keep_up(self) -> None:
        """Renew the leases of what still runs, and go on with what could not be delivered."""
        pause_s = self._lease_s / 3
        while True:
            await asyncio.sleep(pause_s)
            if not self._calls.up:
                continue
            self._calls.deliver()
            due_s = self._loop.time() - pause_s
            self._renew(id_ for id_, running in self._running.items() if running.since_s <= due_s)

    def _renew(self, exchange_ids: Iterable[str]) -> None:
        by_org: dict[str, list[str]] = {}
        for exchange_id in exchange_ids:
            by_org.setdefault(self._running[exchange_id].org_id, []).append(exchange_id)
        asked_s = passed_s()
        for org_id, ids in by_org.items():
            for start in range(0, len(ids), MOST_CALLS):
                some = ids[start : start + MOST_CALLS]
                told = partial(self._renewed, some, asked_s)
                self._calls.put(Waiting(org_id, ("renew", some), None, told))

    def _renewed(self, ids: list[str], asked_s: float, _told: object) -> None:
        for exchange_id in ids:
            if (running := self._running.get(exchange_id)) is not None:
                running.renewed(asked_s, self._lease_s)


def _reserve_operation(
    exchange_id: str,
    scopes: tuple[RequestScope, ...],
    tokens: int,
    budgets: tuple[BudgetScope, ...],
    hold_nusd: int,
    hold_credits: int,
) -> tuple[Any, ...]:
    packed = _packed_scopes(scopes), tokens, _packed_budgets(budgets)
    return "reserve", exchange_id, *packed, hold_nusd, hold_credits


def _packed_scopes(scopes: tuple[RequestScope, ...]) -> list[tuple[int, str, int, int, int, int]]:
    packed = []
    for position, scope in enumerate(scopes):
        limits = scope.limits
        rpm, rpd, tpm, concurrency = limits.rpm, limits.rpd, limits.tpm, limits.concurrency
        if rpm is None and rpd is None and tpm is None and concurrency is None:
            continue
        packed.append(
            (
                position,
                scope.id,
                -1 if rpm is None else rpm,
                -1 if rpd is None else rpd,
                -1 if tpm is None else tpm,
                -1 if concurrency is None else concurrency,
            )
        )
    return packed


def _packed_budgets(budgets: tuple[BudgetScope, ...]) -> list[tuple[int, str, int, int, int]]:
    return [
        (
            position,
            budget.id,
            -1 if budget.cap_nusd is None else budget.cap_nusd,
            -1 if budget.credits is None else budget.credits,
            budget.cycle,
        )
        for position, budget in enumerate(budgets)
    ]

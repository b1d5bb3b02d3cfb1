"""The way to Redis: what comes up while the last round trip runs goes together in the next.

Nobody is kept waiting for a server that is away; settlements are kept until it is back.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from triptych.core.admission import Seed, SeedSource
from triptych.core.failure import Failure, FailureKind
from triptych.core.unreachable import why_unreachable
from triptych.storage.errors import reason
from triptych.storage.limits.redis_link import Answers, LinkError, LinkLostError, RedisLink
from triptych.storage.limits.seeded import UNAVAILABLE

logger = logging.getLogger("triptych.limits")

MOST_CALLS: Final = 256
_LOCK_POLL_S: Final = 0.02
_REBUILD_S: Final = 5.0
# Who has not built by then never will: it died, or cannot say so.
_LOCK_MS: Final = int(_REBUILD_S * 1000)
_RECONNECT_S: Final = (0.0, 0.05, 0.1, 0.2, 0.5)
_MOST_UNDELIVERED: Final = 200_000
ALONE: Final = frozenset({"lock", "unlock", "build", "restore", "forget", "free", "recount"})
"""Operations of which the script takes one at a time, also while the book is made anew."""
_KEPT: Final = frozenset({"settle", "restore", "forget", "free", "recount"})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Operation = tuple[Any, ...]


class Waiting:
    """An operation on its way. Without a future it is a settlement or upkeep: nobody waits for it."""

    __slots__ = ("future", "operation", "org_id", "told")

    def __init__(
        self,
        org_id: str,
        operation: Operation,
        future: "asyncio.Future[Any] | None",
        told: Callable[[Any], None] | None = None,
    ) -> None:
        """``told`` hears the answer, if there ever is one, at once."""
        self.told = told
        self.org_id = org_id
        self.operation = operation
        self.future = future


class RedisCalls:
    """All methods are for the event loop's thread."""

    def __init__(
        self,
        link: RedisLink,
        *,
        key_prefix: str,
        lease_ms: int,
        timeout_s: float,
        clock_us: Callable[[], int] | None,
        version: Callable[[], int],
        source: SeedSource,
        renewed: Callable[[str, str], None],
        back: Callable[[], Iterable[str]],
    ) -> None:
        """``version``: of the directory that requests are judged by. ``renewed`` is told of an org and the
        token of its new book. ``back``, when the server is there again, says which orgs' books are out of
        date."""
        self._link = link
        link.lost = self._lost
        self._key_prefix = key_prefix
        self._lease_ms = b"%d" % lease_ms
        self._timeout_s = timeout_s
        self._clock_us = clock_us
        self._version = version
        self._source = source
        self._renewed = renewed
        self._back = back
        self._parked: dict[str, list[Waiting]] = {}
        self._rebuilding: dict[str, asyncio.Task[None]] = {}
        self._tokens: dict[str, str] = {}
        self._waiting: list[Waiting] = []
        self._undelivered: list[Waiting] = []
        self._flushing: asyncio.Handle | None = None
        self._in_flight = False
        self._attempts = 0
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False
        self.up = False
        """Whether the server answers."""
        self.round_trips = 0

    @property
    def undelivered(self) -> int:
        """Settlements that wait for Redis to come back."""
        return len(self._undelivered) + sum(len(parked) for parked in self._parked.values())

    def deliver(self) -> None:
        """Try again what could not be delivered."""
        undelivered, self._undelivered = self._undelivered, []
        for waiting in undelivered:
            self.put(waiting)

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or self._in_flight

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._link.connect()
            self.up = True
        except LinkError as error:
            self._lost(error)

    async def close(self) -> None:
        """Deliver what waits, for at most one round trip's time, and disconnect."""
        deadline_s = self._loop.time() + self._timeout_s
        while self.up and self.busy and self._loop.time() < deadline_s:
            await asyncio.sleep(0.002)
        self._closed = True
        if self.up:
            self._lost(LinkLostError("closed"))
        self._link.close()
        tasks = [*self._rebuilding.values(), *([self._reconnecting] if self._reconnecting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, org_id: str, operation: Operation) -> Any:
        """The book's token and the script's answer. Raises Failure SERVICE_UNAVAILABLE."""
        if not self.up:
            raise unavailable()
        future: asyncio.Future[Any] = self._loop.create_future()
        self.put(Waiting(org_id, operation, future))
        return await future

    def put(self, waiting: Waiting) -> None:
        if not self.up:
            self.fail(waiting)
        elif waiting.org_id in self._rebuilding and waiting.operation[0] not in ALONE:
            self._parked.setdefault(waiting.org_id, []).append(waiting)
        else:
            self._waiting.append(waiting)
            if self._flushing is None and not self._in_flight:
                self._flushing = self._loop.call_soon(self._flush)

    def fail(self, waiting: Waiting) -> None:
        if waiting.future is not None:
            if not waiting.future.done():
                waiting.future.set_exception(unavailable())
        elif waiting.operation[0] in _KEPT:
            if len(self._undelivered) >= _MOST_UNDELIVERED:
                # Too many to keep: the database knows how they ended.
                self._undelivered = [
                    Waiting(org_id, ("forget",), None)
                    for org_id in {lost.org_id for lost in self._undelivered}
                ]
            self._undelivered.append(waiting)

    def _flush(self) -> None:
        """Bring what waits to Redis, unless the last round trip is under way still."""
        self._flushing = None
        batch, self._waiting = self._waiting[:MOST_CALLS], self._waiting[MOST_CALLS:]
        calls = by_call(batch)
        now_us = b"0" if self._clock_us is None else b"%d" % self._clock_us()
        version = b"%d" % self._version()
        packed = [
            (
                f"{self._key_prefix}:{{{entries[0].org_id}}}".encode(),
                self._lease_ms,
                _encode([entry.operation for entry in entries]),
                now_us,
                version,
            )
            for entries in calls
        ]
        self._in_flight = True
        self._link.run(packed, lambda answers: self._arrived(batch, calls, answers))

    def _arrived(
        self, batch: list[Waiting], calls: list[list[Waiting]], answers: Answers | LinkLostError
    ) -> None:
        self._in_flight = False
        if isinstance(answers, LinkLostError):
            self._lost(answers, batch)
            return
        self.round_trips += 1
        self._attempts = 0
        for entries, answer in zip(calls, answers, strict=True):
            self._answered(entries, answer)
        if self._waiting and self._flushing is None and self.up:
            # After those who were just told: what they ask next goes along.
            self._flushing = self._loop.call_soon(self._flush)

    def _answered(self, entries: list[Waiting], answer: bytes | None) -> None:
        if answer is None:
            # A fault of ours: to try the same again would only repeat it.
            for entry in entries:
                if entry.future is not None:
                    self.fail(entry)
            return
        token, told = _decode(answer)
        org_id = entries[0].org_id
        if not token and not told:
            self._parked.setdefault(org_id, []).extend(entries)
            self._rebuild(org_id)
            return
        if token and self._tokens.get(org_id) != token:
            self._tokens[org_id] = token
            self._renewed(org_id, token)
        for entry, result in zip(entries, told, strict=True):
            if entry.future is not None and not entry.future.done():
                entry.future.set_result((token, result))
            elif entry.told is not None:
                entry.told(result)

    def _lost(self, error: OSError, batch: list[Waiting] | None = None) -> None:
        """Redis is away: nobody is kept waiting for it."""
        if self._reconnecting is not None and not self._reconnecting.done():
            return  # known already
        self.up = False
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self._closed:
            logger.error("Redis is away: %s", why_unreachable(error))
            self._reconnecting = asyncio.create_task(self._reconnect())
        waiting, self._waiting = [*(batch or ()), *self._waiting], []
        for parked in self._parked.values():
            waiting.extend(parked)
        self._parked.clear()
        for entry in waiting:
            self.fail(entry)

    async def _reconnect(self) -> None:
        while True:
            # A server that takes connections and fails what is asked must not be hammered either.
            await asyncio.sleep(_RECONNECT_S[min(self._attempts, len(_RECONNECT_S) - 1)])
            self._attempts += 1
            try:
                await self._link.connect()
                break
            except LinkError:
                continue
        logger.warning("Redis is back: %d settlements are delivered", len(self._undelivered))
        self.up = True
        waiting = [Waiting(org_id, ("forget",), None) for org_id in self._back()]
        for entry in waiting:
            self.put(entry)
        self.deliver()

    # -- books ---------------------------------------------------------------------------------

    def _rebuild(self, org_id: str) -> None:
        if org_id not in self._rebuilding:
            self._rebuilding[org_id] = asyncio.create_task(self._make_book(org_id))

    async def _make_book(self, org_id: str) -> None:
        """Read the org from the database into Redis, unless another node does; then go on with what
        waited for it. When it cannot be done, requests are refused and settlements wait on."""
        made = False
        try:
            async with asyncio.timeout(_REBUILD_S):
                made = await self._lock_and_build(org_id)
        except Failure:
            pass  # Redis is away: said already
        except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
            logger.warning("could not read the balances of an org: %s", reason(error))
        finally:
            del self._rebuilding[org_id]
            parked = self._parked.pop(org_id, [])
            for entry in parked:
                if made:
                    self.put(entry)
                else:
                    self.fail(entry)

    async def _lock_and_build(self, org_id: str) -> bool:
        while True:
            mine, version = secrets.token_hex(8), self._version()
            try:
                token, (locked, held) = await self.ask(org_id, ("lock", mine, _LOCK_MS))
                if not token and locked:
                    seed = await asyncio.to_thread(self._source, org_id, tuple(held))
                    token, _ = await self.ask(org_id, ("build", mine, *_book(seed, version)))
            except BaseException:
                # The lock may be there, or come into being yet: nobody would know whose it is.
                self.put(Waiting(org_id, ("unlock", mine), None))
                raise
            if token:
                return True
            if not locked:
                await asyncio.sleep(_LOCK_POLL_S)


def _book(seed: Seed, version: int) -> tuple[Any, ...]:
    """What the script makes an org's book of: requests of the day, what was spent, holds, whether the org is
    metered and by which version of the directory, and which of the holds asked about have ended."""
    days = [(count.id, count.day, count.requests) for count in seed.days]
    spent = [(one.id, one.cycle, one.nusd, one.credits) for one in seed.spent]
    holds = [
        (
            opened.exchange_id,
            opened.slots,
            [(scope_id, cycle) for _, scope_id, cycle in opened.budgets],
            opened.nusd,
            opened.credits,
        )
        for opened in seed.holds
    ]
    return days, spent, holds, "metered" if seed.metered else "free", version, seed.ended


def by_call(batch: list[Waiting]) -> list[list[Waiting]]:
    """Operations of one org go into one call of the script, in order; a few must be alone."""
    calls: list[list[Waiting]] = []
    latest: dict[str, list[Waiting]] = {}
    for entry in batch:
        alone = entry.operation[0] in ALONE
        entries = None if alone else latest.get(entry.org_id)
        if entries is None:
            entries = []
            calls.append(entries)
            if alone:
                latest.pop(entry.org_id, None)
            else:
                latest[entry.org_id] = entries
        entries.append(entry)
    return calls


def unavailable() -> Failure:
    return Failure(FailureKind.SERVICE_UNAVAILABLE, UNAVAILABLE, retry_after_s=1)

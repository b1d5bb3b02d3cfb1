"""Every authenticated exchange as one row, written off the hot path and committed in groups.

The event loop hands entries to one thread with one connection. A lone entry is handed over at once;
what comes up while the loop is busy, or while a commit runs, goes together. So a lone request waits
for its own commit only, and a busy gateway pays for one commit per many requests.

A row exists when its future says so, not before: until the commit returned, nothing is claimed.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Final

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.failure import FailureKind
from triptych.core.outcome import Opened, Outcome
from triptych.storage.database import RELAXED, Database
from triptych.storage.errors import StorageError
from triptych.storage.kept import Writes
from triptych.storage.kernel_sync import KernelSync
from triptych.storage.ledger_writer import (
    END,
    KEEP,
    OPEN,
    STOP,
    UNOPENED,
    WHOLE,
    Entry,
    Handed,
    LedgerWriter,
    Result,
    Written,
)

# Bounds of what is gathered for one commit while the loop is busy.
_GATHER_S: Final = 0.001
_GATHER_ENTRIES: Final = 64
_GATHER_QUIET_TURNS: Final = 3
_AGGREGATED: Final = frozenset({FailureKind.RATE_LIMITED, FailureKind.CONCURRENCY_EXCEEDED})


class Ledger:
    """All methods are for the event loop's thread."""

    def __init__(
        self,
        database: Database,
        node_id: str,
        node_epoch: int,
        *,
        durability: str,
        loop: asyncio.AbstractEventLoop,
        max_pending: int = 20_000,
        unavailable_after_s: float = 5.0,
        unbooked: Callable[[str], object] = lambda org_id: None,
    ) -> None:
        """``max_pending``: entries that may wait; beyond it no exchange is opened any more.
        ``unavailable_after_s``: how long the database may be away before waiting is given up.
        ``unbooked`` hears, before those who wait for their rows, of orgs whose budgets were charged by the
        database alone: this node had not noticed that there are any."""
        self._relaxed = durability == RELAXED
        self._loop = loop
        self._max_pending = max_pending
        # Room beyond it for the endings of what is open or was turned away: memory stays bounded.
        self._bound = 2 * max_pending
        self._queue: SimpleQueue[Handed] = SimpleQueue()
        self._waiting: list[Entry] = []
        self._writing = False
        self._running = 0
        self._gathering = False
        self._gathered = 0
        self._quiet_turns = 0
        self._gather_until_s = 0.0
        self._writer = LedgerWriter(
            self._queue,
            database,
            node_id,
            node_epoch,
            unavailable_after_s=unavailable_after_s,
            max_late=max_pending,
            deliver=self._deliver,
            unbooked=partial(self._tell, unbooked),
        )
        self._lone_waits = self._writer.waits
        self._sync: KernelSync | None = None
        self._thread = Thread(target=self._writer.run, name="ledger", daemon=True)
        self._pending = 0
        self._dropped = 0
        self._closed: asyncio.Future[None] | None = None
        self._refused: dict[tuple[str, str, int, bool], list[Any]] = {}
        self._refused_timer: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """Entries handed in and not committed yet, those that are late included."""
        return self._pending + self._writer.late

    @property
    def late(self) -> int:
        """Endings that could not be written in time and are still being tried."""
        return self._writer.late

    @property
    def lost(self) -> int:
        """Rows given up for good since the start."""
        return self._dropped + self._writer.lost

    @property
    def healthy(self) -> bool:
        """Whether the last commit succeeded and there is room for more."""
        return self._writer.healthy and self._pending < self._max_pending

    def start(self) -> None:
        self._thread.start()
        if self._writer.syncs_a_file:
            with suppress(OSError):
                self._sync = KernelSync(self._loop)

    def open(self, opened: Opened) -> "asyncio.Future[None]":
        """Queue the start row. Resolves when it is committed (``relaxed``: at once).

        Fails with StorageError when it could not be, or when too much waits already: the exchange
        must not go ahead then, but must still be ended, which writes its whole row.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._running += 1
        if self._closed is not None:
            future.set_exception(StorageError("The ledger is closed: no exchange can be recorded any more."))
        elif self._pending >= self._max_pending:
            if self._pending < self._bound:
                self._put((UNOPENED, opened, None, 0, None))
            future.set_exception(
                StorageError(f"{self._pending} ledger entries wait already: no exchange can be recorded now.")
            )
        elif self._relaxed:
            self._put((OPEN, opened, None, 0, None))
            future.set_result(None)
        else:
            self._put((OPEN, opened, None, 0, future))
        return future

    def end(
        self, exchange_id: str, outcome: Outcome, ended_us: int, kept: Writes = ()
    ) -> "asyncio.Future[bool]":
        """Queue the end row. Resolves when it is committed (``relaxed``: at once): True, or False
        when somebody else ended the exchange before (this node is fenced).

        ``kept`` is written in the same transaction, and always waited for.

        Fails with StorageError when the database is away too long; the row is then written as soon
        as it is back, unless this process ends before.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        if self._closed is not None:
            future.set_exception(StorageError("The ledger is closed: the outcome cannot be recorded."))
        elif self._pending >= self._bound:
            self._dropped += 1
            future.set_exception(StorageError(f"{self._pending} ledger entries wait: the outcome is lost."))
        elif kept:
            content: Entry = (KEEP, (exchange_id, kept), None, 0, None)
            self._put(content, (END, exchange_id, outcome, ended_us, future))
        elif self._relaxed:
            self._put((END, exchange_id, outcome, ended_us, None))
            future.set_result(True)
        else:
            self._put((END, exchange_id, outcome, ended_us, future))
        self._running -= 1
        return future

    def keep(self, exchange_id: str, kept: Writes) -> "asyncio.Future[None]":
        """Queue content of an exchange that still runs. Resolves when it is committed, after all
        that was queued before. Fails with StorageError."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._closed is not None or self._pending >= self._max_pending:
            future.set_exception(StorageError("The ledger takes no content right now."))
        else:
            self._put((KEEP, (exchange_id, kept), None, 0, future))
        return future

    def refuse(self, opened: Opened, outcome: Outcome, ended_us: int) -> None:
        """Queue an exchange that ended before it began, as one row; nobody waits for it.

        Refusals by a limit are gathered per key, kind and second into the row of the first, which
        counts all: a client in a loop must not fill the disk. A killed process loses at most the
        last second of them.
        """
        if self._closed is not None or self._pending >= self._max_pending:
            self._dropped += 1
            return
        if outcome.failure_kind not in _AGGREGATED:
            self._put((WHOLE, (opened, 1), outcome, ended_us, None))
            return
        counts = outcome.charge is not None
        slot = (opened.key_id, str(outcome.failure_kind), ended_us // MICROSECONDS_PER_S, counts)
        gathered = self._refused.get(slot)
        if gathered is not None:
            gathered[3] += 1
            return
        self._refused[slot] = [opened, outcome, ended_us, 1]
        if self._refused_timer is None:
            self._refused_timer = self._loop.call_later(1.0, self._flush_refused)

    async def flush(self) -> None:
        """Wait until all that was queued before is committed. Raises StorageError."""
        await self.keep("", ())

    async def close(self) -> None:
        """Write everything that waits, then stop the thread. Idempotent. What could not be written
        (the database was away to the end) is logged, and counted in ``lost``."""
        if self._closed is None:
            self._flush_refused(everything=True)
            self._closed = self._loop.create_future()
            if self._thread.is_alive():
                self._put((STOP, None, None, 0, self._closed))
            else:
                self._closed.set_result(None)
        await asyncio.shield(self._closed)
        self._leave_syncs_to_the_thread()

    def _put(self, *entries: Entry) -> None:
        """Entries put together are committed together."""
        self._pending += len(entries)
        self._waiting.extend(entries)
        if not self._writing and not self._gathering:
            self._gather()

    def _gather(self) -> None:
        if self._running <= 1:
            # Nobody else is under way whose entries could come along.
            self._hand_over()
            return
        self._gathering = True
        self._gathered = 0
        self._quiet_turns = 0
        self._gather_until_s = monotonic() + _GATHER_S
        self._loop.call_soon(self._wait_for_more)

    def _wait_for_more(self) -> None:
        """Hand over once some turns of the loop brought nothing new: under load every commit, and
        every wake-up of the other thread, is shared by what came up within ``_GATHER_S``."""
        waiting = len(self._waiting)
        self._quiet_turns = 0 if self._gathered < waiting else self._quiet_turns + 1
        more = self._quiet_turns < _GATHER_QUIET_TURNS and waiting < _GATHER_ENTRIES
        if more and monotonic() < self._gather_until_s:
            self._gathered = waiting
            self._loop.call_soon(self._wait_for_more)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        """Write all that waits, and leave the wait for the disk to the kernel, or else to the thread, which
        is idle."""
        self._gathering = False
        if not self._waiting:
            return
        entries, self._waiting = self._waiting, []
        # Alone, the thread does it all: one wake-up either way, and nobody to share it with.
        for_thread = self._lone_waits and self._running <= 1 and self._sync is None
        written = None if for_thread else self._writer.write_now(entries)
        if written is not None and self._writer.settles_now(written):
            self._recorded(entries)
            return
        self._writing = True
        if written is None or not self._sync_in_kernel(entries, written):
            self._queue.put((entries, written, None))

    def _sync_in_kernel(self, entries: list[Entry], written: Written) -> bool:
        """Whether the kernel was asked to make durable what is written; it is asked until it cannot."""
        fd = self._writer.sync_fd
        if self._sync is None or fd is None or not self._writer.only_sync_is_left(written):
            return False

        def told(error: OSError | None) -> None:
            if error is None:
                self._recorded(entries)
                self._go_on(True)
            else:
                self._leave_syncs_to_the_thread()
                self._queue.put((entries, written, error))

        try:
            self._sync.start(fd, told)
        except OSError:
            self._leave_syncs_to_the_thread()
            return False
        return True

    def _leave_syncs_to_the_thread(self) -> None:
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    def _flush_refused(self, everything: bool = False) -> None:
        """Queue the refusals of the seconds that are over."""
        if self._refused_timer is not None:
            self._refused_timer.cancel()
            self._refused_timer = None
        second = now_us() // MICROSECONDS_PER_S
        for slot in [slot for slot in self._refused if everything or slot[2] < second]:
            opened, outcome, ended_us, repeats = self._refused.pop(slot)
            self._put((WHOLE, (opened, repeats), outcome, ended_us, None))
        if self._refused:
            self._refused_timer = self._loop.call_later(1.0, self._flush_refused)

    def _tell(self, unbooked: Callable[[str], object], org_id: str) -> None:
        """Called by the thread. At the very end nobody is left to be told."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(unbooked, org_id)

    def _deliver(self, results: list[Result], entries: int, idle: bool) -> None:
        """Called by the thread, once per batch; ``idle``: it is ready for the next."""
        try:
            self._loop.call_soon_threadsafe(self._delivered, results, entries, idle)
        except RuntimeError:
            # The loop is closed: nobody is left to be told. The rows are where they are.
            self._pending -= entries

    def _delivered(self, results: list[Result], entries: int, idle: bool) -> None:
        self._resolve(results, entries)
        self._go_on(idle)

    def _go_on(self, idle: bool) -> None:
        self._writing = not idle
        if idle and self._waiting and not self._gathering:
            # After those who were just woken: what they have to say goes along.
            self._gather()

    def _recorded(self, entries: list[Entry]) -> None:
        """All went well."""
        self._pending -= len(entries)
        for kind, _subject, _outcome, _ended_us, future in entries:
            if future is not None and not future.done():
                future.set_result(None if kind in (OPEN, KEEP) else True)

    def _resolve(self, results: list[Result], entries: int) -> None:
        self._pending -= entries
        for future, result in results:
            if future.done():
                continue  # its waiter was cancelled
            if isinstance(result, StorageError):
                future.set_exception(result)
            else:
                future.set_result(result)

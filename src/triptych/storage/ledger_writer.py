"""The ledger's thread: takes what waits, turns it into a batch, commits it, and tells the loop.

A database that is away is tried again, with pauses, until it was away for too long; what waits is
then told so. Endings are kept even then and written when it is back: an exchange that ran must not
stay open for ever. A commit of unknown outcome is simply tried again: no statement writes twice.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import msgspec

from triptych.storage.balances import unbooked
from triptych.storage.database import Database, first_line
from triptych.storage.errors import StorageError
from triptych.storage.rows import (
    END_COLUMNS,
    WHOLE_COLUMNS,
    Batch,
    Row,
    StoredEnd,
    ended_row,
    is_stored,
    opened_row,
    whole_row,
)

logger = logging.getLogger("triptych.ledger")

OPEN, END, WHOLE, UNOPENED, STOP, KEEP = range(6)
_WRITABLE_NOW = frozenset((OPEN, END, WHOLE))
Entry = tuple[int, Any, Any, int, "asyncio.Future[Any] | None"]
"""Kind; what it is about; Outcome; ended_us; who waits. About: Opened (OPEN, UNOPENED), an
exchange id (END), Opened and the number of refusals it stands for (WHOLE), or an exchange id and
its writes (KEEP)."""
Result = tuple["asyncio.Future[Any]", "bool | StorageError | None"]
Verdicts = dict[str, "bool | StorageError"]
"""Of a batch, by exchange id: False (fenced) or an error; what is absent went well."""

_MAX_WRITTEN_NOW = 128
# The log then holds a few megabytes; with more of it reads and checkpoints get slower.
_CHECKPOINT_ENTRIES = 2_000
_FIRST_PAUSE_S = 0.02
_LAST_PAUSE_S = 0.5
_LATE_RETRY_S = 1.0


class LedgerConnection(Protocol):
    """What an engine must do for the ledger; used by one thread at a time."""

    @property
    def waits(self) -> bool: ...
    @property
    def lapsed(self) -> bool:
        """Whether this node's lease was over when it last wrote, whatever its own clocks say: those of a
        virtual machine stand still with it."""
        ...

    @property
    def unbooked_orgs(self) -> Sequence[str]:
        """Whose budgets were charged by the last write, for exchanges that this node knew of none for."""
        ...

    @property
    def sync_fd(self) -> int | None: ...
    @property
    def write_now(self) -> Callable[[Batch], int | None] | None:
        """None: nothing can be said without waiting for it."""
        ...

    def make_durable(self, failed: OSError | None = None) -> None: ...
    def checkpoint(self) -> None: ...
    def write(self, batch: Batch) -> bool: ...
    def stored(self, ids: Sequence[str]) -> dict[str, StoredEnd]: ...
    def close(self) -> None: ...
    def is_about_data(self, error: Exception) -> bool: ...


class Written(msgspec.Struct, frozen=True):
    """A batch that was committed at once; all that is left is to make it durable."""

    batch: Batch
    complete: bool
    """Whether every ending changed a row."""


Handed = tuple[list[Entry], Written | None, OSError | None]
"""What is to be done; what of it was committed already; why making that durable failed before."""


class LedgerWriter:
    def __init__(
        self,
        queue: "SimpleQueue[Handed]",
        database: Database,
        node_id: str,
        node_epoch: int,
        *,
        unavailable_after_s: float,
        max_late: int,
        deliver: Callable[[list[Result], int, bool], None],
        unbooked: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._node = (node_id, node_epoch)
        self._name = database.name
        self._connection = connect(database, node_id, node_epoch)
        self._unavailable_after_s = unavailable_after_s
        self._max_late = max_late
        self._deliver = deliver
        self._unbooked = unbooked
        self._down_since_s: float | None = None
        # Start rows that could not be confirmed: the exchange's end brings the whole row.
        self._unopened: dict[str, Row] = {}
        self._late = Batch()
        self._since_checkpoint = 0
        self.lost = 0

    @property
    def healthy(self) -> bool:
        return self._down_since_s is None

    @property
    def late(self) -> int:
        return len(self._late)

    def write_now(self, entries: list[Entry]) -> Written | None:
        """Write the entries if that needs no waiting. Called by the event loop while the thread is
        idle: taking turns in the interpreter, row by row, costs more than the rows; what is left
        to the thread is the wait for the disk, outside of the interpreter."""
        write_now = self._connection.write_now
        if write_now is None or len(entries) > _MAX_WRITTEN_NOW:
            return None
        unusual = self._down_since_s is not None or len(self._late) or self._unopened
        if unusual or any(entry[0] not in _WRITABLE_NOW for entry in entries):
            return None
        try:
            batch = self._batch(entries)
        except Exception:  # noqa: BLE001 - a bug: the thread meets it again, says so, and fails these entries alone
            return None
        changed = write_now(batch)
        if changed is None:
            return None
        self._since_checkpoint += len(entries)
        return Written(batch, changed == batch.endings)

    def settles_now(self, written: Written) -> bool:
        """Whether nothing is left to do for what was written."""
        return not self._connection.waits and self.only_sync_is_left(written)

    def only_sync_is_left(self, written: Written) -> bool:
        """Whether nothing but a sync, if that, is left to do for what was written."""
        return written.complete and not self._checkpoint_due

    @property
    def waits(self) -> bool:
        """Whether a commit has to wait for the disk, or for a server."""
        return self._connection.waits

    @property
    def syncs_a_file(self) -> bool:
        """Whether a commit is made durable by ``fdatasync`` of a file."""
        return self._connection.waits and self._connection.write_now is not None

    @property
    def sync_fd(self) -> int | None:
        """The file, once there is a connection."""
        return self._connection.sync_fd

    @property
    def _checkpoint_due(self) -> bool:
        return self._since_checkpoint >= _CHECKPOINT_ENTRIES

    def run(self) -> None:
        """The thread's life: until a STOP was taken and everything before it was written."""
        stop: asyncio.Future[Any] | None = None
        while stop is None:
            entries, written, failed = self._take()
            if entries and entries[-1][0] == STOP:
                stop = entries.pop()[4]
            try:
                results = self._commit(entries) if written is None else self._finish(entries, written, failed)
            except Exception as error:  # a bug: it must fail these entries, not all to come
                logger.error("the ledger's writer failed", exc_info=error)
                results = _all_failed(entries, StorageError("The ledger failed; the log says where."))
            if not entries:
                continue
            due = self._checkpoint_due
            self._deliver(results, len(entries), not due)
            if due:
                # The waiting are told first; until it is done the loop only gathers.
                self._checkpoint()
                self._deliver([], 0, True)
        self._disconnect()
        if len(self._late):
            self.lost += len(self._late)
            logger.error("%d outcomes were not recorded: %s was away", len(self._late), self._name)
        self._deliver([(stop, None)], 1, True)

    def _finish(self, entries: list[Entry], written: Written, failed: OSError | None) -> list[Result]:
        """Make durable what is written; if that fails, or has failed, write it anew as any other batch."""
        try:
            self._connection.make_durable(failed)
            verdicts = {} if written.complete else self._fenced(written.batch)
        except Exception as error:  # noqa: BLE001 - each driver has its own; the usual way tells them apart
            logger.warning("a commit failed and is tried again: %s", type(error).__name__)
            self._disconnect()
            return self._commit(entries)
        return results_of(entries, verdicts)

    def _checkpoint(self) -> None:
        self._since_checkpoint = 0
        try:
            self._connection.checkpoint()
        except Exception as error:  # noqa: BLE001 - the log just stays longer; the next one takes it along
            logger.warning("a checkpoint failed: %s", type(error).__name__)

    def _take(self) -> Handed:
        """What the loop hands over next; nothing, when it is time to try again what is late."""
        try:
            return self._queue.get(timeout=_LATE_RETRY_S) if len(self._late) else self._queue.get()
        except Empty:
            return [], None, None

    def _commit(self, entries: list[Entry]) -> list[Result]:
        batch = self._batch(entries)
        try:
            verdicts = self._write(batch) if len(batch) else {}
        except StorageError as error:
            self._keep(batch)
            return _all_failed(entries, error)
        self._late = Batch()
        self._since_checkpoint += len(entries)
        return results_of(entries, verdicts)

    def _batch(self, entries: list[Entry]) -> Batch:
        """The entries as rows, and what is late. An exchange is in the batch once: opened and ended
        together, it is one row; an end whose start row is missing brings it along."""
        node_id, node_epoch = self._node
        unopened = self._unopened
        opened: dict[str, Row] = {}
        batch = Batch()
        batch.ended.extend(self._late.ended)
        batch.charges.update(self._late.charges)
        whole: dict[str, Row] = {row[0]: row for row in self._late.whole}
        for kind, subject, outcome, ended_us, _future in entries:
            if kind == OPEN:
                opened[subject.id] = opened_row(subject, node_id, node_epoch)
            elif kind == END:
                row = ended_row(subject, outcome, ended_us)
                if outcome.charge is not None:
                    batch.charges[subject] = (outcome.charge, 1)
                start = opened.pop(subject, None) or (unopened.pop(subject, None) if unopened else None)
                if start is None:
                    batch.ended.append(row)
                else:
                    whole.setdefault(subject, whole_row(start, row))
            elif kind == KEEP:
                exchange_id, writes = subject
                batch.kept.setdefault(exchange_id, []).extend(writes)
            elif kind == UNOPENED:
                self._remember_unopened(opened_row(subject, node_id, node_epoch))
            else:
                first, repeats = subject
                if outcome.charge is not None:
                    batch.charges[first.id] = (outcome.charge, repeats)
                start = opened_row(first, node_id, node_epoch)
                whole.setdefault(first.id, whole_row(start, ended_row(first.id, outcome, ended_us, repeats)))
        batch.opened.extend(opened.values())
        batch.whole.extend(whole.values())
        return batch

    def _write(self, batch: Batch) -> Verdicts:
        """Commit, trying again while the database is away. Raises StorageError when it was away for
        too long: counted from when it went, so that later batches fail sooner, not one by one."""
        pause_s = _FIRST_PAUSE_S
        again = False
        while True:
            try:
                complete = self._connection.write(batch)
                verdicts: Verdicts = {} if complete else self._fenced(batch)
                # A commit whose answer was lost may have charged any of them.
                doubted = {charge.org_id for _, charge, _ in unbooked(batch.charges)} if again else ()
                for org_id in (*self._connection.unbooked_orgs, *doubted):
                    self._unbooked(org_id)
            except Exception as error:  # noqa: BLE001 - each driver has its own; the next line tells them apart
                self._disconnect()
                if self._connection.is_about_data(error):
                    return self._write_singly(batch, error)
                self._give_up_in_time(error, pause_s)
                again = True
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
            else:
                if self._down_since_s is not None:
                    logger.warning("%s is back", self._name)
                    self._down_since_s = None
                return verdicts

    def _write_singly(self, batch: Batch, error: Exception) -> Verdicts:
        """One row is not storable: find it, so that it fails alone."""
        exchange_ids = batch.exchange_ids()
        if len(exchange_ids) == 1:
            exchange_id = exchange_ids.pop()
            self.lost += 1
            logger.error("a row of exchange %s cannot be stored: %s", exchange_id, type(error).__name__)
            return {exchange_id: StorageError(f"The row cannot be stored ({type(error).__name__}).")}
        verdicts: Verdicts = {}
        for single in batch.single_exchanges():
            verdicts |= self._write(single)
        return verdicts

    def _give_up_in_time(self, error: Exception, pause_s: float) -> None:
        moment_s = time.monotonic()
        if self._down_since_s is None:
            self._down_since_s = moment_s
            logger.warning("%s is away (%s); the ledger tries again", self._name, first_line(error))
        away_s = moment_s - self._down_since_s
        time.sleep(max(min(pause_s, self._unavailable_after_s - away_s), _FIRST_PAUSE_S))
        if away_s >= self._unavailable_after_s:
            raise StorageError(
                f"The database {self._name} is away since {away_s:.0f} s: {first_line(error)}. Exchanges "
                "are refused until it is back."
            ) from error

    def _fenced(self, batch: Batch) -> Verdicts:
        """Endings that changed no row, and are not there from a commit whose answer was lost; what was opened
        while this node's lease was over."""
        lapsed = self._connection.lapsed
        stored = self._connection.stored([row[0] for row in batch.ended] + [row[0] for row in batch.whole])
        ends = [(row, END_COLUMNS) for row in batch.ended] + [(row, WHOLE_COLUMNS) for row in batch.whole]
        verdicts: Verdicts = {
            row[0]: False for row, columns in ends if not is_stored(row, columns, stored.get(row[0]))
        }
        if lapsed:
            verdicts |= {
                row[0]: StorageError("This node stood still: others may end this.") for row in batch.opened
            }
        return verdicts

    def _keep(self, batch: Batch) -> None:
        """Of a batch that was given up: endings for later, start rows for their endings. Content is
        not kept for later: who asked for it has been told that it could not be."""
        for row in batch.opened:
            self._remember_unopened(row)
        self._late = Batch()
        self._late.ended.extend(batch.ended[: self._max_late])
        self._late.whole.extend(batch.whole[: self._max_late - len(self._late.ended)])
        kept = {row[0] for row in (*self._late.ended, *self._late.whole)}
        self._late.charges.update((id, charge) for id, charge in batch.charges.items() if id in kept)
        surplus = batch.endings - self._late.endings
        if surplus:
            self.lost += surplus
            logger.error("%d outcomes were not recorded: too many wait for %s", surplus, self._name)

    def _remember_unopened(self, row: Row) -> None:
        if len(self._unopened) >= self._max_late:
            self._unopened.pop(next(iter(self._unopened)))
        self._unopened[row[0]] = row

    def _disconnect(self) -> None:
        try:
            self._connection.close()
        except Exception as error:  # noqa: BLE001 - it was broken already; the next one is new
            logger.debug("closing a broken connection failed: %s", type(error).__name__)


def connect(database: Database, node_id: str, node_epoch: int) -> LedgerConnection:
    """The engine's own way of writing; the driver is imported only for the engine in use."""
    if database.dialect_name == "sqlite":
        from triptych.storage.ledger_sqlite import SqliteLedgerConnection

        return SqliteLedgerConnection(database, node_id, node_epoch)
    from triptych.storage.ledger_postgresql import PostgresqlLedgerConnection

    return PostgresqlLedgerConnection(database, node_id, node_epoch)


def results_of(entries: Sequence[Entry], verdicts: Verdicts) -> list[Result]:
    """What each waiting future is told; ``verdicts`` holds what did not go well."""
    results: list[Result] = []
    for kind, subject, _outcome, _ended_us, future in entries:
        if future is None:
            continue
        if kind in (OPEN, KEEP):
            verdict = verdicts.get(subject.id if kind == OPEN else subject[0])
            results.append((future, verdict if isinstance(verdict, StorageError) else None))
        else:
            results.append((future, verdicts.get(subject, True)))
    return results


def _all_failed(entries: Sequence[Entry], error: StorageError) -> list[Result]:
    return [(entry[4], error) for entry in entries if entry[4] is not None]

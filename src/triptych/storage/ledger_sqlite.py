"""The ledger's connection to SQLite: one transaction per batch, rows bound in C by ``executemany``.

Measured against multi-row VALUES, UPDATE .. FROM and json_each, which save calls and lose as much
to binding and parsing; and against writing in the other thread, where two threads that take turns
in the interpreter cost a request about 35 us more than the rows do.
"""

import os
import sqlite3
from collections.abc import Sequence

from triptych.storage.balances import ADD_DAYS, ADD_EVENT, ADD_MONEY, Additions, Charged
from triptych.storage.database import STRICT, Database
from triptych.storage.rows import END_COLUMNS, OPEN_COLUMNS, UNWRITABLE, WHOLE_COLUMNS, Batch, StoredEnd
from triptych.storage.statements import fence, insert_open, insert_whole, kept, update_ended

# How long others' transactions are waited for; longer, and the database counts as away.
_TURN_MS = 200


def _marks(count: int) -> str:
    return ", ".join("?" * count)


_INSERT_OPEN = insert_open(f"VALUES ({_marks(len(OPEN_COLUMNS))})")
_INSERT_WHOLE = insert_whole(f"VALUES ({_marks(len(WHOLE_COLUMNS))})")
_UPDATE_ENDED = update_ended(dict.fromkeys(END_COLUMNS, "?")) + " WHERE id = ? AND "


class SqliteLedgerConnection:
    """Used by one thread at a time."""

    def __init__(self, database: Database, node_id: str, node_epoch: int) -> None:
        self._database = database
        # The node's own name and epoch never change: they are part of the statement's text, with
        # the values checked, so that each row binds two parameters less.
        self._update_ended = _UPDATE_ENDED + fence(node_id, node_epoch)
        self._raw: sqlite3.Connection | None = None
        self._wal_fd: int | None = None
        self._log_doubted = False

    # The lock on the file is the lease.
    lapsed = False
    unbooked_orgs = ()

    @property
    def waits(self) -> bool:
        """Whether a commit is not worth anything before ``make_durable``."""
        return self._database.durability == STRICT

    @property
    def sync_fd(self) -> int | None:
        """The write-ahead log, for whoever does the work of ``make_durable`` without waiting for it."""
        return self._wal_fd

    def write(self, batch: Batch) -> bool:
        """Commit the batch. False: some ending changed no row. Raises what sqlite3 raises; the
        outcome of the commit is then unknown, and ``close`` must follow. Raises StorageError when the file is
        not there any more."""
        self._database.require_same_file()
        raw = self._raw if self._raw is not None else self._connect()
        try:
            changed = self._commit(raw, batch)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or raw.in_transaction:
                raise
            changed = self._commit_in_turn(raw, batch)
        if self._log_doubted:
            self._leave_the_log(raw)
        self.make_durable()
        return changed == batch.endings

    def write_now(self, batch: Batch) -> int | None:
        """Commit the batch to the operating system, which takes microseconds; returns how many
        endings changed a row, or None when it cannot be done at once (then nothing was done).

        Called in the event loop's thread while the writer's is idle. What may wait for the disk is
        kept out of it: another process's lock, the sync (``make_durable``), checkpoints. Content, which
        may be large and is encrypted first, does not come here.
        """
        raw = self._raw
        if raw is None:
            return None
        try:
            self._database.require_same_file()
            return self._commit(raw, batch)
        except Exception:  # noqa: BLE001 - the thread meets it again, and says so to those who wait
            if raw.in_transaction:
                raw.rollback()
            return None

    def make_durable(self, failed: OSError | None = None) -> None:
        """Wait until what was committed survives the loss of power, where that is asked for.

        SQLite's own way (``synchronous = FULL``) is the same sync of the write-ahead log after
        each commit. Raises OSError, ``failed`` among them: how a sync ended that was waited for elsewhere.
        """
        if self._wal_fd is None:
            return
        try:
            if failed is not None:
                raise failed
            os.fdatasync(self._wal_fd)
        except OSError:
            self._log_doubted = True
            raise

    def _leave_the_log(self, raw: sqlite3.Connection) -> None:
        """Move all that is in the write-ahead log into the database. Linux reports a page that could not be
        written once and then takes it for written: another sync of the log would only seem to succeed."""
        raw.execute(f"PRAGMA busy_timeout = {_TURN_MS}")
        busy, pages, moved = raw.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        raw.execute("PRAGMA busy_timeout = 0")
        if busy or pages != moved:
            raise sqlite3.OperationalError("the write-ahead log could not be left: somebody reads it")
        self._log_doubted = False

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, as far as readers let it."""
        if self._raw is not None:
            self._raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _commit_in_turn(self, raw: sqlite3.Connection, batch: Batch) -> int:
        """Wait for somebody else's short transaction: a response deleted, content pruned."""
        raw.execute(f"PRAGMA busy_timeout = {_TURN_MS}")
        try:
            return self._commit(raw, batch)
        finally:
            raw.execute("PRAGMA busy_timeout = 0")

    def _commit(self, raw: sqlite3.Connection, batch: Batch) -> int:
        if len(batch) == 1 and not (batch.kept or batch.charges):
            # A lone statement is its own transaction: two steps less.
            return self._execute(raw, batch)
        raw.execute("BEGIN IMMEDIATE")
        changed = self._execute(raw, batch)
        if batch.charges:
            if changed == batch.endings:
                self._add(raw, Additions(batch.charges.values()))
            else:
                # Some endings changed nothing, and must not be charged: begin again, one by one.
                raw.execute("ROLLBACK")
                raw.execute("BEGIN IMMEDIATE")
                self._execute_singly(raw, batch)
        raw.execute("COMMIT")
        return changed

    @staticmethod
    def _add(raw: sqlite3.Connection, additions: Additions) -> None:
        if additions.money:
            raw.executemany(ADD_MONEY, additions.money)
        if additions.days:
            raw.executemany(ADD_DAYS, additions.days)
        if additions.events:
            raw.executemany(ADD_EVENT, additions.events)

    def _execute_singly(self, raw: sqlite3.Connection, batch: Batch) -> None:
        charged: list[Charged] = []
        for single in batch.single_exchanges():
            changed = self._execute(raw, single)
            if changed:
                charged += single.charges.values()
        self._add(raw, Additions(charged))

    def _execute(self, raw: sqlite3.Connection, batch: Batch) -> int:
        changed = 0
        if batch.opened:
            raw.executemany(_INSERT_OPEN, batch.opened)
        if batch.ended:
            # The id goes behind: numbered parameters, which could leave it in front, are taken for named ones
            # by Python 3.12.0 to 3.12.3, with a warning for each value of each row.
            rows = [(*row[1:], row[0]) for row in batch.ended]
            changed += raw.executemany(self._update_ended, rows).rowcount
        if batch.whole:
            changed += raw.executemany(_INSERT_WHOLE, batch.whole).rowcount
        for writes in batch.kept.values():
            for write in writes:
                raw.execute(write.statement, write.parameters())
        return changed

    def stored(self, ids: Sequence[str]) -> dict[str, StoredEnd]:
        raw = self._raw if self._raw is not None else self._connect()
        found: dict[str, StoredEnd] = {}
        for identity in ids:
            for row in raw.execute(f"{kept()} WHERE id = ?", (identity,)):
                found[row[0]] = StoredEnd(*row[1:])
        return found

    def close(self) -> None:
        raw, self._raw = self._raw, None
        wal_fd, self._wal_fd = self._wal_fd, None
        if wal_fd is not None:
            os.close(wal_fd)
        if raw is not None:
            raw.close()

    @staticmethod
    def is_about_data(error: Exception) -> bool:
        """Whether the rows are at fault, so that trying again can only fail again."""
        return isinstance(
            error, (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, *UNWRITABLE)
        )

    def _connect(self) -> sqlite3.Connection:
        raw: sqlite3.Connection = self._database.raw_connection()
        # What waits - for another process, for the disk - is the ledger's own business: it must
        # never hold up the loop, where this connection is used too.
        for pragma in ("busy_timeout = 0", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
            raw.execute(f"PRAGMA {pragma}")
        if self.waits:
            raw.execute(f"{kept()} LIMIT 1").fetchall()  # from now on the log's file is there
            self._wal_fd = os.open(f"{self._database.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._raw = raw
        return raw

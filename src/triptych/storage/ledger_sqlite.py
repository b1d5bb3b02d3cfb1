"""The ledger's connection to SQLite: one transaction per batch, rows bound in C by ``executemany``.

Measured against multi-row VALUES, UPDATE .. FROM and json_each: the single-statement forms save
the writer thread some hand-overs of the interpreter lock, and lose as much to binding and parsing.
"""

import sqlite3
from collections.abc import Sequence

from triptych.storage.database import Database
from triptych.storage.rows import END_COLUMNS, OPEN_COLUMNS, UNWRITABLE, WHOLE_COLUMNS, Batch, StoredEnd
from triptych.storage.statements import fence, insert_open, insert_whole, kept, update_ended


def _marks(count: int) -> str:
    return ", ".join("?" * count)


_INSERT_OPEN = insert_open(f"VALUES ({_marks(len(OPEN_COLUMNS))})")
_INSERT_WHOLE = insert_whole(f"VALUES ({_marks(len(WHOLE_COLUMNS))})")
_UPDATE_ENDED = (
    update_ended({name: f"?{place}" for place, name in enumerate(END_COLUMNS, 1)}) + " WHERE id = ?1 AND "
)


class SqliteLedgerConnection:
    """Used by one thread at a time."""

    def __init__(self, database: Database, node_id: str, node_epoch: int) -> None:
        self._database = database
        # The node's own name and epoch never change: they are part of the statement's text, with
        # the values checked, so that each row binds two parameters less.
        self._update_ended = _UPDATE_ENDED + fence(node_id, node_epoch)
        self._raw: sqlite3.Connection | None = None

    def write(self, batch: Batch) -> bool:
        """Commit the batch. False: some ending changed no row. Raises what sqlite3 raises; the
        outcome of the commit is then unknown, and ``close`` must follow."""
        raw = self._raw if self._raw is not None else self._connect()
        if len(batch) == 1:
            # A lone statement is its own transaction: two steps less.
            return self._execute(raw, batch) == batch.endings
        raw.execute("BEGIN IMMEDIATE")
        changed = self._execute(raw, batch)
        raw.execute("COMMIT")
        return changed == batch.endings

    def prepare(self, batch: Batch) -> int | None:
        """Put the batch into an open transaction; returns how many endings changed a row, or None
        when that cannot be done at once. Called in the event loop's thread, while the writer's is
        idle: nothing here waits for the disk or for another process."""
        raw = self._raw
        if raw is None:
            return None
        try:
            raw.execute("BEGIN IMMEDIATE")
            return self._execute(raw, batch)
        except (sqlite3.Error, *UNWRITABLE):
            if raw.in_transaction:
                raw.rollback()
            return None

    def commit(self) -> None:
        """End the prepared transaction; the part that waits for the disk."""
        assert self._raw is not None
        self._raw.execute("COMMIT")

    def _execute(self, raw: sqlite3.Connection, batch: Batch) -> int:
        changed = 0
        if batch.opened:
            raw.executemany(_INSERT_OPEN, batch.opened)
        if batch.ended:
            changed += raw.executemany(self._update_ended, batch.ended).rowcount
        if batch.whole:
            changed += raw.executemany(_INSERT_WHOLE, batch.whole).rowcount
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
        # Waiting for another process is the ledger's own business: it must never hold up the loop.
        raw.execute("PRAGMA busy_timeout = 0")
        self._raw = raw
        return raw

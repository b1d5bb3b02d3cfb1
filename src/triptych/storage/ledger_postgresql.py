"""The ledger's connection to PostgreSQL: a batch is one statement with one JSON parameter per kind
of row, so one round trip and one commit however many rows there are.

Measured against psycopg's pipelined ``executemany``: 8 us instead of 47 us of our CPU for an
exchange in batches of 32, because no value is adapted on its own.
"""

# ruff: noqa: S608 - the SQL is made of the schema's own names; every value is a parameter

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from sqlalchemy import BigInteger, Boolean

from triptych.storage.balances import CHARGED, CHARGING, UNBOOKED_ORGS, charging
from triptych.storage.database import STRICT, Database
from triptych.storage.rows import END_COLUMNS, OPEN_COLUMNS, UNWRITABLE, WHOLE_COLUMNS, Batch, StoredEnd
from triptych.storage.statements import fence, insert_open, insert_whole, kept, lapsed, update_ended
from triptych.storage.tables import exchanges

_STATEMENT_TIMEOUT_MS = 5_000


def _read(columns: Sequence[str]) -> dict[str, str]:
    """Each column's value out of the JSON array ``v``, cast to the column's type."""
    types = {BigInteger: "::bigint", Boolean: "::boolean"}
    return {
        name: f"(v->>{place}){types.get(type(exchanges.c[name].type), '')}"
        for place, name in enumerate(columns)
    }


def _select(columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(_read(columns).values())} FROM jsonb_array_elements(%s::jsonb) v"


class PostgresqlLedgerConnection:
    """Used by one thread at a time."""

    def __init__(self, database: Database, node_id: str, node_epoch: int) -> None:
        self._database = database
        rows = (
            f"WITH opened AS ({insert_open(_select(OPEN_COLUMNS))}), "
            f"ended AS ({update_ended(_read(END_COLUMNS))} FROM jsonb_array_elements(%s::jsonb) v "
            f"WHERE exchanges.id = v->>0 AND {fence(node_id, node_epoch)} RETURNING {CHARGED}), "
            f"whole AS ({insert_whole(_select(WHOLE_COLUMNS))} RETURNING {CHARGED})"
        )
        endings = "(SELECT count(*) FROM ended) + (SELECT count(*) FROM whole)"
        count = f"SELECT {endings}, {lapsed(node_id, node_epoch)}"
        self._statement = f"{rows} {count}, NULL".encode()
        self._charging = f"{rows}, {CHARGING} {count}, {UNBOOKED_ORGS}".encode()
        self._raw: psycopg.Connection[Any] | None = None
        self.lapsed = False
        self.unbooked_orgs: Sequence[str] = ()

    waits = True
    sync_fd = None
    # Nothing can be said to a server without waiting for it.
    write_now = None

    def make_durable(self, failed: OSError | None = None) -> None:
        """The server did it in its commit."""

    def checkpoint(self) -> None:
        """The server's own business."""

    def write(self, batch: Batch) -> bool:
        """Commit the batch. False: some ending changed no row, or it opened some and the lease has
        ``lapsed``. Raises what psycopg raises; the
        outcome of the commit is then unknown, and ``close`` must follow."""
        raw = self._raw if self._raw is not None else self._connect()
        if not batch.kept:
            return self._write_rows(raw, batch)
        with raw.transaction():
            complete = self._write_rows(raw, batch)
            for writes in batch.kept.values():
                for write in writes:
                    raw.execute(write.statement.replace("?", "%s").encode(), write.parameters())
        return complete

    def _write_rows(self, raw: psycopg.Connection[Any], batch: Batch) -> bool:
        parameters: tuple[str, ...] = (_json(batch.opened), _json(batch.ended), _json(batch.whole))
        statement = self._statement
        if batch.charges:
            statement, parameters = self._charging, (*parameters, *charging(batch.charges))
        found = raw.execute(statement, parameters, prepare=True).fetchone()
        assert found is not None
        endings, self.lapsed, unbooked_orgs = found
        self.unbooked_orgs = unbooked_orgs or ()
        return bool(endings == batch.endings) and not (self.lapsed and batch.opened)

    def stored(self, ids: Sequence[str]) -> dict[str, StoredEnd]:
        raw = self._raw if self._raw is not None else self._connect()
        rows = raw.execute(f"{kept()} WHERE id = ANY(%s)".encode(), (list(ids),))
        return {row[0]: StoredEnd(*row[1:]) for row in rows}

    def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    @staticmethod
    def is_about_data(error: Exception) -> bool:
        """Whether the rows are at fault, so that trying again can only fail again."""
        return isinstance(error, (psycopg.DataError, psycopg.IntegrityError, *UNWRITABLE))

    def _connect(self) -> psycopg.Connection[Any]:
        raw: psycopg.Connection[Any] = self._database.raw_connection()
        raw.autocommit = True
        # The JSON array is guessed at 100 rows; while the table is small that would be planned as
        # a scan of all of it, and the plan kept. Only the index is ever right here.
        settings = {
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
            "synchronous_commit": "on" if self._database.durability == STRICT else "off",
        }
        for name, value in settings.items():
            raw.execute("SELECT set_config(%s, %s, false)", (name, value))
        self._raw = raw
        return raw


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode() if rows else "[]"

"""Rows of the ledger that are past their retention. All methods block: they are for threads, and raise
StorageError."""

import time
from typing import Final

from sqlalchemy import delete, select

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.ids import first_ulid
from triptych.storage.database import Database
from triptych.storage.tables import exchanges

_DAY_US: Final = 86_400 * MICROSECONDS_PER_S
# Long transactions would keep the ledger waiting on SQLite, and so would one after the other: between
# two of them it has its turn. What is left after a pass is for the next one, a minute later.
_PRUNED_AT_ONCE: Final = 500
_PAUSE_S: Final = 0.02
_MOST_BATCHES: Final = 200
_x = exchanges.c


class Outcomes:
    """Balances, events, admin actions and what is stored of a conversation are not touched."""

    def __init__(self, database: Database, *, retention_days: int) -> None:
        self._database = database
        self._retention_us = retention_days * _DAY_US

    def prune(self) -> int:
        """Take away what is past its retention; returns how many rows went. A row that is still open
        stays, however old: whoever settles it needs it."""
        oldest_us = now_us() - self._retention_us
        # Ids begin with the time: found by the primary key, no index of time alone is needed.
        stale = (
            select(_x.id)
            .where(_x.id < first_ulid(oldest_us), _x.started_us < oldest_us, _x.ended_us.is_not(None))
            .order_by(_x.id)
            .limit(_PRUNED_AT_ONCE)
        )
        pruned = 0
        for _ in range(_MOST_BATCHES):
            with self._database.read() as connection:
                ids = connection.execute(stale).scalars().all()
            if ids:
                with self._database.write() as connection:
                    pruned += connection.execute(delete(exchanges).where(_x.id.in_(ids))).rowcount
            if len(ids) < _PRUNED_AT_ONCE:
                break
            time.sleep(_PAUSE_S)
        return pruned

"""How many tokens each org had analysed in this calendar month (UTC).

Counted in memory and added to the database once a second, in a thread: no analysis waits for it.
A killed process loses what it counted in its last second; other nodes are seen a second late.
"""

import logging
import threading
from collections.abc import Callable

from triptych.core.clock import now_us, utc_from_us
from triptych.storage.database import Database
from triptych.storage.errors import reason

logger = logging.getLogger("triptych.analyse_tokens")

FLUSH_S = 1.0
_ADD = (
    "INSERT INTO analyse_tokens (org_id, month, tokens) VALUES (?, ?, ?) "
    "ON CONFLICT (org_id, month) DO UPDATE SET tokens = analyse_tokens.tokens + excluded.tokens"
)
_TOTALS = "SELECT org_id, tokens FROM analyse_tokens WHERE month = ?"


def month_of(moment_us: int) -> int:
    """Months since the year 0."""
    moment = utc_from_us(moment_us)
    return moment.year * 12 + moment.month - 1


class AnalyseTokens:
    """Counts in the loop's thread, keeps in one of its own."""

    def __init__(self, database: Database, clock_us: Callable[[], int] = now_us) -> None:
        self._database = database
        self._clock_us = clock_us
        self._postgresql = database.dialect_name == "postgresql"
        self._lock = threading.Lock()
        self._month = month_of(clock_us())
        self._totals: dict[str, int] = {}
        """Of the month, as the database knew them last."""
        self._pending: dict[tuple[str, int], int] = {}
        """By org and month: not yet in the database."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def count(self, org_id: str, tokens: int) -> None:
        key = org_id, self._turned()
        with self._lock:
            self._pending[key] = self._pending.get(key, 0) + tokens

    def used(self, org_id: str) -> int:
        """In this month, what is not yet in the database included."""
        month = self._turned()
        with self._lock:
            return self._totals.get(org_id, 0) + self._pending.get((org_id, month), 0)

    def start(self) -> None:
        """Raises StorageError."""
        self._read()
        self._thread = threading.Thread(target=self._keep, name="analyse-tokens", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self._attempt()

    def flush(self) -> None:
        """Add what was counted, and learn what others have. Raises StorageError; nothing is lost then."""
        with self._lock:
            counted = dict(self._pending)
        if counted:
            statement = _ADD.replace("?", "%s") if self._postgresql else _ADD
            rows = [(org_id, month, tokens) for (org_id, month), tokens in sorted(counted.items())]
            with self._database.write() as connection:
                connection.exec_driver_sql(statement, rows)
            # At once: were the totals not to be read below, it would be added a second time.
            self._added(counted)
        if counted or self._postgresql:
            self._read()

    def _added(self, counted: dict[tuple[str, int], int]) -> None:
        with self._lock:
            for (org_id, month), tokens in counted.items():
                self._pending[org_id, month] -= tokens
                if not self._pending[org_id, month]:
                    del self._pending[org_id, month]
                if month == self._month:
                    self._totals[org_id] = self._totals.get(org_id, 0) + tokens

    def _read(self) -> None:
        month = self._turned()
        statement = _TOTALS.replace("?", "%s") if self._postgresql else _TOTALS
        with self._database.read() as connection:
            found = {row.org_id: int(row.tokens) for row in connection.exec_driver_sql(statement, (month,))}
        with self._lock:
            if month == self._month:
                self._totals = found

    def _turned(self) -> int:
        """This month; with a new one every org begins anew."""
        month = month_of(self._clock_us())
        with self._lock:
            if month > self._month:
                self._month, self._totals = month, {}
            return self._month

    def _keep(self) -> None:
        while not self._stopping.wait(FLUSH_S):
            self._attempt()

    def _attempt(self) -> None:
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
            logger.warning("could not add up analysed tokens: %s", reason(error))

"""One database: opening it, its pragmas, its transactions, its single server, its schema."""

import errno
import fcntl
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from triptych.storage import schema
from triptych.storage.errors import StorageError

STRICT, PROCESS, RELAXED = "strict", "process", "relaxed"
DURABILITIES = (STRICT, PROCESS, RELAXED)

BUSY_TIMEOUT_MS = 5_000
_LOCK_POLL_S = 0.002
_POOL_SIZE = 5
_POOL_TIMEOUT_S = 5
_WRITE = "triptych_write"
_CLAIMED_BYTE = 1 << 62

# A server that vanished without a word is noticed within seconds, not after TCP's 15 minutes.
_POSTGRESQL_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "triptych",
}
# The server cannot tell a client that stands still or lost its network from one that thinks, and keeps
# its locks for it, for hours. As long as a node's lease: what is held to be dead by then writes nothing.
_IDLE_IN_TRANSACTION_S = 10


def open_database(url: str, *, durability: str, connections: int = _POOL_SIZE) -> "Database":
    """Open (and for SQLite create, mode 0600) the database at ``sqlite:///path`` or
    ``postgresql://user:password@host:port/name``; ``connections`` at most are open at a time.

    ``durability``: ``strict`` has every commit on disk before it returns; ``process`` and
    ``relaxed`` survive a killed process, and may lose the last commits when power fails.
    Raises StorageError: unknown scheme, unreachable server, unusable file.
    """
    if durability not in DURABILITIES:
        raise StorageError(
            f"[ledger] durability is {durability!r}; it must be one of {', '.join(DURABILITIES)}."
        )
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageError(
            "[storage] url cannot be read as a database URL; write sqlite:///path/to/triptych.db or "
            "postgresql://user:password@host:5432/name."
        ) from error
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return _open_sqlite(parsed, durability, connections)
    if backend in ("postgresql", "postgres"):
        return _open_postgresql(parsed, durability, connections)
    raise StorageError(
        f"[storage] url names the database {parsed.drivername!r}; Triptych keeps its data in sqlite:/// or postgresql://."
    )


class Database:
    """An open database. ``read`` and ``write`` give connections in a transaction; database errors
    inside them leave as StorageError. Safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        durability: str,
        path: Path | None,
        require_same_file: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.name = name
        """For people: the file, or the server's URL without its password."""
        self.durability = durability
        self.path = path
        """The SQLite file; None on PostgreSQL."""
        self.require_same_file = require_same_file
        """Raises StorageError once the SQLite file was deleted or replaced: what is written through an
        open connection goes into the old file then, and nobody ever finds it."""
        self._locked = False
        self._lock_fds: list[int] = []

    @property
    def dialect_name(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the data: everything read inside stems from one moment."""
        with self._translated(), self.engine.connect() as connection:
            if self.dialect_name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; committed when the block ends without an exception.

        On SQLite it holds the write lock from the start, so that it cannot fail half-way for
        want of it.
        """
        with (
            self._translated(),
            self.engine.connect().execution_options(**{_WRITE: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def raw_connection(self) -> Any:
        """A new DBAPI connection outside the pool, pragmas set; the caller closes it.

        Raises the driver's own errors: its one user, the ledger, tells them apart.
        """
        pooled = self.engine.raw_connection()
        raw = pooled.dbapi_connection
        pooled.detach()
        return raw

    def migrate(self) -> None:
        """Create the schema, or bring it to this program's version. Raises StorageError when the
        database was made by a newer version."""
        with self.read() as connection:
            if schema.current_revision(connection) == schema.HEAD:
                return
        with self.write() as connection:
            schema.exclude_other_migrations(connection)
            revision = schema.current_revision(connection)
            if revision is None:
                schema.create(connection)
            elif revision != schema.HEAD:
                schema.upgrade(connection)

    def lock(self) -> None:
        """Claim the SQLite file for this process as its one server, until ``close``.

        Raises StorageError when another process has it. Command-line tools do not lock: they may
        write beside a running server. PostgreSQL needs no lock: several nodes may serve.
        """
        if self.path is None or self._locked:
            return
        lock_path = self.path.with_name(self.path.name + ".lock")
        try:
            fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"Cannot open the lock file {lock_path}: {error.strerror}.") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise self._served(f" (pid {holder})" if holder else "") from error
        database_fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self._lock_fds.append(database_fd)
        if not _claim(database_fd):
            os.close(fd)  # or this database would refuse itself from now on
            raise self._served("")
        self._lock_fds.append(fd)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._locked = True

    def _served(self, holder: str) -> StorageError:
        return StorageError(
            f"Another process{holder} already serves from {self.path}. "
            "Stop it first, give this one another [storage] url, or use PostgreSQL to run several."
        )

    def close(self) -> None:
        """Close the pool and give the lock back. Idempotent."""
        self.engine.dispose()
        # Not before: with any descriptor of a file, a process gives up what SQLite has locked of it.
        for fd in self._lock_fds:
            os.close(fd)
        self._lock_fds.clear()
        self._locked = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            told = f"The database {self.name} failed: {first_line(error.orig)}"
            if isinstance(error, OperationalError) and _is_busy(error):
                told += (
                    f". Another process has held it for {BUSY_TIMEOUT_MS / 1000:g} s: find it "
                    f"(`fuser {self.name}`), let it end its transaction or stop it, and try again."
                )
            elif _code(error.orig) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                told += f". {_remedy(error.orig)}"
            raise StorageError(told) from error
        except PoolTimeout as error:
            raise StorageError(
                f"No connection to {self.name} became free within {_POOL_TIMEOUT_S} s: it is overloaded."
            ) from error


def first_line(error: BaseException | None) -> str:
    """The driver's message without its further lines, which may quote rows."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _claim(fd: int) -> bool:
    """Lock one byte of the database file itself, far from those that SQLite locks: a lock file can be
    deleted, and a file can have several names. False: another process has it. Only Linux has such locks
    that go with a descriptor and not with the process; elsewhere the lock file must do."""
    if sys.platform != "linux":
        return True
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _CLAIMED_BYTE, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        # A file system that has no such locks is no reason not to serve.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _open_sqlite(url: URL, durability: str, connections: int) -> Database:
    if not url.database or url.database == ":memory:":
        raise StorageError(
            "[storage] url must name a file, such as sqlite:///triptych.db: a database in memory "
            "would lose keys and records at every stop."
        )
    path = Path(url.database).absolute()
    try:
        # SQLite gives its -wal and -shm files the mode of the database file.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        opened = os.fstat(fd)
        os.close(fd)
    except OSError as error:
        raise StorageError(
            f"Cannot open the database file {path}: {error.strerror}. Create its directory, or let this "
            "user write to it, or change [storage] url."
        ) from error
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite", database=str(path)),
        pool_size=connections,
        pool_timeout=_POOL_TIMEOUT_S,
        hide_parameters=True,
    )
    synchronous = "FULL" if durability == STRICT else "NORMAL"
    # The driver looks for an adapter of whatever is not exactly a number or a text, and where there is none
    # makes, formats and drops an error: eight times for each exchange.
    sqlite3.register_adapter(type(None), {None: None}.get)
    sqlite3.register_adapter(bool, int)

    def require_same_file() -> None:
        try:
            found = os.stat(path)
        except OSError:
            found = None
        if found is None or not os.path.samestat(found, opened):
            raise StorageError(
                f"The database file {path} was deleted or replaced while it was in use. Stop the gateway, "
                "put the right file in its place, and start it again."
            )

    def before_connecting(*_: object) -> None:
        require_same_file()  # SQLite would make an empty file

    def prepare(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # transactions begin where we say, not where the driver guesses
        cursor = raw.cursor()
        try:
            for pragma in (
                f"busy_timeout = {BUSY_TIMEOUT_MS}",
                "journal_mode = WAL",
                f"synchronous = {synchronous}",
                "foreign_keys = ON",
                "secure_delete = ON",  # what is deleted is overwritten
            ):
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()

    def begin(connection: Connection) -> None:
        require_same_file()
        if connection.get_execution_options().get(_WRITE, False):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return _checked(Database(engine, str(path), durability, path, require_same_file))


def _begin_writing(connection: Connection) -> None:
    """Take SQLite's write lock within ``BUSY_TIMEOUT_MS``.

    SQLite's own waiting looks every tenth of a second. Under load the ledger leaves the lock free for
    moments only, and a change of a budget would wait for seconds, or in vain.
    """
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1_000
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= deadline_s:
                    raise
                time.sleep(_LOCK_POLL_S)
            else:
                return
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def _is_busy(error: OperationalError) -> bool:
    return _code(error.orig) == sqlite3.SQLITE_BUSY


def _open_postgresql(url: URL, durability: str, connections: int) -> Database:
    url = url.set(drivername="postgresql+psycopg")
    try:
        engine = create_engine(
            url,
            connect_args={
                name: value for name, value in _POSTGRESQL_DEFAULTS.items() if name not in url.query
            },
            pool_size=connections,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT_S,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            "[storage] url names PostgreSQL, whose driver is not installed: run "
            f"`{sys.executable} -m pip install 'psycopg[binary]>=3.2'`."
        ) from error

    def prepare(raw: Any, _record: object) -> None:
        raw.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_S}s'")
        raw.commit()

    event.listen(engine, "connect", prepare)
    return _checked(
        Database(engine, url.set(query={}).render_as_string(hide_password=True), durability, None)
    )


def _checked(database: Database) -> Database:
    """Connect once, so that what is wrong shows now and with a name."""
    try:
        database.engine.connect().close()
    except DBAPIError as error:
        database.close()
        raise StorageError(
            f"Cannot open the database {database.name}: {first_line(error.orig)}. {_remedy(error.orig)}"
        ) from error
    return database


def _code(error: BaseException | None) -> int:
    """SQLite's; 0 of other engines."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says why


def _remedy(error: BaseException | None) -> str:
    code = _code(error)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return "Let this user write to the file and to its directory: SQLite keeps two files beside it."
    if code == sqlite3.SQLITE_FULL:
        return "Make room on its disk."
    if code == sqlite3.SQLITE_IOERR:
        return "Look at its disk: it is full, or broken."
    return "Check [storage] url, and that the server runs or the file is an SQLite database."

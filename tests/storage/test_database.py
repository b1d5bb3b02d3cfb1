import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from triptych.storage import schema
from triptych.storage.database import BUSY_TIMEOUT_MS, Database, _remedy, open_database
from triptych.storage.errors import StorageError
from triptych.storage.tables import metadata


def shape(database: Database) -> dict[str, object]:
    """Everything about the schema that the database itself tells."""
    with database.read() as connection:
        inspector = inspect(connection)
        return {
            table: (
                [
                    (c["name"], str(c["type"]), c["nullable"], c["default"])
                    for c in inspector.get_columns(table)
                ],
                inspector.get_pk_constraint(table),
                sorted(map(str, inspector.get_unique_constraints(table))),
                sorted(map(str, inspector.get_foreign_keys(table))),
                sorted(
                    (
                        index["name"],
                        index["column_names"],
                        [str(v) for v in index["dialect_options"].values()],
                    )
                    for index in inspector.get_indexes(table)
                ),
            )
            for table in sorted(inspector.get_table_names())
        }


OF_THE_OTHER_ENGINE = {
    "sqlite": "ix_exchanges_org_id_started_us",
    "postgresql": "ix_exchanges_started_us_org_id",
}
"""The index of ``metadata`` that an engine does without; Alembic does not know of ``ddl_if``."""


def test_the_migrations_make_the_same_schema_as_the_tables(url: str) -> None:
    database = open_database(url, durability="strict")
    with database.write() as connection:
        schema.upgrade(connection)
    with database.read() as connection:
        assert schema.current_revision(connection) == schema.HEAD
        elsewhere = OF_THE_OTHER_ENGINE[connection.dialect.name]
        options = {"include_object": lambda _item, name, *_: name != elsewhere}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        version = connection.execute(text("SELECT id, version FROM snapshot_version")).one()
    migrated = shape(database)
    with database.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    database.migrate()
    created = shape(database)
    database.close()
    assert migrated == created
    assert tuple(version) == (1, 1)


def test_the_migrations_make_the_same_triggers_as_the_tables(tmp_path: Path) -> None:
    made = []
    for by_migrations in (True, False):
        database = open_database(f"sqlite:///{tmp_path}/{by_migrations}.db", durability="strict")
        if by_migrations:
            with database.write() as connection:
                schema.upgrade(connection)
        else:
            database.migrate()
        with database.read() as connection:
            told = text("SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
            made.append(connection.execute(told).scalars().all())
        database.close()
    assert made[0] == made[1] and len(made[0]) == 3


def test_the_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(schema.SCRIPTS)).get_heads() == [schema.HEAD]


def test_migrating_twice_changes_nothing(database: Database) -> None:
    before = shape(database)
    database.migrate()
    assert shape(database) == before


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=r"revision '9999'.*newer version"):
        database.migrate()


def test_a_database_with_somebody_elses_tables_is_refused(url: str) -> None:
    database = open_database(url, durability="strict")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE users (id integer)"))
    with pytest.raises(StorageError, match="table 'users' that Triptych did not make"):
        database.migrate()
    database.close()


def test_alembic_is_not_imported_unless_the_schema_must_change(url: str) -> None:
    program = (
        "import sys\nfrom triptych.storage.database import open_database\n"
        "for _ in range(2):\n    database = open_database(sys.argv[1], durability='strict')\n"
        "    database.migrate()\n    database.close()\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'alembic'])"
    )
    run = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_two_first_starts_at_once_make_one_schema(url: str) -> None:
    program = (
        "import sys\nfrom triptych.storage.database import open_database\n"
        "database = open_database(sys.argv[1], durability='strict')\ndatabase.migrate()\ndatabase.close()\n"
    )
    starts = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(2)]
    assert [start.wait(30) for start in starts] == [0, 0]


def test_what_fails_inside_a_write_is_rolled_back(database: Database) -> None:
    def fail_after(statement: str) -> None:
        with database.write() as connection:
            connection.execute(text(statement))
            raise KeyError

    with pytest.raises(KeyError):
        fail_after("INSERT INTO installation (name, value) VALUES ('a', 'b')")
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM installation")).scalar() == 0


def test_database_errors_leave_as_storage_errors_without_values(database: Database) -> None:
    statement = text("INSERT INTO installation (name, value) VALUES ('a', 'canary-secret')")
    with database.write() as connection:
        connection.execute(statement)
    with pytest.raises(StorageError) as caught, database.write() as connection:
        connection.execute(statement)
    assert "canary-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql://localhost/x", "names the database 'mysql'"),
        ("nonsense", "cannot be read as a database URL"),
        ("sqlite:////nonexistent/dir/t.db", "Cannot open the database file /nonexistent/dir/t.db"),
    ],
)
def test_an_unusable_url_is_refused_with_a_reason(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        open_database(url, durability="strict")


def test_an_unknown_durability_is_refused(sqlite_url: str) -> None:
    with pytest.raises(StorageError, match="strict, process, relaxed"):
        open_database(sqlite_url, durability="eventually")


def test_an_unreachable_server_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1/x") as caught:
        open_database("postgresql://someone:canary-secret@127.0.0.1:1/x", durability="strict")
    assert "canary-secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, it is a longer text than a header " * 20)
    with pytest.raises(StorageError, match=r"notes\.txt: file is not a database"):
        open_database(f"sqlite:///{path}", durability="strict")


def test_sqlite_files_are_private(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url, durability="strict")
    database.migrate()
    database.lock()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()
    assert {"triptych.db", "triptych.db-wal", "triptych.db.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(("durability", "synchronous"), [("strict", 2), ("process", 1), ("relaxed", 1)])
def test_durability_decides_when_sqlite_waits_for_the_disk(
    sqlite_url: str, durability: str, synchronous: int
) -> None:
    database = open_database(sqlite_url, durability=durability)
    with database.read() as connection:
        facts = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
    database.close()
    assert facts == {"synchronous": synchronous, "journal_mode": "wal", "foreign_keys": 1}


def _serve(url: str, ready: "multiprocessing.Queue[str]") -> None:
    database = open_database(url, durability="strict")
    try:
        database.lock()
        ready.put("locked")
    except StorageError as error:
        ready.put(str(error))
    database.close()


def test_a_second_server_on_one_sqlite_file_is_refused(sqlite_url: str) -> None:
    database = open_database(sqlite_url, durability="strict")
    database.migrate()
    database.lock()
    database.lock()
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    second = context.Process(target=_serve, args=(sqlite_url, answers))
    second.start()
    answer = answers.get(timeout=30)
    second.join()
    assert f"pid {os.getpid()}" in answer
    assert "already serves" in answer
    database.close()
    third = context.Process(target=_serve, args=(sqlite_url, answers))
    third.start()
    assert answers.get(timeout=30) == "locked"
    third.join()


@pytest.mark.skipif(sys.platform != "linux", reason="a file is claimed beside its lock file only there")
@pytest.mark.parametrize("lock_file_deleted", [False, True])
def test_a_refused_lock_is_refused_again_until_its_holder_leaves(
    sqlite_url: str, lock_file_deleted: bool
) -> None:
    holder = open_database(sqlite_url, durability="strict")
    holder.migrate()
    holder.lock()
    if lock_file_deleted:
        Path(sqlite_url.removeprefix("sqlite:///") + ".lock").unlink()
    second = open_database(sqlite_url, durability="strict")
    for _ in range(2):
        with pytest.raises(StorageError, match="already serves"):
            second.lock()
    holder.close()
    second.lock()
    third = open_database(sqlite_url, durability="strict")
    with pytest.raises(StorageError, match="already serves"):
        third.lock()
    second.close()
    third.lock()
    third.close()


def test_another_process_may_write_beside_the_server(sqlite_url: str) -> None:
    server = open_database(sqlite_url, durability="strict")
    server.migrate()
    server.lock()
    tool = open_database(sqlite_url, durability="strict")
    tool.migrate()
    with tool.write() as connection:
        connection.execute(text("INSERT INTO installation (name, value) VALUES ('a', 'b')"))
    tool.close()
    with server.read() as connection:
        assert connection.execute(text("SELECT value FROM installation")).scalar() == "b"
    server.close()


def test_a_missing_driver_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"-m pip install 'psycopg\[binary\]"):
        open_database("postgresql://127.0.0.1:1/x", durability="strict")


def test_a_write_gets_its_turn_while_another_connection_writes_all_the_time(sqlite_url: str) -> None:
    """As under load: the lock is free for moments only, and a change of a budget must not miss them."""
    database = open_database(sqlite_url, durability="process")
    database.migrate()
    stop, writing = threading.Event(), threading.Event()

    def write_on_and_on() -> None:
        raw = database.raw_connection()
        while not stop.is_set():
            raw.execute("BEGIN IMMEDIATE")
            writing.set()
            time.sleep(0.12)
            raw.execute("COMMIT")
            time.sleep(0.006)
        raw.close()

    busy = threading.Thread(target=write_on_and_on)
    busy.start()
    try:
        begun_s = time.monotonic()
        for number in range(6):
            writing.clear()
            writing.wait()
            with database.write() as connection:
                row = {"name": f"n{number}"}
                connection.execute(text("INSERT INTO installation (name, value) VALUES (:name, 'b')"), row)
        took_s = time.monotonic() - begun_s
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == BUSY_TIMEOUT_MS
    finally:
        stop.set()
        busy.join()
        database.close()
    assert took_s < 6 * 0.6  # SQLite by itself needs a second and more for each


def test_a_write_that_gets_no_turn_says_so_in_time(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.storage.database.BUSY_TIMEOUT_MS", 100)
    database = open_database(sqlite_url, durability="process")
    database.migrate()
    raw = database.raw_connection()
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="database is locked") as refused, database.write():
        pass
    assert f"`fuser {database.name}`" in str(refused.value)  # what to do
    raw.execute("COMMIT")
    with database.write():
        pass
    raw.close()
    database.close()


def test_a_file_that_was_deleted_is_named_and_not_made_anew(sqlite_url: str) -> None:
    database = open_database(sqlite_url, durability="strict")
    database.migrate()
    assert database.path is not None
    database.path.unlink()
    for begin in (database.read, database.write):
        with pytest.raises(StorageError, match="was deleted or replaced while it was in use"), begin():
            pass
    database.engine.dispose()
    with pytest.raises(StorageError, match="was deleted or replaced"), database.read():
        pass
    assert not database.path.exists()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (sqlite3.SQLITE_READONLY_DIRECTORY, "Let this user write to the file and to its directory"),
        (sqlite3.SQLITE_CANTOPEN, "Let this user write to the file and to its directory"),
        (sqlite3.SQLITE_FULL, "Make room on its disk"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "Look at its disk: it is full"),
        (sqlite3.SQLITE_NOTADB, "Check [storage] url, and that"),
    ],
)
def test_what_to_do_about_a_file_that_cannot_be_opened_follows_from_what_is_wrong(
    code: int, remedy: str
) -> None:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    assert _remedy(error).startswith(remedy)


def test_a_folder_that_became_something_else_is_told_as_a_file_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = open_database(f"sqlite:///{folder / 'a.db'}", durability="strict")
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("no folder")
    with pytest.raises(StorageError, match="was deleted or replaced"):
        database.require_same_file()
    database.close()


def test_a_full_disk_under_a_command_is_told_with_what_to_do(sqlite_url: str) -> None:
    database = open_database(sqlite_url, durability="strict")

    def write_much() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            connection.exec_driver_sql("CREATE TABLE large AS SELECT randomblob(100000) AS x")

    with pytest.raises(StorageError, match=r"disk is full\. Make room on its disk\.$"):
        write_much()
    database.close()

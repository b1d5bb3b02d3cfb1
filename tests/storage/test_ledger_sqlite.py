"""What the ledger does on SQLite alone: rows go to the operating system at once, and only the wait
for the disk is the other thread's."""

import asyncio
import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running, until, watch
from triptych.core.hold import Charge
from triptych.storage.balances import Additions
from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.kernel_sync import KernelSync
from triptych.storage.ledger_sqlite import SqliteLedgerConnection
from triptych.storage.nodes import register_node


def fresh(folder: Path, durability: str) -> Database:
    database = open_database(f"sqlite:///{folder / 'ledger.db'}", durability=durability)
    database.migrate()
    return database


WHO_SYNCS = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "thread"])


def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_loop: asyncio.AbstractEventLoop) -> None:
        raise OSError(errno.ENOSYS, "no such system call")

    monkeypatch.setattr("triptych.storage.ledger.KernelSync", absent)


BROKEN = OSError(errno.EIO, "the disk does not take it")


def fail_the_next_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    by_thread = os.fdatasync

    def failing(_fd: int) -> None:
        monkeypatch.setattr(os, "fdatasync", by_thread)
        raise BROKEN

    monkeypatch.setattr(os, "fdatasync", failing)


@WHO_SYNCS
def test_strict_rows_are_claimed_only_after_the_log_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    synced: list[str] = []
    by_thread, by_kernel = os.fdatasync, KernelSync.start

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        by_thread(fd)

    def noting_start(self: KernelSync, fd: int, told: Callable[[OSError | None], None]) -> None:
        def done(error: OSError | None) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            told(error)

        by_kernel(self, fd, done)

    monkeypatch.setattr(os, "fdatasync", noting)
    monkeypatch.setattr(KernelSync, "start", noting_start)
    if not kernel:
        without_kernel(monkeypatch)

    async def live() -> None:
        async with running(database, node, durability="strict") as ledger:
            for count in (1, 7):
                starts = [opened() for _ in range(count)]
                before = len(synced)
                await asyncio.gather(*(ledger.open(start) for start in starts))
                assert len(synced) > before
                before = len(synced)
                assert all(
                    await asyncio.gather(*(ledger.end(start.id, outcome(), ENDED_US) for start in starts))
                )
                assert len(synced) > before

    asyncio.run(live())
    database.close()
    assert set(synced) == {f"{tmp_path}/ledger.db-wal"}


def test_what_comes_up_while_the_kernel_syncs_is_one_batch_and_waits_for_its_own_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    by_kernel = KernelSync.start
    syncs: list[Callable[[], None]] = []

    def held_back(self: KernelSync, fd: int, told: Callable[[OSError | None], None]) -> None:
        by_kernel(self, fd, lambda error: syncs.append(lambda: told(error)))

    async def live() -> None:
        async with running(database, node, durability="strict") as ledger:
            await ledger.open(opened())  # connects, in the thread
            sizes = watch(ledger)
            monkeypatch.setattr(KernelSync, "start", held_back)
            first = ledger.open(opened())
            await until(lambda: len(syncs) == 1)
            rest = [ledger.open(opened()) for _ in range(20)]
            await asyncio.sleep(0.05)
            assert not first.done() and sizes == [(1, 0, 0)]
            syncs.pop()()
            await first
            await until(lambda: len(syncs) == 1)
            assert sizes == [(1, 0, 0), (20, 0, 0)]
            assert not any(start.done() for start in rest)
            monkeypatch.setattr(KernelSync, "start", by_kernel)
            syncs.pop()()
            await asyncio.gather(*rest)

    asyncio.run(live())
    database.close()


@pytest.mark.parametrize("when", ["asked", "told"])
def test_a_kernel_that_cannot_sync_is_asked_once_and_the_thread_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    asked = 0
    syncs = 0
    by_thread = os.fdatasync
    refusal = OSError(errno.EINVAL, "this file cannot be synced so")

    def refusing(self: KernelSync, fd: int, told: Callable[[OSError | None], None]) -> None:
        nonlocal asked
        asked += 1
        if when == "asked":
            raise refusal
        asyncio.get_running_loop().call_soon(told, refusal)

    def counting(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        by_thread(fd)

    monkeypatch.setattr(KernelSync, "start", refusing)
    monkeypatch.setattr(os, "fdatasync", counting)

    async def live() -> None:
        async with running(database, node, durability="strict") as ledger:
            for _ in range(4):
                start = opened()
                await ledger.open(start)
                assert await ledger.end(start.id, outcome(), ENDED_US)

    asyncio.run(live())
    found = rows(database).values()
    database.close()
    assert len(found) == 4 and all(row.ended_us == ENDED_US for row in found)
    assert asked == 1
    assert syncs >= 8


@WHO_SYNCS
def test_rows_whose_sync_failed_are_claimed_once_they_are_in_the_database_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    """A second sync of a log that could not be written succeeds on Linux, and nothing is on the disk."""
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    start = opened()
    by_kernel = KernelSync.start

    def failing_start(self: KernelSync, fd: int, told: Callable[[OSError | None], None]) -> None:
        by_kernel(self, fd, lambda _error: told(BROKEN))

    async def live() -> None:
        async with running(database, node, durability="strict") as ledger:
            await ledger.open(opened())
            # The last connection that is closed moves the log, whatever it holds.
            other = database.raw_connection()
            monkeypatch.setattr(KernelSync, "start", failing_start)
            if not kernel:
                fail_the_next_sync(monkeypatch)
            await ledger.open(start)
            shutil.copy(tmp_path / "ledger.db", tmp_path / "alone.db")
            assert await ledger.end(start.id, outcome(), ENDED_US)
            other.close()

    if not kernel:
        without_kernel(monkeypatch)
    asyncio.run(live())
    database.close()
    alone = sqlite3.connect(tmp_path / "alone.db")
    assert alone.execute("SELECT count(*) FROM exchanges WHERE id = ?", (start.id,)).fetchone() == (1,)
    alone.close()


def test_rows_whose_sync_failed_are_not_claimed_while_a_reader_keeps_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    without_kernel(monkeypatch)

    async def live() -> None:
        async with running(database, node, durability="strict", unavailable_after_s=0.6) as ledger:
            await ledger.open(opened())
            reader = database.raw_connection()
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM exchanges").fetchone()
            fail_the_next_sync(monkeypatch)
            with pytest.raises(StorageError, match="is away"):
                await ledger.open(opened())
            assert not ledger.healthy
            reader.close()
            await ledger.open(opened())
            assert ledger.healthy

    asyncio.run(live())
    database.close()


def test_whom_an_error_nobody_thought_of_meets_in_the_loop_is_served_by_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fresh(tmp_path, "process")
    node = register_node(database)
    charge = Charge("ORG", nusd=3, scopes=(("org", "ORG"),))
    failures = [RuntimeError("between two statements")]
    add = SqliteLedgerConnection._add

    def failing(raw: sqlite3.Connection, additions: Additions) -> None:
        if failures:
            raise failures.pop()
        add(raw, additions)

    monkeypatch.setattr(SqliteLedgerConnection, "_add", staticmethod(failing))

    async def live() -> None:
        async with running(database, node, durability="process") as ledger:
            start = opened()
            await ledger.open(start)  # connects, in the thread
            async with asyncio.timeout(10):
                assert await ledger.end(start.id, outcome(charge=charge), ENDED_US)

    asyncio.run(live())
    assert not failures
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT spent_nusd FROM balances").scalar_one() == 3
    database.close()


def test_rows_that_need_no_sync_are_there_before_the_loop_turns(tmp_path: Path) -> None:
    database = fresh(tmp_path, "process")
    node = register_node(database)

    async def live() -> None:
        async with running(database, node, durability="process") as ledger:
            first = opened()
            await ledger.open(first)  # connects, in the thread
            await ledger.end(first.id, outcome(), ENDED_US)
            start = opened()
            assert ledger.open(start).done()
            end = ledger.end(start.id, outcome(), ENDED_US)
            await asyncio.sleep(0.02)
            assert end.result() is True

    asyncio.run(live())
    database.close()


@pytest.mark.parametrize("durability", ["strict", "process"])
def test_the_log_stays_small_however_many_rows_are_written(tmp_path: Path, durability: str) -> None:
    database = fresh(tmp_path, durability)
    node = register_node(database)
    log = tmp_path / "ledger.db-wal"
    sizes: list[int] = []

    async def live() -> None:
        async with running(database, node, durability=durability) as ledger:
            for _ in range(60):
                starts = [opened() for _ in range(100)]
                await asyncio.gather(*(ledger.open(start) for start in starts))
                await asyncio.gather(*(ledger.end(start.id, outcome(), ENDED_US) for start in starts))
                sizes.append(log.stat().st_size)

    asyncio.run(live())
    database.close()
    assert sizes[-1] < 16 << 20
    assert sizes[-1] <= 1.5 * sizes[len(sizes) // 2], "it grows without bound"


@pytest.mark.parametrize("durability", ["strict", "process"])
def test_somebody_elses_short_transaction_is_waited_for_and_is_no_outage(
    tmp_path: Path, durability: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = fresh(tmp_path, durability)
    node = register_node(database)

    async def live() -> None:
        async with running(database, node, durability=durability) as ledger:
            start = opened()
            await ledger.open(start)
            other = database.raw_connection()
            other.execute("BEGIN IMMEDIATE")
            ending = ledger.end(start.id, outcome(), ENDED_US)
            await asyncio.sleep(0.05)
            assert not ending.done() and ledger.healthy
            other.execute("ROLLBACK")
            other.close()
            assert await ending is True

    asyncio.run(live())
    database.close()
    assert caplog.text == ""


@pytest.mark.parametrize("durability", ["strict", "process"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_or_replaced_takes_no_row_that_nobody_would_find(
    tmp_path: Path, durability: str, replaced: bool
) -> None:
    database = fresh(tmp_path, durability)
    node = register_node(database)
    path = tmp_path / "ledger.db"
    start = opened()

    async def live() -> None:
        async with running(database, node, durability=durability, unavailable_after_s=0.2) as ledger:
            await ledger.open(start)
            path.rename(tmp_path / "elsewhere.db")
            if replaced:
                path.touch()
            with pytest.raises(StorageError, match=r"ledger\.db was deleted or replaced"):
                await ledger.open(opened())
            with pytest.raises(StorageError, match="deleted or replaced"):
                await ledger.end(start.id, outcome(), ENDED_US)
            assert not ledger.healthy
            assert path.exists() == replaced, "an empty database was made in its place"
            (tmp_path / "elsewhere.db").rename(path)
            await until(lambda: ledger.healthy and not ledger.late)

    asyncio.run(live())
    assert rows(database)[start.id].ended_us == ENDED_US
    database.close()

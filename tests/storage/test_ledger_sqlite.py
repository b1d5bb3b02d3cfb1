"""What the ledger does on SQLite alone: rows go to the operating system at once, and only the wait
for the disk is the other thread's."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running, until
from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.nodes import register_node


def fresh(folder: Path, durability: str) -> Database:
    database = open_database(f"sqlite:///{folder / 'ledger.db'}", durability=durability)
    database.migrate()
    return database


def test_strict_rows_are_claimed_only_after_the_log_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fresh(tmp_path, "strict")
    node = register_node(database)
    synced: list[str] = []
    real = os.fdatasync

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", noting)

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

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running, slowed, until
from triptych.core.failure import FailureKind
from triptych.core.outcome import Ending
from triptych.core.usage import Usage
from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.nodes import Node, register_node, settle_orphans
from triptych.storage.rows import Batch


def test_texts_of_outsiders_cannot_poison_a_batch(database: Database, node: Node) -> None:
    starts = [opened(model="a\0b"), opened(model="\ud800"), opened(model="m" * 5000), opened()]

    async def live() -> list[bool]:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            ends = [ledger.end(start.id, outcome(upstream_request_id="r\0\n"), ENDED_US) for start in starts]
            return await asyncio.gather(*ends)

    assert asyncio.run(live()) == [True] * 4
    found = rows(database)
    assert [found[start.id].model for start in starts] == [
        "a\ufffdb",
        "\ufffd",
        "m" * 256,
        "claude-sonnet-4-6",
    ]
    assert found[starts[0].id].upstream_request_id == "r\ufffd\ufffd"


def test_a_row_that_cannot_be_stored_fails_alone(database: Database, node: Node) -> None:
    good, bad = opened(), opened()

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(ledger.open(good), ledger.open(bad))
            with slowed(ledger, 0.05):
                first = ledger.open(opened())
                await asyncio.sleep(0.02)
                huge = ledger.end(bad.id, outcome(usage=Usage(input_tokens=2**70)), ENDED_US)
                fine = ledger.end(good.id, outcome(), ENDED_US)
                await first
                assert await fine is True
                with pytest.raises(StorageError, match="cannot be stored"):
                    await huge
            assert (ledger.healthy, ledger.lost) == (True, 1)

    asyncio.run(live())


def test_a_commit_whose_answer_was_lost_is_neither_doubled_nor_called_fenced(
    database: Database, node: Node
) -> None:
    start, second = opened(), opened()

    async def live() -> tuple[bool, bool]:
        async with running(database, node) as ledger:
            connection = ledger._writer._connection
            write = connection.write
            answers_lost = 0

            def losing(batch: Batch) -> bool:
                nonlocal answers_lost
                done = write(batch)
                if answers_lost < 3:
                    answers_lost += 1
                    raise ConnectionResetError("the answer was lost")
                return done

            connection.write = losing  # type: ignore[method-assign]
            await ledger.open(start)
            answers_lost = 0
            ended = await ledger.end(start.id, outcome(), ENDED_US)
            answers_lost = 0
            ledger.open(second)
            merged = await ledger.end(second.id, outcome(), ENDED_US)
            return ended, merged

    assert asyncio.run(live()) == (True, True)
    assert {row.ended_us for row in rows(database).values()} == {ENDED_US}
    assert len(rows(database)) == 2


class Outage:
    """The database is away for the ledger until ``end``: SQLite is locked by somebody else,
    PostgreSQL drops the session and takes no new one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connect = database.raw_connection

    def __enter__(self) -> "Outage":
        if self._database.dialect_name == "sqlite":
            self._other = sqlite3.connect(str(self._database.path), isolation_level=None)
            self._other.execute("BEGIN EXCLUSIVE")
        else:
            self._database.raw_connection = self._refuse  # type: ignore[method-assign]
            terminate_other_backends(self._database)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        if self._database.dialect_name == "sqlite":
            self._other.close()
        else:
            self._database.raw_connection = self._connect  # type: ignore[method-assign]

    def _refuse(self) -> Any:
        import psycopg

        raise psycopg.OperationalError("connection refused")


def terminate_other_backends(database: Database) -> None:
    """Kill the ledger's session, known by its name (see ``named_sessions``)."""
    with database.write() as connection:
        mine = connection.execute(text("SELECT current_schema()")).scalar_one()
        killed = connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"),
            {"name": mine},
        ).all()
    assert len(killed) == 1


@pytest.fixture
def named_sessions(database: Database) -> None:
    """Sessions of this test bear its schema's name, so that only they are terminated."""
    if database.dialect_name != "postgresql":
        return
    original = database.raw_connection

    def named() -> Any:
        raw = original()
        raw.execute("SELECT set_config('application_name', current_schema(), false)")
        raw.commit()
        return raw

    database.raw_connection = named  # type: ignore[method-assign]


def test_a_short_outage_is_waited_for(database: Database, node: Node, named_sessions: None) -> None:
    starts = [opened() for _ in range(3)]

    async def live() -> None:
        async with running(database, node, unavailable_after_s=20.0) as ledger:
            await ledger.open(starts[0])
            with Outage(database) as outage:
                ending = ledger.end(starts[0].id, outcome(), ENDED_US)
                opening = ledger.open(starts[1])
                await until(lambda: not ledger.healthy)
                outage.end()
                assert await ending is True
                await opening
            assert ledger.healthy
            await ledger.end(starts[1].id, outcome(), ENDED_US)

    asyncio.run(live())
    assert [row.ended_us for row in rows(database).values()] == [ENDED_US] * 2


def test_a_long_outage_fails_who_waits_and_keeps_the_endings(
    database: Database, node: Node, named_sessions: None
) -> None:
    running_exchange, refused, after = opened(), opened(), opened()
    unavailable_503 = outcome(ending=Ending.FAILED, status=503, failure_kind=FailureKind.SERVICE_UNAVAILABLE)

    async def live() -> None:
        async with running(database, node, unavailable_after_s=0.3) as ledger:
            await ledger.open(running_exchange)
            with Outage(database):
                with pytest.raises(StorageError, match="away"):
                    await ledger.end(running_exchange.id, outcome(), ENDED_US)
                with pytest.raises(StorageError, match="away"):
                    await ledger.open(refused)
                with pytest.raises(StorageError, match="away"):
                    await ledger.end(refused.id, unavailable_503, ENDED_US)
                assert not ledger.healthy
                assert ledger.late == ledger.pending == 2
            # Nobody asks any more, and still they are written.
            await until(lambda: ledger.healthy and not ledger.late)
            await ledger.open(after)
            await ledger.end(after.id, outcome(), ENDED_US)
            assert ledger.lost == 0

    asyncio.run(live())
    found = rows(database)
    assert {found[start.id].status for start in (running_exchange, after)} == {200}
    assert found[refused.id].status == 503


@pytest.mark.postgres
def test_a_terminated_backend_costs_one_retry(postgresql_url: str) -> None:
    database = open_database(postgresql_url + "", durability="strict")
    database.migrate()
    node = register_node(database)

    async def live() -> None:
        async with running(database, node) as ledger:
            for _ in range(3):
                start = opened()
                await ledger.open(start)
                pid = ledger._writer._connection._raw.info.backend_pid  # type: ignore[attr-defined]
                with database.write() as connection:
                    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
                assert await ledger.end(start.id, outcome(), ENDED_US) is True

    asyncio.run(live())
    assert len(rows(database)) == 3
    database.close()


def test_a_bug_in_the_writer_fails_its_batch_and_not_the_thread(database: Database, node: Node) -> None:
    async def live() -> None:
        async with running(database, node) as ledger:
            with pytest.raises(StorageError, match="the log says where"):
                await ledger.end("x", None, ENDED_US)  # type: ignore[arg-type]
            await ledger.open(opened())

    asyncio.run(live())


WRITER = """
import asyncio, sys
from tests.storage.conftest import opened, outcome
from triptych.core.ids import UlidSource
from triptych.storage.database import open_database
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import register_node

database = open_database(sys.argv[1], durability="process")
database.migrate()
database.lock()
node = register_node(database, "victim")
ids = UlidSource()

def say(*words):
    sys.stdout.write(" ".join(words) + "\\n")
    sys.stdout.flush()

async def exchange(ledger):
    while True:
        start = opened(id=ids.new())
        await ledger.open(start)
        say("opened", start.id)
        if await ledger.end(start.id, outcome(), 1763700000500000):
            say("ended", start.id)

async def main():
    ledger = Ledger(database, node.id, node.epoch, durability="process", loop=asyncio.get_running_loop())
    ledger.start()
    await asyncio.gather(*(exchange(ledger) for _ in range(8)))

asyncio.run(main())
"""


def test_a_killed_writer_leaves_what_it_claimed_and_nothing_by_halves(url: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(200)]
    writer.kill()
    said += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    claims: dict[str, set[str]] = {"opened": set(), "ended": set()}
    for line in said:
        words = line.split()
        if len(words) == 2 and len(words[1]) == 26:
            claims[words[0]].add(words[1])
    database = open_database(url, durability="process")
    database.migrate()
    database.lock()  # the kernel gave the lock back
    found = rows(database)
    assert claims["opened"] <= found.keys()
    assert all(found[identity].ended_us is not None for identity in claims["ended"])
    complete = {(row.ending, row.status, row.output_tokens) for row in found.values() if row.ended_us}
    assert complete == {("completed", 200, 540)}
    open_before = [row.id for row in found.values() if row.ended_us is None]
    node = register_node(database, "victim")
    assert settle_orphans(database, node, exclusive=True) == len(open_before)
    settled = rows(database)
    assert all(settled[identity].ending == "interrupted" for identity in open_before)
    database.close()

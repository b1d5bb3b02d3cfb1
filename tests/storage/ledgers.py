"""A ledger to test with, and looks at what it did."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Row, select

from triptych.storage.database import Database
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node
from triptych.storage.rows import Batch
from triptych.storage.tables import exchanges

ENDED_US = 1_763_700_000_500_000


@asynccontextmanager
async def running(database: Database, node: Node, **options: Any) -> AsyncIterator[Ledger]:
    options.setdefault("durability", "strict")
    ledger = Ledger(database, node.id, node.epoch, loop=asyncio.get_running_loop(), **options)
    ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


def rows(database: Database) -> dict[str, Row[Any]]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(select(exchanges))}


def watch(ledger: Ledger) -> list[tuple[int, int, int]]:
    """Sizes (opened, ended, whole) of the batches that are written from now on."""
    sizes: list[tuple[int, int, int]] = []
    connection = ledger._writer._connection
    write = connection.write

    def noting(batch: Batch) -> bool:
        sizes.append((len(batch.opened), len(batch.ended), len(batch.whole)))
        return write(batch)

    write_now = connection.write_now

    def noting_now(batch: Batch) -> int | None:
        changed = write_now(batch)
        if changed is not None:
            sizes.append((len(batch.opened), len(batch.ended), len(batch.whole)))
        return changed

    connection.write = noting  # type: ignore[method-assign]
    if write_now is not None:
        connection.write_now = noting_now  # type: ignore[method-assign, misc]
    return sizes


@contextmanager
def slowed(ledger: Ledger, seconds: float) -> Iterator[None]:
    connection = ledger._writer._connection
    write = connection.write

    def slowly(batch: Batch) -> bool:
        time.sleep(seconds)
        return write(batch)

    make_durable = connection.make_durable

    def slowly_durable(failed: OSError | None = None) -> None:
        time.sleep(seconds)
        make_durable(failed)

    # On SQLite a batch may be written by the loop; the wait for the disk is the kernel's or the thread's.
    if ledger._writer._name.endswith(".db"):
        ledger._leave_syncs_to_the_thread()
        connection.make_durable = slowly_durable  # type: ignore[method-assign]
    else:
        connection.write = slowly  # type: ignore[method-assign]
    yield
    connection.write = write  # type: ignore[method-assign]
    connection.make_durable = make_durable  # type: ignore[method-assign]


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        await asyncio.sleep(0.01)

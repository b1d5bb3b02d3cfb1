"""A node whose lease is over by the database's clock, and by none of its own: its machine was paused."""

import asyncio

import pytest
from sqlalchemy import update

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running
from triptych.core.outcome import Ending
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.nodes import Node, heartbeat
from triptych.storage.tables import nodes


def test_what_a_node_opens_after_its_lease_is_refused_to_it_and_ends_as_one_row(
    database: Database, node: Node
) -> None:
    if database.dialect_name == "sqlite":
        pytest.skip("the lock on the file is the lease")
    before, running_on, late, after = (opened() for _ in range(4))

    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(before)
            await ledger.open(running_on)
            with database.write() as connection:
                connection.execute(update(nodes).values(lease_until_us=1))
            # What nobody has ended yet still ends; also beside what is opened too late.
            ended = ledger.end(before.id, outcome(), ENDED_US)
            with pytest.raises(StorageError, match="stood still"):
                await ledger.open(late)
            assert await ended is True
            assert await ledger.end(late.id, outcome(ending=Ending.FAILED), ENDED_US) is True
            assert heartbeat(database, node)
            await ledger.open(after)
            assert await ledger.end(running_on.id, outcome(), ENDED_US) is True

    asyncio.run(live())
    told = rows(database)
    assert {told[one.id].ending for one in (before, running_on)} == {"completed"}
    assert (told[late.id].ending, told[after.id].ended_us) == ("failed", None)

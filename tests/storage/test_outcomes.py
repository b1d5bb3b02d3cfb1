"""Rows of the ledger go when they are past their retention, and nothing else goes with them."""

import asyncio

from sqlalchemy import select, update

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import rows, running
from triptych.core.clock import now_us
from triptych.core.ids import first_ulid
from triptych.storage.admin_actions import CLI, Actor, admin_actions_of, note
from triptych.storage.database import Database
from triptych.storage.nodes import Node
from triptych.storage.outcomes import Outcomes
from triptych.storage.tables import admin_actions, balances, events, exchanges

DAY_US = 86_400_000_000


def id_of(started_us: int, number: int = 0) -> str:
    return first_ulid(started_us)[:10] + f"{number:016d}"


def test_ended_rows_past_their_retention_go_and_open_ones_stay(database: Database, node: Node) -> None:
    now = now_us()
    ages_us = {
        "young": DAY_US,
        "nearly": 40 * DAY_US - 60_000_000,
        "just": 40 * DAY_US + 60_000_000,
        "old": 500 * DAY_US,
        "open": 500 * DAY_US,
    }
    ids = {name: id_of(now - age_us, place) for place, (name, age_us) in enumerate(ages_us.items())}

    async def written() -> None:
        async with running(database, node) as ledger:
            for name, age_us in ages_us.items():
                await ledger.open(opened(id=ids[name], started_us=now - age_us))
                if name != "open":
                    await ledger.end(ids[name], outcome(), now - age_us + 1, ())

    asyncio.run(written())
    with database.write() as connection:
        note(connection, Actor(CLI), "admin.tried", org_id="ORG", entity=("org", "ORG"))
        connection.execute(
            balances.insert().values(
                scope_id="ORG",
                cycle=1,
                scope_kind="org",
                org_id="ORG",
                spent_nusd=7,
                credits_used=7,
                requests=7,
            )
        )
        connection.execute(
            events.insert().values(id="E", org_id="ORG", type="t", subject="s", created_us=0, details="{}")
        )
    outcomes = Outcomes(database, retention_days=40)
    assert outcomes.prune() == 2
    assert set(rows(database)) == {ids["young"], ids["nearly"], ids["open"]}
    assert outcomes.prune() == 0
    with database.read() as connection:
        assert connection.execute(select(balances.c.spent_nusd)).scalars().all() == [7]
        assert len(connection.execute(select(events)).all()) == 1
        assert len(connection.execute(select(admin_actions)).all()) == 1
    assert [row.action for row in admin_actions_of(database, "ORG")] == ["admin.tried"]
    # Settled at last, it goes with the next pass.
    with database.write() as connection:
        connection.execute(update(exchanges).where(exchanges.c.id == ids["open"]).values(ended_us=now))
    assert outcomes.prune() == 1


def test_more_rows_than_one_batch_go_in_one_pass(database: Database, node: Node) -> None:
    then = now_us() - 100 * DAY_US

    async def written() -> None:
        async with running(database, node) as ledger:
            ids = [id_of(then, number) for number in range(1203)]
            for id_ in ids:
                ledger.open(opened(id=id_, started_us=then))
            for last in [ledger.end(id_, outcome(), then + 1, ()) for id_ in ids]:
                await last

    asyncio.run(written())
    assert Outcomes(database, retention_days=99).prune() == 1203
    assert rows(database) == {}

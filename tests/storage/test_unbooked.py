"""Exchanges that end on a node which has not noticed that their org has a budget by now: what they cost
is on its balances all the same."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete

from tests.storage.conftest import opened
from tests.storage.ledgers import running, slowed
from tests.storage.test_balances import balance, charged, told
from tests.storage.test_seeds import Acme, cycle_now
from triptych.core.clock import now_us
from triptych.core.cycle import day_of
from triptych.core.hold import Alert, Charge
from triptych.storage.database import Database, open_database
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node, register_node
from triptych.storage.secrets import KeyHasher
from triptych.storage.seeds import SeedReader, complete_balances
from triptych.storage.tables import metered_orgs


@pytest.fixture
def shared(postgresql_url: str) -> Iterator[Database]:
    """Several nodes can serve on PostgreSQL alone."""
    database = open_database(postgresql_url, durability="strict")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def acme(shared: Database, hasher: KeyHasher) -> Acme:
    return capped(shared, hasher)


def capped(database: Database, hasher: KeyHasher) -> Acme:
    org = Acme(database, hasher)
    org.apply(spend_cap_nusd=10**12)
    return org


def unbooked(acme: Acme, nusd: int = 500, credits: int = 50, **changes: Any) -> Charge:
    """By who knew of no budget."""
    return Charge(acme.org, nusd, credits, cycle_now(), day=day_of(now_us()), **changes)


async def end(ledger: Ledger, acme: Acme, charge: Charge, **changes: object) -> None:
    start = acme.start(**changes)
    await ledger.open(start)
    assert await ledger.end(start.id, charged(charge), now_us())


@pytest.mark.postgres
def test_all_scopes_of_an_org_with_budgets_are_charged_and_the_index_is_told(
    shared: Database, acme: Acme
) -> None:
    SeedReader(shared)(acme.org)
    node, heard = register_node(shared), []

    async def live() -> None:
        async with running(shared, node, unbooked=heard.append) as ledger:
            await end(ledger, acme, unbooked(acme, counted=(acme.key, acme.user)))
            assert heard == [acme.org], "before it is known to have ended"
            await end(ledger, acme, Charge(acme.org, 30, 3, cycle_now(), acme.scopes))
            whole = acme.start()
            ledger.refuse(whole, charged(unbooked(acme, 7, 0)), now_us())
            await ledger.flush()

    asyncio.run(live())
    assert {balance(shared, scope_id, cycle_now()) for _, scope_id in acme.scopes} == {(537, 53, 3)}
    assert heard == [acme.org] * 2


@pytest.mark.postgres
def test_an_org_without_budgets_is_charged_nothing(shared: Database, acme: Acme) -> None:
    acme.apply()
    SeedReader(shared)(acme.org)
    node, heard = register_node(shared), []

    async def live() -> None:
        async with running(shared, node, unbooked=heard.append) as ledger:
            await end(ledger, acme, unbooked(acme))
            await end(ledger, acme, unbooked(acme, counted=(acme.key, acme.user)))

    asyncio.run(live())
    assert balance(shared, acme.org, cycle_now()) is None
    assert heard == []


@pytest.mark.postgres
def test_a_batch_charges_what_is_booked_and_what_is_not_to_one_row(shared: Database, acme: Acme) -> None:
    SeedReader(shared)(acme.org)
    node = register_node(shared)
    alert = Alert("org", acme.org, 50, 800)

    async def live() -> None:
        async with running(shared, node) as ledger:
            starts = [acme.start() for _ in range(40)]
            await asyncio.gather(*(ledger.open(start) for start in starts))
            booked = Charge(acme.org, 10, 1, cycle_now(), acme.scopes, alerts=(alert,))
            await asyncio.gather(
                *(
                    ledger.end(start.id, charged(unbooked(acme, 10, 1) if place % 2 else booked), now_us())
                    for place, start in enumerate(starts)
                )
            )

    asyncio.run(live())
    assert balance(shared, acme.org, cycle_now()) == (400, 40, 40)
    assert [row.subject for row in told(shared)] == [f"{acme.org}/{cycle_now()}/50"]


@pytest.mark.postgres
@pytest.mark.parametrize("prepared", [0, 12], ids=["planned anew", "with a kept plan"])
def test_who_ends_while_the_balances_are_completed_waits_and_is_charged(
    shared: Database, acme: Acme, prepared: int
) -> None:
    node = register_node(shared)

    async def live() -> None:
        async with running(shared, node) as ledger:
            for _ in range(prepared):
                await end(ledger, acme, unbooked(acme, 0, 0, counted=(acme.key, acme.user)))
                await end(ledger, acme, unbooked(acme, 100, 1))
            start = acme.start()
            await ledger.open(start)
            with shared.write() as connection:
                complete_balances(connection, acme.org)
                ending = ledger.end(start.id, charged(unbooked(acme, 5, 5)), now_us())
                await asyncio.sleep(0.2)
                assert not ending.done()
            assert await ending

    asyncio.run(live())
    assert balance(shared, acme.org, cycle_now()) == (5 + 100 * prepared, 5 + prepared, 1 + prepared)


@pytest.mark.postgres
def test_endings_beside_the_completion_are_counted_once(shared: Database, acme: Acme) -> None:
    """In the rows that are added up, or by the database after them: never both, never neither."""
    node = register_node(shared)
    starts = [acme.start() for _ in range(120)]

    async def live() -> None:
        async with running(shared, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            reader = SeedReader(shared)
            for place, start in enumerate(starts):
                ending = ledger.end(start.id, charged(unbooked(acme, 3, 1)), now_us())
                if place % 10 == 5:
                    with shared.write() as connection:
                        connection.execute(delete(metered_orgs))
                    await asyncio.to_thread(reader, acme.org)
                await ending

    asyncio.run(live())
    assert balance(shared, acme.org, cycle_now()) == (360, 120, 120)


@pytest.mark.postgres
def test_a_commit_whose_answer_was_lost_charges_once_and_tells_the_index(
    shared: Database, acme: Acme
) -> None:
    SeedReader(shared)(acme.org)
    node, heard = register_node(shared), []

    async def live() -> None:
        async with running(shared, node, unbooked=heard.append) as ledger:
            start = acme.start()
            await ledger.open(start)
            connection = ledger._writer._connection
            write, lost = connection.write, []

            def losing(batch: Any) -> bool:
                complete = write(batch)
                if not lost:
                    lost.append(batch)
                    raise OSError("the answer is lost")
                return complete

            connection.write = losing  # type: ignore[method-assign]
            assert await ledger.end(start.id, charged(unbooked(acme)), now_us())
            assert lost

    asyncio.run(live())
    assert balance(shared, acme.org, cycle_now()) == (500, 50, 1)
    assert heard == [acme.org]


def test_rows_that_wait_are_written_before_the_first_cap_adds_them_up(
    database: Database, node: Node, hasher: KeyHasher
) -> None:
    """Alone, a node books what ends once it knows of the cap; what had ended before must be found."""
    acme = capped(database, hasher)
    caught_up = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with running(database, node) as ledger:

            def catch_up() -> None:
                asyncio.run_coroutine_threadsafe(ledger.flush(), loop).result()
                caught_up.append(acme.org)

            starts = [acme.start() for _ in range(2)]
            await asyncio.gather(*(ledger.open(start) for start in starts))
            with slowed(ledger, 0.2):
                ends = [ledger.end(start.id, charged(unbooked(acme)), now_us()) for start in starts]
                seed = await asyncio.to_thread(SeedReader(database, caught_up=catch_up), acme.org)
                assert all(end.done() for end in ends)
            assert {spent.nusd for spent in seed.spent} == {1_000}
            await asyncio.to_thread(SeedReader(database, caught_up=catch_up), acme.org)

    asyncio.run(live())
    assert caught_up == [acme.org], "only for the first cap"


def test_a_ledger_that_cannot_write_what_waits_says_so(database: Database, node: Node) -> None:
    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(opened())
            await ledger.flush()
        with pytest.raises(Exception, match="takes no content"):
            await ledger.flush()

    asyncio.run(live())

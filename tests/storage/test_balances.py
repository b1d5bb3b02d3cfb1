"""What endings add up to: the balances equal the rows, whatever happened to a commit."""

import asyncio
import random
from typing import Any

import msgspec
import pytest
from sqlalchemy import Row, func, select

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running, slowed, until, watch
from tests.storage.test_ledger_outages import Outage, named_sessions
from triptych.core.cycle import start_us
from triptych.core.failure import FailureKind
from triptych.core.hold import Alert, Booking, Charge
from triptych.core.outcome import Ending, Opened, Outcome
from triptych.core.usage import Usage
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.nodes import Node, Orphan, register_node, settle_orphans
from triptych.storage.rows import Batch
from triptych.storage.tables import balances, events, exchanges, request_days

__all__ = ["named_sessions"]

SCOPES = (("key", "KEY"), ("user", "USER"), ("group", "GROUP"), ("org", "ORG"))
COUNTED = ("KEY", "USER")


def held(**changes: object) -> Opened:
    booking = msgspec.json.encode(Booking(20_500, SCOPES, 250, 750_000, 83)).decode()
    return opened(hold_nusd=9_000_000, hold_credits=1_000, booking=booking, **changes)


def charge(nusd: int = 8_460_000, credits: int = 675, **changes: Any) -> Charge:
    facts: dict[str, Any] = {"cycle": 20_500, "scopes": SCOPES, "day": 20_510, "counted": COUNTED}
    return Charge("ORG", nusd, credits, **(facts | changes))


def charged(one: Charge) -> Outcome:
    return outcome(cost_nusd=one.nusd, credits=one.credits, charge=one)


def balance(database: Database, scope_id: str = "ORG", cycle: int = 20_500) -> tuple[int, int, int] | None:
    with database.read() as connection:
        row = connection.execute(
            select(balances).where(balances.c.scope_id == scope_id, balances.c.cycle == cycle)
        ).first()
    return None if row is None else (row.spent_nusd, row.credits_used, row.requests)


def days(database: Database) -> dict[str, tuple[int, int]]:
    with database.read() as connection:
        found = connection.execute(select(request_days)).all()
    assert {(row.user_id, row.org_id) for row in found} <= {("USER", "ORG")}
    return {row.key_id: (row.day, row.requests) for row in found}


def told(database: Database) -> list[Row[Any]]:
    with database.read() as connection:
        return list(connection.execute(select(events).order_by(events.c.subject)))


def test_an_ending_adds_to_every_scope_in_its_own_transaction(database: Database, node: Node) -> None:
    start = held()

    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(start)
            row = rows(database)[start.id]
            assert (row.hold_nusd, row.hold_credits) == (9_000_000, 1_000)
            assert balance(database) is None
            await ledger.end(start.id, charged(charge()), ENDED_US)
            assert balance(database) == (8_460_000, 675, 1)

    asyncio.run(live())
    assert [balance(database, scope_id) for _, scope_id in SCOPES] == [(8_460_000, 675, 1)] * 4
    assert days(database) == {"KEY": (20_510, 1)}


def test_an_ending_without_a_charge_touches_no_balance(database: Database, node: Node) -> None:
    start = opened()

    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(start)
            await ledger.end(start.id, outcome(), ENDED_US)

    asyncio.run(live())
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(balances)).scalar() == 0
    assert days(database) == {}


def test_the_balances_of_many_endings_are_the_sum_of_their_rows(database: Database, node: Node) -> None:
    lots = random.Random(7)
    starts = [held() for _ in range(300)]
    charges = [charge(lots.randrange(10**10), lots.randrange(10**6)) for _ in starts]

    async def live() -> list[tuple[int, int, int]]:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            sizes = watch(ledger)
            ends = [
                ledger.end(start.id, charged(one), ENDED_US)
                for start, one in zip(starts, charges, strict=True)
            ]
            assert all(await asyncio.gather(*ends))
            return sizes

    sizes = asyncio.run(live())
    assert len(sizes) < 100, "endings that come together are committed together"
    with database.read() as connection:
        sums = connection.execute(select(func.sum(exchanges.c.cost_nusd), func.sum(exchanges.c.credits)))
        nusd, credits = sums.one()
    assert balance(database) == (sum(one.nusd for one in charges), sum(one.credits for one in charges), 300)
    assert balance(database, "KEY") == (nusd, credits, 300)
    assert days(database)["KEY"] == (20_510, 300)


def test_what_is_ended_twice_is_charged_once(database: Database, node: Node) -> None:
    """As after a commit whose answer was lost: the same batch again, beside endings that are new."""
    first, second = held(), held()

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(ledger.open(first), ledger.open(second))
            assert await ledger.end(first.id, charged(charge(1_000, 1)), ENDED_US)
            again = ledger.end(first.id, charged(charge(1_000, 1)), ENDED_US)
            new = ledger.end(second.id, charged(charge(20, 2)), ENDED_US)
            assert await asyncio.gather(again, new) == [True, True]

    asyncio.run(live())
    assert balance(database) == (1_020, 3, 2)
    assert days(database)["KEY"] == (20_510, 2)


def test_a_commit_whose_answer_was_lost_is_charged_once(database: Database, node: Node) -> None:
    starts = [held() for _ in range(6)]

    async def live() -> None:
        async with running(database, node) as ledger:
            connection = ledger._writer._connection
            await asyncio.gather(*(ledger.open(start) for start in starts))
            write, lost = connection.write, iter((True, True, True, False))

            def losing(batch: Batch) -> bool:
                done = write(batch)
                if next(lost, False):
                    raise ConnectionResetError("the answer was lost")
                return done

            connection.write = losing  # type: ignore[method-assign]
            connection.write_now = lambda batch: None  # type: ignore[method-assign]
            ends = (ledger.end(start.id, charged(charge(100, 10)), ENDED_US) for start in starts)
            assert await asyncio.gather(*ends) == [True] * 6

    asyncio.run(live())
    assert balance(database) == (600, 60, 6)
    assert days(database)["KEY"] == (20_510, 6)


def test_an_ending_that_cannot_be_stored_is_not_charged_and_the_others_are(
    database: Database, node: Node
) -> None:
    bad, fine = held(), [held() for _ in range(3)]

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in (bad, *fine)))
            ledger._writer._connection.write_now = lambda batch: None  # type: ignore[method-assign]
            with slowed(ledger, 0.05):
                first = ledger.open(opened())
                await asyncio.sleep(0.02)
                huge = outcome(usage=Usage(input_tokens=2**70), charge=charge(7, 7))
                refused = ledger.end(bad.id, huge, ENDED_US)
                ends = [ledger.end(start.id, charged(charge(100, 10)), ENDED_US) for start in fine]
                await first
                assert await asyncio.gather(*ends) == [True] * 3
                with pytest.raises(StorageError, match="cannot be stored"):
                    await refused

    asyncio.run(live())
    assert balance(database) == (300, 30, 3)


def test_what_is_written_late_is_charged_then(database: Database, node: Node, named_sessions: None) -> None:
    """Neither the caller who is told so, nor the budget, gets the answer for free."""
    start, unopened = held(), held()

    async def live() -> None:
        async with running(database, node, unavailable_after_s=0.3) as ledger:
            await ledger.open(start)
            with Outage(database):
                with pytest.raises(StorageError, match="away"):
                    await ledger.end(start.id, charged(charge(100, 10)), ENDED_US)
                with pytest.raises(StorageError, match="away"):
                    await ledger.open(unopened)
                with pytest.raises(StorageError, match="away"):
                    await ledger.end(unopened.id, charged(charge(0, 0)), ENDED_US)
            await until(lambda: ledger.late == 0)

    asyncio.run(live())
    assert balance(database) == (100, 10, 2)


def test_what_another_node_has_settled_is_not_charged_again(database: Database, node: Node) -> None:
    lost, fine = held(), held()

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(ledger.open(lost), ledger.open(fine))
            with database.write() as connection:
                connection.execute(
                    exchanges.update()
                    .where(exchanges.c.id == lost.id)
                    .values(ended_us=1, ending="interrupted")
                )
            ends = (ledger.end(start.id, charged(charge(500, 5)), ENDED_US) for start in (lost, fine))
            assert await asyncio.gather(*ends) == [False, True]

    asyncio.run(live())
    assert balance(database) == (500, 5, 1)


def test_a_new_day_begins_from_zero_and_the_old_one_is_over(database: Database, node: Node) -> None:
    starts = [held() for _ in range(4)]

    async def live() -> None:
        async with running(database, node) as ledger:
            for start, day in zip(starts, (20_510, 20_510, 20_511, 20_510), strict=True):
                await ledger.open(start)
                await ledger.end(start.id, charged(charge(day=day)), ENDED_US)

    asyncio.run(live())
    assert days(database)["KEY"] == (20_511, 1)


def test_both_days_of_a_batch_that_ends_over_midnight_leave_the_new_one(
    database: Database, node: Node
) -> None:
    starts = [held() for _ in range(40)]

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            ends = [
                ledger.end(start.id, charged(charge(day=20_510 + place % 2)), ENDED_US)
                for place, start in enumerate(starts)
            ]
            await asyncio.gather(*ends)

    asyncio.run(live())
    assert days(database) == {"KEY": (20_511, 20)}


def test_refusals_gathered_into_one_row_count_as_requests_each(database: Database, node: Node) -> None:
    """Those by tokens a minute: they were requests already."""
    refused = Outcome(
        Ending.REFUSED,
        429,
        FailureKind.RATE_LIMITED,
        charge=Charge("ORG", day=20_510, counted=COUNTED),
    )
    by_requests = Outcome(Ending.REFUSED, 429, FailureKind.RATE_LIMITED)

    async def live() -> None:
        async with running(database, node) as ledger:
            for _ in range(5):
                ledger.refuse(opened(), refused, ENDED_US)
            for _ in range(7):
                ledger.refuse(opened(), by_requests, ENDED_US)

    asyncio.run(live())
    assert days(database) == {"KEY": (20_510, 5)}
    assert sorted(row.repeats for row in rows(database).values()) == [5, 7]


def test_a_threshold_is_told_of_once_per_scope_and_cycle(database: Database, node: Node) -> None:
    cap = 1_000
    alerts = (Alert("org", "ORG", 50, cap), Alert("org", "ORG", 80, cap), Alert("key", "KEY", 50, 10 * cap))

    async def live(cycle: int, *amounts: int) -> None:
        async with running(database, node) as ledger:
            for nusd in amounts:
                start = held()
                await ledger.open(start)
                one = charge(nusd, cycle=cycle, alerts=alerts)
                await ledger.end(start.id, charged(one), ENDED_US)

    asyncio.run(live(20_500, 499))
    assert told(database) == []
    asyncio.run(live(20_500, 1, 1, 1))
    (event,) = told(database)
    assert (event.org_id, event.type) == ("ORG", "budget.threshold_reached")
    assert msgspec.json.decode(event.details) == {
        "scope": "org",
        "scope_id": "ORG",
        "cycle": 20_500,
        "threshold": 50,
        "cap_nusd": cap,
    }
    asyncio.run(live(20_500, 400, 400))
    asyncio.run(live(20_531, 900))
    assert [row.subject for row in told(database)] == [
        "ORG/20500/50",
        "ORG/20500/80",
        "ORG/20531/50",
        "ORG/20531/80",
    ]


def test_an_orphan_is_charged_its_estimated_input_and_labelled(database: Database, node: Node) -> None:
    starts = [held(started_us=start_us(20_510)), opened(started_us=start_us(20_510))]

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))

    asyncio.run(live())
    heard: list[Orphan] = []
    settled = settle_orphans(database, register_node(database, "n2"), exclusive=True, told=heard.append)
    assert settled == 2
    row, plain = (rows(database)[start.id] for start in starts)
    assert (row.input_tokens, row.usage_source, row.cost_nusd, row.credits) == (250, "estimate", 750_000, 83)
    assert (plain.input_tokens, plain.usage_source, plain.cost_nusd) == (0, "none", 0)
    assert balance(database, "GROUP") == (750_000, 83, 1)
    assert days(database)["KEY"] == (20_510, 2)
    assert sorted(heard, key=lambda orphan: orphan.nusd) == [
        Orphan(starts[1].id, "ORG", 0, 0, 0),
        Orphan(starts[0].id, "ORG", 250, 750_000, 83),
    ]
    assert settle_orphans(database, register_node(database, "n3"), exclusive=True) == 0
    assert balance(database) == (750_000, 83, 1)

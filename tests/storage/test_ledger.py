import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import text

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, rows, running, slowed, until, watch
from triptych.core.clock import now_us
from triptych.core.failure import FailureKind
from triptych.core.outcome import Ending
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.nodes import Node, register_node, settle_orphans


def test_an_exchange_is_one_row_with_all_its_facts(database: Database, node: Node) -> None:
    start = opened(hold_nusd=5_000_000, hold_credits=900)
    end = outcome(failure_kind=FailureKind.UPSTREAM_TIMEOUT, ending=Ending.FAILED, credits=675)

    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(start)
            assert rows(database)[start.id].ended_us is None
            assert await ledger.end(start.id, end, ENDED_US) is True

    asyncio.run(live())
    assert [row._asdict() for row in rows(database).values()] == [
        {
            "id": start.id,
            "node_id": "n1",
            "node_epoch": 1,
            "started_us": 1_763_700_000_000_000,
            "org_id": "ORG",
            "user_id": "USER",
            "key_id": "KEY",
            "environment": "live",
            "surface": "inference",
            "endpoint": "/v1/messages",
            "model": "claude-sonnet-4-6",
            "provider": "claude",
            "upstream_model": "claude-sonnet-4-6-20260101",
            "stream": True,
            "bytes_in": 1023,
            "client_user_hash": "ab" * 32,
            "hold_nusd": 5_000_000,
            "hold_credits": 900,
            "booking": None,
            "ended_us": ENDED_US,
            "ending": "failed",
            "status": 200,
            "failure_kind": "upstream_timeout",
            "upstream_status": 200,
            "input_tokens": 120,
            "output_tokens": 540,
            "cache_read_tokens": 7,
            "cache_write_tokens": 8,
            "reasoning_tokens": 9,
            "usage_source": "provider",
            "cost_nusd": 8_460_000,
            "credits": 675,
            "unpriced": False,
            "first_byte_us": 120_000,
            "total_us": 500_000,
            "bytes_out": 2048,
            "retries": 1,
            "upstream_request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
            "repeats": 1,
            "phi": None,
        }
    ]


def test_the_end_may_name_the_target_that_answered_in_the_end(database: Database, node: Node) -> None:
    first, second = opened(), opened()

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(ledger.open(first), ledger.open(second))
            await ledger.end(first.id, outcome(provider="gpt", upstream_model="gpt-5"), ENDED_US)
            await ledger.end(second.id, outcome(), ENDED_US)

    asyncio.run(live())
    found = rows(database)
    assert (found[first.id].provider, found[first.id].upstream_model) == ("gpt", "gpt-5")
    assert found[second.id].provider == "claude"


def test_a_commit_starts_at_once_and_takes_along_what_queued_meanwhile(
    database: Database, node: Node
) -> None:
    starts = [opened() for _ in range(41)]

    async def live() -> list[tuple[int, int, int]]:
        async with running(database, node) as ledger:
            await ledger.open(opened())
            sizes = watch(ledger)
            with slowed(ledger, 0.1):
                first = ledger.open(starts[0])
                await asyncio.sleep(0.05)
                rest = [ledger.open(start) for start in starts[1:]]
                assert ledger.pending == 41
                await asyncio.gather(first, *rest)
            assert ledger.pending == 0
            ends = [ledger.end(start.id, outcome(), ENDED_US) for start in starts]
            assert all(await asyncio.gather(*ends))
            return sizes

    sizes = asyncio.run(live())
    assert sizes[:2] == [(1, 0, 0), (40, 0, 0)]
    assert sum(ended for _, ended, _ in sizes) == 41
    assert all(row.ended_us == ENDED_US for row in rows(database).values() if row.bytes_out)


def test_a_whole_batch_is_told_with_one_wake_up(database: Database, node: Node) -> None:
    async def live() -> int:
        loop = asyncio.get_running_loop()
        wakeups = 0
        real = loop.call_soon_threadsafe

        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal wakeups
            wakeups += 1
            return real(*args, **kwargs)

        async with running(database, node) as ledger:
            with slowed(ledger, 0.05):
                waiting = [ledger.open(opened())]
                await asyncio.sleep(0.02)
                waiting += [ledger.open(opened()) for _ in range(30)]
                loop.call_soon_threadsafe = counting  # type: ignore[method-assign, assignment]
                await asyncio.gather(*waiting)
                loop.call_soon_threadsafe = real  # type: ignore[method-assign]
        return wakeups

    assert asyncio.run(live()) == 2


def test_open_and_end_queued_together_become_one_row(database: Database, node: Node) -> None:
    start = opened()

    async def live() -> tuple[list[tuple[int, int, int]], bool]:
        async with running(database, node) as ledger:
            sizes = watch(ledger)
            with slowed(ledger, 0.05):
                first = ledger.open(opened())
                await asyncio.sleep(0.02)
                ledger.open(start)
                fenced = await ledger.end(start.id, outcome(), ENDED_US)
                await first
        return sizes, fenced

    sizes, ended = asyncio.run(live())
    assert (sizes, ended) == ([(1, 0, 0), (0, 0, 1)], True)
    assert rows(database)[start.id].output_tokens == 540


def test_an_end_after_somebody_elses_end_is_fenced(database: Database, node: Node) -> None:
    starts = [opened() for _ in range(3)]

    async def live() -> list[bool]:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            with database.write() as connection:
                connection.execute(
                    text("UPDATE exchanges SET ended_us = 5, ending = 'interrupted' WHERE id = :id"),
                    {"id": starts[1].id},
                )
            return await asyncio.gather(*(ledger.end(start.id, outcome(), ENDED_US) for start in starts))

    assert asyncio.run(live()) == [True, False, True]
    assert rows(database)[starts[1].id].ending == "interrupted"


def test_a_node_of_an_earlier_epoch_is_fenced(database: Database, node: Node) -> None:
    start = opened()

    async def live() -> bool:
        async with running(database, node) as former:
            await former.open(start)
            successor = register_node(database, node.id)
            assert settle_orphans(database, successor, exclusive=True) == 1
            return await former.end(start.id, outcome(), ENDED_US)

    assert asyncio.run(live()) is False


def test_refusals_are_complete_rows_and_nobody_waits(database: Database, node: Node) -> None:
    refused = opened(model=None, provider=None, upstream_model=None)
    said_no = outcome(ending=Ending.REFUSED, status=403, failure_kind=FailureKind.MODEL_ACCESS_DENIED)

    async def live() -> None:
        async with running(database, node) as ledger:
            ledger.refuse(refused, said_no, ENDED_US)

    asyncio.run(live())
    row = rows(database)[refused.id]
    assert (row.ending, row.status, row.failure_kind, row.repeats) == (
        "refused",
        403,
        "model_access_denied",
        1,
    )


def test_refusals_by_a_limit_are_one_row_per_key_kind_and_second(database: Database, node: Node) -> None:
    limited = outcome(ending=Ending.REFUSED, status=429, failure_kind=FailureKind.RATE_LIMITED)
    crowded = outcome(ending=Ending.REFUSED, status=429, failure_kind=FailureKind.CONCURRENCY_EXCEEDED)

    async def live() -> None:
        async with running(database, node) as ledger:
            for _ in range(50):
                ledger.refuse(opened(key_id="A"), limited, ENDED_US)
            for _ in range(7):
                ledger.refuse(opened(key_id="B"), limited, ENDED_US)
            ledger.refuse(opened(key_id="A"), crowded, ENDED_US)
            ledger.refuse(opened(key_id="A"), limited, ENDED_US + 1_000_000)

    asyncio.run(live())
    found = sorted(
        (row.key_id, row.failure_kind, row.ended_us, row.repeats) for row in rows(database).values()
    )
    assert found == [
        ("A", "concurrency_exceeded", ENDED_US, 1),
        ("A", "rate_limited", ENDED_US, 50),
        ("A", "rate_limited", ENDED_US + 1_000_000, 1),
        ("B", "rate_limited", ENDED_US, 7),
    ]


def test_gathered_refusals_are_written_when_their_second_is_over(database: Database, node: Node) -> None:
    limited = outcome(ending=Ending.REFUSED, status=429, failure_kind=FailureKind.RATE_LIMITED)

    async def live() -> int:
        async with running(database, node) as ledger:
            ledger.refuse(opened(), limited, now_us())
            for _ in range(60):
                await asyncio.sleep(0.05)
                if found := rows(database):
                    return len(found)
        return 0

    assert asyncio.run(live()) == 1


def test_relaxed_does_not_wait_and_loses_nothing_when_closed(database: Database, node: Node) -> None:
    starts = [opened() for _ in range(100)]

    async def live() -> None:
        async with running(database, node, durability="relaxed") as ledger:
            for start in starts:
                assert ledger.open(start).done()
                assert ledger.end(start.id, outcome(), ENDED_US).result() is True

    asyncio.run(live())
    assert {row.ended_us for row in rows(database).values()} == {ENDED_US}
    assert len(rows(database)) == 100


def test_closing_flushes_twice_harmlessly_and_then_nothing_is_taken(database: Database, node: Node) -> None:
    start = opened()

    async def live() -> None:
        async with running(database, node) as ledger:
            waiting = ledger.open(start)
            await asyncio.gather(ledger.close(), ledger.close())
            await waiting
            with pytest.raises(StorageError, match="closed"):
                await ledger.open(opened())
            with pytest.raises(StorageError, match="closed"):
                await ledger.end(start.id, outcome(), ENDED_US)
            ledger.refuse(opened(), outcome(), ENDED_US)
            assert ledger.lost == 1

    asyncio.run(live())
    assert list(rows(database)) == [start.id]


def test_a_full_queue_refuses_at_once_and_still_records_the_refused(database: Database, node: Node) -> None:
    late = opened()
    refusal = outcome(ending=Ending.FAILED, status=503, failure_kind=FailureKind.SERVICE_UNAVAILABLE)

    async def live() -> None:
        async with running(database, node, max_pending=3) as ledger:
            with slowed(ledger, 0.2):
                waiting = [ledger.open(opened()) for _ in range(3)]
                assert not ledger.healthy
                with pytest.raises(StorageError, match="wait already"):
                    await ledger.open(late)
                ended = ledger.end(late.id, refusal, ENDED_US)
                for _ in range(10):
                    ledger.open(opened()).exception()
                with pytest.raises(StorageError, match="is lost"):
                    await ledger.end(late.id, refusal, ENDED_US)
                assert ledger.pending == 6
                assert ledger.lost == 1
                await asyncio.gather(*waiting)
                assert await ended is True
                await until(lambda: ledger.healthy)

    asyncio.run(live())
    assert rows(database)[late.id].status == 503


def test_a_waiter_that_was_cancelled_disturbs_nobody(database: Database, node: Node) -> None:
    start = opened()

    async def live() -> bool:
        async with running(database, node) as ledger:
            with slowed(ledger, 0.05):
                ledger.open(start).cancel()
                other = ledger.open(opened())
                ended = await ledger.end(start.id, outcome(ending=Ending.CANCELLED), ENDED_US)
                await other
            return ended

    assert asyncio.run(live()) is True
    assert rows(database)[start.id].ending == "cancelled"


def test_the_loop_is_free_while_a_commit_runs(database: Database, node: Node) -> None:
    async def live() -> int:
        async with running(database, node) as ledger:
            with slowed(ledger, 0.2):
                waiting: Awaitable[None] = ledger.open(opened())
                ticks = 0
                while ledger.pending:
                    ticks += 1
                    await asyncio.sleep(0.005)
                await waiting
        return ticks

    assert asyncio.run(live()) > 10

"""A hold in Redis that its node no longer renews: the node died, or lives and cannot reach Redis."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.storage.indexes import CYCLE, Clock, key, own_prefix
from tests.storage.redis_nodes import CAP, Facts, delivered, hold, node, refused, run
from triptych.core.admission import OpenHold, Seed, Spent
from triptych.storage.limits.redis_calls import Waiting

pytestmark = pytest.mark.redis
LEASE_MS = 30_000
DAY_MS = 86_400_000
OPEN = OpenHold("a", (("org", "O", CYCLE),), 1_000, 0, ("K",))


@asynccontextmanager
async def two_nodes(facts: Facts) -> Any:
    """One that holds all there is and was last heard of a lease but a millisecond ago; one that goes on."""
    prefix, clock = own_prefix(), Clock()
    async with (
        node(prefix, facts, clock_us=clock.wall) as gone,
        node(prefix, facts, clock_us=clock.wall) as on,
    ):
        await gone.admit_request("a", key(concurrency=1))
        assert (await gone.reserve("a", key(concurrency=1), 0, CAP, 1_000, 0)).admitted
        clock.ms += LEASE_MS - 1
        assert not await hold(on, "b", 1)
        assert not (await on.admit_request("b2", key(concurrency=1))).admitted
        assert facts.reads == 1
        yield gone, on, clock


def test_what_is_overdue_stays_held_while_the_database_shows_it_open() -> None:
    """A node that lives and cannot reach Redis has not ended it: what it will cost is not known."""

    async def story() -> None:
        facts = Facts()
        async with two_nodes(facts) as (gone, on, clock):
            facts.seed = Seed(holds=(OPEN,))
            for reads in (2, 3):
                clock.ms += 1
                for _ in range(3):
                    assert not await hold(on, "b", 1)
                    assert not (await on.admit_request("b2", key(concurrency=1))).admitted
                assert (facts.reads, facts.asked) == (reads, ("a",))
                clock.ms += LEASE_MS - 1
            gone.settle("a", 0, 600, 0)
            await delivered(gone)
            assert await hold(on, "b", 400)
            assert not await hold(on, "c", 1)
            assert (await on.admit_request("b2", key(concurrency=1))).admitted

    run(story())


def test_what_is_overdue_and_ended_in_the_database_is_charged_once() -> None:
    async def story() -> None:
        facts = Facts()
        async with two_nodes(facts) as (gone, on, clock):
            facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 600, 0),), ended=("a",))
            clock.ms += 1
            assert await hold(on, "b", 300)
            assert (await on.admit_request("b2", key(concurrency=1))).admitted
            # Its own node, and another that found it dead, both say what it cost.
            gone.settle("a", 0, 600, 0)
            await delivered(gone)
            on.settle("a", 0, 600, 0, "O")
            refusal = await on.reserve("c", key(), 0, CAP, 101, 0)
            assert (refusal.used, refusal.held) == (600, 300)

    run(story())


def test_what_nobody_settles_any_more_is_forgotten_after_a_day() -> None:
    """However often the book is made anew meanwhile."""

    async def story() -> None:
        facts = Facts()
        async with two_nodes(facts) as (_, on, clock):
            facts.seed = Seed(ended=("a",))
            clock.ms += 1
            # Others are overdue after each half day: the database is asked about all that the book has.
            for n, asked in enumerate((True, True, True, False)):
                assert await hold(on, f"lost{n}", 1)
                assert ("a" in facts.asked) == asked
                clock.ms += DAY_MS // 2

    run(story())


def test_what_is_overdue_and_not_in_the_database_lapses_and_its_late_settlement_is_charged() -> None:
    """Its node died between the hold and the row."""

    async def story() -> None:
        facts = Facts()
        async with two_nodes(facts) as (_, on, clock):
            clock.ms += 1
            assert await hold(on, "b", 400)
            assert (await on.admit_request("b2", key(concurrency=1))).admitted
            for _ in range(3):
                on.settle("a", 0, 600, 0, "O")
            refusal = await on.reserve("c", key(), 0, CAP, 1, 0)
            assert (refusal.used, refusal.held) == (600, 400)
            assert facts.reads == 2

    run(story())


@pytest.mark.parametrize("rows", ["none", "ended", "ended and told by others"])
def test_slots_of_look_ups_whose_node_was_killed_are_free_after_the_lease(rows: str) -> None:
    """A look-up holds no money, and is one row that is written at its end."""

    async def story() -> None:
        prefix, clock, facts, at_once = own_prefix(), Clock(), Facts(), key(concurrency=3)
        async with (
            node(prefix, facts, clock_us=clock.wall) as killed,
            node(prefix, facts, clock_us=clock.wall) as on,
        ):
            for id_ in ("a", "b"):
                assert (await killed.admit_request(id_, at_once)).admitted
            assert (await on.admit_request("own", at_once)).admitted
            if rows != "none":
                facts.seed = Seed(ended=("a", "b"))
            clock.ms += LEASE_MS - 1
            on._calls.put(Waiting("O", ("renew", ["own"]), None))
            assert not (await on.admit_request("c", at_once)).admitted
            clock.ms += 1
            for id_ in ("c", "d"):
                assert (await on.admit_request(id_, at_once)).admitted
            if rows == "ended and told by others":
                for id_ in ("a", "b"):
                    on.settle(id_, 0, 0, 0, "O")
            assert not (await on.admit_request("e", at_once)).admitted
            # Neither later nor when a day has passed are there more, or fewer.
            for pause_ms in (LEASE_MS, DAY_MS):
                for id_ in ("own", "c", "d"):
                    on.settle(id_, 0, 0, 0)
                await delivered(on)
                clock.ms += pause_ms
                for id_ in ("own", "c", "d"):
                    assert (await on.admit_request(id_, at_once)).admitted
                assert not (await on.admit_request("e", at_once)).admitted

    run(story())


def test_while_something_is_overdue_and_the_database_away_nothing_is_admitted() -> None:
    async def story() -> None:
        facts = Facts()
        async with two_nodes(facts) as (_, on, clock):
            facts.broken = True
            clock.ms += 1
            await refused(hold(on, "b", 1))
            facts.broken = False
            assert await hold(on, "b", 1_000)

    run(story())


def test_what_still_runs_is_held_for_as_long_as_it_runs() -> None:
    async def story() -> None:
        async with node(own_prefix(), hold_lease_s=0.3) as index:
            assert await hold(index, "a", 1_000)
            await asyncio.sleep(0.9)
            assert not await hold(index, "b", 1)
            index.settle("a", 0, 0, 0)
            assert await hold(index, "b", 1_000)

    run(story())

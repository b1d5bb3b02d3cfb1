"""Redis comes and goes, is emptied, restarted, replaced; nodes die. The database knows best."""

import asyncio
import time
from typing import Any

import pytest

from tests.storage.indexes import CYCLE, Clock, command, key, needed_redis_url, org, own_prefix
from tests.storage.redis_nodes import CAP, Facts, Relay, delivered, hold, node, refused, run, until
from triptych.core.admission import DayCount, OpenHold, RequestLimits, RequestScope, Seed, Spent
from triptych.core.clock import now_us
from triptych.core.cycle import day_of
from triptych.core.failure import Failure
from triptych.storage.limits.redis_index import RedisIndex

pytestmark = pytest.mark.redis


async def until_admitted(index: RedisIndex) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await index.admit_request(None, key(rpm=5))).admitted
                return
            except Failure:
                await asyncio.sleep(0.01)


# -- books ---------------------------------------------------------------------------------------


def test_a_new_index_knows_what_the_database_knows() -> None:
    async def story() -> None:
        facts = Facts(
            spent=(Spent("org", "O", CYCLE, 500, 0), Spent("org", "O", CYCLE - 30, 9_999, 0)),
            days=(DayCount("K", day_of(now_us()), 3), DayCount("K", day_of(now_us()) - 1, 99)),
            holds=(OpenHold("elsewhere", (("org", "O", CYCLE),), 300, 0),),
        )
        async with node(own_prefix(), facts) as index:
            answers = [(await index.admit_request(None, key(rpd=5))).remaining for _ in range(3)]
            assert answers == [1, 0, 0]
            refusal = await index.reserve("a", key(), 0, CAP, 201, 0)
            assert (refusal.admitted, refusal.used, refusal.held) == (False, 500, 300)
            index.settle("elsewhere", 0, 100, 0, "O")
            assert await hold(index, "a", 400)
            assert not await hold(index, "b", 1)

    run(story())


def test_an_emptied_index_is_rebuilt_before_anything_is_admitted() -> None:
    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as index:
            assert await hold(index, "a", 900)
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book", f"{prefix}:{{O}}:leases")
            facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 700, 0),))
            # "a" has no row in the database yet: the node that runs it brings it along.
            refusal = await index.reserve("b", key(), 0, CAP, 1, 0)
            assert (refusal.admitted, refusal.used, refusal.held) == (False, 700, 900)
            index.settle("a", 0, 100, 0)
            assert await hold(index, "b", 200)
            # Once for all there is, and once more for what was brought.
            assert (facts.reads, facts.asked) == (3, ("a",))

    run(story())


def test_what_had_ended_when_a_lost_book_was_read_and_is_brought_is_charged_once() -> None:
    """Its node had not heard yet that the end row is there."""

    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as one, node(prefix, facts) as two:
            assert await hold(one, "a", 600)
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book", f"{prefix}:{{O}}:leases")
            facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 500, 0),), ended=("a",))
            assert await hold(two, "b", 300)
            assert not await hold(one, "c", 201)
            one.settle("a", 0, 500, 0)
            await delivered(one)
            refusal = await two.reserve("c", key(), 0, CAP, 201, 0)
            assert (refusal.used, refusal.held) == (500, 300)
            assert await hold(one, "c", 200)

    run(story())


def test_a_hold_that_the_database_shows_is_not_brought_twice() -> None:
    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as index:
            assert await hold(index, "a", 600)
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book")
            facts.seed = Seed(holds=(OpenHold("a", (("org", "O", CYCLE),), 600, 0),))
            assert await hold(index, "b", 400)
            assert not await hold(index, "c", 1)
            index.settle("a", 0, 0, 0)
            assert await hold(index, "c", 600)

    run(story())


def test_what_is_asked_for_while_a_lost_book_is_made_anew_is_decided_by_the_new_one() -> None:
    """Also for an exchange that had its slot before: that much of it is brought, and no more."""

    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as index:
            for name in ("a", "b"):
                assert (await index.admit_request(name, key(concurrency=2))).admitted
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book", f"{prefix}:{{O}}:leases")
            asked = (index.reserve(name, key(concurrency=2), 0, CAP, 600, 0) for name in ("a", "b"))
            assert [answer.admitted for answer in await asyncio.gather(*asked)] == [True, False]
            assert not (await index.admit_request("c", key(concurrency=2))).admitted

    run(story())


def test_a_book_of_another_run_of_the_server_is_not_believed() -> None:
    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as index:
            assert await hold(index, "a", 1_000)
            index.settle("a", 0, 1_000, 0)
            await delivered(index)
            # What a server loads from its disk may be minutes old.
            await command(needed_redis_url(), "HSET", f"{prefix}:{{O}}:book", "run", "before")
            facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 400, 0),))
            assert await hold(index, "b", 600)
            assert facts.reads == 2

    run(story())


def test_a_database_that_is_away_lets_nobody_in_and_everybody_once_it_is_back() -> None:
    async def story() -> None:
        facts = Facts()
        facts.broken = True
        async with node(own_prefix(), facts, clock_us=None) as index:
            await refused(index.admit_request(None, key(rpm=5)))
            index.settle("before", 0, 10, 0, "O")
            facts.broken = False
            # The lock of the attempt that failed is given back or lapses.
            await until_admitted(index)

    run(story())


def test_a_rebuild_that_is_given_up_while_it_asks_for_the_lock_leaves_none_behind() -> None:
    async def story() -> None:
        async with node(own_prefix(), Facts()) as index:
            ask, given_up = index._calls.ask, []

            async def ask_too_late(org_id: str, operation: Any) -> Any:
                if operation[0] == "lock" and not given_up:
                    given_up.append(operation)
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()  # while the answer is awaited: the lock will be taken
                return await ask(org_id, operation)

            index._calls.ask = ask_too_late
            await refused(index.admit_request(None, key(rpm=5)))
            started_s = time.monotonic()
            await until_admitted(index)
            assert time.monotonic() - started_s < 2

    run(story())


def test_two_nodes_rebuild_once() -> None:
    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        facts.takes_s = 0.1
        async with node(prefix, facts) as one, node(prefix, facts) as two:
            answers = await asyncio.gather(
                *(hold(index, f"{n}{index is one}", 100) for index in (one, two) for n in range(10))
            )
            assert sum(answers) == 10
            assert facts.reads == 1

    run(story())


@pytest.mark.slow
def test_a_node_that_is_lost_while_it_rebuilds_keeps_others_out_for_no_longer_than_a_rebuild_may_take() -> (
    None
):
    async def story() -> None:
        relay, prefix, facts = Relay(needed_redis_url()), own_prefix(), Facts()
        await relay.open()
        facts.takes_s = 0.2
        async with node(prefix, facts, url=relay.url) as lost, node(prefix, facts) as other:
            asked = asyncio.create_task(hold(lost, "a", 1))
            await until(lambda: facts.reads == 1)
            await relay.cut()
            await refused(asked)
            started_s = time.monotonic()
            await until_admitted(other)
            assert time.monotonic() - started_s < 7

    run(story())


def test_settling_while_the_book_is_rebuilt_is_not_lost() -> None:
    async def story() -> None:
        prefix, facts = own_prefix(), Facts()
        async with node(prefix, facts) as index:
            assert await hold(index, "a", 900)
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book")
            facts.takes_s = 0.1
            facts.seed = Seed(holds=(OpenHold("a", (("org", "O", CYCLE),), 900, 0),))
            waiting = asyncio.create_task(hold(index, "b", 600))
            await asyncio.sleep(0.05)
            index.settle("a", 0, 300, 0)
            await waiting
            await delivered(index)
            refusal = await index.reserve("c", key(), 0, CAP, 1_000, 0)
            assert refusal.used == 300

    run(story())


# -- outages -----------------------------------------------------------------------------------


def test_without_redis_requests_are_refused_at_once_and_served_again_when_it_is_back() -> None:
    async def story() -> None:
        relay = Relay(needed_redis_url())
        await relay.open()
        async with node(own_prefix(), url=relay.url) as index:
            assert await hold(index, "a", 1_000)
            await relay.cut()
            await until(lambda: not index.healthy)
            started_s = time.monotonic()
            for n in range(50):
                await refused(index.admit_request(None, key(rpm=5)))
                await refused(hold(index, f"x{n}", 1))
            assert time.monotonic() - started_s < 5
            index.settle("a", 0, 200, 0)
            assert index.undelivered == 1
            await relay.open()
            await until(lambda: index.healthy)
            await delivered(index)
            assert await hold(index, "b", 800)
            assert not await hold(index, "c", 1)
        await relay.cut()

    run(story())


def test_what_is_brought_to_a_new_book_while_redis_goes_away_is_brought_when_it_is_back() -> None:
    async def story() -> None:
        relay, prefix, facts = Relay(needed_redis_url()), own_prefix(), Facts()
        await relay.open()
        async with node(prefix, facts, url=relay.url, timeout_s=0.2) as one, node(prefix, facts) as two:
            assert await hold(one, "a", 600)
            await command(needed_redis_url(), "DEL", f"{prefix}:{{O}}:book", f"{prefix}:{{O}}:leases")
            assert await hold(two, "b", 300)
            assert (await one.look(key())).admitted
            relay.silent = True
            await until(lambda: not one.healthy)
            relay.silent = False
            await until(lambda: one.healthy)
            await delivered(one)
            refusal = await two.reserve("c", key(), 0, CAP, 101, 0)
            assert (refusal.used, refusal.held) == (0, 900)
        await relay.cut()

    run(story())


def test_a_silent_redis_is_given_up_in_time() -> None:
    async def story() -> None:
        relay = Relay(needed_redis_url())
        await relay.open()
        async with node(own_prefix(), url=relay.url, timeout_s=0.2) as index:
            assert await hold(index, "a", 100)
            relay.silent = True
            started_s = time.monotonic()
            await refused(hold(index, "b", 100))
            assert 0.15 < time.monotonic() - started_s < 5
            relay.silent = False
            await until(lambda: index.healthy)
            # Whether the lost call held anything is not known: ending the exchange makes it certain.
            index.settle("b", 0, 0, 0)
            assert await hold(index, "c", 900)
        await relay.cut()

    run(story())


def test_alone_a_node_keeps_to_its_share_of_what_is_left() -> None:
    async def story() -> None:
        relay, facts = Relay(needed_redis_url()), Facts()
        await relay.open()
        async with node(own_prefix(), facts, url=relay.url, local=True, known_nodes=lambda: 3) as index:
            assert await hold(index, "before", 100)
            await relay.cut()
            await until(lambda: not index.healthy)
            facts.seed = Seed(
                spent=(Spent("org", "O", CYCLE, 300, 0),),
                holds=(OpenHold("before", (("org", "O", CYCLE),), 100, 0),),
                days=(DayCount("K", day_of(now_us()), 10),),
            )
            # 600 are left, 200 for each of three nodes.
            assert [await hold(index, str(n), 50) for n in range(5)] == [True] * 4 + [False]
            minute = [(await index.admit_request(None, key(rpm=10))).admitted for _ in range(5)]
            assert minute == [True] * 3 + [False] * 2
            day = [(await index.admit_request(None, key(rpd=16))).admitted for _ in range(3)]
            assert day == [True] * 2 + [False]
            assert not (await index.admit_request(None, key(rpm=2))).admitted
            assert (await index.reserve("t", org(tpm=90), 30, (), 0, 0)).admitted
            assert not (await index.reserve("u", org(tpm=90), 1, (), 0, 0)).admitted
            index.settle("0", 0, 0, 0)
            assert await hold(index, "again", 50)

            # Together again: the database knows what was spent alone, the node what it still runs.
            facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 300, 0),))
            await relay.open()
            await until(lambda: index.healthy)
            refusal = await index.reserve("after", key(), 0, CAP, 1_000, 0)
            assert (refusal.used, refusal.held) == (300, 100 + 4 * 50)
        await relay.cut()

    run(story())


def test_a_gateway_starts_without_redis_and_finds_it_later() -> None:
    async def story() -> None:
        relay = Relay(needed_redis_url())
        await relay.open()
        await relay.cut()
        async with node(own_prefix(), url=relay.url) as index:
            await refused(hold(index, "a", 1))
            await relay.open()
            await until(lambda: index.healthy)
            assert await hold(index, "a", 1)
        await relay.cut()

    run(story())


def test_what_is_no_redis_is_not_taken_for_one() -> None:
    async def story() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with node(own_prefix(), url=f"redis://127.0.0.1:{port}") as index:
            await refused(hold(index, "a", 1))
        server.close()

    run(story())


# -- round trips -------------------------------------------------------------------------------


def test_what_comes_up_together_goes_together() -> None:
    async def story() -> None:
        async with node(own_prefix()) as index:
            await hold(index, "first", 0)
            before = index.round_trips
            await asyncio.gather(*(index.admit_request(None, key(rpm=1_000)) for _ in range(200)))
            assert index.round_trips - before == 1
            before = index.round_trips
            assert await hold(index, "one", 1)
            assert index.round_trips - before == 1

    run(story())


def test_a_request_and_what_it_sets_aside_are_one_round_trip() -> None:
    scopes = (
        RequestScope("K", RequestLimits(rpm=3, concurrency=3)),
        RequestScope("U", RequestLimits()),
        RequestScope("O", RequestLimits(tpm=100)),
    )

    async def story() -> None:
        async with node(own_prefix()) as index:
            assert (await index.admit_request("warm", scopes)).admitted
            index.settle("warm", 0, 0, 0)
            await delivered(index)

            async def both(name: str, nusd: int, tokens: int = 10) -> Any:
                before = index.round_trips
                asked = index.admit_request(name, scopes)
                answers = await asked.reserve(name, tokens, CAP, nusd, 0)
                assert index.round_trips == before + 1
                return answers

            admission, reservation = await both("a", 600)
            assert (admission.admitted, admission.remaining) == (True, 1)
            assert (reservation.admitted, reservation.tokens_remaining) == (True, 90)
            # Refused for money: a request all the same, and its slot comes back with its end.
            admission, reservation = await both("b", 600)
            assert (admission.admitted, admission.remaining, reservation.admitted) == (True, 0, False)
            assert (reservation.refused_by, reservation.held) == ("spend_cap", 600)
            # Refused as a request: nothing is held, not even for a moment.
            admission, reservation = await both("c", 1)
            assert (admission.admitted, admission.window, reservation) == (False, "minute", None)
            index.settle("b", 0, 0, 0)
            index.settle("c", 0, 0, 0)
            index.settle("a", 10, 100, 0)
            await delivered(index)
            assert not index._running
            assert await hold(index, "d", 900)
            assert not await hold(index, "e", 1)

    run(story())


def test_without_redis_both_are_decided_alone_or_refused() -> None:
    async def story() -> None:
        relay = Relay(needed_redis_url())
        await relay.open()
        prefix = own_prefix()
        async with (
            node(prefix, url=relay.url, local=True) as alone,
            node(prefix, url=relay.url) as strict,
        ):
            await relay.cut()
            await until(lambda: not alone.healthy and not strict.healthy)
            await refused(strict.admit_request(None, key(rpm=5)).reserve("s", 0, CAP, 1, 0))
            answers = [
                await alone.admit_request(None, key(rpm=2)).reserve(name, 0, CAP, 400, 0)
                for name in ("a", "b", "c")
            ]
            told = [(one.admitted, two is not None and two.admitted) for one, two in answers]
            assert told == [(True, True), (True, True), (False, False)]
        await relay.cut()

    run(story())


def test_windows_do_not_outlast_a_clock_that_was_set_back() -> None:
    """By an hour, they would refuse for an hour. Of less than a window they are over in two."""

    async def story() -> None:
        clock = Clock()
        async with node(own_prefix(), clock_us=clock.wall) as index:
            asked, counted = key(rpm=1), key(tpm=10)
            for back_ms, admits in ((3_600_000, True), (50_000, False)):
                assert (await index.admit_request(None, asked)).admitted
                assert (await index.reserve(f"a{back_ms}", counted, 10, (), 0, 0)).admitted
                clock.ms -= back_ms
                admission = await index.admit_request(None, asked)
                reservation = await index.reserve(f"b{back_ms}", counted, 10, (), 0, 0)
                assert admission.admitted is reservation.admitted is admits
                assert (admission.retry_after_s or 0) <= 110 and (reservation.retry_after_s or 0) <= 110
                clock.ms += 120_000

    run(story())

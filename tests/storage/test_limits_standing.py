"""Whether what an exchange holds in Redis is sure to stand still, as its own node knows it."""

import asyncio

import pytest

from tests.storage.indexes import key, own_prefix
from tests.storage.redis_nodes import CAP, Relay, hold, node, run, until
from triptych.core.admission import Seed
from triptych.storage.limits import redis_running

pytestmark = pytest.mark.redis


class Passed:
    """A clock that a test turns on: what a machine slept through, too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_s = 0.0
        clock_s = redis_running.passed_s
        monkeypatch.setattr(redis_running, "passed_s", lambda: clock_s() + self.by_s)


def test_a_hold_stands_for_a_lease_after_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = Passed(monkeypatch)

    async def story() -> None:
        async with node(own_prefix()) as index:
            assert await hold(index, "a", 1)
            assert index.stands("a") and index.stands("never held")
            passed.by_s = 29
            assert index.stands("a")
            passed.by_s = 30
            assert not index.stands("a")
            # Its lease is renewed now, but what it may have lost meanwhile it has lost.
            index._renew(["a"])
            await asyncio.sleep(0.1)
            assert not index.stands("a")
            assert await hold(index, "b", 1)
            assert index.stands("b")

    run(story())


def test_slots_that_may_have_lapsed_are_not_made_good_by_a_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = Passed(monkeypatch)

    async def story() -> None:
        async with node(own_prefix()) as index:
            assert (await index.admit_request("a", key(concurrency=1))).admitted
            passed.by_s = 31
            assert (await index.reserve("a", key(concurrency=1), 0, CAP, 1, 0)).admitted
            assert not index.stands("a")

    run(story())


def test_a_hold_that_is_renewed_stands_for_as_long_as_its_exchange_runs() -> None:
    async def story() -> None:
        async with node(own_prefix(), hold_lease_s=0.3) as index:
            assert await hold(index, "a", 1)
            for _ in range(50):
                await asyncio.sleep(0.02)
                assert index.stands("a")

    run(story())


@pytest.mark.parametrize("local", [False, True])
def test_while_redis_is_away_it_is_in_doubt_unless_nodes_may_count_alone(local: bool) -> None:
    async def story() -> None:
        from tests.storage.indexes import needed_redis_url

        relay = Relay(needed_redis_url())
        await relay.open()
        async with node(own_prefix(), url=relay.url, local=local, timeout_s=0.2) as index:
            assert await hold(index, "a", 1)
            await relay.cut()
            await until(lambda: not index.healthy)
            assert index.stands("a") is local
            if local:
                assert await hold(index, "b", 1)
                assert index.stands("b")
            await relay.open()
            # It is asked for as soon as Redis is back: it had kept it.
            await until(lambda: index.stands("a"))
        await relay.cut()

    run(story())


def test_what_a_new_book_did_not_have_is_lost_and_what_the_database_showed_open_is_not() -> None:
    async def story() -> None:
        prefix = own_prefix()
        async with node(prefix, lambda org_id, held=(): Seed()) as index:
            for name in ("unknown", "open"):
                assert await hold(index, name, 1)
            # As after a loss: of the two, only one is in the book that others made.
            index._bring("O", "another")
            await until(lambda: not index._calls.busy)
            assert index.stands("unknown") and index.stands("open")
            index._brought(["unknown", "ended meanwhile"])
            assert not index.stands("unknown") and index.stands("open")

    run(story())

"""A gateway that counts alone in Redis, killed and started again: its books are what the database says."""

import pytest

from tests.storage.indexes import CYCLE, Clock, InRedis, budget, needed_redis_url, own_prefix
from tests.storage.redis_nodes import Relay, hold, node, run, until
from triptych.core.admission import Seed, Spent

pytestmark = pytest.mark.redis
CAP = (budget(1_000),)


def test_what_a_killed_process_held_is_gone_and_what_it_ended_is_spent() -> None:
    url, prefix, clock = needed_redis_url(), own_prefix(), Clock()
    killed = InRedis(clock, url, key_prefix=prefix)
    assert killed.reserve("ended", budgets=CAP, nusd=600).admitted
    assert killed.reserve("without a row", budgets=CAP, nusd=400).admitted
    killed.close()
    known = Seed(spent=(Spent("org", "O", CYCLE, 550, 0),))
    restarted = InRedis(clock, url, key_prefix=prefix, source=lambda org_id, held=(): known)
    restarted.index.forget(["O", "of which nothing is known"])
    refusal = restarted.reserve("a", budgets=CAP, nusd=451)
    assert (refusal.admitted, refusal.used, refusal.held) == (False, 550, 0)
    # Nothing is left that could lapse, or be charged a second time.
    clock.ms += 30_000
    restarted.settle("ended", nusd=600)
    assert restarted.reserve("b", budgets=CAP, nusd=450).admitted
    assert not restarted.reserve("c", budgets=CAP, nusd=1).admitted
    restarted.close()


def test_a_redis_that_was_away_at_the_start_forgets_before_it_admits() -> None:
    async def story() -> None:
        prefix, relay = own_prefix(), Relay(needed_redis_url())
        async with node(prefix) as killed:
            assert await hold(killed, "a", 600)
        await relay.open()
        await relay.cut()
        async with node(prefix, url=relay.url) as restarted:
            restarted.forget(["O"])
            await relay.open()
            await until(lambda: restarted.healthy)
            assert await hold(restarted, "b", 1_000)
        await relay.cut()

    run(story())

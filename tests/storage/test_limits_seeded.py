"""The index in memory and the database it is built from."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.storage.indexes import CYCLE, Clock, key, org
from tests.storage.redis_nodes import CAP, Facts
from triptych.core.admission import (
    Admission,
    DayCount,
    Metering,
    OpenHold,
    RequestScope,
    Reservation,
    Seed,
    Spent,
)
from triptych.core.clock import now_us
from triptych.core.cycle import day_of
from triptych.core.failure import Failure, FailureKind
from triptych.storage.limits.node_share import NodeShare
from triptych.storage.limits.seeded import SeededMemoryIndex


class SlowFacts(Facts):
    """What was read is told when ``go_on`` says so."""

    def __init__(self, **seed: Any) -> None:
        super().__init__(**seed)
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, org_id: str, held: Sequence[str] = ()) -> Seed:
        seed = super().__call__(org_id, held)
        self.go_on.wait(5)
        return seed


async def admit(index: SeededMemoryIndex, scopes: tuple[RequestScope, ...]) -> Admission:
    answer = index.admit_request(None, scopes)
    return answer if isinstance(answer, Admission) else await answer


async def hold(index: SeededMemoryIndex, name: str, nusd: int) -> Reservation:
    answer = index.reserve(name, key(), 0, CAP, nusd, 0)
    return answer if isinstance(answer, Reservation) else await answer


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_a_restarted_gateway_goes_on_counting_the_day_and_the_cycle() -> None:
    async def story() -> None:
        today = day_of(now_us())
        facts = SlowFacts(
            spent=(Spent("org", "O", CYCLE, 500, 0),),
            days=(DayCount("K", today, 3), DayCount("K", today - 1, 99)),
            holds=(OpenHold("elsewhere", (("org", "O", CYCLE),), 300, 0),),
        )
        index = SeededMemoryIndex(facts)
        assert [(await admit(index, key(rpd=5))).admitted for _ in range(3)] == [True, True, False]
        refusal = await hold(index, "a", 201)
        assert (refusal.admitted, refusal.used, refusal.held) == (False, 500, 300)
        index.settle("elsewhere", 0, 100, 0)
        assert (await hold(index, "a", 400)).admitted

    run(story)


def test_only_the_first_request_of_an_org_waits_and_all_share_one_read() -> None:
    async def story() -> None:
        facts = SlowFacts()
        index = SeededMemoryIndex(facts)
        answers = await asyncio.gather(*(admit(index, key(rpm=5)) for _ in range(20)))
        assert (sum(answer.admitted for answer in answers), facts.reads) == (5, 1)
        assert isinstance(index.admit_request(None, key(rpm=5)), Admission)
        assert isinstance(index.reserve("t", org(10), 1, (), 0, 0), Reservation)

    run(story)


def test_a_database_that_is_away_lets_nobody_in_until_it_is_back() -> None:
    async def story() -> None:
        facts = SlowFacts()
        facts.broken = True
        index = SeededMemoryIndex(facts)
        for attempt in (admit(index, key(rpm=5)), hold(index, "a", 1)):
            with pytest.raises(Failure) as caught:
                await attempt
            assert caught.value.kind is FailureKind.SERVICE_UNAVAILABLE
        facts.broken = False
        assert (await admit(index, key(rpm=5))).remaining == 4
        assert (await hold(index, "a", 1)).admitted

    run(story)


def test_an_exchange_that_ends_while_the_database_is_read_is_charged_once() -> None:
    async def story() -> None:
        facts = SlowFacts(holds=(OpenHold("a", (("org", "O", CYCLE),), 900, 0),))
        index = SeededMemoryIndex(facts)
        facts.go_on.clear()
        first = asyncio.ensure_future(hold(index, "b", 600))
        while not facts.reads:
            await asyncio.sleep(0.001)
        index.settle("a", 0, 200, 0)  # read as open, ended since
        facts.go_on.set()
        assert (await first).admitted
        refusal = await hold(index, "c", 201)
        assert (refusal.admitted, refusal.used, refusal.held) == (False, 200, 600)

    run(story)


def test_an_org_that_had_no_caps_for_a_while_is_read_again() -> None:
    async def story() -> None:
        facts = SlowFacts()
        index = SeededMemoryIndex(facts)
        assert (await hold(index, "a", 100)).admitted
        index.keep(Metering(1, metered=frozenset({"O"})))
        assert isinstance(index.reserve("b", key(), 0, CAP, 100, 0), Reservation)
        index.keep(Metering(2, free=frozenset({"O"})))
        index.settle("a", 0, 100, 0)
        facts.seed = Seed(
            spent=(Spent("org", "O", CYCLE, 700, 0),),
            holds=(OpenHold("b", (("org", "O", CYCLE),), 100, 0),),
            metered=True,
        )
        refusal = await hold(index, "c", 201)
        assert (refusal.admitted, refusal.used, refusal.held) == (False, 700, 100)
        index.settle("b", 0, 0, 0)
        assert (await hold(index, "c", 300)).admitted
        assert index.holds == 1

    run(story)


@pytest.mark.parametrize("noticed", ["before the read", "during the read"])
def test_a_request_that_was_judged_by_a_cap_that_is_gone_leaves_no_old_book(noticed: str) -> None:
    """Its body came slowly: it sets money aside after the org's caps have gone."""

    async def story() -> None:
        facts = SlowFacts(spent=(Spent("org", "O", CYCLE, 100, 0),), metered=noticed == "during the read")
        index = SeededMemoryIndex(facts)
        index.keep(Metering(1, metered=frozenset({"O"})))
        gone = Metering(2, free=frozenset({"O"}))
        if noticed == "before the read":
            index.keep(gone)
        facts.go_on.clear()
        late = asyncio.ensure_future(hold(index, "late", 50))
        while not facts.reads:
            await asyncio.sleep(0.001)
        if noticed == "during the read":
            index.keep(gone)
        facts.go_on.set()
        assert (await late).admitted
        index.settle("late", 0, 50, 0)
        # 800 were spent without a cap; then there is one again.
        facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 950, 0),), metered=True)
        index.keep(Metering(3, metered=frozenset({"O"})))
        refusal = await hold(index, "more", 100)
        assert (refusal.admitted, refusal.used) == (False, 950)
        reads = facts.reads
        assert (await hold(index, "the rest", 50)).admitted
        assert facts.reads == reads

    run(story)


def test_who_leaves_while_the_database_is_read_does_not_stop_the_others() -> None:
    async def story() -> None:
        facts = SlowFacts()
        facts.go_on.clear()
        index = SeededMemoryIndex(facts)
        one, two = (asyncio.ensure_future(admit(index, key(rpm=5))) for _ in range(2))
        await asyncio.sleep(0.01)
        one.cancel()
        facts.go_on.set()
        assert (await two).remaining == 4

    run(story)


@pytest.mark.parametrize("nodes", [1, 2, 3, 7])
def test_all_shares_together_stay_within_every_limit(nodes: int) -> None:
    async def story() -> None:
        clock = Clock()
        today = day_of(clock.wall())
        facts = SlowFacts(
            spent=(Spent("org", "O", CYCLE, 130, 0),),
            days=(DayCount("K", today, 10),),
            holds=(OpenHold("before", (("org", "O", CYCLE),), 70, 0),),
        )
        shares = [NodeShare(facts, nodes, clock.monotonic, clock.wall) for _ in range(nodes)]
        day = minute = tokens = money = 0
        for share in shares:
            for n in range(40):
                day += (await share.admit(None, key(rpd=30))).admitted
                minute += (await share.admit(None, key(rpm=23))).admitted
                tokens += 10 * (await share.hold(f"t{n}", org(tpm=200), 10, (), 0, 0)).admitted
                money += 50 * (await share.hold(f"m{n}", key(), 0, CAP, 50, 0)).admitted
        assert 10 + day <= 30 < 10 + day + nodes
        assert minute <= 23
        assert tokens <= 200 < tokens + 10 * nodes + nodes
        assert 200 + money <= 1_000 < 200 + money + 50 * nodes

    run(story)


def test_a_share_is_of_what_is_left_also_when_the_balances_are_read_again() -> None:
    async def story() -> None:
        facts = SlowFacts(spent=(Spent("org", "O", CYCLE, 400, 0),), metered=True)
        share = NodeShare(facts, 2)
        assert (await share.hold("a", key(), 0, CAP, 300, 0)).admitted
        assert not (await share.hold("b", key(), 0, CAP, 1, 0)).admitted
        share.settle("a", 0, 300, 0)
        # The caps went and came again.
        share.keep(Metering(2, free=frozenset({"O"})))
        share.keep(Metering(3, metered=frozenset({"O"})))
        facts.seed = Seed(spent=(Spent("org", "O", CYCLE, 800, 0),), metered=True)
        assert (await share.hold("c", key(), 0, CAP, 100, 0)).admitted
        assert not (await share.hold("d", key(), 0, CAP, 1, 0)).admitted

    run(story)

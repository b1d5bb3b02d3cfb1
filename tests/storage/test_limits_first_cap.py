"""Caps come and go while nodes run: an org's first cap counts what its cycle has cost before it."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.storage.indexes import CYCLE, budget, key, own_prefix
from tests.storage.redis_nodes import Facts, delivered, hold, node, run, until
from triptych.core.admission import DayCount, Metering, OpenHold, Seed, Spent
from triptych.core.clock import now_us
from triptych.core.cycle import day_of
from triptych.storage.limits.redis_index import RedisIndex

pytestmark = pytest.mark.redis
ORG = frozenset({"O"})


class Directory(Facts):
    """A database with one org; each node has noticed one of its versions."""

    def __init__(self) -> None:
        super().__init__()
        self.prefix = own_prefix()
        self.version = 1
        self.metered = False
        self._noticed: dict[int, int] = {}

    def apply(self, *nodes: RedisIndex, metered: bool) -> None:
        self.version += 1
        self.metered = metered
        self.know()
        self.notice(*nodes)

    def know(self, nusd: int = 0, *holds: OpenHold, **more: Any) -> None:
        """What the rows say when the balances are read; the org's, where nobody has a cap, say nothing."""
        spent = (Spent("org", "O", CYCLE, nusd, 0),) if self.metered else ()
        self.seed = Seed(spent=spent, holds=holds, metered=self.metered, **more)

    def notice(self, *nodes: RedisIndex) -> None:
        metered, free = (ORG, frozenset()) if self.metered else (frozenset(), ORG)
        for index in nodes:
            self._noticed[id(index)] = self.version
            index.keep(Metering(self.version, metered, free))

    def node(self) -> Any:
        """Not started on a version before it was told of one."""
        place: list[RedisIndex] = []
        opened = node(self.prefix, self, version=lambda: self._noticed[id(place[0])])

        class Opened:
            async def __aenter__(self) -> RedisIndex:
                place.append(await opened.__aenter__())
                return place[0]

            async def __aexit__(self, *error: object) -> None:
                await opened.__aexit__(*error)

        return Opened()


async def used_and_held(index: RedisIndex) -> tuple[int, int]:
    refusal = await index.reserve("more than all", key(), 0, (budget(1_000),), 10**9, 0)
    assert not refusal.admitted
    return refusal.used, refusal.held


async def free_request(index: RedisIndex, name: str, **limits: int) -> bool:
    """Without a budget: a slot, and tokens of the minute."""
    admission = await index.admit_request(name, key(**limits))
    return admission.admitted and (await index.reserve(name, key(tpm=10**6), 5, (), 0, 0)).admitted


def test_the_first_cap_counts_what_was_spent_before_it_on_every_node() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as one, directory.node() as two:
            directory.notice(one, two)
            for n, index in enumerate((one, two)):
                assert await free_request(index, f"free{n}")
                index.settle(f"free{n}", 5, 250, 0)
            assert directory.reads == 1
            directory.apply(one, two, metered=True)
            directory.know(500)
            assert await hold(one, "fresh", 400)
            # Read once for both; what has no row yet stays held.
            assert await used_and_held(two) == (500, 400)
            assert not await hold(two, "too much", 101)
            assert await hold(two, "the rest", 100)
            assert directory.reads == 2
            # Who ended meanwhile without a budget is in no balance, as in the database.
            one.settle("free0", 5, 250, 0)
            one.settle("fresh", 5, 300, 0)
            await delivered(one)
            assert await used_and_held(two) == (800, 100)

    run(story())


def test_what_the_database_alone_has_charged_counts_and_what_is_held_stays() -> None:
    """One node did not know of the cap when its exchange ended."""

    async def story() -> None:
        directory = Directory()
        async with directory.node() as quick, directory.node() as slow:
            directory.notice(quick, slow)
            directory.apply(quick, metered=True)
            directory.know(100)
            assert await hold(quick, "a", 300)
            assert await hold(quick, "settled meanwhile", 50)
            directory.know(350, OpenHold("a", (("org", "O", CYCLE),), 300, 0))
            slow.recount("O")
            await delivered(slow)
            quick.settle("settled meanwhile", 0, 50, 0)
            directory.seed = msgspec.structs.replace(directory.seed, ended=("settled meanwhile",))
            assert await used_and_held(quick) == (350, 300)
            assert directory.reads == 2
            directory.notice(slow)
            assert await used_and_held(slow) == (350, 300)
            assert directory.reads == 2

    run(story())


def test_of_many_at_once_on_two_nodes_the_first_cap_admits_exactly_what_is_left() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as one, directory.node() as two:
            directory.notice(one, two)
            assert await free_request(one, "free") and await free_request(two, "free too")
            directory.takes_s = 0.05
            directory.apply(metered=True)
            directory.know(500)
            answers = []
            for late, index in enumerate((one, two)):
                directory.notice(index)
                answers += [asyncio.create_task(hold(index, f"{late}-{n}", 10)) for n in range(200)]
                await asyncio.sleep(0.03 * (1 - late))
            assert sum(await asyncio.gather(*answers)) == 50
            assert await used_and_held(one) == (500, 500)

    run(story())


def test_a_node_that_has_not_noticed_the_cap_changes_nothing_for_the_others() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as quick, directory.node() as slow:
            directory.notice(quick, slow)
            assert await free_request(slow, "before", concurrency=2)
            directory.apply(quick, metered=True)
            directory.know(500)
            assert await hold(quick, "a", 300)
            assert await free_request(slow, "meanwhile", concurrency=2)
            assert not await free_request(slow, "slots are kept", concurrency=2)
            directory.notice(slow)
            assert await hold(slow, "b", 200)
            assert await used_and_held(quick) == (500, 500)
            assert directory.reads == 2

    run(story())


def test_slots_days_and_minutes_go_on_over_the_first_cap() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as index:
            directory.notice(index)
            limits = {"rpm": 3, "rpd": 3, "concurrency": 3}
            assert await free_request(index, "a", **limits)
            assert await free_request(index, "b", **limits)
            directory.apply(index, metered=True)
            # The database shows a row of one of them; the other's is on its way.
            directory.know(days=(DayCount("K", day_of(now_us()), 1),))
            assert await hold(index, "c", 1)
            counted = (await index.admit_request("d", key(**limits))).remaining
            assert counted == 0
            assert not (await index.admit_request("e", key(rpd=3))).admitted
            assert not (await index.admit_request("f", key(concurrency=3))).admitted
            index.settle("a", 1, 0, 0)
            assert (await index.admit_request("f", key(concurrency=3))).admitted
            # What was estimated for it makes room in its minute: 1, and 5 of "b", are left.
            left = await index.reserve("g", key(tpm=10**6), 0, (), 0, 0)
            assert left.tokens_remaining == 10**6 - 6

    run(story())


def test_caps_that_went_and_come_again_count_what_was_spent_without_them() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as one, directory.node() as two:
            directory.apply(one, two, metered=True)
            assert await hold(one, "settled", 100)
            assert await hold(two, "runs on", 50)
            one.settle("settled", 0, 100, 0)
            await delivered(one)
            for spent in (300, 600):
                directory.apply(one, two, metered=False)
                await delivered(two)
                assert await free_request(two, f"free{spent}")
                directory.apply(one, two, metered=True)
                opened = OpenHold("runs on", (("org", "O", CYCLE),), 50, 0)
                directory.know(spent, *((opened,) if spent == 600 else ()))
                for index in (one, two):
                    assert await used_and_held(index) == (spent, 50)
            assert directory.reads == 3
            two.settle("runs on", 0, 40, 0)
            await delivered(two)
            assert await used_and_held(one) == (640, 0)

    run(story())


def test_what_ends_while_the_balances_are_read_again_is_charged() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as one, directory.node() as two:
            directory.apply(one, two, metered=True)
            assert await hold(two, "a", 50)
            directory.apply(one, two, metered=False)
            await delivered(two)
            directory.apply(one, two, metered=True)
            directory.know(300, OpenHold("a", (("org", "O", CYCLE),), 50, 0))
            directory.takes_s = 0.2
            waiting = asyncio.create_task(used_and_held(one))
            await until(lambda: directory.reads == 2)
            two.settle("a", 0, 40, 0)
            await waiting
            await delivered(two)
            assert await used_and_held(one) == (340, 0)

    run(story())


def test_caps_of_others_in_an_org_that_has_one_are_known_already() -> None:
    async def story() -> None:
        directory = Directory()
        both = (budget(None, kind="user", id="U"), budget(1_000))
        async with directory.node() as one, directory.node() as two:
            directory.apply(one, two, metered=True)
            assert await hold(one, "a", 300, both)
            one.settle("a", 0, 300, 0)
            assert await hold(one, "b", 100, both)
            await delivered(one)
            directory.apply(one, two, metered=True)
            capped = (budget(500, kind="user", id="U"), budget(1_000))
            refusal = await two.reserve("c", key(), 0, capped, 101, 0)
            assert (refusal.scope, refusal.used, refusal.held) == ("user", 300, 100)
            assert await hold(two, "c", 100, capped)
            assert directory.reads == 1

    run(story())


def test_who_notices_late_that_caps_had_gone_unsettles_nothing() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as quick, directory.node() as slow:
            directory.apply(quick, slow, metered=True)
            assert await hold(slow, "a", 100)
            directory.apply(quick, metered=False)
            await delivered(quick)
            gone = Metering(directory.version, free=ORG)
            # Its caps are those of yesterday: they hold nobody up, and nothing is read without end.
            assert await hold(slow, "b", 100)
            reads = directory.reads
            assert await hold(slow, "c", 100)
            assert directory.reads == reads <= 2
            directory.apply(quick, metered=True)
            directory.know(400)
            assert await used_and_held(quick) == (400, 300)
            reads = directory.reads
            slow.keep(gone)
            directory.notice(slow)
            await delivered(slow)
            assert await used_and_held(slow) == (400, 300)
            assert directory.reads == reads

    run(story())


def test_a_read_from_before_the_caps_went_is_not_taken_for_one_from_after() -> None:
    async def story() -> None:
        directory = Directory()
        directory.apply(metered=True)
        async with directory.node() as slow, directory.node() as quick:
            directory.notice(slow)
            directory.takes_s = 0.2
            directory.know(100)
            waiting = asyncio.create_task(hold(slow, "a", 100))
            await until(lambda: directory.reads == 1)
            directory.apply(quick, metered=False)
            await delivered(quick)
            assert await waiting
            assert directory.reads == 2
            directory.apply(quick, metered=True)
            directory.know(700)
            assert await used_and_held(quick) == (700, 100)

    run(story())


def test_caps_that_went_while_no_node_ran_are_not_trusted_when_they_come_again() -> None:
    async def story() -> None:
        directory = Directory()
        async with directory.node() as before:
            directory.apply(before, metered=True)
            assert await hold(before, "a", 100)
            before.settle("a", 0, 100, 0)
        directory.apply(metered=False)
        async with directory.node() as after:
            directory.notice(after)
            assert await free_request(after, "free")
            directory.apply(after, metered=True)
            directory.know(900)
            assert await used_and_held(after) == (900, 0)

    run(story())

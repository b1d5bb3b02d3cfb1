"""Nodes, Redis and the database fail at random: what the book says in the end is what the database says."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from tests.storage.indexes import CYCLE, Clock, budget, command, key, needed_redis_url, own_prefix
from tests.storage.redis_nodes import Relay, delivered, node, run, until
from triptych.core.admission import OpenHold, Seed, Spent
from triptych.core.failure import Failure
from triptych.storage.limits.redis_calls import Waiting
from triptych.storage.limits.redis_index import RedisIndex

pytestmark = pytest.mark.redis
CAP, SLOTS, LEASE_MS, DAY_MS = 10_000, 6, 30_000, 86_400_000
BUDGET, SCOPES = (budget(CAP),), key(concurrency=SLOTS)


class Ledger:
    """What a database knows of one org's exchanges. Read in threads, and slowly."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._lock = threading.Lock()
        self.open: dict[str, tuple[int, int]] = {}
        """The node that runs it, and its hold."""
        self.cost: dict[str, int] = {}
        self.ended_by: dict[str, int] = {}
        self.broken = False
        self.reads = 0

    def __call__(self, org_id: str, held: Sequence[str] = ()) -> Seed:
        self.reads += 1
        time.sleep(self._dice.choice([0, 0.001, 0.01]))
        if self.broken:
            raise OSError("away")
        with self._lock:
            spent = (Spent("org", "O", CYCLE, sum(self.cost.values()), 0),)
            holds = [
                OpenHold(name, (("org", "O", CYCLE),), nusd, 0, ("K",))
                for name, (_, nusd) in self.open.items()
            ]
            ended = [name for name in held if name in self.cost]
        time.sleep(self._dice.choice([0, 0.001, 0.01]))
        return Seed(spent, (), tuple(holds), True, tuple(ended))

    def start(self, name: str, of: int, nusd: int) -> None:
        with self._lock:
            self.open[name] = (of, nusd)

    def end(self, name: str, nusd: int) -> None:
        """Unless somebody ended it before."""
        with self._lock:
            if name in self.open:
                self.ended_by[name] = self.open.pop(name)[0]
                self.cost[name] = nusd


class World:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ledger = Ledger(random.Random(seed))
        self.prefix, self.clock = own_prefix(), Clock()
        self.relays: list[Relay] = []
        self.nodes: list[RedisIndex] = []
        self.alive: set[int] = set()
        self.cut: set[int] = set()
        self.beginning: set[str] = set()
        """Asked for, or admitted and without a row."""
        self.running: dict[str, tuple[int, int]] = {}
        self.lost_nusd = 0
        """What dead nodes may have held without a row: no one can tell before a lease has passed."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.names = 0
        self.failed: list[BaseException] = []

    async def add_node(self, stack: AsyncExitStack) -> None:
        relay = Relay(needed_redis_url())
        await relay.open()
        stack.push_async_callback(relay.cut)
        self.relays.append(relay)
        facts = {"url": relay.url, "clock_us": self.clock.wall, "hold_lease_s": LEASE_MS / 1000}
        self.nodes.append(await stack.enter_async_context(node(self.prefix, self.ledger, **facts)))
        self.alive.add(len(self.nodes) - 1)

    async def pause(self) -> None:
        await asyncio.sleep(self.dice.choice([0, 0, 0.0005, 0.002, 0.01]))

    def begin(self, of: int) -> None:
        self.names += 1
        name = f"x{self.names}"
        task = asyncio.create_task(self.exchange(of, name))
        self.tasks.add(task)
        task.add_done_callback(self.over)

    def over(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if error := task.exception():
            self.failed.append(error)
            self.beginning.clear()

    async def exchange(self, of: int, name: str) -> None:
        index, nusd = self.nodes[of], self.dice.randrange(1_000, 4_000)
        self.beginning.add(name)
        try:
            admitted = await self.ask(index, name, nusd)
        except Failure:
            admitted = False
        if of not in self.alive:
            self.beginning.discard(name)
            self.lost_nusd += nusd
            return
        if not admitted:
            self.beginning.discard(name)
            index.settle(name, 0, 0, 0)
            return
        self.running[name] = (of, nusd)
        self.check()
        await self.pause()
        self.beginning.discard(name)
        if of not in self.alive:
            self.running.pop(name, None)
            self.lost_nusd += nusd
            return
        self.ledger.start(name, of, nusd)
        for _ in range(self.dice.choice([0, 1, 5, 60])):
            await self.pause()
            if of not in self.alive:
                return  # until it is ended for the node
        self.ledger.end(name, self.dice.choice([0, 10, 20, 40, 400]))
        self.running.pop(name, None)
        for _ in range(self.dice.choice([0, 1, 10])):
            await self.pause()
        if of in self.alive:
            index.settle(name, 0, self.ledger.cost[name], 0)

    async def ask(self, index: RedisIndex, name: str, nusd: int) -> bool:
        if self.dice.random() < 0.5:
            admission, reservation = await index.admit_request(name, SCOPES).reserve(name, 0, BUDGET, nusd, 0)
            return admission.admitted and reservation is not None and reservation.admitted
        if not (await index.admit_request(name, SCOPES)).admitted:
            return False
        await self.pause()
        return (await index.reserve(name, SCOPES, 0, BUDGET, nusd, 0)).admitted

    def check(self) -> None:
        held = sum(nusd for _, nusd in self.running.values())
        assert sum(self.ledger.cost.values()) + held <= CAP
        assert len(self.running) <= SLOTS

    # -- what goes wrong ---------------------------------------------------------------------------

    async def step(self) -> None:
        dice, alive = self.dice, sorted(self.alive)
        what = dice.choices(
            ["begin", "renew", "time", "cut", "join", "wipe", "restart", "kill", "reap", "broken"],
            [40, 8, 5, 3, 9, 2, 2, 0.4, 2, 0.5],
        )[0]
        of = dice.choice(alive)
        if what == "begin":
            for _ in range(dice.randrange(1, 4)):
                self.begin(of)
        elif what == "renew":
            self.renew(of)
        elif what == "time":
            await self.pass_time(dice.choice([1, LEASE_MS // 3, LEASE_MS // 2, LEASE_MS, 3 * LEASE_MS]))
        elif what == "cut" and of not in self.cut:
            self.cut.add(of)
            await self.relays[of].cut()
        elif what == "join" and of in self.cut:
            self.cut.discard(of)
            await self.relays[of].open()
        elif what == "wipe":
            await self.rows_are_written()
            await self.wipe()
        elif what == "restart":
            await self.rows_are_written()
            await command(needed_redis_url(), "HSET", f"{self.prefix}:{{O}}:book", "run", "before")
        elif what == "kill" and len(alive) > 1:
            await self.kill(of)
        elif what == "reap":
            self.reap(dice.randrange(len(self.nodes)))
        elif what == "broken":
            self.ledger.broken = not self.ledger.broken

    def renew(self, of: int) -> None:
        ids = list(self.nodes[of]._running)
        if self.nodes[of].healthy and ids:
            self.nodes[of]._calls.deliver()
            self.nodes[of]._calls.put(Waiting("O", ("renew", ids), None))

    async def rows_are_written(self) -> None:
        """What has no row is missing in a book that was lost, until its node brings it."""
        async with asyncio.timeout(20):
            while self.beginning:
                await asyncio.sleep(0.001)

    async def pass_time(self, ms: int) -> None:
        """Never a lease between a hold and its row."""
        await self.rows_are_written()
        self.clock.ms += ms

    async def wipe(self) -> None:
        keys = [f"{self.prefix}:{{O}}:{name}" for name in ("book", "leases", "lock")]
        await command(needed_redis_url(), "DEL", *keys)

    async def kill(self, of: int) -> None:
        self.alive.discard(of)
        if of not in self.cut:
            await self.relays[of].cut()
        for name, (by, _) in list(self.running.items()):
            if by == of and name not in self.ledger.open:
                del self.running[name]

    def reap(self, of: int) -> None:
        """Others take the node for dead, whether it is or not."""
        if of in self.alive and self.dice.random() < 0.7:
            return
        for name, (by, _) in list(self.ledger.open.items()):
            if by == of:
                self.ledger.end(name, 30)
                self.running.pop(name, None)
        for name, by in self.ledger.ended_by.items():
            if by == of:
                teller = self.nodes[self.dice.choice(sorted(self.alive))]
                teller.settle(name, 0, self.ledger.cost[name], 0, "O")

    # -- the end -----------------------------------------------------------------------------------

    async def come_to_rest(self) -> None:
        self.ledger.broken = False
        for of in sorted(self.cut & self.alive):
            await self.relays[of].open()
        self.cut.clear()
        await until(lambda: all(self.nodes[of].healthy for of in self.alive))
        async with asyncio.timeout(30):
            while self.tasks:
                await asyncio.sleep(0.005)
        for of in range(len(self.nodes)):
            if of not in self.alive:
                self.reap(of)
        for of in self.alive:
            self.nodes[of]._calls.deliver()
            await delivered(self.nodes[of])

    async def in_book(self, script: str) -> int:
        where = f"{self.prefix}:{{O}}:book"
        return int(await command(needed_redis_url(), "EVAL", script, "1", where))

    async def used_and_held(self) -> tuple[int, int]:
        async with asyncio.timeout(30):
            while True:
                try:
                    index = self.nodes[min(self.alive)]
                    refusal = await index.reserve("all", key(), 0, BUDGET, 10**9, 0)
                    return refusal.used, refusal.held
                except Failure:
                    await asyncio.sleep(0.01)


SLOTS_TAKEN = "return redis.call('HGET', KEYS[1], 'c:K') or '0'"
HOLDS = """
local holds = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'x:' then holds = holds + 1 end
end
return tostring(holds)
"""


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 30))]
)
def test_never_more_is_admitted_than_there_is_and_the_book_ends_as_the_database(seed: int) -> None:
    async def story() -> None:
        world = World(seed)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await world.add_node(stack)
            for _ in range(150):
                await world.step()
                await world.pause()
                if world.failed:
                    raise world.failed[0]
            await world.come_to_rest()
            spent = sum(world.ledger.cost.values())
            used, held = await world.used_and_held()
            assert used == spent and held <= world.lost_nusd
            # What the dead held without a row is free after a lease, and after a day nothing tells of it.
            await world.pass_time(LEASE_MS)
            assert await world.used_and_held() == (spent, 0)
            assert await world.in_book(SLOTS_TAKEN) == 0
            await world.pass_time(DAY_MS)
            assert await world.used_and_held() == (spent, 0)
            assert await world.in_book(HOLDS) == 0
            reads = world.ledger.reads
            await world.used_and_held()
            assert world.ledger.reads == reads

    run(story())

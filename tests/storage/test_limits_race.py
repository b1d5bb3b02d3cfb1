"""Many at once for something of which there is exactly so much: exactly as many pass, in one process
and over three; and with look and leap in two steps, the same races are lost."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.indexes import Clock, budget, command, key, needed_redis_url, own_prefix
from tests.storage.races import HOLD_NUSD, PLENTY, RACES
from triptych.storage.limits.memory import MemoryIndex

CALLS = 2_000
PROCESSES = 3
# Primes are no multiple of anybody's share.
PRIMES = (
    2, 3, 5, 7, 29, 101, 199, 307, 401, 503, 613, 701, 809, 907, 997, 1_103, 1_301, 1_499, 1_789, 1_999,
)  # fmt: skip


@pytest.mark.parametrize("way", RACES)
def test_of_2000_tasks_exactly_k_pass_in_one_process(way: str) -> None:
    race = RACES[way]

    async def run(k: int) -> int:
        index = MemoryIndex()

        async def call(n: int) -> bool:
            await asyncio.sleep(0)
            admitted: bool = race.call(index, str(n), k).admitted
            await asyncio.sleep(0.001)
            return admitted

        passed = await asyncio.gather(*(call(n) for n in range(CALLS)))
        assert race.in_memory(index) == sum(passed)
        for n, admitted in enumerate(passed):
            if admitted:
                index.settle(str(n), 0, 0, 0)
        assert index.holds == 0
        assert race.in_memory(index) == (0 if race.comes_back else sum(passed))
        return sum(passed)

    assert [asyncio.run(run(k)) for k in (1, 997, 1_999)] == [1, 997, 1_999]


@pytest.mark.parametrize("way", RACES)
def test_reading_before_writing_would_let_more_pass_in_one_process(way: str) -> None:
    """The proof's own proof: with a pause between look and leap, the same race is lost."""
    race = RACES[way]

    async def run() -> int:
        index = MemoryIndex()

        async def call(n: int) -> bool:
            left = race.in_memory(index) < 997
            await asyncio.sleep(0)
            return left and race.call(index, str(n), PLENTY).admitted

        return sum(await asyncio.gather(*(call(n) for n in range(CALLS))))

    assert asyncio.run(run()) > 997


def test_what_ends_makes_room_for_exactly_as_much() -> None:
    async def race() -> tuple[int, int]:
        clock = Clock()
        index = MemoryIndex(clock.monotonic, clock.wall)
        running = most = 0
        budgets = (budget(31 * HOLD_NUSD),)

        async def call(n: int) -> None:
            nonlocal running, most
            if index.reserve(str(n), key(), 0, budgets, HOLD_NUSD, 0).admitted:
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.0001 * (n % 7))
                running -= 1
                index.settle(str(n), 0, 0, 0)

        for wave in range(10):
            await asyncio.gather(*(call(wave * 200 + n) for n in range(200)))
        return most, index.holds

    assert asyncio.run(race()) == (31, 0)


class Racers:
    """Three processes that start together, race after race."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.storage.racers", url, f"p{n}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for n in range(PROCESSES)
        ]

    def race(self, way: str, k: int, manner: str = "atomic") -> int:
        """How many of 2,000 calls passed; nothing of them is left in Redis."""
        prefix = own_prefix()
        self._tell("race", way, manner, prefix, str(-(-CALLS // PROCESSES)), str(k))
        assert self._hear() == ["ready"] * PROCESSES
        self._tell("go")
        passed = sum(int(count) for count in self._hear())

        async def taken() -> int:
            return await RACES[way].in_redis(
                lambda *words: command(self._url, *(word.decode() for word in words)), prefix
            )

        assert asyncio.run(taken()) == passed
        self._tell("end")
        assert self._hear() == ["ended"] * PROCESSES
        assert asyncio.run(taken()) == (0 if RACES[way].comes_back else passed)
        return passed

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _tell(self, *words: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\t".join(words) + "\n")
            process.stdin.flush()

    def _hear(self) -> list[str]:
        heard = []
        for process in self._processes:
            assert process.stdout is not None
            heard.append(process.stdout.readline().rstrip("\n"))
        return heard


@pytest.fixture(scope="module")
def racers() -> Iterator[Racers]:
    started = Racers(needed_redis_url())
    yield started
    started.close()


@pytest.mark.redis
@pytest.mark.parametrize("way", RACES)
def test_of_2000_calls_exactly_k_pass_over_three_processes(racers: Racers, way: str) -> None:
    assert racers.race(way, 997) == 997


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", RACES)
def test_twenty_times_exactly_k_pass_over_three_processes(racers: Racers, way: str) -> None:
    assert len(PRIMES) == 20
    assert [racers.race(way, k) for k in PRIMES] == list(PRIMES)


@pytest.mark.redis
@pytest.mark.parametrize("way", RACES)
def test_reading_before_writing_would_let_more_pass_over_three_processes(racers: Racers, way: str) -> None:
    assert racers.race(way, 997, "read-first") > 997

"""Many at once against a budget that admits exactly k: exactly k pass."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.indexes import Clock, budget, key, needed_redis_url, own_prefix
from triptych.storage.limits.memory import MemoryIndex

CALLS = 2_000
K = 997  # prime: it is no multiple of anybody's share
HOLD_NUSD = 1_000_003


def test_of_2000_tasks_exactly_k_pass_in_one_process() -> None:
    async def race() -> int:
        index = MemoryIndex()

        async def call(n: int) -> bool:
            await asyncio.sleep(0)
            answer = index.reserve(str(n), key(), 0, (budget(K * HOLD_NUSD),), HOLD_NUSD, 0)
            await asyncio.sleep(0.001)
            return answer.admitted

        return sum(await asyncio.gather(*(call(n) for n in range(CALLS))))

    assert asyncio.run(race()) == K


def test_reading_before_writing_would_let_more_pass_in_one_process() -> None:
    """The proof's own proof: with a pause between look and leap, the same race is lost."""

    async def race() -> int:
        held = 0

        async def call() -> bool:
            nonlocal held
            seen = held
            await asyncio.sleep(0)
            if seen + HOLD_NUSD > K * HOLD_NUSD:
                return False
            held += HOLD_NUSD
            return True

        return sum(await asyncio.gather(*(call() for _ in range(CALLS))))

    assert asyncio.run(race()) > K


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


def raced(way: str, cap: int, processes: int = 3) -> int:
    """How many of 2,000 calls passed, made by several processes that start together."""
    url, prefix = needed_redis_url(), own_prefix()
    each = -(-CALLS // processes)
    racers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.storage.racers", url, prefix, way),
                *(f"p{n}", str(each), str(cap), str(HOLD_NUSD)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for n in range(processes)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return sum(int(racer.communicate(timeout=40)[0]) for racer in racers)
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
            for pipe in (racer.stdin, racer.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.mark.redis
def test_of_2000_calls_exactly_k_pass_over_three_processes() -> None:
    assert raced("reserve", K * HOLD_NUSD) == K


@pytest.mark.redis
def test_of_2000_requests_exactly_k_pass_over_three_processes() -> None:
    assert raced("request", K) == K


@pytest.mark.redis
def test_reading_before_writing_would_let_more_pass_over_three_processes() -> None:
    assert raced("read-first", K * HOLD_NUSD) > K

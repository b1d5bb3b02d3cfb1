"""Long reads of many callers: made once for all who wait, and never from before one asked."""

import asyncio
import threading
import time

import pytest

from tests.devices.in_loop import in_loop
from triptych.core.failure import Failure, FailureKind
from triptych.storage.errors import StorageError
from triptych.surfaces.clinical.shared_reads import AT_ONCE, SharedReads


class Slow:
    """A read that takes a while, and counts."""

    def __init__(self) -> None:
        self.made = 0
        self.running = 0
        self.most_running = 0
        self.fails = False
        self._lock = threading.Lock()

    def __call__(self, org_id: str) -> int:
        with self._lock:
            self.made += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            made = self.made
        time.sleep(0.05)
        with self._lock:
            self.running -= 1
        if self.fails:
            raise StorageError("away")
        return made


def shared(read: Slow) -> SharedReads[int]:
    return SharedReads(read, asyncio.Semaphore(AT_ONCE))


@in_loop
async def test_who_asks_while_one_is_made_shares_the_next() -> None:
    read = Slow()
    reads = shared(read)
    first = asyncio.create_task(reads.of("acme"))
    await asyncio.sleep(0.02)
    later = await asyncio.gather(*(reads.of("acme") for _ in range(50)))
    assert (await first, set(later), read.made) == (1, {2}, 2)
    assert await reads.of("acme") == 3, "nothing is kept"


@in_loop
async def test_an_org_takes_one_place_and_all_orgs_a_few() -> None:
    read = Slow()
    reads = shared(read)
    await asyncio.gather(*(reads.of("acme") for _ in range(9)))
    assert read.most_running == 1
    await asyncio.gather(*(reads.of(f"org-{number}") for number in range(9)))
    assert read.most_running == AT_ONCE


@in_loop
async def test_a_failure_and_a_caller_who_leaves_are_nobody_elses() -> None:
    read = Slow()
    reads = shared(read)
    read.fails = True
    with pytest.raises(Failure) as raised:
        await reads.of("acme")
    assert raised.value.kind is FailureKind.SERVICE_UNAVAILABLE
    read.fails = False
    leaving, waiting = (asyncio.create_task(reads.of("acme")) for _ in range(2))
    staying = asyncio.create_task(reads.of("acme"))
    await asyncio.sleep(0.02)
    leaving.cancel()
    waiting.cancel()
    assert await staying == 3
    assert leaving.cancelled() and waiting.cancelled()

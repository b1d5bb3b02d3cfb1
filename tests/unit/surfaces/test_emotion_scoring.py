"""The engine from the loop's side: loaded once and late, one caller's at a time, never in the loop's way."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from triptych.core.emotion import Emotion
from triptych.core.failure import Failure, FailureKind
from triptych.surfaces.emotion.scoring import INLINE_CHARS, Engine, Scoring

EMOTION = Emotion((0.1,) * 6, 0.0, 0.0, 0.0)


class Counting:
    """An engine that notes who called, and complains about two callers at a time."""

    def __init__(self, seconds_a_text: float = 0.0) -> None:
        self.threads: list[str] = []
        self.calls: list[int] = []
        self._seconds = seconds_a_text
        self._busy = threading.Lock()

    def analyse(self, texts: Sequence[str]) -> tuple[list[Emotion], int]:
        assert self._busy.acquire(blocking=False), "two at a time"
        try:
            self.threads.append(threading.current_thread().name)
            self.calls.append(len(texts))
            time.sleep(self._seconds * len(texts))
            return [EMOTION] * len(texts), sum(len(text.split()) for text in texts)
        finally:
            self._busy.release()


def test_the_engine_is_loaded_by_the_first_text_and_once_for_all_who_wait() -> None:
    loads: list[str] = []

    def load() -> Engine:
        loads.append(threading.current_thread().name)
        time.sleep(0.05)
        return Counting()

    async def ask() -> None:
        scoring = Scoring(load)
        assert (scoring.state, loads) == ("idle", [])
        found = await asyncio.gather(*(scoring.score(["one two", "three"]) for _ in range(5)))
        assert [one.tokens for one in found] == [3] * 5
        assert (scoring.state, len(loads)) == ("operational", 1)
        assert loads[0].startswith("emotion")
        scoring.close()

    asyncio.run(ask())


def test_an_engine_that_cannot_be_loaded_is_a_503_and_is_tried_again() -> None:
    engines: list[Engine | Exception] = [ModuleNotFoundError("No module named 'onnxruntime'"), Counting()]

    def load() -> Engine:
        engine = engines.pop(0)
        if isinstance(engine, Exception):
            raise engine
        return engine

    async def ask() -> None:
        scoring = Scoring(load)
        with pytest.raises(Failure) as refused:
            await scoring.score(["x"])
        assert refused.value.kind is FailureKind.SERVICE_UNAVAILABLE
        assert "onnx" not in refused.value.message
        assert scoring.state == "down"
        assert (await scoring.score(["x"])).emotions == [EMOTION]
        assert scoring.state == "operational"
        scoring.close()

    asyncio.run(ask())


def test_who_leaves_while_the_engine_loads_takes_it_from_nobody() -> None:
    def load() -> Engine:
        time.sleep(0.1)
        return Counting()

    async def ask() -> None:
        scoring = Scoring(load)
        leaving = asyncio.create_task(scoring.score(["x"]))
        staying = asyncio.create_task(scoring.score(["y"]))
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert (await staying).emotions == [EMOTION]
        scoring.close()

    asyncio.run(ask())


def test_short_work_stays_in_the_loop_and_long_work_leaves_it_in_slices() -> None:
    engine = Counting()

    async def ask() -> None:
        scoring = Scoring(lambda: engine)
        await scoring.score(["x" * INLINE_CHARS])
        assert engine.threads == [threading.current_thread().name]
        found = await scoring.score(["x" * 4000] * 7)
        assert len(found.emotions) == 7 and engine.calls[1:] == [2, 2, 2, 1]
        assert all(name.startswith("emotion") for name in engine.threads[1:])
        scoring.close()

    asyncio.run(ask())


def test_a_long_batch_does_not_hold_up_the_loop_and_others_come_in_between() -> None:
    engine = Counting(seconds_a_text=0.03)

    async def ask() -> tuple[float, float, float]:
        scoring = Scoring(lambda: engine)
        await scoring.score(["warm"])
        began_s = time.monotonic()
        batch = asyncio.create_task(scoring.score(["x" * 10_000] * 30))
        longest_s, before_s = 0.0, began_s
        small_s = 0.0
        while not batch.done():
            await asyncio.sleep(0.001)
            now_s = time.monotonic()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s
            if not small_s and now_s - began_s > 0.1:
                await scoring.score(["short"])
                small_s = time.monotonic() - now_s
                before_s = time.monotonic()
        scoring.close()
        return longest_s, small_s, time.monotonic() - began_s

    longest_s, small_s, all_s = asyncio.run(ask())
    # A batch of 0.9 s; the loop turns all the while, and a short text waits for a slice or two.
    assert longest_s < 0.3 and small_s < all_s / 2


def test_whoever_comes_during_a_long_batch_is_next() -> None:
    engine = Counting(seconds_a_text=0.005)

    async def ask() -> None:
        scoring = Scoring(lambda: engine)
        await scoring.score(["warm"])
        batch = asyncio.create_task(scoring.score(["x" * 10_000] * 40))
        for _ in range(10):
            await asyncio.sleep(0.001)
            already = len(engine.calls)
            await scoring.score(["y" * 3_000])
            # The slice that was under way, the one that stood in line already, and this.
            assert len(engine.calls) - already <= 3
        assert not batch.done()
        await batch
        scoring.close()

    asyncio.run(ask())

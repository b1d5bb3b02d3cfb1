"""Texts to emotions: the engine is loaded when it is first needed, and long work leaves the loop."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from triptych.core.emotion import Emotion
from triptych.core.failure import Failure, FailureKind

logger = logging.getLogger("triptych.emotion")

INLINE_CHARS = 2_000
"""What is scored within two or three milliseconds; a thread would cost more than it spares."""
SLICE_CHARS = 10_000
"""What is scored in one go in the thread: others may come in between."""


class Engine(Protocol):
    def analyse(self, texts: Sequence[str]) -> tuple[list[Emotion], int]:
        """One emotion per text, in their order; the tokens of all texts."""
        ...


class Analysed(msgspec.Struct, frozen=True):
    emotions: list[Emotion]
    """One per text, in their order."""
    tokens: int
    """Of all texts: ``analyse_tokens``."""


class Scoring:
    """The one engine of the process. Idle until the first text comes: a gateway that is asked for no
    emotion pays neither its memory nor its start."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        """``load`` blocks for some tenths of a second; whatever it raises means that there is no engine."""
        self._load = load
        self._engine: Engine | None = None
        self._loading: asyncio.Task[Engine] | None = None
        # The engine is one caller's at a time: the thread's, or the loop's for what is short.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="emotion")
        self._turn = threading.Lock()
        self._failed = False

    @property
    def state(self) -> str:
        """``idle`` | ``operational`` | ``down``, for the status page."""
        if self._engine is not None:
            return "operational"
        return "down" if self._failed else "idle"

    async def score(self, texts: Sequence[str]) -> Analysed:
        """Raises Failure SERVICE_UNAVAILABLE when the engine cannot be loaded."""
        engine = self._engine or await self._loaded()
        if sum(map(len, texts)) <= INLINE_CHARS and self._turn.acquire(blocking=False):
            try:
                return _analyse(engine, texts)
            finally:
                self._turn.release()
        loop = asyncio.get_running_loop()
        emotions: list[Emotion] = []
        tokens = 0
        for some in _slices(texts):
            # Each waits in line anew: a lock would go back and again to whoever just let go of it.
            found = await loop.run_in_executor(self._thread, self._in_turn, engine, some)
            emotions += found.emotions
            tokens += found.tokens
        return Analysed(emotions, tokens)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _in_turn(self, engine: Engine, texts: Sequence[str]) -> Analysed:
        with self._turn:
            return _analyse(engine, texts)

    async def _loaded(self) -> Engine:
        """Loaded once, whoever waits for it; the next request tries again what failed."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load_in_thread())
        try:
            return await asyncio.shield(self._loading)
        except Exception as error:
            raise Failure(FailureKind.SERVICE_UNAVAILABLE, "The emotion engine cannot be loaded.") from error

    async def _load_in_thread(self) -> Engine:
        loop = asyncio.get_running_loop()
        try:
            self._engine = await loop.run_in_executor(self._thread, self._load)
        except Exception as error:
            self._failed = True
            logger.error("the emotion engine cannot be loaded: %s: %s", type(error).__name__, error)
            raise
        finally:
            self._loading = None
        self._failed = False
        return self._engine


def _analyse(engine: Engine, texts: Sequence[str]) -> Analysed:
    return Analysed(*engine.analyse(texts))


def _slices(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = 0
    while start < len(texts):
        end, chars = start, 0
        while end < len(texts) and (end == start or chars + len(texts[end]) <= SLICE_CHARS):
            chars += len(texts[end])
            end += 1
        yield texts[start:end]
        start = end

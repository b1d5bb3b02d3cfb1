"""Five ways in which many race for something of which there is exactly so much."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tests.storage.indexes import budget, key, org
from triptych.storage.limits.memory import MemoryIndex

HOLD_NUSD = 1_000_003
TOKENS = 37
PLENTY = 10**9
_LENGTH = "return tostring(redis.call('LLEN', KEYS[1]))"


class Race:
    """``call`` asks once, of ``most``; ``taken`` says how much of it is taken."""

    def __init__(
        self,
        call: Callable[[Any, str, int], Any],
        taken_in_memory: Callable[[MemoryIndex], int],
        read_from_redis: tuple[str, str],
        unit: int = 1,
        *,
        comes_back: bool,
    ) -> None:
        self.call = call
        self._taken_in_memory = taken_in_memory
        self._read_from_redis = read_from_redis
        self._unit = unit
        self.comes_back = comes_back
        """Whether what was taken is free again when its exchange has ended."""

    def in_memory(self, index: MemoryIndex) -> int:
        return self._taken_in_memory(index) // self._unit

    async def in_redis(self, command: Callable[..., Awaitable[Any]], prefix: str) -> int:
        import msgspec

        place, field = self._read_from_redis
        where = f"{prefix}:{{O}}:{place}"
        # The link of the gateway reads texts only.
        words = ("HGET", where, field) if field else ("EVAL", _LENGTH, "1", where)
        answer = await command(*(word.encode() for word in words))
        if isinstance(answer, bytes) and not answer.isdigit():
            # A balance (spent and held) or a day.
            numbers = msgspec.msgpack.decode(answer)
            answer = numbers[1] + numbers[2] if len(numbers) == 5 else numbers[1]
        return int(answer or 0) // self._unit


RACES = {
    "money": Race(
        lambda index, name, most: index.reserve(name, key(), 0, (budget(most * HOLD_NUSD),), HOLD_NUSD, 0),
        lambda index: sum(b.taken_nusd for b in index._books.get("O", {}).values()),
        ("book", "b:O"),
        HOLD_NUSD,
        comes_back=True,
    ),
    "requests a minute": Race(
        lambda index, name, most: index.admit_request(None, key(rpm=most)),
        lambda index: index._callers.requests.window("K").total,
        ("r:K", ""),
        comes_back=False,
    ),
    "requests a day": Race(
        lambda index, name, most: index.admit_request(None, key(rpd=most)),
        lambda index: index._callers.day("K").total,
        ("book", "d:K"),
        comes_back=False,
    ),
    "tokens a minute": Race(
        lambda index, name, most: index.reserve(name, org(tpm=most * TOKENS), TOKENS, (), 0, 0),
        lambda index: index._callers.tokens.window("O").total,
        ("u:O", "total"),
        TOKENS,
        comes_back=True,
    ),
    "at the same time": Race(
        lambda index, name, most: index.admit_request(name, key(concurrency=most)),
        lambda index: index._slots.get("K", 0),
        ("book", "c:K"),
        comes_back=True,
    ),
}


async def answered(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer

"""Nodes that count in one Redis, the database they read, and the way between that can be cut."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.storage.indexes import budget, key, needed_redis_url
from triptych.core.admission import Seed, SeedSource
from triptych.core.failure import Failure, FailureKind
from triptych.storage.limits.redis_index import RedisIndex

CAP = (budget(1_000),)


class Facts:
    """A database, as far as an index reads it."""

    def __init__(self, **seed: Any) -> None:
        self.seed = Seed(**seed)
        self.broken = False
        self.reads = 0
        self.takes_s = 0.0
        self.asked: Sequence[str] = ()

    def __call__(self, org_id: str, held: Sequence[str] = ()) -> Seed:
        self.asked = held
        self.reads += 1
        time.sleep(self.takes_s)
        if self.broken:
            raise OSError("away")
        return self.seed


class Relay:
    """Stands between an index and Redis, and can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[Any]] = []
        self.port = 0
        self.silent = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._writers.clear()
        self._pumps.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A cut in the middle of this cuts it, too.
        accepting = asyncio.current_task()
        assert accepting is not None
        self._writers.append(writer)
        self._pumps.append(accepting)
        there, back = await asyncio.open_connection(*self._target)
        self._writers.append(back)
        self._pumps += [
            asyncio.create_task(self._pump(reader, back)),
            asyncio.create_task(self._pump(there, writer)),
        ]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.silent:
                writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def node(prefix: str, source: SeedSource = lambda org_id, held=(): Seed(), **changes: Any) -> Any:
    facts: dict[str, Any] = {"hold_lease_s": 30, "local": False, "known_nodes": lambda: 1, **changes}
    url = facts.pop("url", None) or needed_redis_url()
    index = RedisIndex(url, source, key_prefix=prefix, **facts)
    await index.start()
    try:
        yield index
    finally:
        await index.close()


def run(work: Awaitable[None]) -> None:
    asyncio.run(work)  # type: ignore[arg-type]


async def hold(index: RedisIndex, name: str, nusd: int, budgets: Any = CAP) -> bool:
    return (await index.reserve(name, key(), 0, budgets, nusd, 0)).admitted


async def delivered(index: RedisIndex) -> None:
    while index._calls.busy or index.undelivered:
        await asyncio.sleep(0.002)


async def refused(work: Awaitable[Any]) -> None:
    with pytest.raises(Failure) as caught:
        await work
    assert caught.value.kind is FailureKind.SERVICE_UNAVAILABLE


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)

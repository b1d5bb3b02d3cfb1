"""One process of a race: ``python -m tests.storage.racers URL NAME``.

It reads lines: ``race WAY atomic|read-first PREFIX CALLS K`` makes ready and says ``ready``; ``go``
makes all calls at once and says how many were admitted; ``end`` settles what was admitted and says
``ended``. So one process serves many races, and those that race start together.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tests.storage.races import PLENTY, RACES, Race, answered
from triptych.core.admission import Seed
from triptych.storage.limits.redis_index import RedisIndex
from triptych.storage.limits.redis_link import RedisLink

CONNECTIONS = 20


async def at_once(index: RedisIndex, race: Race, names: list[str], most: int) -> list[str]:
    answers = await asyncio.gather(*(race.call(index, name, most) for name in names))
    return [name for name, answer in zip(names, answers, strict=True) if answer.admitted]


async def reading_first(
    index: RedisIndex, race: Race, names: list[str], most: int, url: str, prefix: str
) -> list[str]:
    """What must not be done: read, decide, write. Nothing stands between the three but luck."""
    links = [RedisLink(url, timeout_s=20) for _ in range(CONNECTIONS)]
    for link in links:
        await link.connect()
    left = iter(names)

    async def call(command: Callable[..., Awaitable[Any]]) -> list[str]:
        admitted = []
        for name in left:
            if await race.in_redis(command, prefix) < most:
                assert (await answered(race.call(index, name, PLENTY))).admitted
                admitted.append(name)
        return admitted

    found = await asyncio.gather(*(call(link._command) for link in links))
    for link in links:
        link.close()
    return [name for names in found for name in names]


async def main(url: str, me: str) -> None:
    async def line() -> list[str]:
        return (await asyncio.to_thread(sys.stdin.readline)).rstrip("\n").split("\t")

    while (words := await line()) != [""]:
        _, way, manner, prefix, calls, most = words
        race, names = RACES[way], [f"{me}-{n}" for n in range(int(calls))]
        index = RedisIndex(
            url,
            lambda org_id, held=(): Seed(),
            hold_lease_s=60,
            local=False,
            known_nodes=lambda: 3,
            key_prefix=prefix,
            timeout_s=20,
        )
        await index.start()
        print("ready", flush=True)
        await line()
        if manner == "atomic":
            admitted = await at_once(index, race, names, int(most))
        else:
            admitted = await reading_first(index, race, names, int(most), url, prefix)
        print(len(admitted), flush=True)
        await line()
        for name in admitted:
            index.settle(name, 0, 0, 0, "O")
        while index._calls.busy:
            await asyncio.sleep(0.002)
        await index.close()
        print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

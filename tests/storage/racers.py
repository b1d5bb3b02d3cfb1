"""One process of a race: ``python -m tests.storage.racers URL PREFIX WAY CALLS CAP HOLD``.

It says ``ready``, waits for a line, makes all its calls at once, and says how many were admitted.
"""

import asyncio
import sys

from tests.storage.indexes import budget, key
from triptych.core.admission import RequestLimits, RequestScope, Seed
from triptych.storage.limits.redis_index import RedisIndex
from triptych.storage.limits.redis_link import RedisLink

CONNECTIONS = 20


async def reserving(url: str, prefix: str, name: str, calls: int, cap: int, hold: int) -> int:
    index = opened(url, prefix)
    await index.start()
    await barrier()
    answers = await asyncio.gather(
        *(index.reserve(f"{name}-{n}", key(), 0, (budget(cap),), hold, 0) for n in range(calls))
    )
    await index.close()
    return sum(answer.admitted for answer in answers)


async def requesting(url: str, prefix: str, name: str, calls: int, cap: int, hold: int) -> int:
    index = opened(url, prefix)
    await index.start()
    await barrier()
    scopes = (RequestScope(name, RequestLimits()), RequestScope("O", RequestLimits(rpm=cap)))
    answers = await asyncio.gather(*(index.admit_request(None, scopes) for _ in range(calls)))
    await index.close()
    return sum(answer.admitted for answer in answers)


async def reading_first(url: str, prefix: str, name: str, calls: int, cap: int, hold: int) -> int:
    """What must not be done: read, decide, write. Nothing stands between the three but luck."""
    links = [RedisLink(url, timeout_s=5) for _ in range(CONNECTIONS)]
    for link in links:
        await link.connect()
    await barrier()
    left = iter(range(calls))

    async def call(link: RedisLink) -> int:
        admitted = 0
        for _ in left:
            held = int(await link._command(b"GET", prefix.encode()) or 0)
            if held + hold <= cap:
                await link._command(b"INCRBY", prefix.encode(), str(hold).encode())
                admitted += 1
        return admitted

    counts = await asyncio.gather(*(call(link) for link in links))
    for link in links:
        link.close()
    return sum(counts)


def opened(url: str, prefix: str) -> RedisIndex:
    return RedisIndex(
        url,
        lambda org_id: Seed(),
        hold_lease_s=30,
        local=False,
        known_nodes=lambda: 3,
        key_prefix=prefix,
        timeout_s=20,
    )


async def barrier() -> None:
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


WAYS = {"reserve": reserving, "request": requesting, "read-first": reading_first}

if __name__ == "__main__":
    url, prefix, way, name = sys.argv[1:5]
    print(asyncio.run(WAYS[way](url, prefix, name, *(int(word) for word in sys.argv[5:8]))), flush=True)

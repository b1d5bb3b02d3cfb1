"""``python -m bench.steps``: CPU time of the limit and money steps of one exchange, in memory.

Everything on: requests by minute and day, tokens and exchanges at the same time of key, user and org, money
and credits of key, user, group and org. The least of many rounds is told: what other programs take
of the processor only ever adds.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time

from bench.canned import MODEL_ID, Wire, build_request
from triptych.core.admission import BudgetScope, RequestLimits
from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of
from triptych.core.exchange import Exchange
from triptych.core.ids import new_ulid
from triptych.core.principal import SCOPES, Group, Principal
from triptych.core.target import Model, Target
from triptych.core.usage import Price
from triptych.stages.reserve import Reserve
from triptych.stages.route import Leg
from triptych.stages.throttle import Throttle
from triptych.storage.limits.seeded import SeededMemoryIndex, empty_seed

PLENTY = 10**12
ROUNDS = 60
EXCHANGES = 500


class Asked:
    """A request of 1 kB."""

    body = build_request(Wire.MESSAGES, MODEL_ID, 1_000, stream=False, tools=0)
    max_output_tokens = 1_024
    choices = 1


def budget(kind: str, name: str) -> BudgetScope:
    today = day_of(now_us())
    return BudgetScope(kind, name, PLENTY**2, PLENTY**2, cycle_of(today, today)[0])


@functools.cache
def budgets_of(org: int) -> tuple[BudgetScope, ...]:
    """Of a user, a group and the org: one object for all keys, as the directory has them."""
    return tuple(budget(kind, f"{kind[0].upper()}{org}") for kind in ("user", "group", "org"))


LIMITS = RequestLimits(rpm=PLENTY, rpd=PLENTY, tpm=PLENTY)


def principal(org: int, key: int) -> Principal:
    """With a limit of every kind at every level."""
    limits = RequestLimits(rpm=PLENTY, rpd=PLENTY, tpm=PLENTY, concurrency=PLENTY)
    above = budgets_of(org)
    user, _, whole = (scope.id for scope in above)
    name = f"K{org}-{key}"
    return Principal(
        org_id=whole,
        org_slug=whole,
        user_id=user,
        key_id=name,
        scopes=SCOPES,
        environment="live",
        groups=(Group("g", frozenset({"*"}), True),),
        key_limits=limits,
        user_limits=LIMITS,
        org_limits=LIMITS,
        budgets=(budget("key", name), *above),
        cycle_anchor_day=day_of(now_us()),
    )


def exchange(caller: Principal) -> Exchange:
    """One that was just received."""
    return Exchange(
        id=new_ulid(),
        surface="inference",
        endpoint="messages",
        principal=caller,
        headers=(),
        query=b"",
        body=Asked.body,
        started_us=now_us(),
        received_s=time.monotonic(),
    )


async def measure(orgs: int, keys_per_org: int) -> float:
    """Microseconds of one exchange: throttle, reserve, settle."""
    index = SeededMemoryIndex(empty_seed)
    throttle, reserve = Throttle(index, slots=True), Reserve(index)
    model = Model(
        id="m", targets=(Target("p", "m"),), price=Price(3 * 10**9, 15 * 10**9, 3 * 10**8, 4 * 10**9)
    )
    legs = (Leg(model, model.targets[0], None),)
    callers = [principal(org, key) for key in range(keys_per_org) for org in range(orgs)]
    for caller in callers:
        # The first request of an org reads its balances, the first of a key makes its windows.
        first = exchange(caller)
        for waiting in (throttle(first), reserve(first, legs, Asked)):
            if waiting is not None:
                await waiting
        index.settle(first.id, 0, 0, 0)
    best_ns = 10**18
    order = random.Random(1)
    for _ in range(ROUNDS):
        made = [exchange(caller) for caller in order.choices(callers, k=EXCHANGES)]
        began_ns = time.process_time_ns()
        for one in made:
            throttle(one)
            reserve(one, legs, Asked)
            index.settle(one.id, 500, 1_000, 500)
        best_ns = min(best_ns, time.process_time_ns() - began_ns)
    return best_ns / EXCHANGES / 1000


def main() -> None:
    """Prints both numbers."""
    few, many = asyncio.run(measure(1, 10)), asyncio.run(measure(100, 100))
    print(f"limit and money steps, CPU per exchange: {few:.1f} us with 10 keys of 1 org,")
    print(f"{many:.1f} us with 10,000 keys of 100 orgs (x{many / few:.2f}); the bar is 15 us")


if __name__ == "__main__":
    main()

"""What a request costs does not depend on how many keys there are."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from triptych.core.admission import BudgetScope, RequestLimits
from triptych.core.exchange import Exchange
from triptych.core.principal import SCOPES, Group, Principal
from triptych.core.target import Model, Target
from triptych.core.usage import Price
from triptych.stages.authenticate import Authenticate
from triptych.stages.reserve import Reserve
from triptych.stages.route import Leg
from triptych.stages.throttle import Throttle
from triptych.storage.directory import KeyEntry
from triptych.storage.limits.seeded import SeededMemoryIndex, empty_seed

PLENTY = 10**12
STARTED_US = 20_510 * 86_400_000_000 + 5
CYCLE = 20_497
LIMITS = RequestLimits(rpm=PLENTY, rpd=PLENTY, tpm=PLENTY)


class Asked:
    body = b"x" * 1_000
    max_output_tokens = 100
    choices = 1


class Keys:
    """Every key's hash is the key."""

    fresh = True

    def __init__(self, principals: list[Principal]) -> None:
        self.entries = {
            principal.key_id.encode(): KeyEntry(principal.key_id.encode(), principal, None, None)
            for principal in principals
        }
        self.find = self.entries.get

    def hash(self, secret: bytes) -> bytes:
        return secret


class Gateway:
    """The stages that decide about a key's request, over the index of one process."""

    def __init__(self, orgs: int, keys_per_org: int) -> None:
        self.now_ms = 10**9
        self.principals = [_principal(org, key) for key in range(keys_per_org) for org in range(orgs)]
        index = SeededMemoryIndex(empty_seed, lambda: self.now_ms, lambda: STARTED_US)
        keys = Keys(self.principals)
        self._index = index
        self._authenticate = Authenticate(keys, keys)
        self._throttle, self._reserve = Throttle(index, slots=True), Reserve(index)
        model = Model(id="m", targets=(Target("p", "m"),), price=Price(3_000, 15_000, 300, 4_000))
        self._legs = (Leg(model, model.targets[0], None),)

    async def ask_first(self, principal: Principal) -> None:
        """The first request of an org reads what is known of it."""
        exchange = _exchange(principal)
        for waiting in (self._throttle(exchange), self._reserve(exchange, self._legs, Asked)):
            if waiting is not None:
                await waiting
        self._index.settle(exchange.id, 500, 1_000, 500)

    def ask(self, key_id: str) -> None:
        principal = self._authenticate(((b"x-api-key", key_id.encode()),), STARTED_US)
        exchange = _exchange(principal)
        assert self._throttle(exchange) is None
        assert self._reserve(exchange, self._legs, Asked) is None
        assert self._index.settle(exchange.id, 500, 1_000, 500).found


def _principal(org: int, key: int) -> Principal:
    ids = {"key": f"K{org}-{key}", "user": f"U{org}", "group": f"G{org}", "org": f"O{org}"}
    return Principal(
        org_id=ids["org"],
        org_slug=ids["org"],
        user_id=ids["user"],
        key_id=ids["key"],
        scopes=SCOPES,
        environment="live",
        groups=(Group("g", frozenset({"*"}), True),),
        key_limits=RequestLimits(rpm=PLENTY, rpd=PLENTY, tpm=PLENTY, concurrency=PLENTY),
        user_limits=LIMITS,
        org_limits=LIMITS,
        budgets=tuple(BudgetScope(kind, id, PLENTY, PLENTY, CYCLE) for kind, id in ids.items()),
        cycle_anchor_day=CYCLE,
    )


def _exchange(principal: Principal) -> Exchange:
    return Exchange(
        id=f"X{principal.key_id}",
        surface="inference",
        endpoint="messages",
        principal=principal,
        headers=(),
        query=b"",
        body=Asked.body,
        started_us=STARTED_US,
        received_s=0.0,
    )


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Bytecodes that are executed meanwhile, in whatever is called."""
    steps = [0]

    def step(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        steps[0] += event == "opcode"
        return step

    def call(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield steps
    finally:
        sys.settrace(before)


async def _steps_of_ten_requests(orgs: int, keys_per_org: int) -> list[int]:
    gateway = Gateway(orgs, keys_per_org)
    for principal in gateway.principals:
        await gateway.ask_first(principal)
    found = []
    for principal in gateway.principals[:: len(gateway.principals) // 10]:
        gateway.now_ms += 1
        with counted_steps() as steps:
            gateway.ask(principal.key_id)
        found.append(steps[0])
    return found


def test_deciding_takes_the_same_steps_with_ten_keys_and_with_ten_thousand() -> None:
    few = asyncio.run(_steps_of_ten_requests(1, 10))
    many = asyncio.run(_steps_of_ten_requests(100, 100))
    assert len(few) == len(many) == 10
    assert min(few) > 1_000
    assert few == many

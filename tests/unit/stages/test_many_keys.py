"""What it takes to decide about a request does not depend on how many keys there are."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.steps import Asked, exchange, principal

from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.principal import Principal
from triptych.core.target import Model, Target
from triptych.core.usage import Price
from triptych.stages.authenticate import Authenticate
from triptych.stages.reserve import Reserve
from triptych.stages.route import Leg
from triptych.stages.throttle import Throttle
from triptych.storage.directory import KeyEntry
from triptych.storage.limits.seeded import SeededMemoryIndex, empty_seed


class Keys:
    """Every key's id is its secret, and its hash."""

    fresh = True

    def __init__(self, principals: list[Principal]) -> None:
        hashes = {one.key_id.encode(): one for one in principals}
        self.find = {hash: KeyEntry(hash, one, None, None) for hash, one in hashes.items()}.get

    def hash(self, secret: bytes) -> bytes:
        return secret


class Gateway:
    """The stages that decide about a key's request, over the index of one process."""

    def __init__(self, orgs: int, keys_per_org: int) -> None:
        self.principals = [principal(org, key) for key in range(keys_per_org) for org in range(orgs)]
        self._now_ms, self._moment_us = 10**9, now_us()
        self._index = SeededMemoryIndex(empty_seed, lambda: self._now_ms, lambda: self._moment_us)
        keys = Keys(self.principals)
        self._authenticate = Authenticate(keys, keys)
        self._throttle, self._reserve = Throttle(self._index, slots=True), Reserve(self._index)
        model = Model(id="m", targets=(Target("p", "m"),), price=Price(3_000, 15_000, 300, 4_000))
        self._legs = (Leg(model, model.targets[0], None),)

    async def ask_first(self, caller: Principal) -> None:
        """The first request of an org reads what is known of it."""
        first = exchange(caller)
        for waiting in (self._throttle(first), self._reserve(first, self._legs, Asked)):
            if waiting is not None:
                await waiting
        self._index.settle(first.id, 500, 1_000, 500)

    def steps(self, caller: Principal) -> int:
        """Of one request, a millisecond after the one before."""
        self._now_ms += 1
        asked = exchange(caller)
        with counted_steps() as steps:
            self._decide(asked)
        return steps[0]

    def _decide(self, asked: Exchange) -> None:
        caller = self._authenticate(((b"x-api-key", asked.principal.key_id.encode()),), self._moment_us)
        assert caller is asked.principal
        assert self._throttle(asked) is None
        assert self._reserve(asked, self._legs, Asked) is None
        assert self._index.settle(asked.id, 500, 1_000, 500).found


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Bytecodes of the gateway's own that are executed meanwhile. Others' come between, where somebody has
    asked to be told when cycles are collected."""
    steps = [0]

    def step(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        steps[0] += event == "opcode"
        return step

    def call(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if not str(frame.f_globals.get("__name__")).startswith("triptych."):
            return None
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
    for caller in gateway.principals:
        await gateway.ask_first(caller)
    return [gateway.steps(caller) for caller in gateway.principals[:: len(gateway.principals) // 10]]


def test_deciding_takes_the_same_steps_with_ten_keys_and_with_ten_thousand() -> None:
    few = asyncio.run(_steps_of_ten_requests(1, 10))
    many = asyncio.run(_steps_of_ten_requests(100, 100))
    assert len(few) == len(many) == 10
    assert min(few) > 1_000
    assert few == many

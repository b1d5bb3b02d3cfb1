"""The windows against the rule written down plainly, and one backend against the other."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.indexes import (
    CYCLE,
    Clock,
    InMemory,
    InRedis,
    needed_redis_url,
    org,
    three,
)
from triptych.core.admission import (
    BudgetScope,
    RequestLimits,
    RequestScope,
)
from triptych.storage.limits.memory import MemoryIndex
from triptych.storage.limits.windows import WINDOW_MS

DAY_US = 86_400_000_000


class NaiveLimits:
    """The rule, written down as plainly as possible."""

    def __init__(self) -> None:
        self.passed: list[tuple[int, int, frozenset[str]]] = []

    def admit(self, scopes: Sequence[RequestScope], ms: int, wall_us: int) -> bool:
        for scope in scopes:
            scope_id, limits = scope.id, scope.limits
            mine = [(at, day) for at, day, ids in self.passed if scope_id in ids]
            if limits.rpm is not None and sum(at > ms - WINDOW_MS for at, _ in mine) >= limits.rpm:
                return False
            if limits.rpd is not None and sum(day == wall_us // DAY_US for _, day in mine) >= limits.rpd:
                return False
        self.passed.append((ms, wall_us // DAY_US, frozenset(scope.id for scope in scopes)))
        return True


LIMITS = {
    "k1": RequestLimits(2, 5),
    "k2": RequestLimits(3),
    "u1": RequestLimits(4),
    "u2": RequestLimits(),
    "o1": RequestLimits(5, 9),
}


def three_of(*names: str) -> tuple[RequestScope, ...]:
    return three(*((name, LIMITS[name]) for name in (*names, "o1")))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 500, 999, 20_000, 59_999, 60_000, 60_001, 3_600_000, 40_000_000]),
            st.sampled_from(["k1", "k2"]),
            st.sampled_from(["u1", "u2"]),
        ),
        max_size=80,
    )
)
def test_the_windows_agree_with_a_naive_model(steps: list[tuple[int, str, str]]) -> None:
    clock = Clock()
    limits, naive = MemoryIndex(clock.monotonic, clock.wall), NaiveLimits()
    # A key of one user; the first is rebuilt with every request, as after a change of the directory.
    principals = {key_id: three_of(key_id, user_id) for _, key_id, user_id in steps}
    for wait_ms, key_id, user_id in steps:
        clock.ms += wait_ms
        scopes = principals[key_id] if key_id != "k1" else three_of(key_id, user_id)
        answer = limits.admit_request(None, scopes)
        assert answer.admitted == naive.admit(scopes, clock.ms, clock.wall())
        assert answer.remaining >= 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9))
def test_who_waits_as_long_as_told_passes_and_not_a_second_earlier(seed: int, rpm: int, rpd: int) -> None:
    dice = random.Random(seed)
    clock = Clock()
    limits = InMemory(clock)
    scopes = three(("K", RequestLimits(rpm)), ("U", RequestLimits(rpm + 1, rpd)), ("O", RequestLimits(7)))
    for _ in range(60):
        clock.ms += dice.choice([0, 1, 700, 13_000])
        answer = limits.admit(scopes)
        if not answer.admitted:
            assert answer.retry_after_s is not None
            assert answer.retry_after_s >= 1
            clock.ms += (answer.retry_after_s - 1) * 1000
            if answer.retry_after_s > 1:
                assert not limits.admit(scopes).admitted
            clock.ms += 1000
            assert limits.admit(scopes).admitted


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_who_waits_for_tokens_as_long_as_told_gets_them(seed: int, tpm: int) -> None:
    dice = random.Random(seed)
    clock = Clock()
    limits, scopes = InMemory(clock), org(tpm)
    running: list[str] = []
    for n in range(60):
        clock.ms += dice.choice([0, 1, 700, 13_000])
        tokens = dice.choice([1, 7, 50, 400])
        answer = limits.reserve(str(n), scopes, tokens)
        if not answer.admitted:
            assert answer.retry_after_s is not None
            clock.ms += (answer.retry_after_s - 1) * 1000
            if answer.retry_after_s > 1:
                assert not limits.reserve(str(n), scopes, tokens).admitted
            clock.ms += 1000
            assert limits.reserve(str(n), scopes, tokens).admitted
        running.append(str(n))
        if dice.random() < 0.5:
            # Never more than was held: who was told to wait relies on it.
            limits.settle(running.pop(dice.randrange(len(running))), tokens=0)


def random_steps(dice: random.Random) -> Iterator[tuple[Any, ...]]:
    levels = [
        RequestLimits(
            dice.choice([None, 3, 6]),
            dice.choice([None, 9]),
            dice.choice([None, 90, 200]),
            dice.choice([None, 2]),
        )
        for _ in range(4)
    ]
    known: list[str] = []
    # A key brings the same objects until the directory has changed, or its cycle.
    principals: dict[str, tuple[tuple[RequestScope, ...], tuple[BudgetScope, ...]]] = {}
    for n in range(120):
        key_id, user_id = dice.choice(["k1", "k2"]), "u1"
        scopes = three((key_id, levels[int(key_id[1])]), (user_id, levels[0]), ("o1", levels[3]))
        cycle = CYCLE + dice.choice([0, 0, 0, 0, 30])
        budgets = tuple(
            BudgetScope(kind, name, dice.choice([None, 0, 500, 900]), dice.choice([None, 300]), cycle)
            for kind, name in (("key", key_id), ("user", user_id), ("group", "g1"), ("org", "o1"))
        )[dice.choice([0, 0, 4]) :]
        if dice.random() < 0.7:
            scopes, budgets = principals.get(key_id, (scopes, budgets))
        principals[key_id] = scopes, budgets
        known.append(str(n))
        again = dice.choice([str(n), str(n), str(n), dice.choice(known)])
        yield ("wait", dice.choice([0, 0, 0, 1, 700, 20_000, 60_000]))
        yield ("admit", again, scopes)
        yield (
            "reserve",
            again,
            scopes,
            dice.choice([0, 5, 40, 300]),
            budgets,
            dice.choice([0, 1, 80, 400]),
            50,
        )
        if dice.random() < 0.8:
            yield ("settle", dice.choice(known), dice.choice([0, 5, 60]), dice.choice([0, 70, 500]), 40)


@pytest.mark.redis
@pytest.mark.parametrize("seed", range(12))
def test_memory_and_redis_say_the_same_to_the_last_field(seed: int) -> None:
    clock = Clock()
    memory, redis = InMemory(clock), InRedis(clock, needed_redis_url(), hold_lease_s=10_000_000)
    seen: set[str] = set()
    try:
        for step in random_steps(random.Random(seed)):
            if step[0] == "wait":
                clock.ms += step[1]
            elif step[0] == "admit":
                standing = memory.look(step[2])
                assert standing == redis.look(step[2])
                admission = memory.admit(step[2], step[1])
                assert admission == redis.admit(step[2], step[1])
                if standing.limit is not None and admission.admitted and step[1] not in seen:
                    # To look takes nothing off.
                    assert (standing.admitted, standing.remaining) == (True, admission.remaining + 1)
                seen.add(step[1])
            elif step[0] == "reserve":
                assert memory.reserve(*step[1:]) == redis.reserve(*step[1:])
            else:
                memory.settle(*step[1:])
                redis.settle(*step[1:])
    finally:
        redis.close()

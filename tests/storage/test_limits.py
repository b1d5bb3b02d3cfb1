import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.principal import RequestLimits
from triptych.storage.limits import WINDOW_MS, Admission, MemoryLimits

NOON_US = 1_763_683_200_000_000 + 12 * 3_600_000_000 - 1_763_683_200_000_000 % 86_400_000_000
DAY_US = 86_400_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000
        self.skew_us = 0

    def monotonic(self) -> int:
        return self.ms

    def wall(self) -> int:
        return NOON_US + (self.ms - 1_000_000) * 1000 + self.skew_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> MemoryLimits:
    return MemoryLimits(clock.monotonic, clock.wall)


def key(rpm: int | None = None, rpd: int | None = None) -> tuple[tuple[str, RequestLimits], ...]:
    return (("K", RequestLimits(rpm, rpd)), ("U", RequestLimits()), ("O", RequestLimits()))


def test_the_kth_request_passes_and_the_next_does_not(limits: MemoryLimits) -> None:
    answers = [limits.admit(key(rpm=3)) for _ in range(4)]
    assert [answer.admitted for answer in answers] == [True, True, True, False]
    assert [answer.remaining for answer in answers] == [2, 1, 0, 0]


def test_a_request_leaves_the_window_exactly_60_000_ms_after_it_came(
    limits: MemoryLimits, clock: Clock
) -> None:
    limits.admit(key(rpm=1))
    clock.ms += WINDOW_MS - 1
    refusal = limits.admit(key(rpm=1))
    assert (refusal.admitted, refusal.reset_ms, refusal.retry_after_s) == (False, 1, 1)
    clock.ms += 1
    assert limits.admit(key(rpm=1)).admitted


def test_a_refusal_consumes_nothing(limits: MemoryLimits, clock: Clock) -> None:
    limits.admit(key(rpm=1))
    for _ in range(100):
        clock.ms += 500
        assert not limits.admit(key(rpm=1)).admitted
    clock.ms += 10_000
    assert limits.admit(key(rpm=1)).admitted


def test_one_full_scope_refuses_for_all_and_takes_from_none(limits: MemoryLimits) -> None:
    def scopes(name: str) -> tuple[tuple[str, RequestLimits], ...]:
        return ((name, RequestLimits(10)), ("U", RequestLimits(10)), ("O", RequestLimits(2)))

    assert limits.admit(scopes("K1")).admitted
    assert limits.admit(scopes("K1")).admitted
    refusal = limits.admit(scopes("K2"))
    assert (refusal.admitted, refusal.scope, refusal.limit, refusal.window) == (False, "org", 2, "minute")
    other = (("K2", RequestLimits(10)), ("U", RequestLimits(10)), ("O2", RequestLimits(50)))
    assert limits.admit(other).remaining == 7  # the user: two passed, and this one


def test_the_tightest_scope_is_reported(limits: MemoryLimits) -> None:
    scopes = (("K", RequestLimits(10, 1000)), ("U", RequestLimits(5)), ("O", RequestLimits(100)))
    answer = limits.admit(scopes)
    assert answer == Admission(True, 5, 4, WINDOW_MS, None, "user", "minute")


def test_without_limits_nothing_is_reported_or_kept(limits: MemoryLimits) -> None:
    answer = limits.admit(key())
    assert (answer.admitted, answer.limit, answer.retry_after_s) == (True, None, None)
    assert len(limits) == 0


def test_the_daily_limit_is_of_the_utc_day(limits: MemoryLimits, clock: Clock) -> None:
    assert [limits.admit(key(rpd=2)).admitted for _ in range(3)] == [True, True, False]
    refusal = limits.admit(key(rpd=2))
    assert (refusal.window, refusal.limit, refusal.retry_after_s) == ("day", 2, 12 * 3600)
    clock.ms += 12 * 3_600_000 - 1
    assert not limits.admit(key(rpd=2)).admitted
    clock.ms += 1
    assert limits.admit(key(rpd=2)).admitted


def test_a_clock_that_is_set_back_gives_no_second_day(limits: MemoryLimits, clock: Clock) -> None:
    clock.skew_us = DAY_US
    assert limits.admit(key(rpd=1)).admitted
    clock.skew_us = 0
    assert not limits.admit(key(rpd=1)).admitted


def test_a_minute_refusal_does_not_use_up_the_day(limits: MemoryLimits, clock: Clock) -> None:
    for _ in range(5):
        limits.admit(key(rpm=1, rpd=2))
    clock.ms += WINDOW_MS
    assert limits.admit(key(rpm=1, rpd=2)).admitted


def test_a_limit_of_zero_never_opens(limits: MemoryLimits) -> None:
    refusal = limits.admit(key(rpm=0))
    assert (refusal.admitted, refusal.limit, refusal.retry_after_s) == (False, 0, 60)


def test_a_lowered_limit_waits_for_as_many_to_leave_as_needed(limits: MemoryLimits, clock: Clock) -> None:
    for _ in range(5):
        limits.admit(key(rpm=10))
        clock.ms += 1000
    refusal = limits.admit(key(rpm=2))
    assert not refusal.admitted
    clock.ms += refusal.retry_after_s * 1000 if refusal.retry_after_s else 0
    assert limits.admit(key(rpm=2)).admitted


def test_idle_scopes_are_forgotten(limits: MemoryLimits, clock: Clock) -> None:
    for number in range(1000):
        limits.admit(((f"K{number}", RequestLimits(10, 100)),))
    assert len(limits) == 1000
    clock.ms += DAY_US // 1000
    for _ in range(3):
        clock.ms += WINDOW_MS
        limits.admit(key(rpm=1, rpd=1000))
    assert len(limits) == 1


def test_requests_of_one_millisecond_share_one_entry(limits: MemoryLimits) -> None:
    for _ in range(1000):
        limits.admit(key(rpm=100_000))
    assert len(limits._recent["K"].entries) == 1


class NaiveLimits:
    """The rule, written down as plainly as possible."""

    def __init__(self) -> None:
        self.passed: list[tuple[int, int, frozenset[str]]] = []

    def admit(self, scopes: Sequence[tuple[str, RequestLimits]], ms: int, wall_us: int) -> bool:
        for scope_id, limits in scopes:
            mine = [(at, day) for at, day, ids in self.passed if scope_id in ids]
            if limits.rpm is not None and sum(at > ms - WINDOW_MS for at, _ in mine) >= limits.rpm:
                return False
            if limits.rpd is not None and sum(day == wall_us // DAY_US for _, day in mine) >= limits.rpd:
                return False
        self.passed.append((ms, wall_us // DAY_US, frozenset(scope_id for scope_id, _ in scopes)))
        return True


LIMITS = {
    "k1": RequestLimits(2, 5),
    "k2": RequestLimits(3),
    "u1": RequestLimits(4),
    "u2": RequestLimits(),
    "o1": RequestLimits(5, 9),
}


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
    limits, naive = MemoryLimits(clock.monotonic, clock.wall), NaiveLimits()
    for wait_ms, key_id, user_id in steps:
        clock.ms += wait_ms
        scopes = tuple((name, LIMITS[name]) for name in (key_id, user_id, "o1"))
        answer = limits.admit(scopes)
        assert answer.admitted == naive.admit(scopes, clock.ms, clock.wall())
        assert answer.remaining >= 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9))
def test_who_waits_as_long_as_told_passes_and_not_a_second_earlier(seed: int, rpm: int, rpd: int) -> None:
    dice = random.Random(seed)
    clock = Clock()
    limits = MemoryLimits(clock.monotonic, clock.wall)
    scopes = (("K", RequestLimits(rpm)), ("U", RequestLimits(rpm + 1, rpd)), ("O", RequestLimits(7)))
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

import gc
from collections.abc import Iterator

import pytest

from tests.storage.indexes import (
    CYCLE,
    Clock,
    Index,
    InMemory,
    InRedis,
    budget,
    key,
    needed_redis_url,
    org,
    three,
)
from triptych.core.admission import (
    CREDITS,
    SPEND_CAP,
    TPM,
    Admission,
    BudgetScope,
    RequestLimits,
    RequestScope,
    Settled,
)
from triptych.storage.limits.memory import MemoryIndex
from triptych.storage.limits.windows import WINDOW_MS

DAY_US = 86_400_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def limits(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Index]:
    if request.param == "memory":
        yield InMemory(clock)
        return
    opened = InRedis(clock, needed_redis_url())
    yield opened
    opened.close()


def test_the_kth_request_passes_and_the_next_does_not(limits: Index) -> None:
    answers = [limits.admit(key(rpm=3)) for _ in range(4)]
    assert [answer.admitted for answer in answers] == [True, True, True, False]
    assert [answer.remaining for answer in answers] == [2, 1, 0, 0]


def test_requests_of_a_minute_are_nothing_for_the_collector_of_cycles_to_walk_through(clock: Clock) -> None:
    """Hundreds of thousands of them live at once; with a list each, a full collection takes 100 ms."""
    index = MemoryIndex(clock.monotonic, clock.wall)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1_000):
        clock.ms += 1
        assert index.admit_request(None, key(rpm=10_000)).admitted
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_a_request_leaves_the_window_exactly_60_000_ms_after_it_came(limits: Index, clock: Clock) -> None:
    limits.admit(key(rpm=1))
    clock.ms += WINDOW_MS - 1
    refusal = limits.admit(key(rpm=1))
    assert (refusal.admitted, refusal.reset_ms, refusal.retry_after_s) == (False, 1, 1)
    clock.ms += 1
    assert limits.admit(key(rpm=1)).admitted


def test_a_refusal_consumes_nothing(limits: Index, clock: Clock) -> None:
    limits.admit(key(rpm=1))
    for _ in range(100):
        clock.ms += 500
        assert not limits.admit(key(rpm=1)).admitted
    clock.ms += 10_000
    assert limits.admit(key(rpm=1)).admitted


def test_one_full_scope_refuses_for_all_and_takes_from_none(limits: Index) -> None:
    def scopes(name: str) -> tuple[RequestScope, ...]:
        return three((name, RequestLimits(10)), ("U", RequestLimits(10)), ("O", RequestLimits(2)))

    assert limits.admit(scopes("K1")).admitted
    assert limits.admit(scopes("K1")).admitted
    refusal = limits.admit(scopes("K2"))
    assert (refusal.admitted, refusal.scope, refusal.limit, refusal.window) == (False, "org", 2, "minute")
    other = three(("K2", RequestLimits(10)), ("U", RequestLimits(10)), ("O", RequestLimits(50)))
    assert limits.admit(other).remaining == 7  # the user: two passed, and this one


def test_the_tightest_scope_is_reported(limits: Index) -> None:
    scopes = three(("K", RequestLimits(10, 1000)), ("U", RequestLimits(5)), ("O", RequestLimits(100)))
    answer = limits.admit(scopes)
    assert answer == Admission(True, 5, 4, WINDOW_MS, None, "user", "minute")


def test_without_limits_nothing_is_reported_or_kept(limits: Index) -> None:
    answer = limits.admit(key())
    assert (answer.admitted, answer.limit, answer.retry_after_s) == (True, None, None)
    assert answer == Admission(True, None, 0, 0, None, "key", "minute")


def test_the_daily_limit_is_of_the_utc_day(limits: Index, clock: Clock) -> None:
    assert [limits.admit(key(rpd=2)).admitted for _ in range(3)] == [True, True, False]
    refusal = limits.admit(key(rpd=2))
    assert (refusal.window, refusal.limit, refusal.retry_after_s) == ("day", 2, 12 * 3600)
    clock.ms += 12 * 3_600_000 - 1
    assert not limits.admit(key(rpd=2)).admitted
    clock.ms += 1
    assert limits.admit(key(rpd=2)).admitted


def test_a_clock_that_is_set_back_gives_no_second_day(limits: Index, clock: Clock) -> None:
    clock.skew_us = DAY_US
    assert limits.admit(key(rpd=1)).admitted
    clock.skew_us = 0
    assert not limits.admit(key(rpd=1)).admitted


def test_a_minute_refusal_does_not_use_up_the_day(limits: Index, clock: Clock) -> None:
    for _ in range(5):
        limits.admit(key(rpm=1, rpd=2))
    clock.ms += WINDOW_MS
    assert limits.admit(key(rpm=1, rpd=2)).admitted


def test_a_limit_of_zero_never_opens(limits: Index) -> None:
    refusal = limits.admit(key(rpm=0))
    assert (refusal.admitted, refusal.limit, refusal.retry_after_s) == (False, 0, 60)


def test_a_lowered_limit_waits_for_as_many_to_leave_as_needed(limits: Index, clock: Clock) -> None:
    for _ in range(5):
        limits.admit(key(rpm=10))
        clock.ms += 1000
    refusal = limits.admit(key(rpm=2))
    assert not refusal.admitted
    clock.ms += refusal.retry_after_s * 1000 if refusal.retry_after_s else 0
    assert limits.admit(key(rpm=2)).admitted


def test_idle_scopes_are_forgotten(clock: Clock) -> None:
    limits = MemoryIndex(clock.monotonic, clock.wall)
    for number in range(1000):
        limits.admit_request(None, (RequestScope(f"K{number}", RequestLimits(10, 100, 10)),))
    assert len(limits) == 1000
    clock.ms += DAY_US // 1000
    for _ in range(3):
        clock.ms += WINDOW_MS
        limits.admit_request(None, key(rpm=1, rpd=1000))
    assert len(limits) == 1


def test_requests_of_one_millisecond_share_one_entry(clock: Clock) -> None:
    limits = MemoryIndex(clock.monotonic, clock.wall)
    for _ in range(1000):
        limits.admit_request(None, key(rpm=100_000))
    assert len(limits._callers.requests.window("K").entries) == 1


# -- exchanges at the same time ----------------------------------------------------------------


def test_a_slot_is_free_again_when_its_exchange_has_ended(limits: Index) -> None:
    scopes = key(concurrency=2)
    assert [limits.admit(scopes, name).admitted for name in ("a", "b", "c")] == [True, True, False]
    refusal = limits.admit(scopes, "c")
    assert (refusal.window, refusal.scope, refusal.limit, refusal.retry_after_s) == ("slots", "key", 2, 1)
    limits.settle("a")
    assert limits.admit(scopes, "c").admitted
    assert not limits.admit(scopes, "d").admitted


def test_an_exchange_frees_its_slot_once_however_often_it_ends(limits: Index) -> None:
    scopes = key(concurrency=2)
    for name in ("a", "b"):
        limits.admit(scopes, name)
    for _ in range(3):
        limits.settle("a")
    limits.settle("never seen")
    assert [limits.admit(scopes, name).admitted for name in ("c", "d")] == [True, False]


def test_a_refused_slot_counts_no_request_and_a_refused_request_takes_no_slot(limits: Index) -> None:
    scopes = key(rpm=2, concurrency=1)
    assert limits.admit(scopes, "a").admitted
    for _ in range(5):
        assert limits.admit(scopes, "b").window == "slots"
    limits.settle("a")
    assert limits.admit(scopes, "b").admitted  # the second request of the minute
    limits.settle("b")
    assert limits.admit(scopes, "c").window == "minute"
    assert limits.admit(key(concurrency=1), "d").admitted


def test_admitting_an_exchange_twice_takes_one_slot_and_counts_one_request(limits: Index) -> None:
    scopes = key(rpm=2, concurrency=1)
    assert limits.admit(scopes, "a").admitted
    assert limits.admit(scopes, "a").admitted
    limits.settle("a")
    assert limits.admit(scopes, "b").admitted


def test_who_will_never_settle_takes_no_slot(limits: Index) -> None:
    assert all(limits.admit(key(concurrency=1), None).admitted for _ in range(5))


# -- tokens ------------------------------------------------------------------------------------


def test_tokens_are_held_before_and_corrected_after_the_call(limits: Index) -> None:
    scopes = org(tpm=100)
    assert limits.reserve("a", scopes, 60).tokens_remaining == 40
    refusal = limits.reserve("b", scopes, 41)
    assert (refusal.admitted, refusal.refused_by, refusal.scope, refusal.scope_id) == (False, TPM, "org", "O")
    assert (refusal.limit, refusal.used, refusal.retry_after_s) == (100, 60, 60)
    limits.settle("a", tokens=10)
    assert limits.reserve("b", scopes, 90).tokens_remaining == 0
    assert not limits.reserve("c", scopes, 1).admitted


def test_tokens_leave_the_window_exactly_60_000_ms_after_they_were_held(limits: Index, clock: Clock) -> None:
    scopes = org(tpm=100)
    limits.reserve("a", scopes, 100)
    clock.ms += 30_000
    limits.settle("a", tokens=80)
    limits.reserve("b", scopes, 20)
    clock.ms += 29_999
    refusal = limits.reserve("c", scopes, 80)
    assert (refusal.admitted, refusal.retry_after_s, refusal.tokens_remaining) == (False, 1, 0)
    clock.ms += 1
    assert limits.reserve("c", scopes, 80).admitted
    assert not limits.reserve("d", scopes, 1).admitted


def test_settling_after_the_minute_changes_no_later_one(limits: Index, clock: Clock) -> None:
    scopes = org(tpm=100)
    limits.reserve("a", scopes, 50)
    clock.ms += WINDOW_MS
    limits.reserve("b", scopes, 50)
    limits.settle("a", tokens=5_000)
    assert limits.reserve("c", scopes, 50).admitted


def test_a_call_larger_than_the_window_waits_for_all_of_it(limits: Index, clock: Clock) -> None:
    scopes = org(tpm=100)
    limits.reserve("a", scopes, 1)
    refusal = limits.reserve("b", scopes, 1_000_000)
    assert (refusal.admitted, refusal.retry_after_s) == (False, 60)
    clock.ms += WINDOW_MS
    assert limits.reserve("b", scopes, 1_000_000).admitted
    limits.settle("b", tokens=250)
    assert limits.admit(org(tpm=100)).tokens_remaining == 0


def test_what_tokens_are_left_is_said_with_every_admission(limits: Index, clock: Clock) -> None:
    scopes = org(tpm=100)
    limits.reserve("a", scopes, 70)
    clock.ms += 10_000
    told = limits.admit(scopes)
    assert (told.admitted, told.limit) == (True, None)
    assert (told.tokens_limit, told.tokens_remaining, told.tokens_reset_ms) == (100, 30, 50_000)


def test_reserving_twice_holds_once(limits: Index) -> None:
    scopes, budgets = org(tpm=100), (budget(1_000, 50),)
    for _ in range(4):
        assert limits.reserve("a", scopes, 60, budgets, 600, 30).tokens_remaining == 40
    assert limits.reserve("b", scopes, 40, budgets, 400, 20).admitted


# -- money and credits -------------------------------------------------------------------------


def test_a_budget_admits_exactly_what_it_holds(limits: Index) -> None:
    budgets = (budget(1_000),)
    answers = [limits.reserve(str(n), budgets=budgets, nusd=250) for n in range(5)]
    assert [answer.admitted for answer in answers] == [True] * 4 + [False]
    refusal = answers[-1]
    assert (refusal.refused_by, refusal.scope, refusal.scope_id) == (SPEND_CAP, "org", "O")
    assert (refusal.limit, refusal.used, refusal.held, refusal.cycle) == (1_000, 0, 1_000, CYCLE)
    assert refusal.retry_after_s is None


def test_of_a_scope_without_credits_and_without_money_the_credits_are_told(limits: Index) -> None:
    refusal = limits.reserve("a", budgets=(budget(0, 0),), nusd=1, credits=1)
    assert (refusal.refused_by, refusal.scope, refusal.limit) == (CREDITS, "org", 0)


def test_a_settled_hold_gives_back_what_was_not_used(limits: Index) -> None:
    budgets = (budget(1_000, 100),)
    limits.reserve("a", budgets=budgets, nusd=900, credits=90)
    limits.settle("a", nusd=100, credits=10)
    refusal = limits.reserve("b", budgets=budgets, nusd=901, credits=1)
    assert (refusal.refused_by, refusal.used, refusal.held) == (SPEND_CAP, 100, 0)
    assert limits.reserve("b", budgets=budgets, nusd=900, credits=90).admitted


def test_a_failed_exchange_gives_everything_back(limits: Index) -> None:
    budgets = (budget(1_000, 100),)
    for n in range(5):
        assert limits.reserve(str(n), budgets=budgets, nusd=1_000, credits=100).admitted
        limits.settle(str(n))


def test_an_actual_above_its_hold_is_charged_in_full_and_the_scope_refuses(limits: Index) -> None:
    budgets = (budget(1_000),)
    limits.reserve("a", budgets=budgets, nusd=500)
    limits.settle("a", nusd=5_000)
    refusal = limits.reserve("b", budgets=budgets, nusd=1)
    assert (refusal.admitted, refusal.used) == (False, 5_000)
    assert limits.reserve("b", budgets=(budget(5_001),), nusd=1).admitted  # the cap was raised


def test_an_actual_above_its_hold_is_reported(clock: Clock) -> None:
    index = MemoryIndex(clock.monotonic, clock.wall)
    for name, nusd, credits, exceeded in (("a", 10, 1, False), ("b", 11, 1, True), ("c", 10, 2, True)):
        index.reserve(name, org(), 0, (budget(1_000, 100),), 10, 1)
        assert index.settle(name, 0, nusd, credits) == Settled(found=True, exceeded=exceeded)
    assert index.settle("c", 0, 1, 1) == Settled(found=False)


@pytest.mark.parametrize("nusd", [0, 1])
def test_a_cap_of_zero_refuses_all(limits: Index, nusd: int) -> None:
    assert limits.reserve("a", budgets=(budget(0),), nusd=nusd).refused_by == SPEND_CAP
    assert limits.reserve("a", budgets=(budget(None, 0),), nusd=nusd).refused_by == CREDITS


def test_a_used_up_budget_refuses_free_calls_too(limits: Index) -> None:
    limits.reserve("a", budgets=(budget(10),), nusd=10)
    assert not limits.reserve("b", budgets=(budget(10),), nusd=0).admitted


def test_one_full_budget_refuses_for_all_and_takes_from_none(limits: Index) -> None:
    def budgets(user_cap: int) -> tuple[BudgetScope, ...]:
        return (
            budget(1_000, kind="key", id="K"),
            budget(user_cap, kind="user", id="U"),
            budget(1_000, kind="group", id="G"),
            budget(1_000),
        )

    scopes = org(tpm=100)
    for n in range(10):
        refusal = limits.reserve(f"x{n}", scopes, 50, budgets(99), 100)
        assert (refusal.admitted, refusal.scope, refusal.scope_id) == (False, "user", "U")
    assert limits.reserve("a", scopes, 100, budgets(1_000), 1_000).admitted


def test_full_tokens_take_no_money_and_full_money_no_tokens(limits: Index) -> None:
    scopes = org(tpm=100)
    limits.reserve("a", scopes, 100)
    for n in range(5):
        assert limits.reserve(f"x{n}", scopes, 1, (budget(1_000),), 500).refused_by == TPM
    assert limits.reserve("b", org(), 0, (budget(1_000),), 1_000).admitted
    refusal = limits.reserve("c", scopes, 1, (budget(1_000),), 1)
    assert refusal.refused_by == SPEND_CAP  # it lasts longer than the minute


def test_a_new_cycle_starts_from_zero_and_the_old_one_is_settled_apart(limits: Index) -> None:
    limits.reserve("a", budgets=(budget(1_000),), nusd=1_000)
    later = (budget(1_000, cycle=CYCLE + 30),)
    assert limits.reserve("b", budgets=later, nusd=400).admitted
    limits.settle("a", nusd=1_000)
    assert limits.reserve("c", budgets=later, nusd=600).admitted
    assert not limits.reserve("d", budgets=later, nusd=1).admitted


def test_a_new_cycle_that_one_key_begins_is_the_cycle_of_all(limits: Index) -> None:
    """Also for a key whose balances were found in the old one, and that still asks for that."""
    scopes = three(("K1", RequestLimits()), ("U", RequestLimits()), ("O", RequestLimits()))
    other = three(("K2", RequestLimits()), ("U", RequestLimits()), ("O", RequestLimits()))
    budgets, later = (budget(1_000),), (budget(1_000, cycle=CYCLE + 30),)
    assert limits.reserve("a", scopes, 0, budgets, 100).admitted
    assert limits.reserve("b", other, 0, later, 900).admitted
    refusal = limits.reserve("c", scopes, 0, budgets, 101)
    assert (refusal.admitted, refusal.held, refusal.cycle) == (False, 900, CYCLE + 30)
    limits.settle("a", nusd=100)
    assert limits.reserve("c", scopes, 0, budgets, 100).admitted


def test_a_clock_that_is_set_back_gives_no_second_cycle(limits: Index) -> None:
    limits.reserve("a", budgets=(budget(1_000, cycle=CYCLE + 30),), nusd=1_000)
    assert not limits.reserve("b", budgets=(budget(1_000),), nusd=1).admitted


def test_millions_are_counted_to_the_nano_dollar(limits: Index) -> None:
    nine_million = 9_000_000_000_000_000
    limits.reserve("a", budgets=(budget(nine_million),), nusd=nine_million - 1)
    limits.settle("a", nusd=nine_million - 3)
    assert not limits.reserve("b", budgets=(budget(nine_million),), nusd=4).admitted
    assert limits.reserve("b", budgets=(budget(nine_million),), nusd=3).admitted


def test_nothing_to_hold_is_nothing_kept(clock: Clock) -> None:
    index = MemoryIndex(clock.monotonic, clock.wall)
    assert index.reserve("a", org(), 10, (), 10, 10).admitted
    assert index.holds == 0

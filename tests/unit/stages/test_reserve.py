"""What is set aside before a call, and how a refusal tells of it."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from triptych.core.admission import BudgetScope, RequestLimits, Reservation
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.outcome import Ending
from triptych.core.principal import Group, Principal
from triptych.core.target import Model, Target
from triptych.core.usage import Price, Ratio, Usage, UsageSource
from triptych.stages.reserve import Reserve
from triptych.stages.route import Leg
from triptych.storage.limits.memory import MemoryIndex

DAY_US = 86_400_000_000
CYCLE = 20_497
"""2026-02-13: cycles of this org begin on the 13th."""
STARTED_US = 20_510 * DAY_US + 5
PRICE = Price(3_000_000_000, 15_000_000_000, 300_000_000, 3_750_000_000)
NO_LIMITS = RequestLimits()


class Asked:
    """A request of 4,000 bytes."""

    body = b"x" * 4_000
    choices = 1

    def __init__(self, max_output_tokens: int | None = 100) -> None:
        self.max_output_tokens = max_output_tokens


def model(id: str = "m", **changes: Any) -> Model:
    return Model(id=id, targets=(Target("p", id),), **({"price": PRICE} | changes))


def exchange(
    *, cap: int | None = None, credits: int | None = None, tpm: int | None = None, **changes: Any
) -> Exchange:
    budgets: tuple[BudgetScope, ...] = ()
    if cap is not None or credits is not None:
        budgets = (
            BudgetScope("key", "K", None, None, CYCLE),
            BudgetScope("user", "U", None, None, CYCLE),
            BudgetScope("group", "G", None, None, CYCLE),
            BudgetScope("org", "O", cap, credits, CYCLE),
        )
    facts: dict[str, Any] = {
        "environment": "live",
        "key_limits": NO_LIMITS,
        "org_limits": RequestLimits(tpm=tpm),
    }
    principal = Principal(
        org_id="O",
        org_slug="acme",
        user_id="U",
        key_id="K",
        scopes=frozenset({"ai:chat"}),
        groups=(Group("g", frozenset({"*"}), True),),
        user_limits=NO_LIMITS,
        budgets=budgets,
        cycle_anchor_day=CYCLE,
        **(facts | changes),
    )
    made = Exchange(
        id="X",
        surface="inference",
        endpoint="messages",
        principal=principal,
        headers=(),
        query=b"",
        body=b"",
        started_us=STARTED_US,
        received_s=monotonic(),
    )
    made.model = model()
    return made


def legs(models: Sequence[Model]) -> list[Leg]:
    return [Leg(one, one.targets[0], None) for one in models]


def reserve(
    one: Exchange,
    index: MemoryIndex | None = None,
    models: Sequence[Model] = (model(),),
) -> None:
    stage = Reserve(MemoryIndex() if index is None else index)
    assert stage(one, legs(models), Asked()) is None


# 1,100 tokens in at 3.75 USD a million, 100 out at 15.
HELD_NUSD = 1_100 * 3_750 + 100 * 15_000


def refused(one: Exchange, **options: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        reserve(one, **options)
    return caught.value


def test_a_caller_without_limits_on_tokens_or_money_reserves_nothing() -> None:
    one, index = exchange(), MemoryIndex()
    reserve(one, index)
    assert (one.hold, one.reservation, one.occupies, index.holds) == (None, None, False, 0)


def test_a_hold_is_kept_with_the_exchange_and_written_into_its_start_row() -> None:
    one, index = exchange(cap=10**9), MemoryIndex()
    reserve(one, index)
    assert one.hold is not None
    assert (one.hold.nusd, one.hold.credits, one.hold.tokens) == (HELD_NUSD, 1_200, 1_200)
    assert (one.occupies, index.holds) == (True, 1)
    assert one.start_row().hold_nusd is None, "the row of a refusal says that nothing was held"
    one.opened = True
    row = one.start_row()
    assert (row.hold_nusd, row.hold_credits) == (HELD_NUSD, 1_200)
    assert row.booking is not None
    assert '"cycle":20497' in row.booking


def test_what_is_held_is_refused_to_the_next_and_comes_back_when_settled() -> None:
    index = MemoryIndex()
    reserve(exchange(cap=HELD_NUSD), index)
    second = exchange(cap=HELD_NUSD)
    second.id = "Y"
    failure = refused(second, index=index)
    assert failure.kind is FailureKind.BUDGET_EXCEEDED
    index.settle("X", 10, 0, 0)
    reserve(second, index)


def test_a_refusal_by_a_cap_says_when_it_resets_and_how_much_is_spent() -> None:
    failure = refused(exchange(cap=5_000_000))
    assert failure.kind is FailureKind.BUDGET_EXCEEDED
    assert failure.details == {
        "cycle_reset_at": "2026-03-13T00:00:00Z",
        "current_spend_usd": 0.0,
        "cap_usd": 0.005,
        "scope": "org",
    }
    assert failure.message == (
        "The spend cap of the org is reached: 0 of 0.005 USD in this cycle, and this request may cost more "
        "than the rest (0 USD held by running ones). It begins anew at 2026-03-13T00:00:00Z."
    )
    assert failure.retry_after_s == 15 * 86_400


def test_a_refusal_by_credits_says_how_many_are_used() -> None:
    failure = refused(exchange(credits=1_199))
    assert failure.kind is FailureKind.CREDITS_EXHAUSTED
    assert failure.details == {
        "cycle_reset_at": "2026-03-13T00:00:00Z",
        "credits_used": 0,
        "credits_allotment": 1_199,
        "scope": "org",
    }
    reserve(exchange(credits=1_200))


@pytest.mark.parametrize("allowance", [{"cap": 0}, {"credits": 0}], ids=str)
def test_nothing_left_refuses_free_models_too(allowance: dict[str, int]) -> None:
    free = model(price=Price(0, 0, 0, 0), credit_ratio=Ratio(0, 1))
    kinds = (FailureKind.BUDGET_EXCEEDED, FailureKind.CREDITS_EXHAUSTED)
    assert refused(exchange(**allowance), models=(free,)).kind in kinds


def test_too_many_tokens_in_a_minute_are_refused_with_a_wait() -> None:
    index = MemoryIndex()
    first = exchange(tpm=2_000)
    reserve(first, index)
    assert first.reservation is not None
    assert (first.reservation.tokens_limit, first.reservation.tokens_remaining) == (2_000, 800)
    second = exchange(tpm=2_000)
    second.id = "Y"
    failure = refused(second, index=index)
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.retry_after_s == 60
    assert failure.details == {"retry_after_seconds": 60, "limit": 2_000, "scope": "org"}
    assert second.reservation is not None
    assert second.reservation.tokens_remaining == 800


def test_a_test_key_spends_nothing_but_its_tokens_are_counted() -> None:
    one = exchange(cap=0, tpm=2_000, environment="test")
    reserve(one)
    assert one.hold is not None
    assert (one.hold.nusd, one.hold.booking, one.budgets) == (0, None, ())


def test_with_fallbacks_the_dearest_model_is_held() -> None:
    one = exchange(cap=10**9)
    dear = model("dear", price=Price(10**10, 10**10, 0, 0), max_output_tokens=50)
    reserve(one, models=(model(), dear))
    assert one.hold is not None
    assert one.hold.nusd == 1_150 * 10_000
    assert (one.hold.tokens, one.hold.credits) == (1_200, 1_200)


def test_of_models_that_may_answer_the_most_is_held_of_each_tokens_money_and_credits() -> None:
    short = model("short", max_output_tokens=50, price=Price(1, 1, 1, 1))
    weighty = model("weighty", credit_ratio=Ratio(5, 1), max_output_tokens=60, price=Price(2, 2, 2, 2))
    for models in ((short, weighty, model()), (model(), weighty, short), (weighty, model(), short)):
        one = exchange(cap=10**9, credits=10**9)
        reserve(one, models=models)
        assert one.hold is not None
        assert (one.hold.tokens, one.hold.nusd, one.hold.credits) == (1_200, HELD_NUSD, 5 * 1_160)


def test_the_cycle_is_that_of_the_moment_the_exchange_began() -> None:
    one = exchange(cap=10**9)
    one.started_us = 20_530 * DAY_US
    reserve(one)
    assert {budget.cycle for budget in one.budgets} == {20_525}


def test_the_end_charges_every_scope_and_counts_the_day() -> None:
    one = exchange(cap=10**9, key_limits=RequestLimits(rpd=5), alert_thresholds=(50, 80))
    index = MemoryIndex()
    one.admission = index.admit_request(None, one.principal.request_scopes)
    reserve(one, index)
    one.opened = True
    one.usage = Usage(1_000, 50, 20, 10, source=UsageSource.PROVIDER)
    outcome = one.end_row(monotonic(), 10)
    cost = 1_000 * 3_000 + 50 * 15_000 + 20 * 300 + 10 * 3_750
    assert (outcome.cost_nusd, outcome.credits) == (cost, 1_080)
    charge = outcome.charge
    assert charge is not None
    assert (charge.nusd, charge.credits, charge.cycle, charge.day) == (cost, 1_080, CYCLE, 20_510)
    assert charge.scopes == (("key", "K"), ("user", "U"), ("group", "G"), ("org", "O"))
    assert charge.counted == ("K", "U")
    assert [(alert.scope_id, alert.threshold) for alert in charge.alerts] == [("O", 50), ("O", 80)]


def test_a_refused_exchange_is_charged_nothing_but_its_request() -> None:
    one = exchange(cap=0, key_limits=RequestLimits(rpd=5))
    index = MemoryIndex()
    one.admission = index.admit_request(None, one.principal.request_scopes)
    refused(one, index=index)
    one.ending = Ending.REFUSED
    charge = one.end_row(monotonic(), 0).charge
    assert charge is not None
    assert (charge.scopes, charge.counted) == ((), ("K", "U"))


def test_what_a_request_limit_refused_is_no_request() -> None:
    one = exchange(key_limits=RequestLimits(rpd=1))
    index = MemoryIndex()
    for _ in range(2):
        one.admission = index.admit_request(None, one.principal.request_scopes)
    assert one.end_row(monotonic(), 0).charge is None


def test_an_unlimited_exchange_is_charged_to_nobody_that_this_node_knows_of() -> None:
    one = exchange()
    one.opened = True
    one.usage = Usage(10, 5, source=UsageSource.PROVIDER)
    outcome = one.end_row(monotonic(), 0)
    charge = outcome.charge
    assert charge is not None and (charge.nusd, charge.credits) == (outcome.cost_nusd, 15)
    assert (charge.scopes, charge.counted, one.start_row().booking) == ((), None, None)
    one.usage = Usage()
    assert one.end_row(monotonic(), 0).charge is None


def test_an_index_that_is_asked_over_the_network_is_waited_for() -> None:
    class Distant:
        def __init__(self, answer: Reservation) -> None:
            self.answer = answer

        async def reserve(self, *_: object) -> Reservation:
            return self.answer

    def asked(answer: Reservation) -> Exchange:
        one = exchange(cap=10**9)
        waiting = Reserve(Distant(answer))(one, legs([model()]), Asked())
        assert waiting is not None
        with pytest.raises(StopIteration):
            waiting.send(None)  # type: ignore[attr-defined]
        return one

    assert asked(Reservation(True)).reservation == Reservation(True)
    with pytest.raises(Failure, match="spend cap of the API key"):
        asked(Reservation(False, "spend_cap", "key", "K", 5, 5, 0, CYCLE))

"""Prices, credits and holds: exact integers, rounded up once."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.admission import BudgetScope
from triptych.core.hold import DEFAULT_OUTPUT_TOKENS, Alert, held_output_tokens, hold
from triptych.core.target import Model, Target
from triptych.core.usage import FREE, Price, Ratio, Usage, cost_nusd, credits_used

TARGETS = (Target("p", "m"),)
BUDGETS = (BudgetScope("key", "K", None, None, 20_500), BudgetScope("org", "O", 10**9, 1000, 20_500))
PRICE = Price(3_000_000_000, 15_000_000_000, 300_000_000, 3_750_000_000)
tokens = st.integers(0, 10**9)
prices = st.integers(0, 10**15)


def model(**changes: object) -> Model:
    return Model(id="m", targets=TARGETS, **changes)  # type: ignore[arg-type]


@settings(deadline=None)
@given(tokens, tokens, st.tuples(prices, prices, prices))
def test_reasoning_is_taken_out_of_the_output_and_has_its_own_price(
    output: int, reasoning: int, rates: tuple[int, int, int]
) -> None:
    reasoning = min(reasoning, output)
    usage = Usage(7, output, reasoning_tokens=reasoning)
    cost = cost_nusd(usage, Price(rates[0], rates[1], 0, 0, rates[2]))
    exact = Fraction(7 * rates[0] + (output - reasoning) * rates[1] + reasoning * rates[2], 10**6)
    assert cost == ceil(exact)


def test_without_a_price_of_its_own_reasoning_costs_what_output_costs() -> None:
    usage = Usage(1_000, 500, reasoning_tokens=400)
    assert cost_nusd(usage, PRICE) == cost_nusd(Usage(1_000, 500), PRICE) == 3_000_000 + 7_500_000


@settings(deadline=None)
@given(tokens, st.decimals(0, 1000, places=4))
def test_credits_are_the_tokens_by_the_ratio_rounded_up(count: int, ratio: Decimal) -> None:
    numerator, denominator = ratio.as_integer_ratio()
    assert credits_used(count, Ratio(numerator, denominator)) == ceil(Fraction(ratio) * count)


def test_the_ratio_of_a_third_of_a_sonnet_is_exact() -> None:
    haiku = Ratio(*Decimal("0.33").as_integer_ratio())
    assert [credits_used(count, haiku) for count in (0, 1, 3, 4, 100, 10**9)] == [0, 1, 1, 2, 33, 330_000_000]


@pytest.mark.parametrize(
    ("moment_us", "price"),
    [
        (0, None),
        (99, None),
        (100, PRICE),
        (199, PRICE),
        (200, FREE),
        (10**18, FREE),
    ],
)
def test_a_price_holds_from_its_day_on(moment_us: int, price: Price | None) -> None:
    dated = model(later_prices=((100, PRICE), (200, FREE)))
    assert dated.price_at(moment_us) == price


def test_before_the_first_dated_price_the_price_holds() -> None:
    assert model(price=PRICE, later_prices=((100, Price(1, 1, 1, 1)),)).price_at(99) is PRICE


@pytest.mark.parametrize(
    ("asked", "most", "choices", "held"),
    [
        (None, None, 1, DEFAULT_OUTPUT_TOKENS),
        (None, 64_000, 1, 64_000),
        (100, 64_000, 1, 100),
        (100_000, 64_000, 1, 64_000),
        (100, None, 3, 300),
        (2**63 - 1, None, 1, 10**9),
        (2**63 - 1, None, 2**63 - 1, 10**9),
    ],
)
def test_the_longest_answer_is_what_is_asked_for_or_what_the_model_can_give(
    asked: int | None, most: int | None, choices: int, held: int
) -> None:
    assert held_output_tokens(asked, model(max_output_tokens=most), choices) == held


@settings(deadline=None)
@given(
    st.integers(1, 10**10), st.integers(0, 10**9), st.tuples(prices, prices, prices, prices, prices), prices
)
def test_a_hold_covers_whatever_may_be_charged_within_its_tokens(
    input_tokens: int, output_tokens: int, rates: tuple[int, int, int, int, int], seed: int
) -> None:
    price = Price(*rates)
    held = hold(model(price=price), price, input_tokens, output_tokens, BUDGETS)
    believed = min(input_tokens, 10**9)
    read, written = seed % (believed + 1), 0
    usage = Usage(believed - read, output_tokens, read, written, min(output_tokens, seed))
    assert 0 <= held.nusd < 2**63
    assert held.nusd >= min(cost_nusd(usage, price), 2**62)
    assert held.credits >= credits_used(believed + output_tokens, Ratio())


def test_a_hold_is_the_input_and_a_tenth_at_the_dearest_rate_and_the_output() -> None:
    dear = Price(3_000_000_000, 15_000_000_000, 300_000_000, 3_750_000_000, 20_000_000_000)
    held = hold(model(credit_ratio=Ratio(1, 3)), dear, 1_000, 500, BUDGETS)
    assert held.tokens == 1_600
    assert held.nusd == 1_100 * 3_750 + 500 * 20_000
    assert held.credits == 534
    booking = held.booking
    assert booking is not None
    assert (booking.cycle, booking.scopes) == (20_500, (("key", "K"), ("org", "O")))
    assert (booking.input_tokens, booking.input_nusd, booking.input_credits) == (1_000, 3_000_000, 334)


def test_without_budgets_only_tokens_are_held() -> None:
    held = hold(model(), PRICE, 1_000, 500, ())
    assert (held.tokens, held.nusd, held.credits, held.booking) == (1_600, 0, 0, None)


def test_without_a_price_credits_are_held() -> None:
    held = hold(model(), None, 1_000, 500, BUDGETS)
    assert (held.nusd, held.credits) == (0, 1_600)


@pytest.mark.parametrize(("cap", "threshold", "level"), [(1_000, 50, 500), (999, 50, 500), (1, 1, 1)])
def test_a_threshold_is_reached_at_its_percent_and_not_before(cap: int, threshold: int, level: int) -> None:
    assert Alert("org", "O", threshold, cap).level_nusd == level

"""Ids, time, money and the failure vocabulary."""

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.call import header
from triptych.core.clock import now_us, rfc3339, utc_from_us
from triptych.core.failure import FACTS, Blame, Failure, FailureKind
from triptych.core.ids import UlidSource, is_ulid, new_ulid
from triptych.core.usage import NO_USAGE, Price, Usage, cost_nusd, nano_usd

TOKENS = st.integers(min_value=0, max_value=10**9)
PRICES = st.integers(min_value=0, max_value=10**12)


def test_ids_are_ulids_and_no_two_the_same() -> None:
    source = UlidSource()
    made = [source.new() for _ in range(2_000)]
    assert all(is_ulid(id) for id in made) and len(set(made)) == 2_000


def test_ids_sort_by_the_millisecond_of_their_making() -> None:
    source = UlidSource()
    before = source.new()
    time.sleep(0.003)
    after = source.new()
    assert before < after and before[:10] < after[:10]


def test_the_time_of_an_id_can_be_read_back() -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    milliseconds = 0
    for character in new_ulid()[:10]:
        milliseconds = milliseconds * 32 + alphabet.index(character)
    assert abs(milliseconds - now_us() // 1000) < 5_000


@pytest.mark.parametrize(
    "text", ["", "8" + "0" * 25, "0" * 25, "0" * 27, "0" * 25 + "I", "0" * 25 + "l", "0" * 25 + "-", "z" * 26]
)
def test_what_is_no_ulid_is_not_taken_for_one(text: str) -> None:
    assert not is_ulid(text)


def test_moments_are_written_as_rfc_3339_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_795_322_145) == "2026-11-22T04:35:45Z"
    moment = utc_from_us(1_500_000)
    assert moment.isoformat() == "1970-01-01T00:00:01.500000+00:00"


@settings(deadline=None)
@given(TOKENS, TOKENS, TOKENS, TOKENS, PRICES, PRICES, PRICES, PRICES)
def test_a_cost_is_exact_and_rounded_up_once(
    a: int, b: int, c: int, d: int, pa: int, pb: int, pc: int, pd: int
) -> None:
    cost = cost_nusd(Usage(a, b, c, d, reasoning_tokens=b), Price(pa, pb, pc, pd))
    exact = a * pa + b * pb + c * pc + d * pd
    assert 0 <= cost * 10**6 - exact < 10**6


def test_a_cost_of_nothing_is_nothing_and_of_a_trifle_one() -> None:
    price = Price(3_000_000_000, 15_000_000_000, 0, 1)
    assert cost_nusd(NO_USAGE, price) == 0
    assert cost_nusd(Usage(cache_write_tokens=1), price) == 1
    assert cost_nusd(Usage(12, 7), price) == 36_000 + 105_000


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        ("3", 3_000_000_000),
        ("0.3", 300_000_000),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.1", 100_000_000),
    ],
)
def test_dollars_become_nano_dollars_without_a_float(usd: str, expected: int) -> None:
    assert nano_usd(Decimal(usd)) == expected


def test_every_kind_says_whose_fault_it_is_and_something_safe() -> None:
    for kind in FailureKind:
        facts = FACTS[kind]
        assert isinstance(facts.blame, Blame) and facts.sentence
        failure = Failure(kind)
        assert (failure.message, failure.blame, failure.retryable) == (
            facts.sentence,
            facts.blame,
            facts.retryable,
        )
        assert str(failure) == facts.sentence


def test_what_a_client_or_policy_did_is_not_worth_another_try_unless_time_mends_it() -> None:
    mended_by_time = {FailureKind.BODY_TIMEOUT, FailureKind.RATE_LIMITED, FailureKind.CONCURRENCY_EXCEEDED}
    for kind in FailureKind:
        if FACTS[kind].blame in (Blame.CLIENT, Blame.POLICY) and kind not in mended_by_time:
            assert not FACTS[kind].retryable or kind is FailureKind.IDEMPOTENCY_IN_PROGRESS, kind


def test_a_header_is_found_by_its_first_value() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert (header(headers, b"b"), header(headers, b"c")) == (b"2", None)

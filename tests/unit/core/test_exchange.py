"""What of an exchange becomes its rows."""

import time
from typing import Any

import pytest

from tests.devices.script import MODEL, exchange
from triptych.core.exchange import Exchange
from triptych.core.failure import FailureKind
from triptych.core.outcome import Ending, Outcome
from triptych.core.target import Model
from triptych.core.usage import Usage


def finished(
    *, model: Model | None = MODEL, opened: bool = True, **principal: Any
) -> tuple[Exchange, Outcome]:
    made = exchange(b"{}", **principal)
    made.model, made.opened, made.usage, made.status = model, opened, Usage(1_000, 10), 200
    made.target = model.targets[0] if model else None
    return made, made.end_row(time.monotonic(), bytes_out=5)


def test_a_live_exchange_costs_what_its_model_costs() -> None:
    _, outcome = finished()
    assert (outcome.cost_nusd, outcome.unpriced) == (3_150_000, False)
    assert (outcome.provider, outcome.upstream_model) == ("p", "m-upstream")


@pytest.mark.parametrize(
    ("facts", "unpriced"),
    [
        ({"environment": "test"}, False),
        ({"opened": False}, False),
        ({"model": Model(id="m", targets=MODEL.targets)}, True),
        ({"model": Model(id="m", targets=MODEL.targets), "environment": "test"}, False),
        ({"model": None, "opened": False}, False),
    ],
)
def test_what_never_left_for_a_live_provider_costs_nothing(facts: dict[str, Any], unpriced: bool) -> None:
    _, outcome = finished(**facts)
    assert (outcome.cost_nusd, outcome.unpriced) == (0, unpriced)


def test_rows_hold_facts_and_no_content() -> None:
    made, _ = finished()
    made.client_user_hash = "abc"
    opened = made.start_row()
    assert (opened.org_id, opened.user_id, opened.key_id, opened.environment) == (
        "org",
        "user",
        "key",
        "live",
    )
    assert (opened.model, opened.provider, opened.bytes_in, opened.client_user_hash) == ("m", "p", 2, "abc")
    assert "{}" not in repr(opened)


def test_times_are_whole_microseconds_since_the_last_byte_came_in() -> None:
    made = exchange(b"{}")
    made.received_s = 100.0
    assert made.end_row(100.5, 0).first_byte_us is None
    made.first_byte_s = 100.25
    outcome = made.end_row(100.5, 0)
    assert (outcome.first_byte_us, outcome.total_us) == (250_000, 500_000)


def test_the_end_row_says_how_it_ended() -> None:
    made = exchange(b"{}")
    made.ending, made.failure_kind, made.status, made.retries = (
        Ending.FAILED,
        FailureKind.UPSTREAM_TIMEOUT,
        504,
        2,
    )
    outcome = made.end_row(made.received_s + 1, 7)
    assert (outcome.ending, outcome.failure_kind, outcome.status) == ("failed", "upstream_timeout", 504)
    assert (outcome.retries, outcome.bytes_out) == (2, 7)
    assert made.request_id == "req_" + made.id

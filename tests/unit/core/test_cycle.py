from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.cycle import cycle_of, day_of, start_us

EPOCH = date(1970, 1, 1)


def days(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH).days


@pytest.mark.parametrize(
    ("anchor", "day", "cycle"),
    [
        ("2026-01-15", "2026-01-15", ("2026-01-15", "2026-02-15")),
        ("2026-01-15", "2026-02-14", ("2026-01-15", "2026-02-15")),
        ("2026-01-15", "2026-12-31", ("2026-12-15", "2027-01-15")),
        ("2026-01-31", "2026-02-27", ("2026-01-31", "2026-02-28")),
        ("2026-01-31", "2026-02-28", ("2026-02-28", "2026-03-31")),
        ("2027-12-30", "2028-02-29", ("2028-02-29", "2028-03-30")),
        ("2026-01-15", "2025-12-01", ("2025-11-15", "2025-12-15")),
    ],
)
def test_a_cycle_is_a_month_from_the_anchors_day(anchor: str, day: str, cycle: tuple[str, str]) -> None:
    assert cycle_of(days(anchor), days(day)) == tuple(days(text) for text in cycle)


@settings(deadline=None)
@given(st.integers(0, 60_000), st.integers(0, 60_000))
def test_cycles_follow_each_other_without_gap_or_overlap(anchor_day: int, day: int) -> None:
    beginning, following = cycle_of(anchor_day, day)
    assert beginning <= day < following
    assert 28 <= following - beginning <= 31
    assert cycle_of(anchor_day, following)[0] == following
    assert cycle_of(anchor_day, beginning - 1)[1] == beginning


def test_days_are_utc_days() -> None:
    assert day_of(start_us(20_000)) == 20_000
    assert day_of(start_us(20_000) - 1) == 19_999

"""Billing cycles: a month each, from the day of the month on which the org was made (UTC)."""

from datetime import date, timedelta
from functools import lru_cache

from triptych.core.clock import MICROSECONDS_PER_S

_DAY_US = 86_400 * MICROSECONDS_PER_S
_EPOCH = date(1970, 1, 1)


def day_of(moment_us: int) -> int:
    """The UTC day of a moment, in days since the epoch."""
    return moment_us // _DAY_US


def start_us(day: int) -> int:
    """Midnight at the beginning of a day, in microseconds since the epoch."""
    return day * _DAY_US


@lru_cache(maxsize=256)
def cycle_of(anchor_day: int, day: int) -> tuple[int, int]:
    """First day of the cycle that ``day`` lies in, and of the next one.

    A cycle begins on the anchor's day of the month, or on the last one of a shorter month. The days
    of before the anchor belong to cycles too, so that a clock set back breaks nothing.
    """
    anchor = (_EPOCH + timedelta(days=anchor_day)).day
    today = _EPOCH + timedelta(days=day)
    month = today.year * 12 + today.month - 1
    if _beginning(month, anchor) > day:
        month -= 1
    return _beginning(month, anchor), _beginning(month + 1, anchor)


def _beginning(month: int, anchor: int) -> int:
    """``month``: months since year 0; ``anchor``: day of the month."""
    first = date(month // 12, month % 12 + 1, 1)
    following = date((month + 1) // 12, (month + 1) % 12 + 1, 1)
    length = (following - first).days
    return (first - _EPOCH).days + min(anchor, length) - 1

"""Time. Wall time is aware UTC or an int of microseconds since the epoch; durations come from the
monotonic clock only, so that a stepped wall clock never makes a latency negative."""

import time
from datetime import UTC, datetime
from functools import lru_cache

MICROSECONDS_PER_S = 1_000_000
# Linux's monotonic clock leaves out what a suspended machine slept through; other systems have none but
# theirs.
_AWAKE_OR_NOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_us() -> int:
    """Microseconds since 1970-01-01T00:00Z."""
    return time.time_ns() // 1000


def passed_s() -> float:
    """Seconds since some moment, those counted in which the machine was suspended: others did not wait."""
    return time.clock_gettime(_AWAKE_OR_NOT)


def utc_from_us(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / MICROSECONDS_PER_S, UTC)


@lru_cache(maxsize=4)
def rfc3339(second: int) -> str:
    """RFC 3339 in UTC, such as ``2026-01-02T03:04:05Z``. Cached: within a second all ask alike."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))

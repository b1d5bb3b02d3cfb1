"""Time. Wall time is aware UTC or an int of microseconds since the epoch; durations come from the
monotonic clock only, so that a stepped wall clock never makes a latency negative."""

import time
from datetime import UTC, datetime
from functools import lru_cache

MICROSECONDS_PER_S = 1_000_000


def now_us() -> int:
    """Microseconds since 1970-01-01T00:00Z."""
    return time.time_ns() // 1000


def utc_from_us(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / MICROSECONDS_PER_S, UTC)


@lru_cache(maxsize=4)
def rfc3339(second: int) -> str:
    """RFC 3339 in UTC, such as ``2026-01-02T03:04:05Z``. Cached: within a second all ask alike."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))

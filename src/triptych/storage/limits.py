"""Requests per minute and per day, counted in memory.

The minute is a rolling window of exactly 60,000 ms: of ``rpm`` = k, the k-th request passes and the
next does not, until 60,000 ms after the first. The day is the UTC calendar day. One decision
covers all scopes of a request, all or nothing. Not thread-safe: it belongs to the event loop.
"""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from triptych.core.clock import now_us
from triptych.core.principal import RequestLimits

WINDOW_MS = 60_000
_DAY_US = 86_400_000_000
SCOPES = ("key", "user", "org")
"""Names of the scopes, in the order in which ``admit`` takes them."""


class Admission(msgspec.Struct, frozen=True):
    """The decision, and the window that describes it best: on a yes the one with the fewest
    requests left, on a no the one that takes longest to open."""

    admitted: bool
    limit: int | None
    """Requests the window allows; None when no limit is set at all."""
    remaining: int
    """Requests left in that window, this one already taken off."""
    reset_ms: int
    """How long until that window is empty again if no further request comes."""
    retry_after_s: int | None
    """On a no: whole seconds, at least 1, after which the same request passes if no other comes."""
    scope: str
    """``key`` | ``user`` | ``org``."""
    window: str
    """``minute`` | ``day``."""


_UNLIMITED = Admission(True, None, 0, 0, None, "key", "minute")


class _Minute:
    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        # [millisecond, requests in it], oldest first: bounded by the window, not by the rate.
        self.entries: deque[list[int]] = deque()
        self.total = 0


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class MemoryLimits:
    """The windows of all scopes that were active lately."""

    def __init__(
        self, clock_ms: Callable[[], int] = monotonic_ms, wall_clock_us: Callable[[], int] = now_us
    ) -> None:
        """``clock_ms`` must never step back; ``wall_clock_us`` (since the epoch) tells the day."""
        self._clock_ms = clock_ms
        self._wall_clock_us = wall_clock_us
        # Two generations: what was not used for a whole turn is empty and falls off, at no cost
        # to the requests in between.
        self._recent: dict[str, _Minute] = {}
        self._earlier: dict[str, _Minute] = {}
        self._turned_ms = clock_ms()
        self._days: dict[str, int] = {}
        self._day = 0

    def __len__(self) -> int:
        """Scopes held in memory."""
        return len(self._recent.keys() | self._earlier.keys() | self._days.keys())

    def admit(self, scopes: tuple[tuple[str, RequestLimits], ...]) -> Admission:
        """Count one request against all scopes (id and limits of key, user, org, in this order), or
        against none if one of them is full."""
        now_ms = self._clock_ms()
        if now_ms - self._turned_ms >= WINDOW_MS:
            self._earlier, self._recent = self._recent, {}
            self._turned_ms = now_ms
        least = -1
        scope = limit = 0
        daily = refused = False
        minutes: list[_Minute] = []
        days: list[str] = []
        wall_us = 0
        for position, (scope_id, limits) in enumerate(scopes):
            rpm = limits.rpm
            if rpm is not None:
                minute = self._recent.get(scope_id) or self._revived(scope_id)
                entries = minute.entries
                while entries and entries[0][0] <= now_ms - WINDOW_MS:
                    minute.total -= entries.popleft()[1]
                left = rpm - minute.total
                if left <= 0:
                    refused = True
                elif left < least or least < 0:
                    least, scope, limit, daily = left, position, rpm, False
                minutes.append(minute)
            rpd = limits.rpd
            if rpd is not None:
                if not wall_us:
                    wall_us = self._wall_clock_us()
                    self._turn_day(wall_us)
                left = rpd - self._days.get(scope_id, 0)
                if left <= 0:
                    refused = True
                elif left < least or least < 0:
                    least, scope, limit, daily = left, position, rpd, True
                days.append(scope_id)
        if refused:
            return self._refusal(scopes, now_ms, wall_us)
        for minute in minutes:
            entries = minute.entries
            if entries and entries[-1][0] == now_ms:
                entries[-1][1] += 1
            else:
                entries.append([now_ms, 1])
            minute.total += 1
        for scope_id in days:
            self._days[scope_id] = self._days.get(scope_id, 0) + 1
        if least < 0:
            return _UNLIMITED
        if daily:
            return Admission(True, limit, least - 1, _to_midnight_ms(wall_us), None, SCOPES[scope], "day")
        return Admission(True, limit, least - 1, WINDOW_MS, None, SCOPES[scope], "minute")

    def _revived(self, scope_id: str) -> _Minute:
        minute = self._earlier.pop(scope_id, None)
        if minute is None:
            minute = _Minute()
        self._recent[scope_id] = minute
        return minute

    def _turn_day(self, wall_us: int) -> None:
        """A new UTC day starts from zero; a clock that was set back does not."""
        day = wall_us // _DAY_US
        if day > self._day:
            self._day = day
            self._days = {}

    def _refusal(self, scopes: tuple[tuple[str, RequestLimits], ...], now_ms: int, wall_us: int) -> Admission:
        """The full window that stays full longest: waiting for it is waiting for all."""
        longest: Admission | None = None
        longest_ms = -1
        for (scope_id, limits), name in zip(scopes, SCOPES, strict=False):
            if limits.rpm is not None:
                minute = self._recent[scope_id]
                if minute.total >= limits.rpm:
                    wait_ms = _wait_ms(minute, limits.rpm, now_ms)
                    if wait_ms > longest_ms:
                        longest_ms = wait_ms
                        reset_ms = minute.entries[-1][0] + WINDOW_MS - now_ms if minute.entries else WINDOW_MS
                        longest = Admission(False, limits.rpm, 0, reset_ms, _whole_s(wait_ms), name, "minute")
            if limits.rpd is not None and self._days.get(scope_id, 0) >= limits.rpd:
                wait_ms = _to_midnight_ms(wall_us)
                if wait_ms > longest_ms:
                    longest_ms = wait_ms
                    longest = Admission(False, limits.rpd, 0, wait_ms, _whole_s(wait_ms), name, "day")
        assert longest is not None, "a refusal has a full window"
        return longest


def _wait_ms(minute: _Minute, rpm: int, now_ms: int) -> int:
    """Until fewer than ``rpm`` requests are in the window. More than one must leave when the limit
    was lowered meanwhile; a limit of 0 never opens, and says a whole window."""
    excess = minute.total - rpm
    for moment_ms, count in minute.entries:
        excess -= count
        if excess < 0:
            return moment_ms + WINDOW_MS - now_ms
    return WINDOW_MS


def _to_midnight_ms(wall_us: int) -> int:
    return -(-(_DAY_US - wall_us % _DAY_US) // 1000)


def _whole_s(wait_ms: int) -> int:
    return max(1, -(-wait_ms // 1000))

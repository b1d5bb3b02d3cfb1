"""Is a target worth asking? What its last calls say, kept as a value: the clock is handed in.

A circuit breaker after M. Nygard, "Release It!": closed, it counts; when of enough calls in a window
too many failed it opens, and nobody is sent there; after a while one call at a time is let through to
see (half-open), and the first answer closes it again.
"""

from enum import Enum

import msgspec

_SLOTS = 10
"""The window moves on by a tenth of itself."""
MOST_REST_S = 3600.0
"""A provider that asks for more time than that gets so much."""
_PACE_SHARE = 0.2
"""What the newest call counts for in the average pace."""
_FEWEST_PACED = 10
"""Calls from which on an average pace is believed."""


class BreakerRule(msgspec.Struct, frozen=True):
    """``failure_ratio`` of at least ``min_calls`` within ``window_s`` opens it for ``open_s``."""

    window_s: float = 30.0
    min_calls: int = 20
    failure_ratio: float = 0.5
    open_s: float = 5.0


class CircuitState(Enum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Circuit:
    """The health of one target of one model. Times are seconds of one monotonic clock."""

    __slots__ = (
        "_calls",
        "_calls_now",
        "_faults",
        "_paces",
        "_rule",
        "_slot",
        "_slot_ends_s",
        "_slots_per_s",
        "closed",
        "opened",
        "rests_until_s",
        "sole",
        "state",
        "until_s",
    )

    def __init__(self, rule: BreakerRule, *, sole: bool) -> None:
        """``sole``: the model has no other target; an answer with a body never opens it."""
        self._rule = rule
        self._slots_per_s = _SLOTS / rule.window_s
        self._slot = -1
        self._slot_ends_s = 0.0
        self._calls_now = 0
        self._calls = [0] * _SLOTS
        self._faults = [0] * _SLOTS
        self._paces: dict[bool, Pace] = {}
        self.sole = sole
        self.closed = True
        """Whether ``state`` is CLOSED; this is read for every call."""
        self.state = CircuitState.CLOSED
        self.until_s = 0.0
        """When the next call is let through, unless it is closed."""
        self.opened = 0
        """How often it opened."""
        self.rests_until_s = 0.0
        """Until then the provider asked not to be asked (``Retry-After``)."""

    def available(self, now_s: float) -> bool:
        """Whether :meth:`permits` would say yes."""
        return self.closed or now_s >= self.until_s

    def permits(self, now_s: float) -> bool:
        """Whether a call may be made now; a yes while it is not closed is meant for one call.

        A probe that is still under way after ``open_s`` does not keep the next one back.
        """
        if self.closed:
            return True
        if now_s < self.until_s:
            return False
        self.state = CircuitState.HALF_OPEN
        self.until_s = now_s + self._rule.open_s
        return True

    def answered(self, now_s: float) -> None:
        """The target began an answer that the caller gets, an error of the caller's own making too."""
        if now_s >= self._slot_ends_s:
            self._move_to(now_s)
        self._calls_now += 1
        if not self.closed and self.state is CircuitState.HALF_OPEN:
            self._close()

    def faulted(self, now_s: float, *, bodied: bool, begun: bool = False) -> bool:
        """The target failed; returns whether that opened the circuit.

        ``bodied``: it did answer, with a body. ``begun``: its answer was counted by ``answered``, and
        broke later.
        """
        if bodied and self.sole:
            if not begun:
                self.answered(now_s)
            return False
        if now_s >= self._slot_ends_s:
            self._move_to(now_s)
        if not begun:
            self._calls_now += 1
        self._faults[self._slot % _SLOTS] += 1
        rule = self._rule
        if self.state is CircuitState.OPEN:
            return False
        if self.state is CircuitState.CLOSED:
            calls, faults = sum(self._calls) + self._calls_now, sum(self._faults)
            if calls < rule.min_calls or faults < rule.failure_ratio * calls:
                return False
            self.opened += 1
        was_closed, self.closed = self.closed, False
        self.state, self.until_s = CircuitState.OPEN, now_s + rule.open_s
        return was_closed

    def asked_to_wait(self, seconds: float, now_s: float) -> None:
        """Its provider said ``Retry-After``."""
        self.rests_until_s = max(self.rests_until_s, now_s + min(seconds, MOST_REST_S))

    def paced(self, seconds: float, now_s: float, *, stream: bool) -> None:
        """How long it took to the head of an answer; plain answers are whole by then, so they are
        another matter than streams."""
        pace = self._paces.get(stream)
        if pace is None or now_s - pace.at_s > self._rule.window_s:
            pace = self._paces[stream] = Pace(seconds)
        pace.average_s += _PACE_SHARE * (seconds - pace.average_s)
        pace.calls += 1
        pace.at_s = now_s

    def pace_s(self, now_s: float, *, stream: bool) -> float | None:
        """The average of ``paced``, the newest calls counting most; None when too few are known, or
        the last one is longer ago than the window: a target that is left alone gets its chance again."""
        pace = self._paces.get(stream)
        if pace is None or pace.calls < _FEWEST_PACED or now_s - pace.at_s > self._rule.window_s:
            return None
        return pace.average_s

    def _close(self) -> None:
        self.closed, self.state = True, CircuitState.CLOSED
        self._calls = [0] * _SLOTS
        self._faults = [0] * _SLOTS
        self._calls_now = 0

    def _move_to(self, now_s: float) -> None:
        """Begin the next slot, and forget what fell out of the window."""
        self._calls[self._slot % _SLOTS] += self._calls_now
        self._calls_now = 0
        slot = int(now_s * self._slots_per_s)
        for gone in range(max(self._slot, slot - _SLOTS) + 1, slot + 1):
            self._calls[gone % _SLOTS] = self._faults[gone % _SLOTS] = 0
        self._slot = slot
        self._slot_ends_s = (slot + 1) / self._slots_per_s


class Pace:
    """A running average."""

    __slots__ = ("at_s", "average_s", "calls")

    def __init__(self, seconds: float) -> None:
        self.average_s = seconds
        self.calls = 0
        self.at_s = 0.0

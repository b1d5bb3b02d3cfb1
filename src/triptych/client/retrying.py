"""When to try again, and after how long: each surface has a rule of its own; ``Retry-After`` goes first."""

import random
from collections.abc import Callable
from typing import Protocol

from triptych.client.errors import ApiError, ConnectionFailed

LONGEST_WAIT_S = 60.0
"""Who is asked to wait for longer is told so instead."""
EMOTION_STATUSES = frozenset({429, 500, 503})
_NATIVE_BASE_S, _NATIVE_CAP_S = 0.5, 8.0
_EMOTION_BASE_S, _EMOTION_JITTER_S = 1.0, 0.2

Jitter = Callable[[float, float], float]


class Rule(Protocol):
    def retries(self, error: ApiError) -> bool: ...
    def backoff_s(self, attempt: int, jitter: Jitter) -> float:
        """After so many failed tries, counted from 0."""
        ...


class ClinicalRule:
    """What the gateway calls retryable; exponential with full jitter."""

    def retries(self, error: ApiError) -> bool:
        if error.should_retry is not None:
            return error.should_retry == "true"
        return bool(error.retryable)

    def backoff_s(self, attempt: int, jitter: Jitter) -> float:
        return jitter(0.0, min(_NATIVE_CAP_S, _NATIVE_BASE_S * (1 << attempt)))


class EmotionRule:
    """429, 500 and 503; one second, doubled each time, and up to 200 ms more."""

    def retries(self, error: ApiError) -> bool:
        return error.status in EMOTION_STATUSES

    def backoff_s(self, attempt: int, jitter: Jitter) -> float:
        return _EMOTION_BASE_S * (1 << attempt) + jitter(0.0, _EMOTION_JITTER_S)


class Attempts:
    """The tries of one call."""

    def __init__(self, rule: Rule, tries: int, jitter: Jitter = random.uniform) -> None:
        self._rule = rule
        self._left = tries
        self._jitter = jitter
        self._failed = 0

    def wait_s(self, error: ApiError | ConnectionFailed) -> float:
        """How long to wait before the next try. Raises the error when there is none."""
        self._left -= 1
        if self._left <= 0:
            raise error
        wait_s = self._rule.backoff_s(self._failed, self._jitter)
        if isinstance(error, ApiError):
            if not self._rule.retries(error):
                raise error
            if error.retry_after_s is not None:
                wait_s = error.retry_after_s
        if wait_s > LONGEST_WAIT_S:
            raise error
        self._failed += 1
        return wait_s

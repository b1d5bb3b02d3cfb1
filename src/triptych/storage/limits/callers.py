"""What the requests of one key are counted against: found once, kept while it stays the same.

A decision reads nine counters. To look each up in a table of its own was a third of its cost, and with ten
thousand keys most of it: every look-up waits for the memory.
"""

import msgspec

from triptych.core.admission import SCOPE_KINDS, BudgetScope, RequestLimits, RequestScope
from triptych.storage.limits.books import Balance, Generations
from triptych.storage.limits.windows import Day, Window


class Check(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A counter of requests and its limit."""

    counter: Window | Day
    limit: int
    kind: str
    """Of the scope: ``key`` | ``user`` | ``org``."""
    minute: Window | None
    """The counter, unless it counts a day."""


class TokenCheck(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A window of tokens and its limit."""

    window: Window
    limit: int


class Level(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The counters of one scope under the limits it had."""

    limits: RequestLimits
    checks: tuple[Check, ...]
    tokens: tuple[TokenCheck, ...]


class Caller(msgspec.Struct, eq=False, gc=False):
    """The counters of key, user and org, and the balances they were last charged to. Few containers: the
    collector walks through each one of ten thousand callers."""

    scopes: tuple[RequestScope, ...]
    """As they were asked about: another object may have other limits."""
    checks: tuple[Check, ...]
    tokens: tuple[TokenCheck, ...]
    slots: tuple[tuple[str, int], ...]
    """Ids of the scopes that limit what runs at the same time, and how much."""
    slot_ids: tuple[str, ...]
    by_day: bool
    """Whether any limit is one of the day."""
    book: dict[str, Balance] | None = None
    budgets: tuple[BudgetScope, ...] = ()
    balances: tuple[Balance, ...] = ()
    """Of ``budgets``, in ``book``."""


class Callers:
    """Callers by key, with the windows and days behind them. What was not asked about for a turn of the
    windows (a minute), and yesterday's counts, are forgotten."""

    def __init__(self) -> None:
        self.recent: dict[str, Caller] = {}
        self.days: dict[str, Day] = {}
        self.requests = Generations()
        self.tokens = Generations()
        self._earlier: dict[str, Caller] = {}
        self._levels: dict[str, Level] = {}

    def scope_ids(self) -> set[str]:
        """Scopes that anything is remembered of."""
        windows = self.requests.recent.keys() | self.requests.earlier.keys()
        windows |= self.tokens.recent.keys() | self.tokens.earlier.keys()
        return windows | self.days.keys()

    def turn(self) -> None:
        """A minute is over: whoever comes again finds their windows again, or new ones."""
        self.requests.turn()
        self.tokens.turn()
        self._earlier, self.recent = self.recent, {}
        self._levels = {}

    def turn_day(self) -> None:
        """All counts of the day start from zero."""
        self.days = {}
        self._earlier, self.recent = {}, {}
        self._levels = {}

    def found(self, scopes: tuple[RequestScope, ...]) -> Caller:
        """Who asks with these scopes (key, user and org, or fewer), to be kept for the next request."""
        key_id = scopes[0].id
        # Freed one by one, not all at the turn.
        self._earlier.pop(key_id, None)
        levels = [self._level(scope, kind) for scope, kind in zip(scopes, SCOPE_KINDS, strict=False)]
        slots = [(one.id, one.limits.concurrency) for one in scopes if one.limits.concurrency is not None]
        caller = self.recent[key_id] = Caller(
            scopes,
            tuple(check for level in levels for check in level.checks),
            tuple(check for level in levels for check in level.tokens),
            tuple(slots),
            tuple(scope_id for scope_id, _ in slots),
            any(scope.limits.rpd is not None for scope in scopes),
        )
        return caller

    def day(self, scope_id: str) -> Day:
        """The scope's count of this day."""
        day = self.days.get(scope_id)
        if day is None:
            day = self.days[scope_id] = Day()
        return day

    def _level(self, scope: RequestScope, kind: str) -> Level:
        """Keys of one user or org share its level."""
        limits = scope.limits
        level = self._levels.get(scope.id)
        if level is not None and level.limits == limits:
            return level
        checks: list[Check] = []
        tokens: list[TokenCheck] = []
        if limits.rpm is not None:
            window = self.requests.window(scope.id)
            checks.append(Check(window, limits.rpm, kind, window))
        if limits.rpd is not None:
            checks.append(Check(self.day(scope.id), limits.rpd, kind, None))
        if limits.tpm is not None:
            tokens.append(TokenCheck(self.tokens.window(scope.id), limits.tpm))
        level = Level(limits, tuple(checks), tuple(tokens))
        if kind != SCOPE_KINDS[0]:
            self._levels[scope.id] = level
        return level

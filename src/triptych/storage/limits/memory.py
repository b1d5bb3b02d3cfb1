"""The admission index of one process. Not thread-safe: it belongs to the event loop."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from triptych.core.admission import (
    CREDITS,
    SCOPE_KINDS,
    SPEND_CAP,
    TPM,
    Admission,
    BudgetScope,
    RequestScope,
    Reservation,
    Seed,
    Settled,
)
from triptych.core.clock import now_us
from triptych.storage.limits.books import Balance, Hold
from triptych.storage.limits.callers import Caller, Callers, Check, TokenCheck
from triptych.storage.limits.windows import DAY_US, WINDOW_MS, Entry, Window, to_midnight_ms, whole_s

_UNLIMITED = Admission(True, None, 0, 0, None, "key", "minute")
_NOTHING_TO_HOLD = Reservation(True)
_UNKNOWN = Settled(found=False)
_AS_HELD = Settled(found=True)
_EXCEEDED = Settled(found=True, exceeded=True)
_SLOT_WAIT_S = 1
_NO_TOKENS: Final = (None, 0, 0)
_PLENTY: Final = 1 << 64
"""More than any limit."""


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class MemoryIndex:
    """Windows, slots and balances of all scopes that were active lately."""

    def __init__(
        self, clock_ms: Callable[[], int] = monotonic_ms, wall_clock_us: Callable[[], int] = now_us
    ) -> None:
        """``clock_ms`` must never step back; ``wall_clock_us`` (since the epoch) tells the day."""
        self._clock_ms = clock_ms
        self._wall_clock_us = wall_clock_us
        self._callers = Callers()
        self._turned_ms = clock_ms()
        self._day = self._day_over_us = 0
        self._slots: dict[str, int] = {}
        # Balances by org and scope.
        self._books: dict[str, dict[str, Balance]] = {}
        self._holds: dict[str, Hold] = {}

    def __len__(self) -> int:
        """Scopes held in memory; balances stay as long as their cycle."""
        return len(self._callers.scope_ids() | self._slots.keys())

    @property
    def holds(self) -> int:
        """Exchanges that occupy slots, tokens, money or credits."""
        return len(self._holds)

    def seed_days(self, seed: Seed) -> None:
        """Take over how often an org's keys, users and itself asked today."""
        today = self._wall_clock_us() // DAY_US
        self._turn_day(today * DAY_US)
        for count in seed.days:
            if count.day == self._day:
                day = self._callers.day(count.id)
                day.total = max(day.total, count.requests)

    def seed_book(self, org_id: str, seed: Seed) -> None:
        """Take over what an org spent and holds, in place of what was known of it."""
        book = self._books[org_id] = {}
        for spent in seed.spent:
            balance = _balance(book, spent.id, spent.cycle)
            if balance.cycle == spent.cycle:
                balance.spent_nusd += spent.nusd
                balance.taken_nusd += spent.nusd
                balance.spent_credits += spent.credits
                balance.taken_credits += spent.credits
        for opened in seed.holds:
            hold = self._holds.get(opened.exchange_id)
            if hold is None:
                hold = self._holds[opened.exchange_id] = Hold()
                self._take_slots(hold, opened.slots)
            if hold.windows is None:
                hold.windows = ()
            hold.nusd, hold.credits = opened.nusd, opened.credits
            balances = []
            for _, scope_id, cycle in opened.budgets:
                balance = _balance(book, scope_id, cycle)
                if balance.cycle == cycle:
                    balance.taken_nusd += opened.nusd
                    balance.taken_credits += opened.credits
                    balances.append(balance)
            hold.balances = balances

    def forget(self, org_id: str) -> None:
        """Forget an org's balances; what it holds is settled without them."""
        self._books.pop(org_id, None)

    # -- requests ------------------------------------------------------------------------------

    def look(self, scopes: tuple[RequestScope, ...]) -> Admission:
        """See ``AdmissionIndex``."""
        return self.admit_request(None, scopes, 0)

    def admit_request(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...], requests: int = 1
    ) -> Admission:
        """Count one request (or none) against all scopes, or against none if one of them is full. Calls of a
        loop cannot be lost on their way: only slots are kept by exchange, requests are counted."""
        now_ms = self._clock_ms()
        if now_ms - self._turned_ms >= WINDOW_MS:
            self._turn(now_ms)
        caller = self._callers.recent.get(scopes[0].id)
        wall_us = 0
        if caller is None or caller.scopes is not scopes or caller.by_day:
            wall_us = self._wall_clock_us()
            if wall_us >= self._day_over_us:
                self._turn_day(wall_us)
                caller = None
            if caller is None or caller.scopes is not scopes:
                caller = self._callers.found(scopes)
        ended_ms = now_ms - WINDOW_MS
        least = _PLENTY
        tightest: Check | None = None
        for check in caller.checks:
            counter = check.counter
            if counter.oldest_ms <= ended_ms:
                counter.trim(now_ms)
            left = check.limit - counter.total
            if left < least:
                least, tightest = left, check
        tokens = _least_tokens(caller.tokens, now_ms) if caller.tokens else _NO_TOKENS
        refused, counted = least <= 0, False
        slots = caller.slots
        if slots and exchange_id is not None:
            counted = exchange_id in self._holds
            for scope_id, allowed in slots:
                if self._slots.get(scope_id, 0) >= allowed:
                    refused = True
        if counted and least <= 0:
            # Asked again: what has filled up since is no answer for who is in.
            least, tightest = _tightest_open(caller)
        elif refused and not counted:
            return self._refusal(scopes, now_ms, wall_us, tokens)
        if requests and not counted:
            for check in caller.checks:
                minute = check.minute
                if minute is not None:
                    entries = minute.entries
                    if entries and entries[-1].moment_ms == now_ms:
                        entries[-1].amount += 1
                    else:
                        entries.append(Entry(now_ms, 1))
                check.counter.total += 1
            if slots and exchange_id is not None:
                hold = self._holds[exchange_id] = Hold()
                self._take_slots(hold, caller.slot_ids)
        if tightest is None:
            if tokens is _NO_TOKENS:
                return _UNLIMITED
            limit, scope, least, reset_ms, name = None, SCOPE_KINDS[0], 0, 0, "minute"
        else:
            limit, scope, least = tightest.limit, tightest.kind, least - requests
            if tightest.minute is None:
                reset_ms, name = to_midnight_ms(wall_us), "day"
            else:
                reset_ms, name = WINDOW_MS, "minute"
        return Admission(True, limit, least, reset_ms, None, scope, name, *tokens)

    def _take_slots(self, hold: Hold, scope_ids: Sequence[str]) -> None:
        hold.slots = scope_ids
        for scope_id in scope_ids:
            self._slots[scope_id] = self._slots.get(scope_id, 0) + 1

    def _turn(self, now_ms: int) -> None:
        self._callers.turn()
        self._turned_ms = now_ms

    def _turn_day(self, wall_us: int) -> None:
        """A new UTC day starts from zero; a clock that was set back does not."""
        day = wall_us // DAY_US
        if day > self._day:
            self._day = day
            self._day_over_us = (day + 1) * DAY_US
            self._callers.turn_day()

    def _refusal(
        self,
        scopes: tuple[RequestScope, ...],
        now_ms: int,
        wall_us: int,
        tokens: tuple[int | None, int, int],
    ) -> Admission:
        """The full window that stays full longest: waiting for it is waiting for all. Slots come
        last: nobody knows when another exchange ends."""
        facts: tuple[int, int, int, str, str] | None = None
        for asked, kind in zip(scopes, SCOPE_KINDS, strict=False):
            limits = asked.limits
            if limits.rpm is not None:
                minute = self._callers.requests.window(asked.id)
                if minute.total >= limits.rpm:
                    wait_ms = minute.wait_ms(limits.rpm, 1, now_ms)
                    if facts is None or wait_ms > facts[0]:
                        reset_ms = minute.reset_ms(now_ms) or WINDOW_MS
                        facts = (wait_ms, limits.rpm, reset_ms, kind, "minute")
            if limits.rpd is not None and self._callers.day(asked.id).total >= limits.rpd:
                wait_ms = to_midnight_ms(wall_us)
                if facts is None or wait_ms > facts[0]:
                    facts = (wait_ms, limits.rpd, wait_ms, kind, "day")
        if facts is not None:
            wait_ms, limit, reset_ms, kind, window = facts
            return Admission(False, limit, 0, reset_ms, whole_s(wait_ms), kind, window, *tokens)
        for asked, kind in zip(scopes, SCOPE_KINDS, strict=False):
            slots = asked.limits.concurrency
            if slots is not None and self._slots.get(asked.id, 0) >= slots:
                return Admission(False, slots, 0, 0, _SLOT_WAIT_S, kind, "slots", *tokens)
        raise AssertionError("a refusal has a full window")

    # -- tokens, money, credits ----------------------------------------------------------------

    def reserve(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation:
        """Hold in all scopes or in none; see ``AdmissionIndex``."""
        now_ms = self._clock_ms()
        if now_ms - self._turned_ms >= WINDOW_MS:
            self._turn(now_ms)
        caller = self._callers.recent.get(scopes[0].id)
        if caller is None or caller.scopes is not scopes:
            caller = self._callers.found(scopes)
        hold = self._holds.get(exchange_id)
        if hold is not None and hold.windows is not None:
            return _reserved(caller, now_ms)
        balances: tuple[Balance, ...] = ()
        book: dict[str, Balance] | None = None
        if budgets:
            book = self._books.get(budgets[-1].id)
            if book is None:
                book = self._books[budgets[-1].id] = {}
            if budgets is caller.budgets and book is caller.book:
                book, balances = None, caller.balances
            else:
                balances = tuple(_newest(book, budget) for budget in budgets)
        least_nusd, least_credits = hold_nusd or 1, hold_credits or 1
        for balance, budget in zip(balances, budgets, strict=True):
            credits = budget.credits
            if credits is not None and balance.taken_credits + least_credits > credits:
                return _over(budget, balance, CREDITS, _least_tokens(caller.tokens, now_ms))
            cap = budget.cap_nusd
            if cap is not None and balance.taken_nusd + least_nusd > cap:
                return _over(budget, balance, SPEND_CAP, _least_tokens(caller.tokens, now_ms))
        full: Reservation | None = None
        longest_ms = 0
        ended_ms = now_ms - WINDOW_MS
        for check in caller.tokens:
            window, tpm = check.window, check.limit
            if window.oldest_ms <= ended_ms:
                window.trim(now_ms)
            counted = min(tpm, tokens)
            if window.total + (counted or 1) > tpm:
                wait_ms = window.wait_ms(tpm, counted or 1, now_ms)
                if wait_ms > longest_ms:
                    longest_ms = wait_ms
                    full = _full(caller, window, tpm, wait_ms, now_ms)
        if full is not None:
            return full
        if not caller.tokens and not balances:
            return _NOTHING_TO_HOLD
        if book is not None:
            self._keep(caller, book, budgets, balances)
        if hold is None:
            hold = self._holds[exchange_id] = Hold()
        hold.nusd, hold.credits, hold.balances = hold_nusd, hold_credits, balances
        for balance in balances:
            balance.taken_nusd += hold_nusd
            balance.taken_credits += hold_credits
        taken: list[tuple[Window, Entry, int]] = []
        limit, left = None, 0
        for check in caller.tokens:
            window, tpm = check.window, check.limit
            counted = min(tpm, tokens)
            entries = window.entries
            if entries and entries[-1].moment_ms >= now_ms:
                entry = entries[-1]
                entry.amount += counted
            else:
                entry = Entry(now_ms, counted)
                entries.append(entry)
            total = window.total = window.total + counted
            taken.append((window, entry, counted))
            if limit is None or tpm - total < left:
                limit, left = tpm, tpm - total
        hold.windows = taken
        if limit is None:
            return _NOTHING_TO_HOLD
        # Every window's last entry is of this millisecond.
        return Reservation(True, None, "", "", 0, 0, 0, 0, None, limit, left, WINDOW_MS)

    def settle(
        self,
        exchange_id: str,
        actual_tokens: int,
        actual_nusd: int,
        actual_credits: int,
        org_id: str | None = None,
    ) -> Settled:
        """Replace the hold by what was used, in the cycle it was held in. ``org_id`` is of no use
        here: every exchange is this process's own."""
        hold = self._holds.pop(exchange_id, None)
        if hold is None:
            return _UNKNOWN
        slots = self._slots
        for scope_id in hold.slots:
            taken = slots[scope_id] - 1
            if taken:
                slots[scope_id] = taken
            else:
                del slots[scope_id]
        if hold.windows:
            for window, entry, counted in hold.windows:
                if counted != actual_tokens:
                    # Not when its minute is over.
                    counts = window.entries
                    if counts and counts[0].moment_ms <= entry.moment_ms:
                        difference = actual_tokens - counted
                        entry.amount += difference
                        window.total += difference
        more_nusd, more_credits = actual_nusd - hold.nusd, actual_credits - hold.credits
        for balance in hold.balances:
            balance.spent_nusd += actual_nusd
            balance.taken_nusd += more_nusd
            balance.spent_credits += actual_credits
            balance.taken_credits += more_credits
        if hold.balances and (more_nusd > 0 or more_credits > 0):
            return _EXCEEDED
        return _AS_HELD

    def _keep(
        self,
        caller: Caller,
        book: dict[str, Balance],
        budgets: tuple[BudgetScope, ...],
        balances: tuple[Balance, ...],
    ) -> None:
        """Enter new balances in the org's book, and remember all for the caller's next request. A book in
        which one takes the place of an older cycle's is another book: who remembers that one looks again."""
        named = list(zip(budgets, balances, strict=True))
        if any(book.get(budget.id, balance) is not balance for budget, balance in named):
            book = self._books[budgets[-1].id] = dict(book)
        for budget, balance in named:
            book[budget.id] = balance
        caller.book, caller.budgets, caller.balances = book, budgets, balances


def _reserved(caller: Caller, now_ms: int) -> Reservation:
    limit, left, reset_ms = _least_tokens(caller.tokens, now_ms)
    if limit is None:
        return _NOTHING_TO_HOLD
    return Reservation(True, tokens_limit=limit, tokens_remaining=left, tokens_reset_ms=reset_ms)


def _least_tokens(checks: tuple[TokenCheck, ...], now_ms: int) -> tuple[int | None, int, int]:
    """The token window with the fewest left: its limit, what is left, ms until it is empty."""
    ended_ms = now_ms - WINDOW_MS
    scarcest: TokenCheck | None = None
    left = 0
    for check in checks:
        window = check.window
        if window.oldest_ms <= ended_ms:
            window.trim(now_ms)
        remaining = max(0, check.limit - window.total)
        if scarcest is None or remaining < left:
            scarcest, left = check, remaining
    return _NO_TOKENS if scarcest is None else (scarcest.limit, left, scarcest.window.reset_ms(now_ms))


def _tightest_open(caller: Caller) -> tuple[int, Check | None]:
    """Of the counters that are not full the one with the fewest left, and how many."""
    left = [(check.limit - check.counter.total, check) for check in caller.checks]
    return min((one for one in left if one[0] > 0), default=(0, None), key=lambda one: one[0])


def _over(
    budget: BudgetScope, balance: Balance, refused_by: str, tokens: tuple[int | None, int, int]
) -> Reservation:
    money = refused_by == SPEND_CAP
    return Reservation(
        False,
        refused_by,
        budget.kind,
        budget.id,
        (budget.cap_nusd if money else budget.credits) or 0,
        balance.spent_nusd if money else balance.spent_credits,
        (balance.taken_nusd - balance.spent_nusd)
        if money
        else (balance.taken_credits - balance.spent_credits),
        balance.cycle,
        None,
        *tokens,
    )


def _full(caller: Caller, window: Window, tpm: int, wait_ms: int, now_ms: int) -> Reservation:
    limited = [
        pair for pair in zip(SCOPE_KINDS, caller.scopes, strict=False) if pair[1].limits.tpm is not None
    ]
    kind, scope = limited[[check.window for check in caller.tokens].index(window)]
    return Reservation(
        False,
        TPM,
        kind,
        scope.id,
        tpm,
        window.total,
        retry_after_s=whole_s(wait_ms),
        tokens_limit=tpm,
        tokens_remaining=max(0, tpm - window.total),
        tokens_reset_ms=window.reset_ms(now_ms),
    )


def _newest(book: dict[str, Balance], budget: BudgetScope) -> Balance:
    """The scope's balance in the cycle it is asked for or in a newer one, else one that is in no book yet."""
    balance = book.get(budget.id)
    return Balance(budget.cycle) if balance is None or balance.cycle < budget.cycle else balance


def _balance(book: dict[str, Balance], scope_id: str, cycle: int) -> Balance:
    """The scope's newest balance. A new cycle starts from zero; what still runs is settled in the
    one it began in. A clock that was set back gives no second cycle."""
    balance = book.get(scope_id)
    if balance is None or balance.cycle < cycle:
        balance = book[scope_id] = Balance(cycle)
    return balance

"""The admission index of one process. Not thread-safe: it belongs to the event loop."""

import time
from collections.abc import Callable, Iterable

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
from triptych.storage.limits.books import Balance, Generations, Hold
from triptych.storage.limits.windows import DAY_US, WINDOW_MS, Entry, Window, to_midnight_ms, whole_s

_UNLIMITED = Admission(True, None, 0, 0, None, "key", "minute")
_NOTHING_TO_HOLD = Reservation(True)
_UNKNOWN = Settled(found=False)
_AS_HELD = Settled(found=True)
_EXCEEDED = Settled(found=True, exceeded=True)
_SLOT_WAIT_S = 1


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
        self._requests = Generations()
        self._tokens = Generations()
        self._turned_ms = clock_ms()
        self._days: dict[str, int] = {}
        self._day = 0
        self._slots: dict[str, int] = {}
        # Balances by org and scope.
        self._books: dict[str, dict[str, Balance]] = {}
        self._holds: dict[str, Hold] = {}

    def __len__(self) -> int:
        """Scopes held in memory; balances stay as long as their cycle."""
        windows = self._requests.recent.keys() | self._requests.earlier.keys()
        windows |= self._tokens.recent.keys() | self._tokens.earlier.keys()
        return len(windows | self._days.keys() | self._slots.keys())

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
                self._days[count.id] = max(self._days.get(count.id, 0), count.requests)

    def seed_book(self, org_id: str, seed: Seed) -> None:
        """Take over what an org spent and holds, in place of what was known of it."""
        book = self._books[org_id] = {}
        for spent in seed.spent:
            balance = _balance(book, spent.id, spent.cycle)
            if balance.cycle == spent.cycle:
                balance.spent_nusd += spent.nusd
                balance.spent_credits += spent.credits
        for opened in seed.holds:
            hold = self._holds.get(opened.exchange_id)
            if hold is None:
                hold = self._holds[opened.exchange_id] = Hold()
                self._take_slots(hold, opened.slots)
            if hold.windows is None:
                hold.windows = []
            hold.nusd, hold.credits = opened.nusd, opened.credits
            hold.balances = []
            for _, scope_id, cycle in opened.budgets:
                balance = _balance(book, scope_id, cycle)
                if balance.cycle == cycle:
                    balance.held_nusd += opened.nusd
                    balance.held_credits += opened.credits
                    hold.balances.append(balance)

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
        ended_ms = now_ms - WINDOW_MS
        recent, recent_tokens = self._requests.recent, self._tokens.recent
        least = tokens_left = -1
        scope = limit = tokens_limit = tokens_reset_ms = 0
        daily = refused = False
        minutes: list[Window] = []
        days: list[tuple[str, int]] = []
        slots: list[str] | None = None
        wall_us = 0
        position = -1
        for asked in scopes:
            position += 1
            scope_id, limits = asked.id, asked.limits
            rpm = limits.rpm
            if rpm is not None:
                minute = recent.get(scope_id) or self._requests.revived(scope_id)
                entries = minute.entries
                if entries and entries[0].moment_ms <= ended_ms:
                    minute.trim(now_ms)
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
                counted = self._days.get(scope_id, 0)
                left = rpd - counted
                if left <= 0:
                    refused = True
                elif left < least or least < 0:
                    least, scope, limit, daily = left, position, rpd, True
                days.append((scope_id, counted + 1))
            tpm = limits.tpm
            if tpm is not None:
                window = recent_tokens.get(scope_id) or self._tokens.revived(scope_id)
                entries = window.entries
                if entries and entries[0].moment_ms <= ended_ms:
                    window.trim(now_ms)
                left = tpm - window.total
                if left < 0:
                    left = 0
                if left < tokens_left or tokens_left < 0:
                    tokens_left, tokens_limit = left, tpm
                    tokens_reset_ms = entries[-1].moment_ms - ended_ms if entries else 0
            if limits.concurrency is not None and exchange_id is not None:
                if self._slots.get(scope_id, 0) >= limits.concurrency:
                    refused = True
                slots = [scope_id] if slots is None else [*slots, scope_id]
        known = self._holds.get(exchange_id) if slots is not None and exchange_id is not None else None
        if refused and known is None:
            tokens = (tokens_limit if tokens_left >= 0 else None, max(0, tokens_left), tokens_reset_ms)
            return self._refusal(scopes, now_ms, wall_us, tokens)
        if known is None and requests:
            for minute in minutes:
                entries = minute.entries
                if entries and entries[-1].moment_ms == now_ms:
                    entries[-1].amount += 1
                else:
                    entries.append(Entry(now_ms, 1))
                minute.total += 1
            if days:
                self._days.update(days)
            if slots is not None and exchange_id is not None:
                hold = self._holds[exchange_id] = Hold()
                hold.slots = slots
                for scope_id in slots:
                    self._slots[scope_id] = self._slots.get(scope_id, 0) + 1
        if tokens_left < 0:
            if least < 0:
                return _UNLIMITED
            if not daily:
                return Admission(True, limit, least - requests, WINDOW_MS, None, SCOPE_KINDS[scope], "minute")
        return Admission(
            True,
            limit if least >= 0 else None,
            least - requests if least > 0 else 0,
            (to_midnight_ms(wall_us) if daily else WINDOW_MS) if least >= 0 else 0,
            None,
            SCOPE_KINDS[scope],
            "day" if daily else "minute",
            tokens_limit if tokens_left >= 0 else None,
            max(0, tokens_left),
            tokens_reset_ms,
        )

    def _take_slots(self, hold: Hold, scope_ids: Iterable[str]) -> None:
        for scope_id in scope_ids:
            self._slots[scope_id] = self._slots.get(scope_id, 0) + 1
            hold.slots.append(scope_id)

    def _turn(self, now_ms: int) -> None:
        self._requests.turn()
        self._tokens.turn()
        self._turned_ms = now_ms

    def _turn_day(self, wall_us: int) -> None:
        """A new UTC day starts from zero; a clock that was set back does not."""
        day = wall_us // DAY_US
        if day > self._day:
            self._day = day
            self._days = {}

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
                minute = self._requests.recent[asked.id]
                if minute.total >= limits.rpm:
                    wait_ms = minute.wait_ms(limits.rpm, 1, now_ms)
                    if facts is None or wait_ms > facts[0]:
                        reset_ms = minute.reset_ms(now_ms) or WINDOW_MS
                        facts = (wait_ms, limits.rpm, reset_ms, kind, "minute")
            if limits.rpd is not None and self._days.get(asked.id, 0) >= limits.rpd:
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
        hold = self._holds.get(exchange_id)
        if hold is not None and hold.windows is not None:
            return self._reserved(scopes, now_ms)
        balances = []
        fresh: list[tuple[str, Balance]] = []
        book = (self._books.get(budgets[-1].id) or self._book(budgets[-1].id)) if budgets else {}
        for budget in budgets:
            balance = book.get(budget.id)
            if balance is None or balance.cycle < budget.cycle:
                balance = Balance(budget.cycle)
                fresh.append((budget.id, balance))
            cap, credits = budget.cap_nusd, budget.credits
            if (
                credits is not None
                and balance.spent_credits + balance.held_credits + (hold_credits or 1) > credits
            ):
                return _over(budget, balance, CREDITS, self._least_tokens(scopes, now_ms))
            if cap is not None and balance.spent_nusd + balance.held_nusd + (hold_nusd or 1) > cap:
                return _over(budget, balance, SPEND_CAP, self._least_tokens(scopes, now_ms))
            balances.append(balance)
        windows: list[tuple[Window, int, int]] = []
        full: Reservation | None = None
        longest_ms = 0
        recent = self._tokens.recent
        for asked in scopes:
            tpm = asked.limits.tpm
            if tpm is None:
                continue
            scope_id = asked.id
            window = recent.get(scope_id) or self._tokens.revived(scope_id)
            if window.entries and window.entries[0].moment_ms <= now_ms - WINDOW_MS:
                window.trim(now_ms)
            counted = min(tpm, tokens)
            if window.total + (counted or 1) > tpm:
                wait_ms = window.wait_ms(tpm, counted or 1, now_ms)
                if wait_ms > longest_ms:
                    longest_ms = wait_ms
                    kind = SCOPE_KINDS[scopes.index(asked)]
                    full = _full(kind, asked.id, tpm, window, wait_ms, now_ms)
            windows.append((window, counted, tpm))
        if full is not None:
            return full
        if not windows and not balances:
            return _NOTHING_TO_HOLD
        if hold is None:
            hold = self._holds[exchange_id] = Hold()
        hold.nusd, hold.credits, hold.balances = hold_nusd, hold_credits, balances
        for scope_id, balance in fresh:
            book[scope_id] = balance
        for balance in balances:
            balance.held_nusd += hold_nusd
            balance.held_credits += hold_credits
        hold.windows = entries = []
        limit, left = None, 0
        for window, counted, tpm in windows:
            # ``Window.add``, without the call.
            counts = window.entries
            if counts and counts[-1].moment_ms >= now_ms:
                entry = counts[-1]
                entry.amount += counted
            else:
                entry = Entry(now_ms, counted)
                counts.append(entry)
            total = window.total = window.total + counted
            entries.append((window, entry, counted))
            remaining = tpm - total
            if limit is None or remaining < left:
                limit, left = tpm, remaining
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
                    # ``Window.replace``, without the call.
                    counts = window.entries
                    if counts and counts[0].moment_ms <= entry.moment_ms:
                        difference = actual_tokens - counted
                        entry.amount += difference
                        window.total += difference
        held_nusd, held_credits = hold.nusd, hold.credits
        for balance in hold.balances:
            balance.held_nusd -= held_nusd
            balance.spent_nusd += actual_nusd
            balance.held_credits -= held_credits
            balance.spent_credits += actual_credits
        if hold.balances and (actual_nusd > held_nusd or actual_credits > held_credits):
            return _EXCEEDED
        return _AS_HELD

    def _token_window(self, scope_id: str, now_ms: int) -> Window:
        window = self._tokens.recent.get(scope_id) or self._tokens.revived(scope_id)
        entries = window.entries
        if entries and entries[0].moment_ms <= now_ms - WINDOW_MS:
            window.trim(now_ms)
        return window

    def _book(self, org_id: str) -> dict[str, Balance]:
        return self._books.setdefault(org_id, {})

    def _reserved(self, scopes: tuple[RequestScope, ...], now_ms: int) -> Reservation:
        limit, left, reset_ms = self._least_tokens(scopes, now_ms)
        if limit is None:
            return _NOTHING_TO_HOLD
        return Reservation(True, tokens_limit=limit, tokens_remaining=left, tokens_reset_ms=reset_ms)

    def _least_tokens(self, scopes: tuple[RequestScope, ...], now_ms: int) -> tuple[int | None, int, int]:
        """The token window with the fewest left: its limit, what is left, ms until it is empty."""
        limit, left, reset_ms = None, 0, 0
        for asked in scopes:
            tpm = asked.limits.tpm
            if tpm is not None:
                window = self._token_window(asked.id, now_ms)
                remaining = max(0, tpm - window.total)
                if limit is None or remaining < left:
                    limit, left, reset_ms = tpm, remaining, window.reset_ms(now_ms)
        return limit, left, reset_ms


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
        balance.held_nusd if money else balance.held_credits,
        balance.cycle,
        None,
        *tokens,
    )


def _full(kind: str, scope_id: str, tpm: int, window: Window, wait_ms: int, now_ms: int) -> Reservation:
    return Reservation(
        False,
        TPM,
        kind,
        scope_id,
        tpm,
        window.total,
        retry_after_s=whole_s(wait_ms),
        tokens_limit=tpm,
        tokens_remaining=max(0, tpm - window.total),
        tokens_reset_ms=window.reset_ms(now_ms),
    )


def _balance(book: dict[str, Balance], scope_id: str, cycle: int) -> Balance:
    """The scope's newest balance. A new cycle starts from zero; what still runs is settled in the
    one it began in. A clock that was set back gives no second cycle."""
    balance = book.get(scope_id)
    if balance is None or balance.cycle < cycle:
        balance = book[scope_id] = Balance(cycle)
    return balance

"""Counting in rolling 60 s windows, and what memory and Redis say about them in the same words."""

from collections import deque
from typing import Final

import msgspec

WINDOW_MS: Final = 60_000
DAY_US: Final = 86_400_000_000


class Entry(msgspec.Struct, gc=False):
    """What came in one millisecond.

    No list: the collector walks through every container that lives, and under load hundreds of thousands of
    entries do, each for a minute.
    """

    moment_ms: int
    amount: int


class Window:
    """What came in the last 60,000 ms: exact, to the millisecond.

    One entry for each millisecond in which something came, oldest first: at most 60,000 of them,
    and never more than the limit.
    """

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.total = 0

    def trim(self, now_ms: int) -> None:
        """Forget what came 60,000 ms ago or earlier."""
        entries = self.entries
        while entries and entries[0].moment_ms <= now_ms - WINDOW_MS:
            self.total -= entries.popleft().amount

    def add(self, now_ms: int, amount: int) -> Entry:
        """Count ``amount`` now; returns the entry, for ``replace``."""
        entries = self.entries
        self.total += amount
        if entries and entries[-1].moment_ms >= now_ms:
            entry = entries[-1]
            entry.amount += amount
        else:
            entry = Entry(now_ms, amount)
            entries.append(entry)
        return entry

    def replace(self, entry: Entry, difference: int) -> None:
        """Correct an amount counted earlier, unless its minute is over."""
        if self.entries and self.entries[0].moment_ms <= entry.moment_ms:
            entry.amount += difference
            self.total += difference

    def wait_ms(self, limit: int, amount: int, now_ms: int) -> int:
        """Until ``amount`` more fits; a limit too small for it says a whole window. Several entries
        must leave when the limit was lowered meanwhile."""
        excess = self.total + amount - limit
        for entry in self.entries:
            excess -= entry.amount
            if excess <= 0:
                return max(1, entry.moment_ms + WINDOW_MS - now_ms)
        return WINDOW_MS

    def reset_ms(self, now_ms: int) -> int:
        """Until the window is empty if nothing more comes."""
        return self.entries[-1].moment_ms + WINDOW_MS - now_ms if self.entries else 0


def to_midnight_ms(wall_us: int) -> int:
    return -(-(DAY_US - wall_us % DAY_US) // 1000)


def whole_s(wait_ms: int) -> int:
    return max(1, -(-wait_ms // 1000))

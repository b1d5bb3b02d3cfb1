"""Counting in rolling 60 s windows, and what memory and Redis say about them in the same words."""

from collections import deque
from typing import Final

import msgspec

WINDOW_MS: Final = 60_000
DAY_US: Final = 86_400_000_000


class Entry(msgspec.Struct, eq=False, gc=False):
    """What came in one millisecond.

    No list: the collector walks through every container that lives, and under load hundreds of thousands of
    entries do, each for a minute.
    """

    moment_ms: int
    amount: int


class Window(msgspec.Struct, eq=False, gc=False):
    """What came in the last 60,000 ms: exact, to the millisecond.

    One entry for each millisecond in which something came, oldest first: at most 60,000 of them,
    and never more than the limit.
    """

    entries: deque[Entry] = msgspec.field(default_factory=deque)
    total: int = 0
    oldest_ms: int = 0
    """No entry is older: there is nothing to trim until 60,000 ms later. Tells without looking at one."""

    def trim(self, now_ms: int) -> None:
        """Forget what came 60,000 ms ago or earlier."""
        entries = self.entries
        while entries and entries[0].moment_ms <= now_ms - WINDOW_MS:
            self.total -= entries.popleft().amount
        self.oldest_ms = entries[0].moment_ms if entries else now_ms

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


class Day(msgspec.Struct, eq=False, gc=False):
    """What came on this UTC day. Looks like a window of which nothing falls off."""

    total: int = 0
    oldest_ms: int = 1 << 64

    def trim(self, now_ms: int) -> None:
        """Nothing: a day is over for all scopes at once, and then each begins with another object."""


def to_midnight_ms(wall_us: int) -> int:
    return -(-(DAY_US - wall_us % DAY_US) // 1000)


def whole_s(wait_ms: int) -> int:
    return max(1, -(-wait_ms // 1000))

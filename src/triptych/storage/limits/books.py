"""What the index in memory remembers: balances, holds, and windows that fall off by themselves."""

from collections.abc import Sequence

import msgspec

from triptych.storage.limits.windows import Entry, Window


class Balance(msgspec.Struct, eq=False, gc=False):
    """What one scope has spent and holds in its newest cycle."""

    cycle: int
    spent_nusd: int = 0
    taken_nusd: int = 0
    """Spent or held."""
    spent_credits: int = 0
    taken_credits: int = 0


class Hold:
    """What one running exchange occupies."""

    __slots__ = ("balances", "credits", "nusd", "slots", "windows")

    def __init__(self) -> None:
        self.slots: Sequence[str] = ()
        # Window, entry, tokens counted in it; None: nothing was reserved yet.
        self.windows: Sequence[tuple[Window, Entry, int]] | None = None
        self.balances: Sequence[Balance] = ()
        self.nusd = 0
        self.credits = 0


class Generations:
    """Windows by scope. What was not used for a whole turn is empty and falls off, at no cost to
    the requests in between."""

    __slots__ = ("earlier", "recent")

    def __init__(self) -> None:
        self.recent: dict[str, Window] = {}
        self.earlier: dict[str, Window] = {}

    def turn(self) -> None:
        self.earlier, self.recent = self.recent, {}

    def window(self, scope_id: str) -> Window:
        """The window of a scope, an empty one if nothing came lately."""
        window = self.recent.get(scope_id)
        if window is None:
            window = self.earlier.pop(scope_id) if scope_id in self.earlier else Window()
            self.recent[scope_id] = window
        return window

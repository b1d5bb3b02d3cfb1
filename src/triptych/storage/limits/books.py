"""What the index in memory remembers: balances, holds, and windows that fall off by themselves."""

from triptych.storage.limits.windows import Entry, Window


class Balance:
    """What one scope has spent and holds in its newest cycle."""

    __slots__ = ("cycle", "held_credits", "held_nusd", "spent_credits", "spent_nusd")

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle
        self.spent_nusd = 0
        self.held_nusd = 0
        self.spent_credits = 0
        self.held_credits = 0


class Hold:
    """What one running exchange occupies."""

    __slots__ = ("balances", "credits", "nusd", "slots", "tokens", "windows")

    def __init__(self) -> None:
        self.slots: list[str] = []
        # Window, entry, tokens counted in it; None: nothing was reserved yet.
        self.windows: list[tuple[Window, Entry, int]] | None = None
        self.balances: list[Balance] = []
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

    def revived(self, scope_id: str) -> Window:
        """The window of a scope that is not among the recent ones."""
        window = self.earlier.pop(scope_id, None) or Window()
        self.recent[scope_id] = window
        return window

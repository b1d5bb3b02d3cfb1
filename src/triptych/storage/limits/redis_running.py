"""What this process runs, as far as Redis knows of it: what is renewed there, brought to a new book, and
whether it is sure to be held still."""

import math

from triptych.core.admission import BudgetScope
from triptych.core.clock import passed_s


class Running:
    """An exchange of this process that occupies, or may occupy, something in the index."""

    __slots__ = ("_asked_s", "_until_s", "credits", "nusd", "org_id", "places", "since_s", "slots", "token")

    def __init__(self, org_id: str, since_s: float, lease_s: float) -> None:
        self.org_id = org_id
        self.since_s = since_s
        self.slots: list[str] = []
        self.places: list[tuple[str, int]] = []
        self.nusd = 0
        self.credits = 0
        # Of the book that is known to hold it; None: not known yet.
        self.token: str | None = None
        # By ``passed_s``: when what holds it now was asked for, and from when on it may be overdue.
        self._asked_s = passed_s()
        self._until_s = self._asked_s + lease_s

    def holds(self, budgets: tuple[BudgetScope, ...], nusd: int, credits: int, token: str) -> None:
        """Not before it was admitted: a new book that is brought what is only asked for takes it as
        admitted."""
        self.places = [(budget.id, budget.cycle) for budget in budgets]
        self.nusd, self.credits = nusd, credits
        self.token = token

    def renewed(self, asked_s: float, lease_s: float) -> None:
        """The server has just said yes to what it was asked for at ``asked_s``. What it may have found
        overdue by then, others may have been given."""
        if passed_s() < self._until_s:
            self._asked_s, self._until_s = asked_s, asked_s + lease_s

    def lost(self) -> None:
        """There was a book without it."""
        self._until_s = -math.inf

    def stands(self, since_s: float) -> bool:
        """Whether nobody else can have been given what it holds. ``since_s``: what the server said before
        it may have forgotten. Both by ``passed_s``."""
        return self._asked_s >= since_s and passed_s() < self._until_s

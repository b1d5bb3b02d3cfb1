"""Money and credits set aside before a call, and what is charged after it.

A hold covers what an exchange may cost at most, as far as that can be known beforehand: all of the
input at the dearest input rate, and all the output it may ask for at the dearest output rate. What
it did cost takes its place, also when that is more.
"""

from typing import Final

import msgspec

from triptych.core.admission import BudgetScope
from triptych.core.target import Model
from triptych.core.usage import (
    MAX_PLAUSIBLE_TOKENS,
    TOKENS_PER_PRICE_UNIT,
    Price,
    credits_used,
)

DEFAULT_OUTPUT_TOKENS: Final = 4_096
"""Held where neither the request nor the model says how long an answer may get."""
MARGIN_PERCENT: Final = 10
"""What an estimate of the input is raised by."""
MOST_HELD: Final = 2**62
"""Of nano-USD or credits: what an absurd request would hold still fits a 64-bit integer."""


class Booking(msgspec.Struct, frozen=True):
    """Which balances an exchange is booked on, and what it is charged if nobody lives to tell.

    Written into the start row as JSON.
    """

    cycle: int
    """First day of the cycle, in days since the epoch."""
    scopes: tuple[tuple[str, str], ...]
    """(kind, id) of key, user, groups, org."""
    input_tokens: int = 0
    """Estimated, without the margin."""
    input_nusd: int = 0
    input_credits: int = 0


class Hold(msgspec.Struct, frozen=True):
    """What an exchange sets aside, in tokens, nano-USD and credits."""

    tokens: int
    nusd: int
    credits: int
    booking: Booking | None = None
    """None where nobody has a budget: only tokens are held."""


class Alert(msgspec.Struct, frozen=True):
    """A part of a cap; the first charge that reaches it in a cycle is told of, once."""

    kind: str
    scope_id: str
    threshold: int
    """Percent of the cap."""
    cap_nusd: int

    @property
    def level_nusd(self) -> int:
        """Spending from which on the threshold is reached."""
        return -(-self.cap_nusd * self.threshold // 100)


class Charge(msgspec.Struct, frozen=True):
    """What the end of an exchange adds to balances and counters, in the transaction of its row."""

    org_id: str
    nusd: int = 0
    credits: int = 0
    cycle: int = 0
    scopes: tuple[tuple[str, str], ...] = ()
    """(kind, id) of the balances. Empty: who ended it knew of no budgets in the org. A database that several
    nodes share may by then; it adds the charge to those of the row's key, user, groups and org."""
    alerts: tuple[Alert, ...] = ()
    day: int = 0
    """UTC day of the request, in days since the epoch."""
    counted: tuple[str, str] | None = None
    """Key and user whose requests are counted by the day, and so those of the org."""


def held_output_tokens(asked: int | None, model: Model, choices: int = 1) -> int:
    """The longest answer: what the request allows, but no more than the model can give; so many
    times."""
    most = model.max_output_tokens
    if asked is None:
        asked = DEFAULT_OUTPUT_TOKENS if most is None else most
    elif most is not None and asked > most:
        asked = most
    total = asked * choices
    return min(MAX_PLAUSIBLE_TOKENS, total)


def scopes_of(budgets: tuple[BudgetScope, ...]) -> tuple[tuple[str, str], ...]:
    """Their (kind, id)."""
    return tuple((budget.kind, budget.id) for budget in budgets)


def hold(
    model: Model,
    price: Price | None,
    input_tokens: int,
    output_tokens: int,
    budgets: tuple[BudgetScope, ...],
    scopes: tuple[tuple[str, str], ...] | None = None,
) -> Hold:
    """``input_tokens`` is an estimate, to which the margin is added; ``output_tokens`` the most there
    can be. Without a price only credits and tokens are held. ``scopes``: those of the budgets, where
    they are known already."""
    if input_tokens > MAX_PLAUSIBLE_TOKENS:
        input_tokens = MAX_PLAUSIBLE_TOKENS
    held_tokens = -(-input_tokens * (100 + MARGIN_PERCENT) // 100) + output_tokens
    if not budgets:
        return Hold(held_tokens, 0, 0)
    ratio = model.credit_ratio
    nusd = input_nusd = 0
    if price is not None:
        total = input_tokens * price.dearest_input * (100 + MARGIN_PERCENT)
        total += output_tokens * price.dearest_output * 100
        nusd = min(-(-total // (TOKENS_PER_PRICE_UNIT * 100)), MOST_HELD)
        input_nusd = -(-input_tokens * price.input // TOKENS_PER_PRICE_UNIT)
    return Hold(
        held_tokens,
        nusd,
        min(credits_used(held_tokens, ratio), MOST_HELD),
        Booking(
            budgets[-1].cycle,
            scopes_of(budgets) if scopes is None else scopes,
            input_tokens,
            input_nusd,
            credits_used(input_tokens, ratio),
        ),
    )

"""Whose money an exchange spends that began when nobody in its org had a budget, and ends when somebody
has: what it cost counts like what had ended before."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from triptych.core.admission import AdmissionIndex, BudgetScope, RequestLimits, RequestScope, Reservation
from triptych.core.exchange import Exchange
from triptych.core.hold import Booking, Hold, scopes_of
from triptych.core.principal import Principal

logger = logging.getLogger("triptych.book")

_NO_LIMITS = RequestLimits()


class Book:
    def __init__(
        self, index: AdmissionIndex, budgets: Callable[[Principal, int], tuple[BudgetScope, ...]]
    ) -> None:
        """``budgets``: those that a principal has by now, in the cycle of a moment (microseconds)."""
        self._index = index
        self._budgets = budgets

    def late(self, exchange: Exchange) -> Awaitable[None] | None:
        """Call before the end of an exchange is recorded, and await what it gives. None: nothing to do."""
        principal = exchange.principal
        # With budgets from the start it is booked already, or costs nothing.
        if principal.budgets or not exchange.opened or principal.environment != "live":
            return None
        budgets = self._budgets(principal, exchange.started_us)
        return self._booked(exchange, budgets) if budgets else None

    async def _booked(self, exchange: Exchange, budgets: tuple[BudgetScope, ...]) -> None:
        nusd, credits, _ = exchange.price(exchange.usage)
        if not (nusd or credits):
            return
        # It is charged whatever it leaves: it was admitted before there was a cap.
        open_ended = tuple(msgspec.structs.replace(one, cap_nusd=None, credits=None) for one in budgets)
        scopes = tuple(RequestScope(one.id, _NO_LIMITS) for one in exchange.principal.request_scopes)
        # The index is to know it before the end row is there: what it reads later from rows has it already.
        asked = self._index.reserve(_place(exchange), scopes, 0, open_ended, 0, 0)
        if not isinstance(asked, Reservation):
            await _to_its_end(asked)
        booking = Booking(budgets[-1].cycle, scopes_of(budgets))
        exchange.hold = Hold(0 if exchange.hold is None else exchange.hold.tokens, 0, 0, booking)
        exchange.booked_late = True

    def settle(self, exchange: Exchange, nusd: int, credits: int) -> None:
        """Once the end row is durable, of what was booked late."""
        self._index.settle(_place(exchange), 0, nusd, credits)


def _place(exchange: Exchange) -> str:
    """Beside the exchange's own, which may hold tokens and slots."""
    return exchange.id + "+"


async def _to_its_end(asked: Awaitable[Reservation]) -> None:
    """Also when cancelled meanwhile: the end must be recorded all the same, and after this."""
    task = asyncio.ensure_future(asked)
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            continue
    error = None if task.cancelled() else task.exception()
    if error is not None:
        # Rows and balances know it all the same; the index does when it reads them again.
        logger.warning("what an exchange cost is not in the limits yet: %s", type(error).__name__)

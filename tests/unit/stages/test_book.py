"""What ends in an org that has got its first cap meanwhile is booked, and nothing else is looked for."""

import asyncio

from tests.unit.stages.test_reserve import CYCLE, exchange
from triptych.core.admission import BudgetScope
from triptych.core.principal import Principal
from triptych.core.usage import Usage, UsageSource
from triptych.stages.book import Book
from triptych.storage.limits.memory import MemoryIndex

CAPPED = (BudgetScope("key", "K", None, None, CYCLE), BudgetScope("org", "O", 10, None, CYCLE))


class Directory:
    def __init__(self) -> None:
        self.asked = 0

    def budgets(self, principal: Principal, moment_us: int) -> tuple[BudgetScope, ...]:
        self.asked += 1
        return CAPPED


def test_what_began_without_a_cap_is_booked_at_its_end_whatever_the_cap_leaves() -> None:
    directory, one = Directory(), exchange()
    one.opened = True
    one.usage = Usage(1_000, 50, source=UsageSource.PROVIDER)
    booked = Book(MemoryIndex(), directory.budgets).late(one)
    assert booked is not None

    async def wait() -> None:
        await booked

    asyncio.run(wait())
    assert one.booked_late and one.hold is not None and one.hold.booking is not None
    assert one.hold.booking.scopes == (("key", "K"), ("org", "O"))


def test_keys_are_not_looked_through_for_what_had_budgets_from_the_start_and_costs_nothing() -> None:
    """As a count of tokens, which holds nothing: with 10,000 keys each would take a millisecond."""
    directory, counted, never_left, of_a_test_key = (
        Directory(), exchange(cap=10), exchange(), exchange(environment="test"),
    )  # fmt: skip
    counted.opened = of_a_test_key.opened = True
    book = Book(MemoryIndex(), directory.budgets)
    assert [book.late(one) for one in (counted, never_left, of_a_test_key)] == [None] * 3
    assert directory.asked == 0

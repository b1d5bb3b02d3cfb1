"""Tokens and money of one exchange. Money is an int of nano-USD (1 USD = 10^9), never a float."""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

NANO_USD_PER_USD = 1_000_000_000
TOKENS_PER_PRICE_UNIT = 1_000_000

# A provider that reports more than this lies; the count is replaced by an estimate.
MAX_PLAUSIBLE_TOKENS = 1_000_000_000


class UsageSource:
    """Where the counts come from; written into the row."""

    PROVIDER = "provider"
    ESTIMATE = "estimate"
    NONE = "none"


class Usage(msgspec.Struct, frozen=True):
    """Non-overlapping token counts: their sum is everything the provider worked on.

    ``reasoning_tokens`` is informative: those tokens are part of ``output_tokens`` already.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    source: str = UsageSource.NONE


NO_USAGE = Usage()


class Price(msgspec.Struct, frozen=True):
    """nano-USD per million tokens, per kind of token."""

    input: int
    output: int
    cache_read: int
    cache_write: int


FREE = Price(0, 0, 0, 0)
"""What the sandbox costs."""


def nano_usd(usd: Decimal) -> int:
    """Dollars as nano-USD, rounded half to even at the ninth decimal."""
    return int((usd * NANO_USD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def cost_nusd(usage: Usage, price: Price) -> int:
    """``ceil(sum(tokens * price) / 10^6)``: rounded up once per exchange, never per kind."""
    total = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_tokens * price.cache_write
    )
    return -(-total // TOKENS_PER_PRICE_UNIT)

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
    COUNTED = "counted"
    """By the gateway's own tokenizer, of texts that it analysed itself."""
    NONE = "none"


class Usage(msgspec.Struct, frozen=True):
    """Non-overlapping token counts: their sum is everything the provider worked on.

    ``reasoning_tokens`` are part of ``output_tokens`` already; they may have a price of their own.
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
    reasoning: int | None = None
    """Of output tokens that are reasoning; None: the output price."""

    @property
    def dearest_input(self) -> int:
        most = self.input
        if self.cache_read > most:
            most = self.cache_read
        return max(self.cache_write, most)

    @property
    def dearest_output(self) -> int:
        return self.output if self.reasoning is None else max(self.output, self.reasoning)


class Ratio(msgspec.Struct, frozen=True):
    """Credits per token, exactly: a fraction of two integers."""

    numerator: int = 1
    denominator: int = 1


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
    if price.reasoning is not None:
        total += min(usage.reasoning_tokens, usage.output_tokens) * (price.reasoning - price.output)
    return -(-total // TOKENS_PER_PRICE_UNIT)


def credits_used(tokens: int, ratio: Ratio) -> int:
    """``ceil(tokens * ratio)``: rounded up once per exchange. All tokens of input and output count,
    cached ones too."""
    return -(-tokens * ratio.numerator // ratio.denominator)


def all_tokens(usage: Usage) -> int:
    """Input, output and what went through the cache; reasoning is in the output."""
    return usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens

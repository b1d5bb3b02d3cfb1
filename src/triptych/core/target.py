"""What answers: a model as the catalogue knows it, and the upstreams that serve it."""

import msgspec

from triptych.core.usage import Price, Ratio


class Target(msgspec.Struct, frozen=True):
    """One upstream and the model id it knows."""

    provider: str
    upstream_model: str
    weight: int = 1
    """Its share of the calls among targets of one priority."""
    priority: int = 0
    """Lower is asked first."""
    covered: bool = False
    """Whether an agreement (BAA) covers the provider, or nothing leaves this process."""
    agreement: str | None = None
    """Which one."""


class Model(msgspec.Struct, frozen=True):
    id: str
    targets: tuple[Target, ...]
    """By priority; never empty."""
    tier: str = "standard"
    price: Price | None = None
    """None: the model is unpriced; its usage is recorded and flagged."""
    groups: frozenset[str] | None = None
    """Groups that may use it; None means all."""
    retires_at_us: int | None = None
    announced_us: int | None = None
    """Since when its retirement is known to callers."""
    replacement: str | None = None
    max_output_tokens: int | None = None
    context_window: int | None = None
    fallback: tuple[str, ...] = ()
    """Ids of the models that answer when none of its targets does, in this order."""
    later_prices: tuple[tuple[int, Price], ...] = ()
    """What takes the price's place from a moment on (microseconds since the epoch), oldest first."""
    credit_ratio: Ratio = Ratio()
    phi_mode: str | None = None
    """What holds for each of its calls, where the caller's own mode is not stricter."""

    def price_at(self, moment_us: int) -> Price | None:
        """The price of an exchange that begins at that moment."""
        price = self.price
        for since_us, later in self.later_prices:
            if since_us > moment_us:
                break
            price = later
        return price

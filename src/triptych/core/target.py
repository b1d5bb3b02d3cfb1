"""What answers: a model as the catalogue knows it, and one upstream that serves it."""

import msgspec

from triptych.core.usage import Price


class Target(msgspec.Struct, frozen=True):
    """One upstream and the model id it knows."""

    provider: str
    upstream_model: str


class Model(msgspec.Struct, frozen=True):
    id: str
    targets: tuple[Target, ...]
    """In the order in which they are tried."""
    tier: str = "standard"
    price: Price | None = None
    """None: the model is unpriced; its usage is recorded and flagged."""
    groups: frozenset[str] | None = None
    """Groups that may use it; None means all."""
    retires_at_us: int | None = None
    replacement: str | None = None
    max_output_tokens: int | None = None
    context_window: int | None = None

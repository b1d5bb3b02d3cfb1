"""What an org, and everything below it, is held to. The strictest of all levels is written here
when the snapshot is built, so a stage reads one value."""

import msgspec


class Policy(msgspec.Struct, frozen=True):
    compliance: str = "none"
    """``none`` | ``hipaa``."""
    baa: str = "none"
    """``none`` | ``active`` | ``expired`` | ``superseded``."""
    phi_mode: str | None = None
    """``redact`` | ``block`` | ``allow``, or None: no scan."""
    filters: bool = False
    """Whether the org has data loss prevention filters."""
    metered: bool = False
    """Whether a spend cap or credits are set at any level."""
    premium_enabled: bool = False
    features: frozenset[str] = frozenset()
    context_ttl_s: int | None = None
    """How long an emotion context lives after its last message; None: as the gateway is configured."""
    store_text: bool | None = None
    """Whether the texts of emotion contexts are kept, encrypted; None: as the gateway is configured."""

    @property
    def guarded(self) -> bool:
        """Whether no text may leave the process unscanned."""
        return self.compliance == "hipaa" or self.phi_mode is not None or self.filters


OPEN_POLICY = Policy()

"""What an org, and everything below it, is held to. The strictest of all levels is written here
when the snapshot is built, so a stage reads one value."""

import msgspec


class Policy(msgspec.Struct, frozen=True):
    compliance: str = "none"
    """``none`` | ``hipaa``."""
    baa: str = "none"
    """``none`` | ``active`` | ``expired`` | ``superseded``."""
    baa_url: str | None = None
    """Where the state of the agreement is told, and how to sign it."""
    evaluation: bool = False
    """Of the plan ``evaluation``: no agreement is needed, and nothing with PHI may pass."""
    phi_mode: str | None = None
    """``redact`` | ``block`` | ``allow``, or None: no scan."""
    filters: bool = False
    """Whether the org has data loss prevention filters."""
    metered: bool = False
    """Whether a spend cap or credits are set at any level."""
    premium_enabled: bool = False
    features: frozenset[str] = frozenset()

    @property
    def guarded(self) -> bool:
        """Whether no text may leave the process unscanned."""
        return self.compliance == "hipaa" or self.phi_mode is not None or self.filters

    @property
    def lacks_baa(self) -> bool:
        """Whether its calls of models are refused for want of an agreement."""
        return self.compliance == "hipaa" and self.baa != "active" and not self.evaluation


OPEN_POLICY = Policy()

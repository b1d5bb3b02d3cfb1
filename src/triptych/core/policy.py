"""What an org, and everything below it, is held to. The strictest of all levels is written here
when the snapshot is built, so a stage reads one value."""

from collections.abc import Iterable

import msgspec

PHI_MODES = ("allow", "redact", "block")
"""From the most permissive to the strictest."""


def strictest(modes: Iterable[str | None]) -> str | None:
    """The strictest of those that are set; an unknown one counts as the strictest."""
    ranks = [
        PHI_MODES.index(mode) if mode in PHI_MODES else len(PHI_MODES) - 1
        for mode in modes
        if mode is not None
    ]
    return PHI_MODES[max(ranks)] if ranks else None


class Filter(msgspec.Struct, frozen=True):
    """A term of the org's own that must not leave the process."""

    name: str
    kind: str
    """``literal`` | ``phrase`` (whole words, any case) | ``regex`` (of a linear-time engine)."""
    pattern: str


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
    """``redact`` | ``block`` | ``allow``, or None: what compliance and filters ask for."""
    filters: tuple[Filter, ...] = ()
    """Data loss prevention filters of the org."""
    metered: bool = False
    """Whether a spend cap or credits are set at any level."""
    premium_enabled: bool = False
    features: frozenset[str] = frozenset()
    context_ttl_s: int | None = None
    """How long an emotion context lives after its last message; None: as the gateway is configured."""
    store_text: bool | None = None
    """Whether the texts of emotion contexts are kept, encrypted; None: as the gateway is configured."""
    guarded: bool = False
    """Whether no text may leave the process unscanned; made from the others."""

    def __post_init__(self) -> None:
        guarded = self.compliance == "hipaa" or self.phi_mode is not None or bool(self.filters)
        msgspec.structs.force_setattr(self, "guarded", guarded)

    @property
    def lacks_baa(self) -> bool:
        """Whether its calls of models are refused for want of an agreement."""
        return self.compliance == "hipaa" and self.baa != "active" and not self.evaluation


OPEN_POLICY = Policy()


def guard_mode(policy: Policy, plan: str) -> str | None:
    """What the guard does for callers of this policy; None: nothing is scanned.

    Evaluation orgs have no agreement: what is found is blocked. ``allow`` needs one in force.
    """
    if not policy.guarded:
        return None
    if plan == "evaluation":
        return "block"
    mode = policy.phi_mode or "redact"
    if mode == "allow" and policy.compliance == "hipaa" and policy.baa != "active":
        return "block"
    return mode

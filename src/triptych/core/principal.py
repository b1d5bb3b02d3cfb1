"""Who asks: the frozen picture of a key, its user, its groups and its org at one snapshot."""

import msgspec

from triptych.core.admission import BudgetScope, RequestLimits, RequestScope
from triptych.core.cycle import cycle_of, day_of
from triptych.core.policy import OPEN_POLICY, Policy

SCOPES = frozenset(
    {
        "ai:chat",
        "ai:documents",
        "ai:embeddings",
        "ai:summarize",
        "control:read",
        "control:webhooks",
    }
)


class Group(msgspec.Struct, frozen=True):
    name: str
    models: frozenset[str]
    """Model ids the group grants; ``"*"`` grants all."""
    api_key_access: bool


class Principal(msgspec.Struct, frozen=True):
    """Everything a stage needs to decide about a caller, resolved when the snapshot is built."""

    org_id: str
    org_slug: str
    user_id: str
    key_id: str
    scopes: frozenset[str]
    environment: str
    """``live`` or ``test``; a test key is answered by the sandbox only."""
    groups: tuple[Group, ...]
    key_limits: RequestLimits
    user_limits: RequestLimits
    org_limits: RequestLimits
    policy: Policy = OPEN_POLICY
    admin: bool = False
    """Whether its user administers the org."""
    sandbox_models: bool = False
    """Whether the key may name the sandbox provider's own model ids (test keys, the demo org)."""
    budgets: tuple[BudgetScope, ...] = ()
    """Key, user, groups and org, in the cycle of the day the snapshot was built; empty where nobody
    in the org has a cap or credits. Ask ``budgets_at`` for the cycle that runs now."""
    cycle_anchor_day: int = 0
    """The day the org was made, in days since the epoch: its cycles begin on that day of a month."""
    alert_thresholds: tuple[int, ...] = ()
    """Percents of a spend cap at which the org is told."""
    request_scopes: tuple[RequestScope, ...] = ()
    """Key, user and org with their limits, as the admission index takes them; made from them."""
    counted: tuple[str, str] | None = None
    """Key and user, if anybody limits their requests by the day; made from them."""
    charged: tuple[tuple[str, str], ...] = ()
    """(kind, id) of the budgets; made from them."""
    reserves: bool = False
    """Whether its calls hold tokens, money or credits at all; made from limits and budgets."""

    api_key_access: bool = False
    """Whether any of its groups may use keys; made from them."""

    def __post_init__(self) -> None:
        access = any(group.api_key_access for group in self.groups)
        msgspec.structs.force_setattr(self, "api_key_access", access)
        scopes = (
            RequestScope(self.key_id, self.key_limits),
            RequestScope(self.user_id, self.user_limits),
            RequestScope(self.org_id, self.org_limits),
        )
        msgspec.structs.force_setattr(self, "request_scopes", scopes)
        if any(scope.limits.rpd is not None for scope in scopes):
            msgspec.structs.force_setattr(self, "counted", (self.key_id, self.user_id))
        charged = tuple((budget.kind, budget.id) for budget in self.budgets)
        msgspec.structs.force_setattr(self, "charged", charged)
        reserves = bool(self.budgets) or any(scope.limits.tpm is not None for scope in scopes)
        msgspec.structs.force_setattr(self, "reserves", reserves)

    def budgets_at(self, moment_us: int) -> tuple[BudgetScope, ...]:
        """The budgets in the cycle that runs at that moment (microseconds since the epoch)."""
        budgets = self.budgets
        if not budgets:
            return budgets
        cycle, _ = cycle_of(self.cycle_anchor_day, day_of(moment_us))
        if budgets[0].cycle == cycle:
            return budgets
        return tuple(msgspec.structs.replace(budget, cycle=cycle) for budget in budgets)

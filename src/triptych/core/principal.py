"""Who asks: the frozen picture of a key, its user, its groups and its org at one snapshot."""

import msgspec

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


class RequestLimits(msgspec.Struct, frozen=True):
    """Requests per rolling 60 s and per UTC day; None means no limit."""

    rpm: int | None = None
    rpd: int | None = None


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
    sandbox_models: bool = False
    """Whether the key may name the sandbox provider's own model ids (test keys, the demo org)."""

    @property
    def api_key_access(self) -> bool:
        return any(group.api_key_access for group in self.groups)

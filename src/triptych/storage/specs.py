"""What a configuration file says about orgs, in the form the storage layer applies."""

import msgspec


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    """What an org, group, user or key may each set; None is "not set here"."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    spend_cap_nusd: int | None = None
    credits: int | None = None
    phi_mode: str | None = None


class GroupSpec(Allowances, frozen=True, kw_only=True):
    name: str
    models: tuple[str, ...] = ()
    """Model ids the group grants; ``*`` grants all."""
    api_key_access: bool = False


class UserSpec(Allowances, frozen=True, kw_only=True):
    name: str
    groups: tuple[str, ...] = ()
    admin: bool = False


class KeySpec(Allowances, frozen=True, kw_only=True):
    name: str
    user: str
    secret: str
    scopes: tuple[str, ...] | None = None
    """None: all."""
    environment: str = "live"

    def __repr__(self) -> str:
        return f"KeySpec(name={self.name!r}, user={self.user!r}, secret=...)"


class OrgSpec(Allowances, frozen=True, kw_only=True):
    slug: str
    plan: str = "developer"
    compliance: str = "none"
    baa: str = "none"
    opus_enabled: bool = False
    features: tuple[str, ...] = ()
    dlp_filters: tuple[object, ...] = ()
    """Anything msgspec can write as JSON."""
    alert_thresholds: tuple[int, ...] = ()
    demo: bool = False
    context_ttl_s: int | None = None
    store_text: bool | None = None
    groups: tuple[GroupSpec, ...] = ()
    users: tuple[UserSpec, ...] = ()
    keys: tuple[KeySpec, ...] = ()


def allowances(spec: Allowances) -> dict[str, object]:
    """The columns that orgs, groups, users and keys have in common."""
    return {name: getattr(spec, name) for name in Allowances.__struct_fields__}

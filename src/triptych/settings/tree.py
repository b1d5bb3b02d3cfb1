"""The whole configuration as one frozen tree. Defaults live here and nowhere else.

Money is nano-USD, prices are nano-USD per million tokens, times of day are microseconds since the
epoch in UTC, durations are seconds.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

import msgspec

from triptych.core.usage import Price
from triptych.settings.secret import Secret, SecretUrl

KNOWN_KINDS: Final = ("anthropic", "openai", "azure-openai", "gemini", "bedrock", "sandbox")
"""Kinds of provider a configuration may name."""
BUILT_KINDS: Final = frozenset(KNOWN_KINDS)
"""Kinds that answer; models of the others are accepted and answer 503."""
WIRE_KINDS: Final = frozenset({"openai", "azure-openai"})
"""Kinds that speak two wires, of which ``wire`` can choose one."""
BUILT_SURFACES: Final = frozenset({"inference", "clinical", "emotion"})
"""Surfaces that have routes; the others are accepted and have none."""

BASE_URLS: Final[Mapping[str, str]] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
}
"""Where a provider is when ``base_url`` is absent; kinds not listed have no single address."""

FEATURES: Final = (
    "web_search",
    "web_fetch",
    "code_execution",
    "computer_use",
    "mcp_connector",
    "files",
    "batches",
    "uninspectable_content",
)
"""Features an org can be allowed; all are denied by default."""

Environment = Literal["live", "test"]
Compliance = Literal["none", "hipaa"]
PhiMode = Literal["redact", "block", "allow"]
PHI_MODES: Final[tuple[PhiMode, ...]] = ("redact", "block", "allow")


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8080
    """0 lets the system choose."""
    workers: int = 1
    environments: tuple[Environment, ...] = ("live", "test")
    """Environments whose keys are accepted by surfaces that tell them apart."""
    tls_cert: str | None = None
    tls_key: str | None = None
    metrics_port: int = 0
    """0: ``/metrics`` is on the main port."""
    max_body_bytes: int = 52_428_800
    max_header_bytes: int = 65_536
    request_timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 300.0
    idle_stream_timeout_s: float = 120.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    drain_timeout_s: float = 30.0
    upstream_errors: Literal["verbatim", "render"] = "verbatim"


class SurfaceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a surface is mounted: under a path prefix, and only for certain hosts if any is named."""

    prefix: str = ""
    hosts: tuple[str, ...] = ()


class SurfacesSettings(msgspec.Struct, frozen=True, kw_only=True):
    inference: SurfaceSettings = SurfaceSettings()
    clinical: SurfaceSettings = SurfaceSettings(prefix="/clinical")
    emotion: SurfaceSettings = SurfaceSettings()


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: SecretUrl = SecretUrl("sqlite:///triptych.db")
    """``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql://...``."""

    @property
    def sqlite_path(self) -> str | None:
        """The database file as written (relative to the working directory), or None."""
        prefix, url = "sqlite:///", self.url.reveal()
        return url[len(prefix) :] if url.startswith(prefix) else None


class LimitsSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: SecretUrl = SecretUrl("memory://")
    on_unavailable: Literal["refuse", "local"] = "refuse"
    unpriced: Literal["flag", "refuse"] = "flag"

    @property
    def in_memory(self) -> bool:
        return self.url.reveal().startswith("memory:")


class SecretsSettings(msgspec.Struct, frozen=True, kw_only=True):
    master_key: Secret | None = None
    """None: kept in a file of its own beside the database."""


class KeyIssueSettings(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str = "trp"


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    window_s: float = 30.0
    min_calls: int = 20
    failure_ratio: float = 0.5
    open_s: float = 5.0


class RetriesSettings(msgspec.Struct, frozen=True, kw_only=True):
    attempts: int = 2
    """Retries after the first try."""
    max_wait_s: float = 2.0


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    durability: Literal["strict", "process", "relaxed"] = "strict"
    hold_lease_s: float = 30.0


LONGEST_CYCLE_DAYS: Final = 32
"""A month, and the day it began on."""


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True):
    responses_days: int = 30
    outcomes_days: int = 400

    @property
    def rows_days(self) -> int:
        """How long rows of the ledger are kept: a row is the record of what may be stored of its
        exchange, and what the running cycle has cost is told from rows."""
        return max(self.outcomes_days, self.responses_days, LONGEST_CYCLE_DAYS)


class EmotionSettings(msgspec.Struct, frozen=True, kw_only=True):
    context_ttl_s: float = 86_400.0
    """How long a context lives after its last message; orgs may set their own."""
    store_text: bool = False
    """Whether the texts of contexts are kept, encrypted; orgs may set their own."""
    monthly_quota: int = 0
    """Tokens an org may have analysed in a calendar month (UTC); 0: none."""


class ComplianceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where people are sent; refusals name these addresses."""

    signing_url: str | None = None
    """Where an org's people sign the BAA; None: the gateway's own endpoint tells its state."""
    docs_url: str | None = None
    """Where retired models are explained; None: the gateway's own catalogue."""


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    base_url: str | None = None
    """Without a trailing slash; None for the sandbox."""
    api_key: Secret | None = None
    baa: str | None = None
    """Reference of the agreement that covers it; None: not covered."""
    wire: Literal["auto", "chat", "responses"] = "auto"
    """Of the kinds in WIRE_KINDS."""
    region: str | None = None
    """Of kind ``bedrock``: the AWS region, from the configuration or from ``base_url``."""

    @property
    def built(self) -> bool:
        return self.kind in BUILT_KINDS


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    upstream_id: str
    weight: int = 1
    priority: int = 0
    """Lower is tried first."""


class DatedPrice(msgspec.Struct, frozen=True, kw_only=True):
    from_us: int
    price: Price


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    targets: tuple[TargetSettings, ...]
    """By priority, then in the order of the file; never empty."""
    tier: Literal["standard", "premium"] = "standard"
    credit_ratio: Decimal = Decimal(1)
    price: Price | None = None
    """None: unpriced."""
    prices: tuple[DatedPrice, ...] = ()
    """What takes the price's place from a moment on, oldest first."""
    fallback: tuple[str, ...] = ()
    groups: frozenset[str] | None = None
    """None: every group."""
    retires_at_us: int | None = None
    replacement: str | None = None
    max_output_tokens: int | None = None
    context_window: int | None = None
    phi_mode: PhiMode | None = None
    """Holds for every call of the model, where the caller's own is not stricter."""


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    """What an org, group, user or key may each set; the lowest, or strictest, of them holds."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    spend_cap_nusd: int | None = None
    """None: no cap; 0: refuse all."""
    credits: int | None = None
    """None: unlimited; 0: none left."""
    phi_mode: PhiMode | None = None


class GroupSettings(Allowances, frozen=True, kw_only=True):
    name: str
    models: tuple[str, ...] = ()
    """``*`` grants all."""
    api_key_access: bool = False


class UserSettings(Allowances, frozen=True, kw_only=True):
    name: str
    groups: tuple[str, ...] = ()
    admin: bool = False
    """Whether its keys may make keys that can do more than themselves."""


class KeySettings(Allowances, frozen=True, kw_only=True):
    name: str
    user: str
    secret: Secret
    scopes: tuple[str, ...] | None = None
    """None: all."""
    environment: Environment = "live"


class DlpFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What must not leave: a literal text, a phrase (whole words, any case), or a pattern."""

    name: str
    kind: Literal["literal", "phrase", "regex"]
    pattern: str


class OrgSettings(Allowances, frozen=True, kw_only=True):
    slug: str
    plan: str = "developer"
    compliance: Compliance = "none"
    baa: Literal["none", "active", "expired", "superseded"] = "none"
    opus_enabled: bool = False
    features: tuple[str, ...] = ()
    dlp_filters: tuple[DlpFilter, ...] = ()
    alert_thresholds: tuple[int, ...] = ()
    """Percents of a spend cap at which an event is written, ascending."""
    demo: bool = False
    """Whether its live keys may name the sandbox's own model ids, as test keys may."""
    context_ttl_s: int | None = None
    """Of its emotion contexts; None: ``[emotion] context_ttl_s``."""
    store_text: bool | None = None
    """Whether texts of its emotion contexts are kept; None: ``[emotion] store_text``."""
    groups: tuple[GroupSettings, ...] = ()
    users: tuple[UserSettings, ...] = ()
    keys: tuple[KeySettings, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    """The file as it was named, or a phrase that says there was none; for messages."""
    server: ServerSettings = ServerSettings()
    surfaces: SurfacesSettings = SurfacesSettings()
    storage: StorageSettings = StorageSettings()
    limits: LimitsSettings = LimitsSettings()
    secrets: SecretsSettings = SecretsSettings()
    keys: KeyIssueSettings = KeyIssueSettings()
    breaker: BreakerSettings = BreakerSettings()
    retries: RetriesSettings = RetriesSettings()
    ledger: LedgerSettings = LedgerSettings()
    retention: RetentionSettings = RetentionSettings()
    emotion: EmotionSettings = EmotionSettings()
    compliance: ComplianceSettings = ComplianceSettings()
    providers: tuple[ProviderSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    orgs: tuple[OrgSettings, ...] = ()

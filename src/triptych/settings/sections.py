"""The tables about the gateway itself. Every default is the one of the tree."""

import re
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from triptych.settings.secret import Secret, SecretUrl, without_password
from triptych.settings.table import ENV, Table
from triptych.settings.tree import (
    BreakerSettings,
    ComplianceSettings,
    EmotionSettings,
    KeyIssueSettings,
    LedgerSettings,
    LimitsSettings,
    RetentionSettings,
    RetriesSettings,
    SecretsSettings,
    ServerSettings,
    StorageSettings,
    SurfaceSettings,
    SurfacesSettings,
)

MASTER_KEY_VARIABLE: Final = "TRIPTYCH_MASTER_KEY"
"""Read when ``[secrets] master_key`` is absent and the variable is set."""
MIN_MASTER_KEY_CHARS = 16
"""As the storage demands: what would not start must not pass a check."""

MOST_WORKERS: Final = 256
MOST_BODY_BYTES: Final = 1 << 30
MOST_HEADER_BYTES: Final = 1 << 20
LARGEST_PORT: Final = 65_535
MOST_RETRIES: Final = 10
LONGEST_RETENTION_DAYS: Final = 36_500

_KEY_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}\Z")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})\Z")
_PAGE: Final = re.compile(r"https?://[^\s\"<>]+\Z")
_PAGE_EXPECTED: Final = "the http(s) address of a page"
_STORAGE: Final = 'a URL: "sqlite:///file.db", "sqlite:////absolute/file.db" or "postgresql://..."'
_REDIS_DATABASE: Final = re.compile(r"/?|/\d{1,5}/?")
_LIMITS: Final = 'a URL: "memory://", "redis://host:6379/0" or "rediss://..."'


def read_server(table: Table) -> ServerSettings:
    default = ServerSettings()
    environments = table.texts("environments", default.environments, ("live", "test"))
    if not environments:
        table.note_found("environments", [], 'at least one of "live", "test"')
    server = ServerSettings(
        host=table.text("host", default.host),
        port=table.integer("port", default.port, 0, LARGEST_PORT),
        workers=table.integer("workers", default.workers, 1, MOST_WORKERS),
        environments=tuple(e for e in default.environments if e in environments),
        tls_cert=table.text("tls_cert", None),
        tls_key=table.text("tls_key", None),
        metrics_port=table.integer("metrics_port", default.metrics_port, 0, LARGEST_PORT),
        max_body_bytes=table.integer("max_body_bytes", default.max_body_bytes, 1, MOST_BODY_BYTES),
        max_header_bytes=table.integer("max_header_bytes", default.max_header_bytes, 1024, MOST_HEADER_BYTES),
        request_timeout_s=table.seconds("request_timeout_s", default.request_timeout_s),
        connect_timeout_s=table.seconds("connect_timeout_s", default.connect_timeout_s),
        first_byte_timeout_s=table.seconds("first_byte_timeout_s", default.first_byte_timeout_s),
        idle_stream_timeout_s=table.seconds("idle_stream_timeout_s", default.idle_stream_timeout_s),
        header_timeout_s=table.seconds("header_timeout_s", default.header_timeout_s),
        body_timeout_s=table.seconds("body_timeout_s", default.body_timeout_s),
        drain_timeout_s=table.seconds("drain_timeout_s", default.drain_timeout_s, zero=True),
        upstream_errors=table.choice("upstream_errors", default.upstream_errors, ("verbatim", "render")),
    )
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if table.has(other) and not table.has(key):
            table.note(key, f"missing, expected the path of a PEM file, because {other} is set")
    return server


def read_surfaces(table: Table) -> SurfacesSettings:
    default = SurfacesSettings()
    return SurfacesSettings(
        inference=_surface(table, "inference", default.inference),
        clinical=_surface(table, "clinical", default.clinical),
        emotion=_surface(table, "emotion", default.emotion),
    )


def _surface(table: Table, name: str, default: SurfaceSettings) -> SurfaceSettings:
    value = table.peek(name)
    if value is None:
        return default
    if not isinstance(value, dict):
        return SurfaceSettings(prefix=_prefix(table, name, default.prefix))
    inner = table.table(name)
    hosts = inner.texts("hosts", ())
    for index, host in enumerate(hosts):
        if not _HOST.match(host):
            inner.note_found(f"hosts[{index}]", host, "the name of a host, without scheme and port")
    # A host of its own needs no prefix beside it.
    prefix = "" if inner.has("hosts") else default.prefix
    return SurfaceSettings(
        prefix=_prefix(inner, "prefix", prefix), hosts=tuple(host.lower() for host in hosts)
    )


def _prefix(table: Table, key: str, default: str) -> str:
    if table.peek(key) == "":
        return ""
    return table.text(key, default, _PREFIX, '"" or a path such as "/clinical", without a slash at its end')


def read_storage(table: Table) -> StorageSettings:
    url = _url(table, "url", _STORAGE)
    if url is None:
        return StorageSettings()
    text = url.reveal()
    scheme = text.partition(":")[0]
    name = text.removeprefix("sqlite:///")
    if scheme == "postgresql" and text.partition("?")[0].count("@") > 1:
        table.note("url", 'found more than one "@", expected "%40" for each in a password')
        return StorageSettings()
    if scheme == "postgresql" and _host_of(text) is not None:
        return StorageSettings(url=url)
    if text.startswith("sqlite:///") and name and not name.startswith(":") and "?" not in name:
        return StorageSettings(url=url)
    if scheme in {"postgres", "postgresql+psycopg"}:
        table.note("url", f'found the scheme "{scheme}", expected "postgresql"')
    else:
        table.note_found("url", url.shown(), _STORAGE)
    return StorageSettings()


def read_limits(table: Table) -> LimitsSettings:
    default = LimitsSettings()
    url = _url(table, "url", _LIMITS) or default.url
    text = url.reveal()
    if text != "memory://" and not _is_redis(text):
        table.note_found("url", url.shown(), _LIMITS)
    return LimitsSettings(
        url=url,
        on_unavailable=table.choice("on_unavailable", default.on_unavailable, ("refuse", "local")),
        unpriced=table.choice("unpriced", default.unpriced, ("flag", "refuse")),
    )


def _url(table: Table, key: str, expected: str) -> SecretUrl | None:
    """A URL, or ``env:NAME`` of one: it may carry a password."""
    written = table.peek(key)
    if written is None:
        return None
    if not isinstance(written, str):
        table.note_found(key, written, expected)
        return None
    text = table.resolved(key, written)
    if text is None:
        return None
    if "://" not in text or not text.isprintable():
        table.note_found(key, without_password(text) if "@" in text else written, expected)
        return None
    return SecretUrl(text, written if written.startswith(ENV) else "")


def _host_of(url: str) -> str | None:
    """The host of a URL, ``""`` when it names none (a socket), None when the URL is broken."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname or ""


def _is_redis(url: str) -> bool:
    """Whether each part means something: a database is a number, and options are none."""
    if not url.startswith(("redis://", "rediss://")) or not _host_of(url):
        return False
    parts = urlsplit(url)
    whole = not (parts.query or parts.fragment) and parts.netloc.count("@") <= 1
    return whole and _REDIS_DATABASE.fullmatch(parts.path) is not None


def read_secrets(table: Table, master_key_is_set: bool) -> SecretsSettings:
    if table.has("master_key"):
        return SecretsSettings(master_key=_master_key(table))
    if master_key_is_set:
        implied = table.open("", {"master_key": f"{ENV}{MASTER_KEY_VARIABLE}"})
        implied.where = table.where
        return SecretsSettings(master_key=_master_key(implied))
    return SecretsSettings()


def _master_key(table: Table) -> Secret | None:
    key = table.secret("master_key")
    if key is not None and len(key.reveal()) < MIN_MASTER_KEY_CHARS:
        holder = f"the variable {key.source.removeprefix(ENV)}" if key.source else "the value"
        table.note(
            "master_key",
            f"{holder} has {len(key.reveal())} characters, expected at least {MIN_MASTER_KEY_CHARS}; "
            "`openssl rand -hex 32` makes a good one",
        )
    return key


def read_keys(table: Table) -> KeyIssueSettings:
    expected = "1 to 16 letters and digits, beginning with a letter"
    return KeyIssueSettings(prefix=table.text("prefix", KeyIssueSettings().prefix, _KEY_PREFIX, expected))


def read_breaker(table: Table) -> BreakerSettings:
    default = BreakerSettings()
    ratio = table.number(
        "failure_ratio", default.failure_ratio, Decimal(1), "a number above 0, up to 1", zero=False
    )
    return BreakerSettings(
        window_s=table.seconds("window_s", default.window_s),
        min_calls=table.integer("min_calls", default.min_calls, 1),
        failure_ratio=float(ratio),
        open_s=table.seconds("open_s", default.open_s),
    )


def read_retries(table: Table) -> RetriesSettings:
    default = RetriesSettings()
    return RetriesSettings(
        attempts=table.integer("attempts", default.attempts, 0, MOST_RETRIES),
        max_wait_s=table.seconds("max_wait_s", default.max_wait_s, zero=True),
    )


def read_ledger(table: Table) -> LedgerSettings:
    default = LedgerSettings()
    return LedgerSettings(
        durability=table.choice("durability", default.durability, ("strict", "process", "relaxed")),
        hold_lease_s=table.seconds("hold_lease_s", default.hold_lease_s),
    )


def read_retention(table: Table) -> RetentionSettings:
    default = RetentionSettings()
    return RetentionSettings(
        responses_days=table.integer("responses_days", default.responses_days, 1, LONGEST_RETENTION_DAYS),
        outcomes_days=table.integer("outcomes_days", default.outcomes_days, 1, LONGEST_RETENTION_DAYS),
    )


def read_emotion(table: Table) -> EmotionSettings:
    default = EmotionSettings()
    return EmotionSettings(
        context_ttl_s=table.seconds("context_ttl_s", default.context_ttl_s),
        store_text=table.boolean("store_text", default.store_text),
        monthly_quota=table.integer("monthly_quota", default.monthly_quota, 0),
    )


def read_compliance(table: Table) -> ComplianceSettings:
    return ComplianceSettings(
        signing_url=table.text("signing_url", None, _PAGE, _PAGE_EXPECTED),
        docs_url=table.text("docs_url", None, _PAGE, _PAGE_EXPECTED),
    )

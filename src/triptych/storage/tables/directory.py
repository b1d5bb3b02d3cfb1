"""Orgs, groups, users and their API keys."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from triptych.storage.tables.base import limit_columns, metadata

orgs = Table(
    "orgs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("compliance", Text, nullable=False),
    Column("baa", Text, nullable=False),
    Column("opus_enabled", Boolean, nullable=False),
    Column("features", Text, nullable=False),
    Column("dlp_filters", Text, nullable=False),
    Column("demo", Boolean, nullable=False),
    *limit_columns(),
    Column("origin", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("removed_us", BigInteger),
    # JSON list: percents of a spend cap.
    Column("alert_thresholds", Text, nullable=False, server_default=text("'[]'")),
    # What the file said last of what the org's own people may change too: as long as it says the same,
    # their word holds. JSON object.
    Column("filed", Text),
    # When ``baa`` was stated; an agreement that was signed later is the newer word.
    Column("baa_stated_us", BigInteger, nullable=False, server_default=text("0")),
    # Of the emotion surface's contexts; null: as the gateway's configuration says.
    Column("context_ttl_s", BigInteger),
    Column("store_text", Boolean),
    UniqueConstraint("slug"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("orgs.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("api_key_access", Boolean, nullable=False),
    *limit_columns(),
    Column("origin", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("orgs.id"), nullable=False),
    Column("name", Text, nullable=False),
    *limit_columns(),
    Column("origin", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("removed_us", BigInteger),
    Column("admin", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("org_id", "name"),
)

user_groups = Table(
    "user_groups",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("group_id", Text, ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("user_id", "group_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("orgs.id"), nullable=False),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    # HMAC of the secret under a derived key; the secret itself is kept nowhere.
    Column("hash", LargeBinary, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("last_four", Text, nullable=False),
    # JSON list; null is every scope, those of later versions included.
    Column("scopes", Text),
    Column("environment", Text, nullable=False),
    *limit_columns(),
    Column("origin", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    # Who revoked it: a key that only left the file comes back with it, one a person revoked never.
    Column("revoked_by", Text),
    UniqueConstraint("hash"),
)
Index("ix_api_keys_org_id", api_keys.c.org_id)

"""The schema, once, for both engines.

Instants are int microseconds since the epoch (UTC), money is int nano-USD, lists are JSON text.
Ids are bare ULIDs; the prefixes that the contracts show (``key_``, ``req_``) are put on by the
surfaces. The migrations say the same thing again, by hand; a test holds the two together.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

ORIGIN_FILE = "file"
"""The object stands in the configuration file: applying the file may change or remove it."""
ORIGIN_API = "api"
"""The object was made by a person or a program at run time: applying the file leaves it alone."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _limits() -> list[Column[int] | Column[str]]:
    """What orgs, groups, users and keys may each set; null is "not set here"."""
    return [
        Column("rpm", BigInteger),
        Column("rpd", BigInteger),
        Column("tpm", BigInteger),
        Column("concurrency", BigInteger),
        Column("spend_cap_nusd", BigInteger),
        Column("credits", BigInteger),
        Column("phi_mode", Text),
    ]


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
    *_limits(),
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
    *_limits(),
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
    *_limits(),
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
    *_limits(),
    Column("origin", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    # Who revoked it: a key that only left the file comes back with it, one a person revoked never.
    Column("revoked_by", Text),
    UniqueConstraint("hash"),
)
Index("ix_api_keys_org_id", api_keys.c.org_id)

exchanges = Table(
    "exchanges",
    metadata,
    # The start row: core.outcome.Opened and the node that runs the exchange. No foreign keys:
    # a row outlives what it names, and the hot path pays for no look-up.
    Column("id", Text, primary_key=True),
    Column("node_id", Text, nullable=False),
    Column("node_epoch", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("surface", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text),
    Column("provider", Text),
    Column("upstream_model", Text),
    Column("stream", Boolean, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("client_user_hash", Text),
    # The end row: core.outcome.Outcome. Open while ended_us is null.
    Column("ended_us", BigInteger),
    Column("ending", Text),
    Column("status", BigInteger),
    Column("failure_kind", Text),
    Column("upstream_status", BigInteger),
    Column("input_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("output_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("reasoning_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("usage_source", Text, nullable=False, server_default=text("'none'")),
    Column("cost_nusd", BigInteger, nullable=False, server_default=text("0")),
    Column("unpriced", Boolean, nullable=False, server_default=text("false")),
    Column("first_byte_us", BigInteger),
    Column("total_us", BigInteger),
    Column("bytes_out", BigInteger, nullable=False, server_default=text("0")),
    Column("retries", BigInteger, nullable=False, server_default=text("0")),
    Column("upstream_request_id", Text),
    # How many equal refusals of one key in one second this row stands for.
    Column("repeats", BigInteger, nullable=False, server_default=text("1")),
    # Of the start row. Null where nobody has a budget; booking is core.hold.Booking as JSON.
    Column("hold_nusd", BigInteger),
    Column("hold_credits", BigInteger),
    Column("booking", Text),
    # Of the end row.
    Column("credits", BigInteger, nullable=False, server_default=text("0")),
    # core.finding.Screening as JSON: types and counts. Null where nothing was found, or looked for.
    Column("phi", Text),
)
Index("ix_exchanges_org_id_started_us", exchanges.c.org_id, exchanges.c.started_us)
_OPEN = exchanges.c.ended_us.is_(None)
_open_exchanges = Index("ix_exchanges_open", exchanges.c.started_us, sqlite_where=_OPEN)


@event.listens_for(exchanges, "before_create")
def _partial_on_postgresql(_table: Table, connection: Connection, **_: Any) -> None:
    """Said as ``postgresql_where`` above, it would load PostgreSQL's dialect in every process."""
    if connection.dialect.name == "postgresql":
        _open_exchanges.dialect_options["postgresql"]["where"] = _OPEN


balances = Table(
    "balances",
    metadata,
    # What a key, user, group or org has used in a cycle: written in the transaction of each end row.
    Column("scope_id", Text, nullable=False),
    # First day of the cycle, in days since the epoch.
    Column("cycle", BigInteger, nullable=False),
    Column("scope_kind", Text, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("spent_nusd", BigInteger, nullable=False),
    Column("credits_used", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope_id", "cycle"),
)
Index("ix_balances_org_id_cycle", balances.c.org_id, balances.c.cycle)

metered_orgs = Table(
    "metered_orgs",
    metadata,
    # Orgs whose balances are complete: somebody has had a cap or credits ever since.
    Column("org_id", Text, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
)

request_days = Table(
    "request_days",
    metadata,
    # Requests of the newest UTC day (days since the epoch) of keys, users and orgs that are limited
    # by the day.
    Column("scope_id", Text, primary_key=True),
    Column("scope_kind", Text, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
)
Index("ix_request_days_org_id", request_days.c.org_id)

events = Table(
    "events",
    metadata,
    # What somebody may want to be told of; a type and subject happen once.
    Column("id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("details", Text, nullable=False),
    UniqueConstraint("type", "subject"),
)
Index("ix_events_org_id_created_us", events.c.org_id, events.c.created_us)

model_retirements = Table(
    "model_retirements",
    metadata,
    # When a model goes, and since when that is known. Of the file's dates, which stand there, this
    # keeps the moment at which they were first read.
    Column("model_id", Text, nullable=False),
    Column("retires_us", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("replacement", Text),
    Column("announced_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("model_id", "retires_us", "origin"),
)

org_data_keys = Table(
    "org_data_keys",
    metadata,
    # What an org's content is encrypted with; itself encrypted under a key of the master key's.
    Column("org_id", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

stored_responses = Table(
    "stored_responses",
    metadata,
    # One row per exchange that keeps its response. The id is the provider's, so that it may come
    # twice: it is looked up, not relied on.
    Column("exchange_id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    # The exchange whose response this one continues.
    Column("previous_id", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    # in_progress, completed, incomplete, failed; deleted: while running, so that it is stopped.
    Column("status", Text, nullable=False),
    # Encrypted: the response and what was new in its input.
    Column("content", LargeBinary, nullable=False),
)
Index("ix_stored_responses_org_id_id", stored_responses.c.org_id, stored_responses.c.id)
Index("ix_stored_responses_previous_id", stored_responses.c.previous_id)
Index("ix_stored_responses_created_us", stored_responses.c.created_us)

stored_conversations = Table(
    "stored_conversations",
    metadata,
    Column("org_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    # The exchange of the newest response; the others follow from it.
    Column("last_id", Text, nullable=False),
    PrimaryKeyConstraint("org_id", "id"),
)

stored_events = Table(
    "stored_events",
    metadata,
    # A stored stream, encrypted, in the pieces in which it was written down.
    Column("exchange_id", Text, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("exchange_id", "part"),
)
Index("ix_stored_events_created_us", stored_events.c.created_us)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    # Keyed hash of org, API key, endpoint and the client's key.
    Column("id", LargeBinary, primary_key=True),
    Column("org_id", Text, nullable=False),
    # Keyed hash of the request.
    Column("request_hash", LargeBinary, nullable=False),
    # The exchange that answers first, and its node.
    Column("exchange_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("node_epoch", BigInteger, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("claimed_us", BigInteger, nullable=False),
    # Encrypted: the first answer. Null while its exchange runs.
    Column("answer", LargeBinary),
    Column("answered_us", BigInteger),
)
Index("ix_idempotency_keys_claimed_us", idempotency_keys.c.claimed_us)

emotion_contexts = Table(
    "emotion_contexts",
    metadata,
    # A conversation whose emotion is followed. Its own id is the client's, in bytes: it may hold
    # what a text column cannot.
    Column("id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("context_id", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("message_count", BigInteger, nullable=False),
    # Scores of the average; null while no user has said anything.
    Column("state", LargeBinary),
    UniqueConstraint("org_id", "environment", "context_id"),
)
Index("ix_emotion_contexts_expires_us", emotion_contexts.c.expires_us)

emotion_messages = Table(
    "emotion_messages",
    metadata,
    Column("context", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("external_id", LargeBinary),
    Column("role", Text, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    # Encrypted; null where texts are not kept.
    Column("text", LargeBinary),
    PrimaryKeyConstraint("context", "seq"),
    UniqueConstraint("context", "external_id"),
)

analyse_tokens = Table(
    "analyse_tokens",
    metadata,
    # What an org had analysed in a calendar month (UTC), counted from year 0.
    Column("org_id", Text, nullable=False),
    Column("month", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    PrimaryKeyConstraint("org_id", "month"),
)

chat_turns = Table(
    "chat_turns",
    metadata,
    # One row per exchange of chat that is kept; the conversation is theirs in the order of their ids.
    Column("exchange_id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    # Whether it was answered to the end: only then a conversation goes on from it.
    Column("completed", Boolean, nullable=False),
    # Encrypted: what was new in the request, and what was answered.
    Column("content", LargeBinary, nullable=False),
)
Index("ix_chat_turns_org_id_conversation_id", chat_turns.c.org_id, chat_turns.c.conversation_id)
Index("ix_chat_turns_created_us", chat_turns.c.created_us)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
)

snapshot_version = Table(
    "snapshot_version",
    metadata,
    # One row, id 1: every change of orgs, groups, users or keys counts it up.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

installation = Table(
    "installation",
    metadata,
    # Facts about this database as a whole, such as the master key's fingerprint.
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

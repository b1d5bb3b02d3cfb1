"""Exchanges, what they cost, and what somebody is told of it."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from triptych.storage.tables.base import metadata

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
# SQLite logs whole pages: with the org first, every org that asks would be one more page of each commit.
# With the time first the rows of a moment are on one page; an org's rows of a time are still found without
# reading the others' rows.
Index("ix_exchanges_org_id_started_us", exchanges.c.org_id, exchanges.c.started_us).ddl_if(
    dialect="postgresql"
)
Index("ix_exchanges_started_us_org_id", exchanges.c.started_us, exchanges.c.org_id).ddl_if(dialect="sqlite")
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
    # Requests of a key on its newest UTC day (days since the epoch), where it, its user or its org is limited
    # by the day; a user's and an org's are the sums. One row a request, which no other key's requests change:
    # with 10,000 keys, each row changed is a page more in SQLite's log, and a lock among nodes.
    Column("key_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    sqlite_with_rowid=False,
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

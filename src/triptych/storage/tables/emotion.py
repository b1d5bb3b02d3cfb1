"""The emotion surface's contexts, and how much an org had analysed."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from triptych.storage.tables.base import metadata

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

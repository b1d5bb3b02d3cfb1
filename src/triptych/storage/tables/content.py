"""What is kept of requests and answers, encrypted."""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from triptych.storage.tables.base import metadata

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
    # in_progress, completed, incomplete, failed; deleted, without content: while running, so that it is
    # stopped, and for a day after its end, so that what continues it meanwhile finds what was before it.
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

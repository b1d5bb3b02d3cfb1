"""Data keys, stored responses, their conversations and events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "org_data_keys",
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("org_id", name="pk_org_data_keys"),
    )
    op.create_table(
        "stored_responses",
        sa.Column("exchange_id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("conversation_id", sa.Text, nullable=False),
        sa.Column("previous_id", sa.Text),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name="pk_stored_responses"),
    )
    op.create_index("ix_stored_responses_org_id_id", "stored_responses", ["org_id", "id"])
    op.create_index("ix_stored_responses_previous_id", "stored_responses", ["previous_id"])
    op.create_index("ix_stored_responses_created_us", "stored_responses", ["created_us"])
    op.create_table(
        "stored_conversations",
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_stored_conversations"),
    )
    op.create_table(
        "stored_events",
        sa.Column("exchange_id", sa.Text, nullable=False),
        sa.Column("part", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", "part", name="pk_stored_events"),
    )
    op.create_index("ix_stored_events_created_us", "stored_events", ["created_us"])


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

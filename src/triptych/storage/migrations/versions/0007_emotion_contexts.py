"""Contexts of the emotion surface and their messages; tokens analysed by month; what orgs may set."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orgs", sa.Column("context_ttl_s", sa.BigInteger))
    op.add_column("orgs", sa.Column("store_text", sa.Boolean))
    op.create_table(
        "emotion_contexts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("context_id", sa.LargeBinary, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("message_count", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_emotion_contexts"),
        sa.UniqueConstraint(
            "org_id",
            "environment",
            "context_id",
            name="uq_emotion_contexts_org_id_environment_context_id",
        ),
    )
    op.create_index("ix_emotion_contexts_expires_us", "emotion_contexts", ["expires_us"])
    op.create_table(
        "emotion_messages",
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("external_id", sa.LargeBinary),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.LargeBinary),
        sa.PrimaryKeyConstraint("context", "seq", name="pk_emotion_messages"),
        sa.UniqueConstraint("context", "external_id", name="uq_emotion_messages_context_external_id"),
    )
    op.create_table(
        "analyse_tokens",
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("month", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "month", name="pk_analyse_tokens"),
    )


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

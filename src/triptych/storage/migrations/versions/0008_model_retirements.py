"""Announced retirements of models."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_retirements",
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("retires_us", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("replacement", sa.Text),
        sa.Column("announced_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "retires_us", "origin", name="pk_model_retirements"),
    )


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

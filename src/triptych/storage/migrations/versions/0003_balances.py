"""Holds and credits of exchanges, balances, requests of a day, events; alert thresholds of orgs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orgs", sa.Column("alert_thresholds", sa.Text, nullable=False, server_default="[]"))
    op.add_column("exchanges", sa.Column("hold_nusd", sa.BigInteger))
    op.add_column("exchanges", sa.Column("hold_credits", sa.BigInteger))
    op.add_column("exchanges", sa.Column("booking", sa.Text))
    op.add_column(
        "exchanges", sa.Column("credits", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    op.create_table(
        "balances",
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("spent_nusd", sa.BigInteger, nullable=False),
        sa.Column("credits_used", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope_id", "cycle", name="pk_balances"),
    )
    op.create_index("ix_balances_org_id_cycle", "balances", ["org_id", "cycle"])
    op.create_table(
        "metered_orgs",
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("org_id", name="pk_metered_orgs"),
    )
    op.create_table(
        "request_days",
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope_id", name="pk_request_days"),
    )
    op.create_index("ix_request_days_org_id", "request_days", ["org_id"])
    op.create_table(
        "events",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("type", "subject", name="uq_events_type_subject"),
    )
    op.create_index("ix_events_org_id_created_us", "events", ["org_id", "created_us"])


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

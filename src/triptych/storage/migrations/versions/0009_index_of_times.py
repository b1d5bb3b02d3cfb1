"""On SQLite, exchanges are found by their time first: see ``storage.tables.ledger``."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_exchanges_org_id_started_us", "exchanges")
        op.create_index("ix_exchanges_started_us_org_id", "exchanges", ["started_us", "org_id"])


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

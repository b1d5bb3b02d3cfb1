"""On SQLite, rows of admin_actions cannot be replaced either: see ``storage.tables.agreements``."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER admin_actions_no_replace BEFORE INSERT ON admin_actions "
            "WHEN EXISTS (SELECT 1 FROM admin_actions WHERE id = NEW.id OR rowid = NEW.rowid) "
            "BEGIN SELECT RAISE(ABORT, 'rows of admin_actions are never changed'); END"
        )


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

"""Requests of a day are counted by key alone; a user's and an org's are the sums."""

from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    counted = connection.execute(
        sa.text("SELECT scope_id, scope_kind, org_id, day, requests FROM request_days")
    ).all()
    keys = connection.execute(sa.text("SELECT id, user_id FROM api_keys"))
    users = {key.id: key.user_id for key in keys}
    op.drop_table("request_days")
    days = op.create_table(
        "request_days",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_request_days"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_request_days_org_id", "request_days", ["org_id"])
    if rows := _by_key(counted, users):
        op.bulk_insert(days, rows)


def _by_key(counted: Any, users: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each key; what a user's or an org's row says beyond those gets a row under its own id."""
    rows: list[dict[str, Any]] = []
    sums: Counter[tuple[str, int]] = Counter()
    for kind in ("key", "user", "org"):
        for row in counted:
            if row.scope_kind != kind:
                continue
            user_id = users.get(row.scope_id, row.scope_id) if kind == "key" else row.scope_id
            more = row.requests - sums[row.scope_id, row.day]
            if more > 0:
                for scope_id in {user_id, row.org_id} - {row.scope_id}:
                    sums[scope_id, row.day] += more
                rows.append(
                    {
                        "key_id": row.scope_id,
                        "user_id": user_id,
                        "org_id": row.org_id,
                        "day": row.day,
                        "requests": more,
                    }
                )
    return rows


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

"""Agreements, admin actions, idempotency keys; admins; what a file and an org's people said last."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TOLD = "rows of admin_actions are never changed"


def upgrade() -> None:
    op.add_column("orgs", sa.Column("filed", sa.Text))
    op.add_column(
        "orgs", sa.Column("baa_stated_us", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    op.add_column("users", sa.Column("admin", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.create_table(
        "baa_templates",
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("effective_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_baa_templates"),
    )
    op.create_table(
        "baa_acceptances",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("template_version", sa.Text, nullable=False),
        sa.Column("template_sha256", sa.Text, nullable=False),
        sa.Column("signer_name", sa.Text, nullable=False),
        sa.Column("signer_title", sa.Text, nullable=False),
        sa.Column("signer_email", sa.Text, nullable=False),
        sa.Column("ip_address", sa.Text),
        sa.Column("accepted_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_baa_acceptances"),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name="fk_baa_acceptances_org_id_orgs"),
        sa.ForeignKeyConstraint(
            ["template_version"],
            ["baa_templates.version"],
            name="fk_baa_acceptances_template_version_baa_templates",
        ),
    )
    op.create_index("ix_baa_acceptances_org_id_id", "baa_acceptances", ["org_id", "id"])
    op.create_table(
        "admin_actions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("org_id", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("entity_type", sa.Text, nullable=False),
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("ip_address", sa.Text),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_admin_actions"),
    )
    op.create_index("ix_admin_actions_org_id_id", "admin_actions", ["org_id", "id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER admin_actions_no_{verb.lower()} BEFORE {verb} ON admin_actions "
                f"BEGIN SELECT RAISE(ABORT, '{_TOLD}'); END"
            )
    else:
        op.execute(
            "CREATE OR REPLACE FUNCTION admin_actions_unchanged() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_TOLD}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER admin_actions_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON admin_actions "
            "FOR EACH STATEMENT EXECUTE FUNCTION admin_actions_unchanged()"
        )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("org_id", sa.Text, nullable=False),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("exchange_id", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("node_epoch", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("claimed_us", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("answered_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_claimed_us", "idempotency_keys", ["claimed_us"])


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore the backup made before upgrading.")

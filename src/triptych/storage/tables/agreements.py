"""Business Associate Agreements, and who changed what."""

from sqlalchemy import DDL, BigInteger, Column, ForeignKey, Index, Table, Text, event

from triptych.storage.tables.base import metadata

baa_templates = Table(
    "baa_templates",
    metadata,
    # A version of the agreement's text never changes.
    Column("version", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    # From then on it is the one to sign, and acceptances of older ones are superseded.
    Column("effective_us", BigInteger, nullable=False),
)

baa_acceptances = Table(
    "baa_acceptances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("orgs.id"), nullable=False),
    Column("template_version", Text, ForeignKey("baa_templates.version"), nullable=False),
    # As signed: the proof does not hang on the template's row.
    Column("template_sha256", Text, nullable=False),
    Column("signer_name", Text, nullable=False),
    Column("signer_title", Text, nullable=False),
    Column("signer_email", Text, nullable=False),
    # Null: signed on the gateway's own machine.
    Column("ip_address", Text),
    Column("accepted_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    # Ended by an administrator before it expired.
    Column("ended_us", BigInteger),
)
Index("ix_baa_acceptances_org_id_id", baa_acceptances.c.org_id, baa_acceptances.c.id)

admin_actions = Table(
    "admin_actions",
    metadata,
    # Who changed what, in the transaction of the change. Rows are never changed or deleted: see
    # ``append_only``. No foreign keys: they outlive what they name.
    Column("id", Text, primary_key=True),
    # Null: of the whole installation.
    Column("org_id", Text),
    Column("action", Text, nullable=False),
    Column("entity_type", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("user_id", Text),
    Column("key_id", Text),
    Column("ip_address", Text),
    # ``api``, ``cli`` or ``file``.
    Column("via", Text, nullable=False),
    # JSON object, without any content of requests.
    Column("metadata", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
Index("ix_admin_actions_org_id_id", admin_actions.c.org_id, admin_actions.c.id)


def append_only(table: str) -> dict[str, tuple[str, ...]]:
    """By engine, the statements after which rows of the table can be added and read, nothing else."""
    told = f"rows of {table} are never changed"
    sqlite = [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{told}'); END"
        for verb in ("UPDATE", "DELETE")
    ]
    # INSERT OR REPLACE deletes the row that is in its way, and no trigger is asked.
    sqlite.append(
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 - a name of ours
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id OR rowid = NEW.rowid) "
        f"BEGIN SELECT RAISE(ABORT, '{told}'); END"
    )
    function = (
        f"CREATE OR REPLACE FUNCTION {table}_unchanged() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{told}'; END $$"
    )
    trigger = (
        f"CREATE TRIGGER {table}_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_unchanged()"
    )
    return {"sqlite": tuple(sqlite), "postgresql": (function, trigger)}


for _engine, _statements in append_only(admin_actions.name).items():
    for _statement in _statements:
        event.listen(
            admin_actions,
            "after_create",
            DDL(_statement).execute_if(dialect=_engine),  # type: ignore[no-untyped-call]
        )

"""Bringing a database to the schema of this program.

A fresh database is made from ``tables`` at once and stamped; only one that an older version made
goes through Alembic, which costs 100 ms and 10 MB to import and is therefore imported only then.
"""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text

from triptych.storage.errors import StorageError
from triptych.storage.tables import metadata, snapshot_version

HEAD = "0011"
"""The newest revision in ``migrations/versions``; a test compares the two."""

SCRIPTS = Path(__file__).parent / "migrations"

# Exactly the table that Alembic makes and reads.
_alembic_version = Table(
    "alembic_version",
    MetaData(naming_convention={"pk": "%(table_name)s_pkc"}),
    Column("version_num", String(32), primary_key=True),
)


def current_revision(connection: Connection) -> str | None:
    """The revision stamped into the database; None when there is no stamp."""
    if not inspect(connection).has_table(_alembic_version.name):
        return None
    return connection.execute(select(_alembic_version.c.version_num)).scalar()


def create(connection: Connection) -> None:
    """Every table, in one go, on a database that has none of ours; raises StorageError else."""
    present = set(inspect(connection).get_table_names()) & set(metadata.tables)
    if present:
        raise StorageError(
            f"The database has a table {min(present)!r} that Triptych did not make (there is no "
            "alembic_version beside it). Give Triptych a database or a schema of its own."
        )
    metadata.create_all(connection, checkfirst=False)
    if not inspect(connection).has_table(_alembic_version.name):
        _alembic_version.create(connection)
    connection.execute(_alembic_version.insert().values(version_num=HEAD))
    connection.execute(snapshot_version.insert().values(id=1, version=1))


def upgrade(connection: Connection) -> None:
    """Run Alembic's migrations up to the head, in the connection's transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(unknown(current_revision(connection))) from error


def knows(revision: str) -> bool:
    """Whether a start would upgrade a database of that revision."""
    return any(script.name.partition("_")[0] == revision for script in SCRIPTS.glob("versions/*_*.py"))


def unknown(revision: str | None) -> str:
    """What a person is told of a revision that no migration leads to."""
    return (
        f"The database is at revision {revision!r}, which this version of Triptych (revision {HEAD}) does "
        "not know: it was made by a newer version, or by another program. Upgrade Triptych, or give it a "
        "database of its own."
    )


def exclude_other_migrations(connection: Connection) -> None:
    """Wait until no other process migrates the same database. SQLite needs nothing: the
    transaction is exclusive from its first statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('triptych migrate'))"))

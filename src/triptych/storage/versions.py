"""The directory's version: one number that every change of orgs, groups, users or keys counts up,
in the transaction of the change, so that nodes learn of it by reading one row."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, select, update

from triptych.storage.database import Database
from triptych.storage.tables import snapshot_version


def read_version(database: Database) -> int:
    """The current version. One row by primary key: cheap enough to ask several times a second."""
    with database.read() as connection:
        return version_of(connection)


def version_of(connection: Connection) -> int:
    return int(connection.execute(select(snapshot_version.c.version)).scalar_one())


class Change:
    """One transaction that may change the directory; ``changed`` must be set when it did."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.changed = False


@contextmanager
def changing(database: Database) -> Iterator[Change]:
    """A transaction of which there is only one at a time in the whole installation, whose end
    counts the version up if it changed something."""
    with database.write() as connection:
        # Takes the row's lock on PostgreSQL; SQLite has one writer anyway.
        connection.execute(select(snapshot_version.c.version).with_for_update())
        change = Change(connection)
        yield change
        if change.changed:
            connection.execute(update(snapshot_version).values(version=snapshot_version.c.version + 1))

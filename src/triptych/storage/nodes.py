"""Which processes serve on this database, and what happens to the exchanges of a dead one.

A node holds a lease that it renews; every exchange carries the node's id and epoch. An open
exchange whose node's lease has lapsed is an orphan: any node may settle it as interrupted, and the
update's condition makes sure that only one ending is ever written.
"""

import re

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, not_, select, text, update

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.failure import FailureKind
from triptych.core.ids import new_ulid
from triptych.core.outcome import Ending
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.statements import NODE_ID
from triptych.storage.tables import exchanges, nodes

LEASE_S = 10
_LEASE_US = LEASE_S * MICROSECONDS_PER_S
# Rows of dead nodes are kept a day, for people who look.
_FORGET_US = 86_400 * MICROSECONDS_PER_S
_SQLITE_NODE = "local"


class Node(msgspec.Struct, frozen=True):
    id: str
    epoch: int
    """Counted up each time a process registers under the id; an older epoch is fenced."""


def register_node(database: Database, name: str | None = None) -> Node:
    """Take part under ``name``, with a new epoch and a fresh lease. Without a name: ``local`` on
    SQLite, which has one server, and a new ULID on PostgreSQL."""
    identity = name or (_SQLITE_NODE if database.dialect_name == "sqlite" else new_ulid())
    if not re.fullmatch(NODE_ID, identity):
        raise StorageError(f"A node cannot be named {identity!r}: use 1 to 64 letters, digits, - and _.")
    with database.write() as connection:
        moment_us = _now_us(connection)
        lease = {"started_us": moment_us, "lease_until_us": moment_us + _LEASE_US}
        moved = connection.execute(
            update(nodes).where(nodes.c.id == identity).values(epoch=nodes.c.epoch + 1, **lease)
        )
        if not moved.rowcount:
            connection.execute(insert(nodes).values(id=identity, epoch=1, **lease))
        epoch = connection.execute(select(nodes.c.epoch).where(nodes.c.id == identity)).scalar_one()
    return Node(identity, epoch)


def heartbeat(database: Database, node: Node) -> bool:
    """Renew the lease for 10 s. False: another process took the node's id over, so that this one's
    exchanges are fenced."""
    with database.write() as connection:
        renewed = connection.execute(
            update(nodes)
            .where(nodes.c.id == node.id, nodes.c.epoch == node.epoch)
            .values(lease_until_us=_now_us(connection) + _LEASE_US)
        )
        return renewed.rowcount == 1


def settle_orphans(database: Database, node: Node, *, exclusive: bool) -> int:
    """End orphans as ``interrupted`` with status 0; returns how many.

    ``exclusive``: no other process can serve on this database (SQLite's lock is held), so every
    open exchange that is not this node's own is an orphan, whatever its lease says.
    """
    mine = and_(exchanges.c.node_id == node.id, exchanges.c.node_epoch == node.epoch)
    conditions: list[ColumnElement[bool]] = [exchanges.c.ended_us.is_(None), not_(mine)]
    with database.write() as connection:
        moment_us = _now_us(connection)
        if not exclusive:
            alive = and_(
                nodes.c.id == exchanges.c.node_id,
                nodes.c.epoch == exchanges.c.node_epoch,
                nodes.c.lease_until_us > moment_us,
            )
            conditions.append(not_(exists().where(alive).correlate(exchanges)))
        settled = connection.execute(
            update(exchanges)
            .where(*conditions)
            .values(
                ended_us=moment_us,
                ending=Ending.INTERRUPTED.value,
                status=0,
                failure_kind=FailureKind.INTERRUPTED.value,
            )
        ).rowcount
        connection.execute(
            delete(nodes).where(nodes.c.lease_until_us < moment_us - _FORGET_US, nodes.c.id != node.id)
        )
        return settled


def _now_us(connection: Connection) -> int:
    """The database's clock: leases of nodes whose own clocks differ must still compare."""
    if connection.dialect.name == "postgresql":
        moment = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(connection.execute(moment).scalar_one())
    return now_us()

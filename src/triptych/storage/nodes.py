"""Which processes serve on this database, and what happens to the exchanges of a dead one.

A node holds a lease that it renews; every exchange carries the node's id and epoch. An open
exchange whose node's lease has lapsed is an orphan: any node may settle it as interrupted, and the
update's condition makes sure that only one ending is ever written.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.cycle import day_of
from triptych.core.failure import FailureKind
from triptych.core.hold import Booking, Charge
from triptych.core.ids import first_ulid, new_ulid
from triptych.core.outcome import Ending
from triptych.core.usage import UsageSource
from triptych.storage.balances import add
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.statements import NODE_ID
from triptych.storage.tables import exchanges, metered_orgs, nodes

LEASE_S = 10
_LEASE_US = LEASE_S * MICROSECONDS_PER_S
HEARTBEAT_S = 3.0
# Another node's last renewal may be a heartbeat older than one's own.
_LONGEST_GAP_S = 5.0
# Rows of dead nodes are kept a day, for people who look.
_FORGET_US = 86_400 * MICROSECONDS_PER_S
# A settlement reaches the index within milliseconds, or when Redis is back.
_UNTOLD_US = 60 * MICROSECONDS_PER_S
# Most are over by then; what runs longer and whose node dies at its end stays held until it is overdue.
_LONGEST_US = 900 * MICROSECONDS_PER_S
_TOLD = ("id", "started_us", "org_id", "user_id", "key_id", "booking")
_SQLITE_NODE = "local"
ORPHANS_AT_ONCE = 500
"""A node that dies can leave thousands. Who settles them has a lease of its own to renew."""
_ESTIMATED = (
    update(exchanges)
    .where(exchanges.c.id == bindparam("orphan"))
    .values(
        input_tokens=bindparam("input"),
        usage_source=UsageSource.ESTIMATE,
        cost_nusd=bindparam("nusd"),
        credits=bindparam("used"),
    )
)


class Node(msgspec.Struct, frozen=True):
    id: str
    epoch: int
    """Counted up each time a process registers under the id; an older epoch is fenced."""


class Lease(msgspec.Struct, frozen=True):
    """What a node knows of its own: in between, nobody can take it for dead and end what it runs."""

    since_s: float
    """Monotonic time: what it began before may have been ended."""
    until_s: float
    """By ``core.clock.passed_s``."""


class Orphan(msgspec.Struct, frozen=True):
    """An exchange of a dead node, and what it was charged: when it was settled for the node, or by the
    node itself, which may have died before it told the admission index."""

    exchange_id: str
    org_id: str
    tokens: int
    nusd: int
    credits: int
    booked: bool = True
    """Whether the index may hold something for it. It has not where the node knew of no budgets, which the
    database found: it was charged there all the same."""


def register_node(database: Database, name: str | None = None) -> Node:
    """Take part under ``name``, with a new epoch and a fresh lease. Without a name: ``local`` on
    SQLite, which has one server, and a new ULID on PostgreSQL. Gateways give no name: of a node of
    several that came back under its old one, ``dead_nodes`` would not tell."""
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


def settle_orphans(
    database: Database, node: Node, *, exclusive: bool, told: Callable[[Orphan], object] | None = None
) -> int:
    """End orphans as ``interrupted`` with status 0, ``ORPHANS_AT_ONCE`` at most; returns how many, and tells
    of each once it is committed.

    ``exclusive``: no other process can serve on this database (SQLite's lock is held), so every
    open exchange that is not this node's own is an orphan, whatever its lease says.

    Nobody knows how far an orphan's provider got. One whose org has budgets is charged the input that
    was estimated when it began, and labelled so; of the others nothing is known.
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
        # What another node is about to settle is not waited for.
        interrupted = connection.execute(
            select(*(exchanges.c[name] for name in _TOLD))
            .where(*conditions)
            .limit(ORPHANS_AT_ONCE)
            .with_for_update(of=exchanges, skip_locked=True)
        ).all()
        connection.execute(
            update(exchanges)
            .where(exchanges.c.id.in_([row.id for row in interrupted]))
            .values(
                ended_us=moment_us,
                ending=Ending.INTERRUPTED.value,
                status=0,
                failure_kind=FailureKind.INTERRUPTED.value,
            )
        )
        charges = [_charge(row) for row in interrupted]
        estimates = [
            {"orphan": row.id, "input": booking.input_tokens, "nusd": charge.nusd, "used": charge.credits}
            for row, (charge, booking) in zip(interrupted, charges, strict=True)
            if booking is not None
        ]
        if estimates:
            connection.execute(_ESTIMATED, estimates)
        add(connection, [(charge, 1) for charge, _ in charges])
        connection.execute(
            delete(nodes).where(nodes.c.lease_until_us < moment_us - _FORGET_US, nodes.c.id != node.id)
        )
    if told is not None:
        for row, (charge, booking) in zip(interrupted, charges, strict=True):
            tokens = 0 if booking is None else booking.input_tokens
            told(Orphan(row.id, row.org_id, tokens, charge.nusd, charge.credits))
    return len(interrupted)


def ended_before_death(database: Database, dead: Mapping[str, int]) -> list[Orphan]:
    """What dead nodes ended shortly before they died. Rows are written first and holds are settled after
    them: the holds of these may still be there, and would stay until they are overdue.

    ``dead``: by node, until when it held its lease (microseconds, the database's clock).
    """
    found: list[Orphan] = []
    unbooked = and_(
        or_(exchanges.c.cost_nusd > 0, exchanges.c.credits > 0),
        exists().where(metered_orgs.c.org_id == exchanges.c.org_id),
    )
    with database.read() as connection:
        for node_id, until_us in dead.items():
            since_us = until_us - _LEASE_US - _UNTOLD_US
            rows = connection.execute(
                select(
                    exchanges.c.id,
                    exchanges.c.org_id,
                    (
                        exchanges.c.input_tokens
                        + exchanges.c.output_tokens
                        + exchanges.c.cache_read_tokens
                        + exchanges.c.cache_write_tokens
                    ).label("tokens"),
                    exchanges.c.cost_nusd,
                    exchanges.c.credits,
                    exchanges.c.booking.is_not(None),
                ).where(
                    # Ids begin with the time: found by the primary key.
                    exchanges.c.id >= first_ulid(since_us - _LONGEST_US),
                    exchanges.c.id < first_ulid(until_us + _LEASE_US),
                    exchanges.c.node_id == node_id,
                    exchanges.c.ended_us >= since_us,
                    or_(exchanges.c.booking.is_not(None), unbooked),
                )
            )
            found.extend(Orphan(*row) for row in rows)
    return found


def settle_the_dead(
    database: Database, node: Node, *, exclusive: bool, told: Callable[[Orphan], object] | None
) -> int:
    """What a node does at its start. Alone (``exclusive``, or nobody to tell): ``settle_orphans``. Of several
    it only tells of what dead ones had ended shortly before, however long ago that was: whose lease has
    lapsed may live all the same (``Watch``)."""
    if exclusive or told is None:
        settled = 0
        while found := settle_orphans(database, node, exclusive=exclusive, told=told):
            settled += found
        return settled
    # Not later: nodes that died more than a day ago are forgotten when their orphans are settled.
    for ended in ended_before_death(database, dead_nodes(database, node)):
        told(ended)
    return 0


class Watch:
    """Whether a node has watched the others for long enough to take one for dead. Leases lapse, too, while
    the database is away for all: who comes back first must not end what the others run. So nobody is
    judged before this node has renewed its own lease for the whole of one. Times are monotonic."""

    def __init__(self, now_s: float) -> None:
        self._since_s = self._renewed_s = now_s

    def renewed(self, now_s: float) -> None:
        if now_s - self._renewed_s > _LONGEST_GAP_S:
            self._since_s = now_s
        self._renewed_s = now_s

    def suffices(self, now_s: float) -> bool:
        return now_s - self._since_s >= LEASE_S and now_s - self._renewed_s <= _LONGEST_GAP_S


def _charge(row: Row[Any]) -> tuple[Charge, Booking | None]:
    """What an orphan is charged: its estimated input, and a request of its day."""
    counted = (row.key_id, row.user_id)
    day = day_of(row.started_us)
    if row.booking is None:
        return Charge(row.org_id, day=day, counted=counted), None
    booking = msgspec.json.decode(row.booking, type=Booking)
    return (
        Charge(
            row.org_id,
            booking.input_nusd,
            booking.input_credits,
            booking.cycle,
            booking.scopes,
            day=day,
            counted=counted,
        ),
        booking,
    )


def _now_us(connection: Connection) -> int:
    """The database's clock: leases of nodes whose own clocks differ must still compare."""
    if connection.dialect.name == "postgresql":
        moment = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(connection.execute(moment).scalar_one())
    return now_us()


def dead_nodes(database: Database, node: Node) -> dict[str, int]:
    """The nodes whose leases have lapsed and that are not forgotten yet, and until when each held its own."""
    with database.read() as connection:
        dead = select(nodes.c.id, nodes.c.lease_until_us).where(
            nodes.c.id != node.id, nodes.c.lease_until_us <= _now_us(connection)
        )
        return {row.id: row.lease_until_us for row in connection.execute(dead)}


def living_nodes(database: Database, node: Node) -> dict[str, int]:
    """The other nodes whose leases have not lapsed, and until when each holds its own."""
    with database.read() as connection:
        living = select(nodes.c.id, nodes.c.lease_until_us).where(
            nodes.c.id != node.id, nodes.c.lease_until_us > _now_us(connection)
        )
        return {row.id: row.lease_until_us for row in connection.execute(living)}


def give_up_lease(database: Database, node: Node) -> None:
    """Say that this process no longer serves: nobody need wait for its lease to lapse."""
    with database.write() as connection:
        connection.execute(
            update(nodes)
            .where(nodes.c.id == node.id, nodes.c.epoch == node.epoch)
            .values(lease_until_us=_now_us(connection))
        )


def require_alone(database: Database, node: Node, *, poll_s: float = 0.25) -> None:
    """Raises StorageError when another node serves on this database. One that was killed a moment ago
    still holds its lease: it is waited for, 10 s at most, and known by not renewing it."""
    first = living_nodes(database, node)
    others = first
    while others:
        renewed = sorted(id for id, until_us in others.items() if until_us > first.setdefault(id, until_us))
        if renewed:
            give_up_lease(database, node)
            raise StorageError(
                f"Another gateway (node {renewed[0]}) serves on this database, and [limits] url = "
                '"memory://" counts in one process only: each would admit the whole of every limit. '
                'Set [limits] url = "redis://..." for both, or stop the other one.'
            )
        # Of two that start together, each must see that the other is alive.
        heartbeat(database, node)
        time.sleep(poll_s)
        others = living_nodes(database, node)

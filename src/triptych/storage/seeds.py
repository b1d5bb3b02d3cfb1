"""What an admission index is built from: one org's balances, its requests of today, its open rows.

Balances are kept only while somebody in the org has a cap or credits. When the first one gets them,
what the org spent in the running cycle is added up from its rows, once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection, Row, and_, delete, exists, func, insert, or_, select, text

from triptych.core.admission import DayCount, OpenHold, Seed, Spent
from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of, start_us
from triptych.core.hold import Booking, Charge
from triptych.storage.balances import add
from triptych.storage.database import Database
from triptych.storage.nodes import Node
from triptych.storage.tables import (
    api_keys,
    balances,
    exchanges,
    groups,
    metered_orgs,
    orgs,
    request_days,
    user_groups,
    users,
)

# A clock that is a little behind must not hide a cycle that has just begun, nor the one before it.
_CYCLE_SLACK_DAYS: Final = 1
_IDS_AT_ONCE: Final = 1_000


class SeedReader:
    """Reads seeds; ``core.admission.SeedSource``. For threads."""

    def __init__(
        self,
        database: Database,
        *,
        only: Node | None = None,
        caught_up: Callable[[], object] = lambda: None,
    ) -> None:
        """``only``: this node's open rows alone. For an index that counts in one process, which never
        learns how the others' exchanges end. ``caught_up`` returns when this process knows of the budgets
        that the database has by now, and has written all that it ended before it did; raises StorageError."""
        self._database = database
        self._only = only
        self._caught_up = caught_up

    def __call__(self, org_id: str, held: Sequence[str] = ()) -> Seed:
        """Raises StorageError."""
        while True:
            with self._database.read() as connection:
                if _complete(connection, org_id):
                    return self._read(connection, org_id, held)
            # Of what is ended without a budget, nothing may come after the rows are added up.
            self._caught_up()
            with self._database.write() as connection:
                complete_balances(connection, org_id)

    def _read(self, connection: Connection, org_id: str, held: Sequence[str]) -> Seed:
        today = day_of(now_us())
        anchor_us = connection.execute(select(orgs.c.created_us).where(orgs.c.id == org_id)).scalar()
        if anchor_us is None:
            return Seed()
        cycle, _ = cycle_of(day_of(anchor_us), today - _CYCLE_SLACK_DAYS)
        spent = connection.execute(
            select(balances).where(balances.c.org_id == org_id, balances.c.cycle >= cycle)
        )
        days = connection.execute(
            select(request_days).where(request_days.c.org_id == org_id, request_days.c.day >= today)
        )
        opened = _open_rows(connection, org_id)
        counts: Counter[tuple[str, int]] = Counter()
        for row in days:
            # What older versions counted by user or org alone has that id as the key's too.
            for scope_id in {row.key_id, row.user_id, row.org_id}:
                counts[scope_id, row.day] += row.requests
        for row in opened:
            for scope_id in (row.key_id, row.user_id, row.org_id):
                counts[scope_id, day_of(row.started_us)] += 1
        return Seed(
            tuple(
                Spent(row.scope_kind, row.scope_id, row.cycle, row.spent_nusd, row.credits_used)
                for row in spent
            ),
            tuple(DayCount(scope_id, day, requests) for (scope_id, day), requests in counts.items()),
            tuple(self._holds(connection, org_id, opened)),
            _noted(connection, org_id),
            tuple(_ended(connection, held)),
        )

    def _holds(self, connection: Connection, org_id: str, opened: list[Row[Any]]) -> Iterator[OpenHold]:
        """Of the rows that hold anything. One process knows its own slots; of several, each learns
        those of the others."""
        limited = _keys_with_slots(connection, org_id) if opened and self._only is None else frozenset()
        for row in opened:
            foreign = self._only is not None and (row.node_id, row.node_epoch) != astuple(self._only)
            slots = (row.key_id,) if row.key_id in limited else ()
            if not foreign and (slots or row.booking is not None):
                yield _hold(row, slots)


def forget_books(database: Database, metered: frozenset[str]) -> None:
    """Note which orgs have no cap and no credits any more: from now on their balances have gaps.
    Raises StorageError."""
    with database.read() as connection:
        known = set(connection.execute(select(metered_orgs.c.org_id)).scalars())
    if gone := sorted(known - metered):
        with database.write() as connection:
            connection.execute(delete(metered_orgs).where(metered_orgs.c.org_id.in_(gone)))


def complete_balances(connection: Connection, org_id: str) -> None:
    """Make an org's balances of the running cycle from its rows, unless they are complete already.

    Nobody else may add to them meanwhile: an ending must be in the rows that are added up, or be
    added after them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE balances IN SHARE ROW EXCLUSIVE MODE"))
    if _complete(connection, org_id):
        return
    anchor_us = connection.execute(select(orgs.c.created_us).where(orgs.c.id == org_id)).scalar()
    if anchor_us is None:
        return
    moment_us = now_us()
    cycle, _ = cycle_of(day_of(anchor_us), day_of(moment_us))
    connection.execute(delete(balances).where(balances.c.org_id == org_id, balances.c.cycle >= cycle))
    used = connection.execute(
        select(
            exchanges.c.key_id,
            exchanges.c.user_id,
            func.sum(exchanges.c.cost_nusd).label("nusd"),
            func.sum(exchanges.c.credits).label("credits"),
            func.count().label("requests"),
        )
        .where(
            exchanges.c.org_id == org_id,
            exchanges.c.started_us >= start_us(cycle),
            exchanges.c.ended_us.is_not(None),
            or_(exchanges.c.cost_nusd > 0, exchanges.c.credits > 0),
        )
        .group_by(exchanges.c.key_id, exchanges.c.user_id)
    ).all()
    members: dict[str, list[str]] = {}
    for user_id, group_id in connection.execute(
        select(user_groups.c.user_id, user_groups.c.group_id).join(groups).where(groups.c.org_id == org_id)
    ):
        members.setdefault(user_id, []).append(group_id)
    charges = []
    for row in used:
        scopes = (
            ("key", row.key_id),
            ("user", row.user_id),
            *(("group", group_id) for group_id in members.get(row.user_id, ())),
            ("org", org_id),
        )
        charge = Charge(org_id, int(row.nusd), int(row.credits), cycle, scopes)
        charges.append((charge, int(row.requests)))
    add(connection, charges)
    connection.execute(insert(metered_orgs).values(org_id=org_id, since_us=moment_us))


def _complete(connection: Connection, org_id: str) -> bool:
    """Whether the balances say all, or nobody in the org asks for them."""
    return _noted(connection, org_id) or not _metered(connection, org_id)


def _noted(connection: Connection, org_id: str) -> bool:
    """Whether the balances are known to say all."""
    found = connection.execute(select(metered_orgs.c.org_id).where(metered_orgs.c.org_id == org_id)).first()
    return found is not None


def _metered(connection: Connection, org_id: str) -> bool:
    """As the directory sees it: a group that nobody is in makes no budgets."""
    budgeted = (
        exists().where(
            and_(
                (table.c.id if table is orgs else table.c.org_id) == org_id,
                or_(table.c.spend_cap_nusd.is_not(None), table.c.credits.is_not(None)),
                *((groups.c.id.in_(select(user_groups.c.group_id)),) if table is groups else ()),
            )
        )
        for table in (orgs, groups, users, api_keys)
    )
    return bool(connection.execute(select(or_(*budgeted))).scalar())


def _open_rows(connection: Connection, org_id: str) -> list[Row[Any]]:
    """By the index of open rows, of which there are few; an org's rows may be millions."""
    columns = (
        "id",
        "node_id",
        "node_epoch",
        "started_us",
        "org_id",
        "user_id",
        "key_id",
        "hold_nusd",
        "hold_credits",
        "booking",
    )
    return list(
        connection.execute(
            select(*(exchanges.c[name] for name in columns))
            .where(exchanges.c.ended_us.is_(None), exchanges.c.org_id == org_id)
            .with_hint(exchanges, "INDEXED BY ix_exchanges_open", "sqlite")
        )
    )


def _ended(connection: Connection, held: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(held), _IDS_AT_ONCE):
        asked = exchanges.c.id.in_(held[start : start + _IDS_AT_ONCE])
        yield from connection.execute(
            select(exchanges.c.id).where(asked, exchanges.c.ended_us.is_not(None))
        ).scalars()


def _keys_with_slots(connection: Connection, org_id: str) -> frozenset[str]:
    """Keys that may run only so many exchanges at the same time, whichever level says so."""
    member_of = user_groups.join(groups)
    limited = or_(
        api_keys.c.concurrency.is_not(None),
        exists().where(users.c.id == api_keys.c.user_id, users.c.concurrency.is_not(None)),
        exists().where(orgs.c.id == org_id, orgs.c.concurrency.is_not(None)),
        exists()
        .select_from(member_of)
        .where(user_groups.c.user_id == api_keys.c.user_id, groups.c.concurrency.is_not(None)),
    )
    query = select(api_keys.c.id).where(api_keys.c.org_id == org_id, limited)
    return frozenset(connection.execute(query).scalars())


def _hold(row: Row[Any], slots: tuple[str, ...]) -> OpenHold:
    budgets: tuple[tuple[str, str, int], ...] = ()
    if row.booking is not None:
        booking = msgspec.json.decode(row.booking, type=Booking)
        budgets = tuple((kind, scope_id, booking.cycle) for kind, scope_id in booking.scopes)
    return OpenHold(row.id, budgets, row.hold_nusd or 0, row.hold_credits or 0, slots)

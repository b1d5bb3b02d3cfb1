"""What was used, by whom and for what: sums over the ledger's rows, exact to the nano-USD."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, case, cast, func, select

from triptych.core.clock import MICROSECONDS_PER_S
from triptych.core.outcome import Ending
from triptych.storage.database import Database
from triptych.storage.tables import api_keys, exchanges, orgs, users

GROUPINGS: Final = ("org", "user", "key", "model", "day")

_DAY_US: Final = 86_400 * MICROSECONDS_PER_S


class UsageSum(msgspec.Struct, frozen=True):
    """What the exchanges of one group come to; those that still run are left out."""

    group: dict[str, str | None]
    """Of each grouping asked for: a slug, a name, ``name (key_<id>)``, a model id, or a date (UTC)."""
    requests: int
    failed: int
    """Of the requests: those refused, failed, cancelled or interrupted."""
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    credits: int
    cost_nusd: int
    unpriced: int
    """Exchanges whose model had no price: what they cost is not known."""


def usage_sums(
    database: Database,
    by: Sequence[str] = (),
    *,
    org: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
) -> list[UsageSum]:
    """Sums by GROUPINGS, the most expensive first; by day, the oldest first. ``until_us`` is left out.
    Raises StorageError."""
    names = {"org": orgs.c.slug, "user": users.c.name, "key": api_keys.c.name, "model": exchanges.c.model}
    columns: list[ColumnElement[Any]] = []
    for grouping in by:
        if grouping == "day":
            # Whole days since the epoch; an integer division on both engines.
            columns.append(cast(exchanges.c.started_us, BigInteger).op("/")(_DAY_US).label("day"))
        else:
            columns.append(names[grouping].label(grouping))
            if grouping == "key":
                columns.append(exchanges.c.key_id.label("key_id"))
    repeats = exchanges.c.repeats
    sums = {
        "requests": func.sum(repeats),
        "failed": func.sum(case((exchanges.c.ending != Ending.COMPLETED.value, repeats), else_=0)),
        **{
            name: func.sum(exchanges.c[name])
            for name in (
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "reasoning_tokens",
                "credits",
                "cost_nusd",
            )
        },
        "unpriced": func.sum(case((exchanges.c.unpriced, 1), else_=0)),
    }
    query = (
        select(*columns, *(column.label(name) for name, column in sums.items()))
        .select_from(
            exchanges.outerjoin(orgs, orgs.c.id == exchanges.c.org_id)
            .outerjoin(users, users.c.id == exchanges.c.user_id)
            .outerjoin(api_keys, api_keys.c.id == exchanges.c.key_id)
        )
        .where(exchanges.c.ended_us.is_not(None))
        .group_by(*columns)
    )
    if org is not None:
        query = query.where(orgs.c.slug == org)
    if since_us is not None:
        query = query.where(exchanges.c.started_us >= since_us)
    if until_us is not None:
        query = query.where(exchanges.c.started_us < until_us)
    with database.read() as connection:
        found = connection.execute(query).mappings().all()
    told = [
        UsageSum(
            group={grouping: _name(grouping, row) for grouping in by},
            **{name: int(row[name] or 0) for name in sums},
        )
        for row in found
    ]
    if "day" in by:
        return sorted(told, key=lambda one: (one.group["day"] or "", -one.cost_nusd))
    return sorted(told, key=lambda one: (-one.cost_nusd, -one.requests))


class Caller(msgspec.Struct, frozen=True):
    """One key that called a model."""

    model: str
    org: str | None
    user: str | None
    key: str
    """``name (key_<id>)``."""
    requests: int
    cost_nusd: int
    last_us: int


def callers_of(database: Database, models: Sequence[str], *, since_us: int) -> list[Caller]:
    """Who called which of the models, the most requests first. Raises StorageError."""
    requests = func.sum(exchanges.c.repeats)
    query = (
        select(
            exchanges.c.model,
            orgs.c.slug.label("org"),
            users.c.name.label("user"),
            api_keys.c.name.label("key"),
            exchanges.c.key_id,
            requests.label("requests"),
            func.sum(exchanges.c.cost_nusd).label("cost_nusd"),
            func.max(exchanges.c.started_us).label("last_us"),
        )
        .select_from(
            exchanges.outerjoin(orgs, orgs.c.id == exchanges.c.org_id)
            .outerjoin(users, users.c.id == exchanges.c.user_id)
            .outerjoin(api_keys, api_keys.c.id == exchanges.c.key_id)
        )
        .where(exchanges.c.model.in_(models), exchanges.c.started_us >= since_us)
        .group_by(exchanges.c.model, orgs.c.slug, users.c.name, api_keys.c.name, exchanges.c.key_id)
        .order_by(exchanges.c.model, requests.desc(), exchanges.c.key_id)
    )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        Caller(
            row["model"],
            row["org"],
            row["user"],
            _name("key", row) or "",
            int(row["requests"]),
            int(row["cost_nusd"] or 0),
            int(row["last_us"]),
        )
        for row in rows
    ]


def _name(grouping: str, row: Any) -> str | None:
    value = row[grouping]
    if grouping == "day":
        return (date(1970, 1, 1) + timedelta(days=int(value))).isoformat()
    if grouping == "key":
        # Several keys may have one name.
        return f"{value or '?'} (key_{row['key_id']})"
    return None if value is None else str(value)

"""When models go: what was announced at run time, and since when the file's dates are known.

A date in the configuration file counts as announced already and holds as it stands; one that is
announced here must leave callers ``LEAST_NOTICE_DAYS``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select, text

from triptych.core.clock import MICROSECONDS_PER_S, now_us, rfc3339
from triptych.core.ids import new_ulid
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.tables import ORIGIN_API, ORIGIN_FILE, model_retirements, orgs
from triptych.storage.versions import changing

LEAST_NOTICE_DAYS: Final = 90
RETIREMENT_ANNOUNCED: Final = "model.retirement_announced"
_DAY_US: Final = 86_400 * MICROSECONDS_PER_S

_ADD = text(
    "INSERT INTO model_retirements (model_id, retires_us, origin, replacement, announced_us) "
    "VALUES (:model_id, :retires_us, :origin, :replacement, :announced_us) ON CONFLICT DO NOTHING"
)
_ADD_EVENT = text(
    "INSERT INTO events (id, org_id, type, subject, created_us, details) "
    "VALUES (:id, :org_id, :type, :subject, :created_us, :details) ON CONFLICT DO NOTHING"
)


class Retirement(msgspec.Struct, frozen=True):
    model_id: str
    retires_us: int
    replacement: str | None
    announced_us: int
    """Since when callers are told."""


class Stated(msgspec.Struct, frozen=True):
    """A retirement that stands in the configuration file."""

    model_id: str
    retires_us: int
    replacement: str | None


def announce(database: Database, model_id: str, retires_us: int, replacement: str | None) -> Retirement:
    """Set, or move, the moment at which a model goes; nodes know within a second.

    Raises StorageError: less than 90 days ahead.
    """
    moment_us = now_us()
    if retires_us - moment_us < LEAST_NOTICE_DAYS * _DAY_US:
        # Whole seconds, rounded up: the moment that is named must be taken.
        earliest = rfc3339(-(-(moment_us + LEAST_NOTICE_DAYS * _DAY_US) // MICROSECONDS_PER_S) + 1)
        raise StorageError(
            f"A model is announced to retire at least {LEAST_NOTICE_DAYS} days ahead, which is "
            f"{earliest} at the earliest."
        )
    with changing(database) as change:
        change.changed = True
        mine = model_retirements.c.model_id == model_id, model_retirements.c.origin == ORIGIN_API
        known = change.connection.execute(select(model_retirements).where(*mine)).first()
        change.connection.execute(delete(model_retirements).where(*mine))
        retirement = Retirement(
            model_id, retires_us, replacement, moment_us if known is None else known.announced_us
        )
        _add(change.connection, retirement, ORIGIN_API)
        _tell_orgs(change.connection, retirement)
    return retirement


def withdraw(database: Database, model_id: str) -> bool:
    """Take an announcement back; False: there was none (one of the file stands in the file)."""
    with changing(database) as change:
        gone = change.connection.execute(
            delete(model_retirements).where(
                model_retirements.c.model_id == model_id, model_retirements.c.origin == ORIGIN_API
            )
        )
        change.changed = bool(gone.rowcount)
    return change.changed


def known_retirements(database: Database, stated: Iterable[Stated]) -> Mapping[str, Retirement]:
    """By model id: the file's, where it states one, else what was announced. Notes since when the
    file's are known. Raises StorageError."""
    of_file = {(one.model_id, one.retires_us): one for one in stated}
    moment_us = now_us()
    found = _read(database)
    new = [one for place, one in of_file.items() if (*place, ORIGIN_FILE) not in found]
    if new:
        with database.write() as connection:
            for one in new:
                retirement = Retirement(one.model_id, one.retires_us, one.replacement, moment_us)
                if _add(connection, retirement, ORIGIN_FILE) and one.retires_us > moment_us:
                    _tell_orgs(connection, retirement)
        found = _read(database)
    known = {
        row.model_id: Retirement(row.model_id, row.retires_us, row.replacement, row.announced_us)
        for row in found.values()
        if row.origin == ORIGIN_API
    }
    for (model_id, retires_us), one in of_file.items():
        announced_us = found[model_id, retires_us, ORIGIN_FILE].announced_us
        known[model_id] = Retirement(model_id, retires_us, one.replacement, announced_us)
    return known


def _read(database: Database) -> dict[tuple[str, int, str], Any]:
    with database.read() as connection:
        rows = connection.execute(select(model_retirements)).all()
    return {(row.model_id, row.retires_us, row.origin): row for row in rows}


def _add(connection: Connection, retirement: Retirement, origin: str) -> bool:
    facts = msgspec.structs.asdict(retirement)
    return bool(connection.execute(_ADD, {**facts, "origin": origin}).rowcount)


def _tell_orgs(connection: Connection, retirement: Retirement) -> None:
    """One event for each org, once for each date."""
    details = msgspec.json.encode(
        {
            "model": retirement.model_id,
            "retires_at": rfc3339(retirement.retires_us // MICROSECONDS_PER_S),
            "replacement": retirement.replacement,
        }
    ).decode()
    for org_id in connection.execute(select(orgs.c.id).where(orgs.c.removed_us.is_(None))).scalars().all():
        connection.execute(
            _ADD_EVENT,
            {
                "id": new_ulid(),
                "org_id": org_id,
                "type": RETIREMENT_ANNOUNCED,
                "subject": f"{org_id}:{retirement.model_id}:{retirement.retires_us}",
                "created_us": retirement.announced_us,
                "details": details,
            },
        )

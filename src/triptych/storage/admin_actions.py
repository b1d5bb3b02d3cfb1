"""Who changed what: one row per administrative act, written in the transaction of the act itself.

Rows are only ever added; the database refuses anything else. What stands in ``metadata`` is made of
ids, names of settings and their values: never a secret, never content of a request.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, func, insert, select

from triptych.core.clock import now_us
from triptych.core.ids import ulids_after
from triptych.storage.database import Database
from triptych.storage.tables import admin_actions

API, CLI, FILE = "api", "cli", "file"
_MAX_IP_CHARS: Final = 45

KEY_CREATED = "api_key.created"
KEY_REVOKED = "api_key.revoked"
BUDGET_UPDATED = "budget.updated"
BAA_ACCEPTED = "baa.accepted"
BAA_ENDED = "admin.baa_ended"
BAA_STATED = "admin.baa_stated"
BAA_TEMPLATE_ADDED = "admin.baa_template_added"
FEATURE_ENABLED = "admin.feature_enabled"
FEATURE_DISABLED = "admin.feature_disabled"
ORG_UPDATED = "admin.org_updated"
USER_UPDATED = "admin.user_updated"


class Actor(msgspec.Struct, frozen=True):
    """Who acts: a key of the org and the user it stands for, or somebody on the gateway's machine."""

    via: str
    """API, CLI or FILE (a configuration that was applied)."""
    user_id: str | None = None
    key_id: str | None = None
    ip_address: str | None = None
    name: str | None = None
    """Of CLI: the login name on the machine."""


FROM_FILE = Actor(FILE)


class AdminAction(msgspec.Struct, frozen=True):
    """One row. ``id`` is a bare ULID."""

    id: str
    org_id: str | None
    action: str
    entity_type: str
    entity_id: str
    user_id: str | None
    key_id: str | None
    ip_address: str | None
    via: str
    metadata: dict[str, Any]
    created_us: int


def note(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    org_id: str | None,
    entity: tuple[str, str],
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Add a row in the connection's transaction. ``entity``: its type and its bare id."""
    note_all(connection, actor, action, org_id=org_id, entities=[(entity, metadata or {})])


def note_all(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    org_id: str | None,
    entities: Sequence[tuple[tuple[str, str], Mapping[str, object]]],
) -> None:
    """One row for each entity, with its metadata. Ids of an org's rows ascend in the order of writing,
    whatever the clock does: who reads them as a chain needs one order, and times can be equal."""
    if not entities:
        return
    login = {} if actor.name is None else {"login": actor.name}
    last = connection.execute(select(func.max(admin_actions.c.id)).where(_of(org_id))).scalar()
    moment_us = now_us()
    rows = [
        {
            "id": id,
            "org_id": org_id,
            "action": action,
            "entity_type": entity[0],
            "entity_id": entity[1],
            "user_id": actor.user_id,
            "key_id": actor.key_id,
            "ip_address": None if actor.ip_address is None else actor.ip_address[:_MAX_IP_CHARS],
            "via": actor.via,
            "metadata": msgspec.json.encode({**metadata, **login}).decode(),
            "created_us": moment_us,
        }
        for id, (entity, metadata) in zip(ulids_after(last, moment_us, len(entities)), entities, strict=True)
    ]
    connection.execute(insert(admin_actions), rows)


def admin_actions_of(database: Database, org_id: str | None) -> list[AdminAction]:
    """All of an org (None: of the installation), oldest first. Raises StorageError."""
    with database.read() as connection:
        rows = connection.execute(
            select(admin_actions).where(_of(org_id)).order_by(admin_actions.c.id)
        ).mappings()
        return [AdminAction(**{**row, "metadata": msgspec.json.decode(row["metadata"])}) for row in rows]


def _of(org_id: str | None) -> ColumnElement[bool]:
    return admin_actions.c.org_id.is_(None) if org_id is None else admin_actions.c.org_id == org_id

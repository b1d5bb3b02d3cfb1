"""Stored responses, their conversations and their events: finding, deleting, pruning them.

Everything is looked up within an org and an environment (``live`` and ``test`` do not see each
other); what belongs to another user of the org is told apart from what does not exist. What is past
its retention is as if never there, whether or not it was pruned yet. All methods block: they are
for threads. They raise StorageError.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.principal import Principal
from triptych.storage.database import Database
from triptych.storage.kept import (
    CONTINUABLE,
    DELETED,
    IN_PROGRESS,
    content_place,
    events_place,
    storable_id,
)
from triptych.storage.sealing import OrgKeys, unseal
from triptych.storage.tables import exchanges, stored_conversations, stored_events, stored_responses

EVENTS_KEPT_US = 3600 * MICROSECONDS_PER_S
_DAY_US = 86_400 * MICROSECONDS_PER_S
# Long transactions would keep the ledger waiting on SQLite.
_PRUNED_AT_ONCE = 200

_r = stored_responses.c
_c = stored_conversations.c
_e = stored_events.c


class Content(msgspec.Struct, frozen=True):
    """What is kept of a response, as one JSON text."""

    response: msgspec.Raw
    """As the caller saw it last."""
    input: list[msgspec.Raw]
    """The items that were new in its request."""
    placeholders: dict[str, str] = {}
    """Values by what stood for them at the provider, of this turn and of those before it."""


class Forbidden(Exception):
    """It exists, and belongs to somebody else in the org."""


class StoredResponse(msgspec.Struct, frozen=True):
    exchange_id: str
    conversation_id: str
    status: str
    """``in_progress``, as long as it is being made; an exchange that was cut off is ``failed``."""
    newest: bool
    """Whether it is its conversation's last."""
    ended_us: int | None
    content: Content

    @property
    def continuable(self) -> bool:
        return self.status in CONTINUABLE


class Turn(msgspec.Struct, frozen=True):
    """One response of a chain, with what was asked."""

    exchange_id: str
    content: Content


_CONTENT = msgspec.json.Decoder(Content)


class StoredResponses:
    def __init__(self, database: Database, keys: OrgKeys, *, retention_days: int) -> None:
        self._database = database
        self._keys = keys
        self._retention_us = retention_days * _DAY_US

    def find(self, principal: Principal, response_id: str) -> StoredResponse | None:
        """The newest response of the id. Raises Forbidden."""
        with self._database.read() as connection:
            row = self._row(connection, principal, response_id)
            if row is None:
                return None
            newest = exists().where(
                _c.org_id == principal.org_id, _c.id == row.conversation_id, _c.last_id == row.exchange_id
            )
            status = self._status(connection, row)
            return StoredResponse(
                row.exchange_id,
                row.conversation_id,
                status,
                bool(connection.execute(select(newest)).scalar()),
                row.ended_us,
                self._content(principal.org_id, row),
            )

    def chain(self, principal: Principal, exchange_id: str) -> list[Turn]:
        """The turns that lead to this one, oldest first, itself last."""
        with self._database.read() as connection:
            return self._chain(connection, principal.org_id, exchange_id)

    def conversation(self, principal: Principal, conversation_id: str) -> list[Turn] | None:
        """The turns of a conversation, oldest first. None: there is none, or nothing left of it.
        Raises Forbidden."""
        if storable_id(conversation_id) is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(
                select(_c.user_id, _c.last_id).where(
                    _c.org_id == principal.org_id,
                    _c.id == conversation_id,
                    _c.environment == principal.environment,
                )
            ).first()
            if row is None:
                return None
            turns = self._chain(connection, principal.org_id, row.last_id)
            if turns and row.user_id != principal.user_id:
                raise Forbidden
            return turns or None

    def events(self, principal: Principal, exchange_id: str, first_part: int) -> tuple[list[bytes], bool]:
        """The parts from ``first_part`` on, decrypted, and whether no more will come."""
        with self._database.read() as connection:
            row = connection.execute(select(stored_responses).where(_r.exchange_id == exchange_id)).first()
            over = row is None or self._status(connection, row) != IN_PROGRESS
            parts = connection.execute(
                select(_e.part, _e.content)
                .where(_e.exchange_id == exchange_id, _e.part >= first_part)
                .order_by(_e.part)
            ).all()
        key, org_id = self._keys.key(principal.org_id), principal.org_id
        return [
            unseal(key, part.content, events_place(org_id, exchange_id, part.part)) for part in parts
        ], over

    def delete(self, principal: Principal, response_id: str) -> list[str]:
        """Delete every response of the id that is the principal's; returns their exchanges.

        One that still runs is gone for readers at once, and stopped by its node. What continues a
        deleted response, or is about to, continues what it continued. Raises Forbidden.
        """
        with self._database.write() as connection:
            if self._row(connection, principal, response_id) is None:
                return []
            mine = and_(self._visible(principal, response_id), _r.user_id == principal.user_id)
            rows = connection.execute(select(stored_responses).where(mine)).all()
            for row in _newest_first(rows):
                ended_us = None
                if self._status(connection, row) != IN_PROGRESS:
                    _detach(connection, row)
                    ended_us = now_us()
                connection.execute(
                    update(stored_responses)
                    .where(_r.exchange_id == row.exchange_id)
                    .values(status=DELETED, content=b"", ended_us=ended_us)
                )
        return [row.exchange_id for row in rows]

    def deleted_of(self, exchange_ids: Sequence[str]) -> set[str]:
        """Which of these running exchanges were deleted meanwhile, by any node."""
        with self._database.read() as connection:
            found = connection.execute(
                select(_r.exchange_id).where(
                    _r.exchange_id.in_(exchange_ids), _r.status == DELETED, _r.ended_us.is_(None)
                )
            )
            return set(found.scalars())

    def prune(self) -> int:
        """Take away what is past its retention, and events an hour after their end; returns how many
        responses went."""
        pruned = 0
        while rows := self._prune_some():
            pruned += rows
        return pruned

    def _prune_some(self) -> int:
        moment_us = now_us()
        running = exists().where(exchanges.c.id == _r.exchange_id, exchanges.c.ended_us.is_(None))
        stale = or_(
            _r.created_us < moment_us - self._retention_us,
            # Nothing that could continue it runs any more; or its node died, and it was deleted since.
            and_(
                _r.status == DELETED,
                func.coalesce(_r.ended_us, _r.created_us) < moment_us - _DAY_US,
                ~running,
            ),
        )
        kept = exists().where(
            _r.exchange_id == _e.exchange_id,
            or_(_r.ended_us.is_(None), _r.ended_us >= moment_us - EVENTS_KEPT_US),
            _r.created_us >= moment_us - _DAY_US,
        )
        with self._database.write() as connection:
            rows = connection.execute(select(stored_responses).where(stale).limit(_PRUNED_AT_ONCE)).all()
            _remove(connection, rows)
            connection.execute(delete(stored_events).where(_e.created_us < moment_us - EVENTS_KEPT_US, ~kept))
        return len(rows)

    def _visible(self, principal: Principal, response_id: str) -> ColumnElement[bool]:
        return and_(
            _r.org_id == principal.org_id,
            _r.id == response_id,
            _r.environment == principal.environment,
            _r.status != DELETED,
            _r.created_us >= now_us() - self._retention_us,
        )

    def _row(self, connection: Connection, principal: Principal, response_id: str) -> Any:
        if storable_id(response_id) is None:
            return None
        rows = connection.execute(
            select(stored_responses)
            .where(self._visible(principal, response_id))
            .order_by((_r.user_id == principal.user_id).desc(), _r.exchange_id.desc())
            .limit(1)
        ).all()
        if rows and rows[0].user_id != principal.user_id:
            raise Forbidden
        return rows[0] if rows else None

    @staticmethod
    def _status(connection: Connection, row: Any) -> str:
        """A response whose exchange was ended by somebody else, or never got to its end, failed."""
        if row.status != IN_PROGRESS:
            return str(row.status)
        running = select(exchanges.c.id).where(
            exchanges.c.id == row.exchange_id, exchanges.c.ended_us.is_(None)
        )
        return IN_PROGRESS if connection.execute(running).first() is not None else "failed"

    def _content(self, org_id: str, row: Any) -> Content:
        key = self._keys.key(org_id)
        return _CONTENT.decode(unseal(key, row.content, content_place(org_id, row.exchange_id)))

    def _chain(self, connection: Connection, org_id: str, exchange_id: str) -> list[Turn]:
        oldest_us = now_us() - self._retention_us
        live = and_(_r.org_id == org_id, _r.created_us >= oldest_us)
        chain = (
            select(_r.exchange_id, _r.previous_id, literal_column("0").label("age"))
            .where(_r.exchange_id == exchange_id, live)
            .cte("chain", recursive=True)
        )
        chain = chain.union_all(
            select(_r.exchange_id, _r.previous_id, (chain.c.age + 1).label("age")).where(
                _r.exchange_id == chain.c.previous_id, live
            )
        )
        rows = connection.execute(
            select(_r.exchange_id, _r.content)
            .join(chain, chain.c.exchange_id == _r.exchange_id)
            .where(_r.status != DELETED)
            .order_by(chain.c.age.desc())
        ).all()
        return [Turn(row.exchange_id, self._content(org_id, row)) for row in rows]


def _newest_first(rows: Sequence[Any]) -> list[Any]:
    """So that none was changed by what was done to another: what is continued is older."""
    return sorted(rows, key=lambda row: str(row.exchange_id), reverse=True)


def _remove(connection: Connection, rows: Sequence[Any]) -> None:
    for row in _newest_first(rows):
        _detach(connection, row)
        connection.execute(delete(stored_responses).where(_r.exchange_id == row.exchange_id))


def _detach(connection: Connection, row: Any) -> None:
    """What pointed at it points at what it continued; its events go."""
    connection.execute(
        update(stored_responses).where(_r.previous_id == row.exchange_id).values(previous_id=row.previous_id)
    )
    newest = and_(_c.org_id == row.org_id, _c.last_id == row.exchange_id)
    before = select(_r.conversation_id).where(_r.exchange_id == row.previous_id)
    if connection.execute(before).scalar() != row.conversation_id:
        # It was the only one of its own: what it continued belongs to another conversation.
        connection.execute(delete(stored_conversations).where(newest))
    else:
        connection.execute(update(stored_conversations).where(newest).values(last_id=row.previous_id))
    connection.execute(delete(stored_events).where(_e.exchange_id == row.exchange_id))

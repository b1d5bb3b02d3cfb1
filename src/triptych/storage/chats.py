"""Chats that are kept: what was said in one exchange, and the conversation it belongs to.

A record is the exchange's own row, durable before a provider is asked; its content, encrypted, joins it
in the transaction that ends it. Everything is looked up within an org and an environment (``live`` and
``test`` do not see each other); what is past its retention is as if never there. All methods block:
they are for threads. They raise StorageError.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import and_, delete, select

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.principal import Principal
from triptych.storage.database import Database
from triptych.storage.kept import Write, Writes, storable_id
from triptych.storage.sealing import OrgKeys, place, unseal
from triptych.storage.tables import chat_turns, exchanges

_DAY_US = 86_400 * MICROSECONDS_PER_S
# Long transactions would keep the ledger waiting on SQLite.
_PRUNED_AT_ONCE = 200
_t = chat_turns.c
_x = exchanges.c

_END = (
    "INSERT INTO chat_turns "
    "(exchange_id, org_id, environment, conversation_id, created_us, completed, content) "
    "SELECT ?, ?, ?, ?, ?, ?, ? "
    # Only an exchange that this very end was written for: a fenced one keeps nothing.
    "WHERE EXISTS (SELECT 1 FROM exchanges WHERE id = ? AND ended_us = ? AND ending = ?) "
    "ON CONFLICT (exchange_id) DO NOTHING"
)
_CONTENT_PLACE = 6


class Said(msgspec.Struct, frozen=True):
    """What is kept of a turn, as one JSON text."""

    input: list[msgspec.Raw]
    """The messages that were new in its request."""
    output: msgspec.Raw
    """The content of the answer: blocks, as the caller saw them."""
    placeholders: dict[str, str] = {}
    """What the guard put in place of his values, in this turn and those before it."""

    def messages(self) -> list[bytes]:
        """The turn as messages of Anthropic's wire; an answer of nothing is none."""
        said = [bytes(message) for message in self.input]
        if bytes(self.output) != b"[]":
            said.append(b'{"role":"assistant","content":%b}' % bytes(self.output))
        return said


_SAID = msgspec.json.Decoder(Said)


class Keeping(msgspec.Struct, frozen=True):
    """Facts of a turn that is to be kept, known before the provider is asked."""

    exchange_id: str
    org_id: str
    environment: str
    conversation_id: str
    created_us: int
    key: bytes
    """The org's data key."""


class Record(msgspec.Struct, frozen=True):
    """One exchange of chat or messages, as far as it has come."""

    exchange_id: str
    endpoint: str
    environment: str
    started_us: int
    ended_us: int | None
    ending: str | None
    """None: it runs, or the node that ran it has died and was not missed yet."""
    failure_kind: str | None
    upstream_status: int | None
    provider: str | None
    model: str | None
    input_tokens: int
    """Cached ones too."""
    output_tokens: int
    cost_nusd: int
    credits: int
    conversation_id: str | None
    said: Said | None
    """None where nothing was kept."""


def end(keeping: Keeping, said: Said, *, completed: bool, ended_us: int, ending: str) -> Writes:
    """``completed``: whether a conversation goes on from here. ``ended_us`` and ``ending`` are those of
    the exchange's row."""
    return (
        Write(
            _END,
            (
                keeping.exchange_id,
                keeping.org_id,
                keeping.environment,
                keeping.conversation_id,
                keeping.created_us,
                completed,
                keeping.exchange_id,
                ended_us,
                ending,
            ),
            msgspec.json.encode(said),
            _CONTENT_PLACE,
            keeping.key,
            content_place(keeping.org_id, keeping.exchange_id),
        ),
    )


def content_place(org_id: str, exchange_id: str) -> bytes:
    return place("chat turn", org_id, exchange_id)


class Chats:
    def __init__(self, database: Database, keys: OrgKeys, *, retention_days: int) -> None:
        self._database = database
        self._keys = keys
        self._retention_us = retention_days * _DAY_US

    def conversation(self, principal: Principal, conversation_id: str) -> list[Said] | None:
        """The turns that were answered, oldest first. None: there is no such conversation, or nothing
        left of it."""
        if storable_id(conversation_id) is None:
            return None
        with self._database.read() as connection:
            rows = connection.execute(
                select(_t.exchange_id, _t.content, _t.completed)
                .where(
                    _t.org_id == principal.org_id,
                    _t.conversation_id == conversation_id,
                    _t.environment == principal.environment,
                    _t.created_us >= self._oldest_us(),
                )
                .order_by(_t.exchange_id)
            ).all()
        if not rows:
            return None
        return [self._said(principal.org_id, row) for row in rows if row.completed]

    def find(self, principal: Principal, exchange_id: str, endpoints: Sequence[str]) -> Record | None:
        """The record of an exchange of these endpoints of the clinical surface; refused ones have none."""
        with self._database.read() as connection:
            row = connection.execute(
                select(exchanges, _t.conversation_id, _t.content)
                .join(
                    chat_turns,
                    and_(_t.exchange_id == _x.id, _t.created_us >= self._oldest_us()),
                    isouter=True,
                )
                .where(
                    _x.id == exchange_id,
                    _x.org_id == principal.org_id,
                    _x.environment == principal.environment,
                    _x.surface == "clinical",
                    _x.endpoint.in_(endpoints),
                )
            ).first()
        if row is None or row.ending == "refused":
            return None
        return self._record(principal.org_id, row)

    def prune(self) -> int:
        """Take away what is past its retention; returns how many turns went."""
        pruned = 0
        while True:
            with self._database.write() as connection:
                stale = select(_t.exchange_id).where(_t.created_us < self._oldest_us()).limit(_PRUNED_AT_ONCE)
                ids = connection.execute(stale).scalars().all()
                connection.execute(delete(chat_turns).where(_t.exchange_id.in_(ids)))
            pruned += len(ids)
            if len(ids) < _PRUNED_AT_ONCE:
                return pruned

    def _oldest_us(self) -> int:
        return now_us() - self._retention_us

    def _said(self, org_id: str, row: Any) -> Said:
        key = self._keys.key(org_id)
        return _SAID.decode(unseal(key, row.content, content_place(org_id, row.exchange_id)))

    def _record(self, org_id: str, row: Any) -> Record:
        said = None
        if row.content is not None:
            key = self._keys.key(org_id)
            said = _SAID.decode(unseal(key, row.content, content_place(org_id, row.id)))
        return Record(
            exchange_id=row.id,
            endpoint=row.endpoint,
            environment=row.environment,
            started_us=row.started_us,
            ended_us=row.ended_us,
            ending=row.ending,
            failure_kind=row.failure_kind,
            upstream_status=row.upstream_status,
            provider=row.provider,
            model=row.model,
            input_tokens=(row.input_tokens or 0)
            + (row.cache_read_tokens or 0)
            + (row.cache_write_tokens or 0),
            output_tokens=row.output_tokens or 0,
            cost_nusd=row.cost_nusd or 0,
            credits=row.credits or 0,
            conversation_id=row.conversation_id,
            said=said,
        )

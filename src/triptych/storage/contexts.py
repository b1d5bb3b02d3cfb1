"""Conversations whose emotion is followed: scores and ids of their messages, for a limited time.

Every statement names the org and the environment of the key. A body is stored in one transaction
that has the context to itself - on SQLite the write lock, on PostgreSQL the context's row - so that
writers of any number of processes follow each other, and a killed one leaves the context as it was.
Texts are kept only where the org asked for it, and then encrypted.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from triptych.core.clock import now_us
from triptych.core.emotion import Emotion
from triptych.core.ids import new_ulid
from triptych.storage.database import BUSY_TIMEOUT_MS, Database
from triptych.storage.errors import StorageError
from triptych.storage.sealing import OrgKeys, place, seal, unseal

KEPT_MESSAGES = 1_000
"""Of a context: older ones are forgotten, and their ids may be used again."""
_PRUNED_AT_ONCE = 200
_ATTEMPTS = 5
_SCRUB_WAIT_MS = 100

Averaged = Callable[[Emotion | None, Emotion], Emotion]
"""The state of a context after one more user message."""
_SCORES = struct.Struct("<9d")

_FIND = (
    "SELECT id, created_us, expires_us, message_count, state FROM emotion_contexts "
    "WHERE org_id = ? AND environment = ? AND context_id = ?"
)
_MAKE = (
    "INSERT INTO emotion_contexts "
    "(id, org_id, environment, context_id, created_us, expires_us, message_count) "
    "VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (org_id, environment, context_id) DO NOTHING"
)
_UPDATE = "UPDATE emotion_contexts SET expires_us = ?, message_count = ?, state = ? WHERE id = ?"
_KNOWN = "SELECT external_id FROM emotion_messages WHERE context = ? AND external_id IN"
_INSERT = (
    "INSERT INTO emotion_messages (context, seq, external_id, role, scores, text) VALUES (?, ?, ?, ?, ?, ?)"
)
_FORGET = "DELETE FROM emotion_messages WHERE context = ? AND seq <= ?"
_SERIES = (
    "SELECT external_id, scores FROM emotion_messages WHERE context = ? AND role = 'user' "
    "ORDER BY seq DESC LIMIT ?"
)
_MESSAGE = "SELECT seq, role, scores, text FROM emotion_messages WHERE context = ? AND external_id = ?"
_DELETE_MESSAGES = "DELETE FROM emotion_messages WHERE context = ?"
_DELETE_CONTEXT = "DELETE FROM emotion_contexts WHERE id = ?"
_EXPIRED = "SELECT id FROM emotion_contexts WHERE expires_us <= ? ORDER BY expires_us LIMIT ?"
_EARLIEST = "SELECT min(expires_us) FROM emotion_contexts"


class Owner(msgspec.Struct, frozen=True):
    """Whose contexts: what one org's test keys keep, its live keys do not see."""

    org_id: str
    environment: str


class NewMessage(msgspec.Struct, frozen=True):
    role: str
    emotion: Emotion
    external_id: bytes | None = None
    text: str | None = None
    """Only where it is to be kept."""


class UserMessage(msgspec.Struct, frozen=True):
    """One point on the course of a conversation."""

    emotion: Emotion
    external_id: str | None = None


class Context(msgspec.Struct, frozen=True):
    """A live context."""

    created_us: int
    expires_us: int
    message_count: int
    """Of all its messages, also those that are forgotten by now."""
    state: Emotion | None
    """None while no user has said anything."""
    user_messages: tuple[UserMessage, ...]
    """Of the messages that are kept, oldest first."""


class StoredMessage(msgspec.Struct, frozen=True):
    role: str
    emotion: Emotion
    text: str | None
    """None where it was not kept."""


Also = Callable[[Connection, Context], None]
"""What is written together with a body, knowing the context as it is with it."""


class ContextGone(Exception):
    """There is no such context, or none that lives."""


class DuplicateMessage(Exception):
    """An id that the context, or the same body, has already; ``index`` is its place in the body."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Contexts:
    """Blocks: for threads. Safe to share between them. Everything raises StorageError."""

    def __init__(self, database: Database, keys: OrgKeys, averaged: Averaged) -> None:
        self._averaged = averaged
        self._database = database
        self._keys = keys
        self._postgresql = database.dialect_name == "postgresql"
        self._unscrubbed = False
        """Whether something was deleted whose bytes may still stand in SQLite's write-ahead log."""

    @property
    def writers(self) -> int:
        """How many threads can write to good effect at the same time."""
        return 4 if self._postgresql else 1

    def append(
        self,
        owner: Owner,
        context_id: bytes,
        messages: Sequence[NewMessage],
        ttl_us: int,
        also: Also | None = None,
    ) -> Context:
        """Store a body as a whole, in a context that is made where there is none; its life begins anew.
        ``also`` is done in the same transaction: both stay, or none.

        Raises DuplicateMessage, and has then stored nothing.
        """
        sealing = any(message.text is not None for message in messages)
        key = self._keys.key(owner.org_id) if sealing else b""
        for _ in range(_ATTEMPTS):
            with self._database.write() as connection:
                row, moment_us = self._claim(connection, owner, context_id, ttl_us)
                if row is None:
                    continue
                context = self._append(connection, owner, row, messages, moment_us + ttl_us, key)
                if also is not None:
                    also(connection, context)
                return context
        raise StorageError("A context was made and deleted again and again while it was written to.")

    def find(self, owner: Owner, context_id: bytes) -> Context:
        """Raises ContextGone; what is left of an expired one is deleted then."""
        with self._database.read() as connection:
            row = self._row(connection, owner, context_id)
            if _lives(row):
                state = None if row.state is None else _emotion(row.state)
                series = self._series(connection, row.id)
                return Context(row.created_us, row.expires_us, row.message_count, state, series)
        raise self._gone(row)

    def message(self, owner: Owner, context_id: bytes, external_id: bytes) -> StoredMessage | None:
        """None: the context has no message of that id. Raises ContextGone as ``find`` does."""
        with self._database.read() as connection:
            row = self._row(connection, owner, context_id)
            found = self._run(connection, _MESSAGE, row.id, external_id).first() if _lives(row) else None
        if not _lives(row):
            raise self._gone(row)
        if found is None:
            return None
        text = None
        if found.text is not None:
            key = self._keys.key(owner.org_id)
            text = unseal(key, bytes(found.text), _place(owner, row.id, found.seq)).decode()
        return StoredMessage(found.role, _emotion(found.scores), text)

    def delete(self, owner: Owner, context_id: bytes) -> None:
        """Forget it now. Raises ContextGone."""
        with self._database.write() as connection:
            row = self._row(connection, owner, context_id, lock=True)
            if row is not None:
                self._delete(connection, row.id)
        self._scrub()
        if not _lives(row):
            raise ContextGone

    def prune(self) -> int:
        """Delete what has expired; returns how many contexts went. Any number of nodes may do it."""
        pruned = 0
        while True:
            with self._database.write() as connection:
                lock = " FOR UPDATE SKIP LOCKED" if self._postgresql else ""
                rows = self._run(connection, _EXPIRED + lock, now_us(), _PRUNED_AT_ONCE).all()
                for row in rows:
                    self._delete(connection, row.id)
            pruned += len(rows)
            if len(rows) < _PRUNED_AT_ONCE:
                break
        self._scrub()
        return pruned

    def earliest_expiry_us(self) -> int | None:
        with self._database.read() as connection:
            found = self._run(connection, _EARLIEST).scalar()
        return None if found is None else int(found)

    def _gone(self, row: Any) -> ContextGone:
        if row is not None:
            self.prune()
        return ContextGone()

    # -- inside a transaction ------------------------------------------------------------------

    def _claim(self, connection: Connection, owner: Owner, context_id: bytes, ttl_us: int) -> tuple[Any, int]:
        """The row of the context, which is this transaction's alone from now on, and the moment at which
        it became so: others may have had their turn for seconds. None: another made it just now; again."""
        row = self._row(connection, owner, context_id, lock=True)
        moment_us = now_us()
        if row is not None and row.expires_us <= moment_us:
            self._delete(connection, row.id)
            row = None
        if row is None:
            made = self._run(
                connection,
                _MAKE,
                new_ulid(),
                owner.org_id,
                owner.environment,
                context_id,
                moment_us,
                moment_us + ttl_us,
            )
            row = self._row(connection, owner, context_id) if made.rowcount else None
        return row, moment_us

    def _append(
        self,
        connection: Connection,
        owner: Owner,
        row: Any,
        messages: Sequence[NewMessage],
        expires_us: int,
        key: bytes,
    ) -> Context:
        self._refuse_duplicates(connection, row.id, messages)
        count = row.message_count
        state = None if row.state is None else _emotion(row.state)
        rows = []
        for message in messages:
            count += 1
            text = None
            if message.text is not None:
                text = seal(key, message.text.encode(), _place(owner, row.id, count))
            rows.append((row.id, count, message.external_id, message.role, _packed(message.emotion), text))
            if message.role == "user":
                state = self._averaged(state, message.emotion)
        connection.exec_driver_sql(self._sql(_INSERT), rows)
        packed = None if state is None else _packed(state)
        self._run(connection, _UPDATE, expires_us, count, packed, row.id)
        if count > KEPT_MESSAGES:
            self._run(connection, _FORGET, row.id, count - KEPT_MESSAGES)
            self._unscrubbed = True
        series = self._series(connection, row.id)
        return Context(row.created_us, expires_us, count, state, series)

    def _refuse_duplicates(
        self, connection: Connection, context: str, messages: Sequence[NewMessage]
    ) -> None:
        """Raises DuplicateMessage for the first message whose id is taken."""
        first: dict[bytes, int] = {}
        for index, message in enumerate(messages):
            if message.external_id is None:
                continue
            if message.external_id in first:
                # What stands before it in the body may be taken too, and is told first then.
                doubled = index
                break
            first[message.external_id] = index
        else:
            doubled = len(messages)
        if first:
            marks = ", ".join("?" * len(first))
            taken = self._run(connection, f"{_KNOWN} ({marks})", context, *first).scalars()
            doubled = min((first[bytes(found)] for found in taken), default=doubled)
        if doubled < len(messages):
            raise DuplicateMessage(doubled)

    def _series(self, connection: Connection, context: str) -> tuple[UserMessage, ...]:
        newest = self._run(connection, _SERIES, context, KEPT_MESSAGES).all()
        return tuple(
            UserMessage(_emotion(scores), None if id is None else str(id, "utf-8"))
            for id, scores in reversed(newest)
        )

    def _row(self, connection: Connection, owner: Owner, context_id: bytes, *, lock: bool = False) -> Any:
        find = _FIND + " FOR UPDATE" if lock and self._postgresql else _FIND
        return self._run(connection, find, owner.org_id, owner.environment, context_id).first()

    def _delete(self, connection: Connection, context: str) -> None:
        self._run(connection, _DELETE_MESSAGES, context)
        self._run(connection, _DELETE_CONTEXT, context)
        self._unscrubbed = True

    def _run(self, connection: Connection, statement: str, *values: object) -> Any:
        return connection.exec_driver_sql(self._sql(statement), values)

    def _sql(self, statement: str) -> str:
        return statement.replace("?", "%s") if self._postgresql else statement

    def _scrub(self) -> None:
        """SQLite overwrites what it deletes, but its log holds the pages as they were before: until
        it has been emptied, they can be read in the file. A later pass tries again what a reader
        holds up now, or a disk that has no room."""
        if self._postgresql or not self._unscrubbed:
            return
        with self._database.engine.connect() as connection:
            # While it waits for a reader no one can write.
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SCRUB_WAIT_MS}")
            try:
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
            except DBAPIError:
                busy = True
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._unscrubbed = bool(busy)


def _lives(row: Any) -> bool:
    return row is not None and row.expires_us > now_us()


def _packed(emotion: Emotion) -> bytes:
    scores = _SCORES.pack(*emotion.raw, emotion.valence, emotion.arousal, emotion.wonder)
    return scores + emotion.language.encode()


def _emotion(packed: bytes) -> Emotion:
    # Of all messages of a context at every write: what is done here is done a thousand times.
    joy, love, sadness, anger, fear, surprise, valence, arousal, wonder = _SCORES.unpack_from(packed)
    raw = (joy, love, sadness, anger, fear, surprise)
    return Emotion(raw, valence, arousal, wonder, str(packed[_SCORES.size :], "ascii"))


def _place(owner: Owner, context: str, seq: int) -> bytes:
    return place("emotion message", owner.org_id, context, str(seq))

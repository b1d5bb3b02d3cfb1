"""What an exchange keeps: the statements that write it, in the transaction of its row.

Both engines understand the SQL; parameters are marked ``?``. The content is encrypted when the
statement is run, in the ledger's thread. Whatever a statement does, doing it twice changes nothing
more, so that a commit of unknown outcome may be tried again.
"""

# ruff: noqa: S608 - the SQL is made of the schema's own names; every value is a parameter

from typing import Any

import msgspec

from triptych.storage.sealing import place, seal

IN_PROGRESS = "in_progress"
DELETED = "deleted"
"""Gone for everybody, its content too. While it runs (it has no end), its node is to stop it. Else its row
stays for a day, so that what was continuing it, and runs, finds what it continued."""
CONTINUABLE = ("completed", "incomplete")
"""A response that ended so can be continued, and is its conversation's newest."""

MAX_ID_CHARS = 256

_COLUMNS = (
    "exchange_id, org_id, user_id, environment, id, conversation_id, previous_id, created_us, ended_us, "
    "status, content"
)
# Only an exchange that this very end was written for: a fenced one keeps nothing.
_ENDED = "EXISTS (SELECT 1 FROM exchanges WHERE id = ? AND ended_us = ? AND ending = ?)"
# What it continues may have been deleted since it was read.
_PREVIOUS = (
    f"(SELECT CASE WHEN status = '{DELETED}' THEN previous_id ELSE exchange_id END "
    "FROM stored_responses WHERE exchange_id = ?)"
)
_BEGIN = (
    f"INSERT INTO stored_responses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, {_PREVIOUS}, ?, NULL, ?, ?) "
    "ON CONFLICT (exchange_id) DO NOTHING"
)
_PART = (
    "INSERT INTO stored_events (exchange_id, part, created_us, content) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (exchange_id, part) DO NOTHING"
)
_END = (
    f"INSERT INTO stored_responses ({_COLUMNS}) "
    f"SELECT ?, ?, ?, ?, ?, ?, {_PREVIOUS}, ?, ?, ?, ? WHERE {_ENDED} "
    "ON CONFLICT (exchange_id) DO UPDATE SET ended_us = excluded.ended_us, status = excluded.status, "
    f"content = excluded.content WHERE stored_responses.status = '{IN_PROGRESS}'"
)
# In the order in which they end: a conversation is a log, and two answers to it may overlap.
_APPEND = (
    "UPDATE stored_responses SET previous_id = COALESCE((SELECT last_id FROM stored_conversations "
    "WHERE org_id = ? AND id = ?), previous_id) WHERE exchange_id = ? AND ended_us = ? AND NOT EXISTS "
    "(SELECT 1 FROM stored_conversations WHERE org_id = ? AND id = ? AND last_id = ?)"
)
_NEWEST = (
    "INSERT INTO stored_conversations (org_id, id, user_id, environment, created_us, last_id) "
    "SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS "
    "(SELECT 1 FROM stored_responses WHERE exchange_id = ? AND ended_us = ? AND status = ?) "
    "ON CONFLICT (org_id, id) DO UPDATE SET last_id = excluded.last_id"
)
_FORGET_DELETED = (
    f"DELETE FROM stored_responses WHERE exchange_id = ? AND status = '{DELETED}' AND ended_us IS NULL"
)
_FORGET_EVENTS = (
    "DELETE FROM stored_events WHERE exchange_id = ? "
    "AND NOT EXISTS (SELECT 1 FROM stored_responses WHERE exchange_id = ?)"
)


class Write(msgspec.Struct, frozen=True):
    """One statement. Its last-but-``after`` parameter is sealed content, if ``plain`` is given."""

    statement: str
    values: tuple[Any, ...]
    plain: bytes | None = None
    place: int = 0
    """Index at which the content stands among the parameters."""
    key: bytes = b""
    belongs: bytes = b""

    def parameters(self) -> tuple[Any, ...]:
        """The values, with the content encrypted anew each time."""
        if self.plain is None:
            return self.values
        sealed = seal(self.key, self.plain, self.belongs)
        return (*self.values[: self.place], sealed, *self.values[self.place :])


Writes = tuple[Write, ...]


class Keeping(msgspec.Struct, frozen=True):
    """Facts of a response that is to be kept, known before the provider is called."""

    exchange_id: str
    org_id: str
    user_id: str
    environment: str
    key: bytes
    """The org's data key."""
    conversation_id: str
    previous_id: str | None
    """Exchange of the response that is continued."""
    appends: bool
    """The caller named the conversation: the response goes behind whatever is newest when it ends."""
    created_us: int


def content_place(org_id: str, exchange_id: str) -> bytes:
    return place("stored response", org_id, exchange_id)


def events_place(org_id: str, exchange_id: str, part: int) -> bytes:
    return place("stored events", org_id, exchange_id, str(part))


def begin(keeping: Keeping, response_id: str, content: bytes) -> Writes:
    """The response as it began, so that it can be found while it is made."""
    return (
        Write(
            _BEGIN,
            (
                keeping.exchange_id,
                keeping.org_id,
                keeping.user_id,
                keeping.environment,
                response_id,
                keeping.conversation_id,
                keeping.previous_id,
                keeping.created_us,
                IN_PROGRESS,
            ),
            content,
            9,
            keeping.key,
            content_place(keeping.org_id, keeping.exchange_id),
        ),
    )


def part(keeping: Keeping, number: int, events: bytes, created_us: int) -> Writes:
    """The next events of a stream; parts are numbered from 0."""
    return (
        Write(
            _PART,
            (keeping.exchange_id, number, created_us),
            events,
            3,
            keeping.key,
            events_place(keeping.org_id, keeping.exchange_id, number),
        ),
    )


def end(
    keeping: Keeping,
    response_id: str,
    status: str,
    content: bytes,
    *,
    ended_us: int,
    ending: str,
) -> Writes:
    """The whole response. ``ended_us`` and ``ending`` are those of the exchange's row."""
    exchange_id, org_id, conversation_id = keeping.exchange_id, keeping.org_id, keeping.conversation_id
    row = Write(
        _END,
        (
            exchange_id,
            org_id,
            keeping.user_id,
            keeping.environment,
            response_id,
            conversation_id,
            keeping.previous_id,
            keeping.created_us,
            ended_us,
            status,
            exchange_id,
            ended_us,
            ending,
        ),
        content,
        10,
        keeping.key,
        content_place(org_id, exchange_id),
    )
    writes = [row]
    if status in CONTINUABLE:
        if keeping.appends:
            conversation = (org_id, conversation_id)
            writes.append(Write(_APPEND, (*conversation, exchange_id, ended_us, *conversation, exchange_id)))
        writes.append(
            Write(
                _NEWEST,
                (
                    org_id,
                    conversation_id,
                    keeping.user_id,
                    keeping.environment,
                    ended_us,
                    exchange_id,
                    exchange_id,
                    ended_us,
                    status,
                ),
            )
        )
    return (*writes, *forget(exchange_id))


def forget(exchange_id: str) -> Writes:
    """Take away what was deleted while it ran, and events that belong to nothing."""
    return (
        Write(_FORGET_DELETED, (exchange_id,)),
        Write(_FORGET_EVENTS, (exchange_id, exchange_id)),
    )


def storable_id(text: object) -> str | None:
    """A response's id, if it is one that can be looked up."""
    if isinstance(text, str) and 0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable():
        return text
    return None

"""What the endpoints of the control plane share: envelope, pages, bodies, who acts."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from triptych.core.clock import MICROSECONDS_PER_S, rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.ids import is_ulid
from triptych.core.response import Response, json_response
from triptych.edge.decoding import inflate
from triptych.stages.settle import Dialect
from triptych.storage.admin_actions import API, Actor
from triptych.storage.errors import StorageError, reason
from triptych.surfaces.idempotent import uninterrupted
from triptych.surfaces.query import Query
from triptych.wires import faults
from triptych.wires.jsontext import members

logger = logging.getLogger("triptych.control")

SCOPE = "control:read"
DEFAULT_PAGE, LARGEST_PAGE = 50, 200
MAX_BODY_BYTES = 1 << 16
_SHOWN_NAME_CHARS = 64

T = TypeVar("T")


def answer(
    exchange: Exchange, dialect: Dialect, data: object, *, status: int = 200, **meta: object
) -> Response:
    body = {"success": True, "data": data, "meta": {**meta, "request_id": exchange.request_id}}
    return json_response(status, msgspec.json.encode(body), dialect.answer_headers(exchange))


def moment(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds // MICROSECONDS_PER_S)


def actor_of(exchange: Exchange) -> Actor:
    principal = exchange.principal
    return Actor(API, principal.user_id, principal.key_id, exchange.peer or None)


async def stored(work: Callable[[], T]) -> T:
    """Run what blocks in a thread, to its end also when the client leaves. Raises Failure
    SERVICE_UNAVAILABLE when the database does not answer, and the work's own."""
    try:
        found: T = await uninterrupted(asyncio.to_thread(work))
    except StorageError as error:
        raise Failure(
            FailureKind.SERVICE_UNAVAILABLE, "The gateway cannot reach its database right now."
        ) from error
    return found


def confirmed(confirm: Callable[[], object]) -> None:
    """Let this node know at once of a change that is committed; should that fail, its poll follows."""
    try:
        confirm()
    except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
        logger.warning("a change is committed but not known to this node yet: %s", reason(error))


class Page(msgspec.Struct, frozen=True):
    """Which part of a list, newest first, is asked for: at most ``limit``, of ids below ``before``.

    Ids sort by time of creation: what is added meanwhile is on no later page, and moves none."""

    before: str | None
    limit: int


def page_of(exchange: Exchange) -> Page:
    """Raises Failure INVALID_BODY: a cursor that is none, a limit out of bounds."""
    query = Query(exchange.query)
    cursor, limit = query.text("cursor"), query.number("limit", 1, LARGEST_PAGE)
    return Page(None if cursor is None else _position(cursor), limit or DEFAULT_PAGE)


def paged(
    exchange: Exchange, dialect: Dialect, page: Page, ids: Sequence[str], shown: Sequence[Mapping[str, Any]]
) -> Response:
    """``ids`` and what is shown of them: one more than the page holds where there are more."""
    more = len(ids) > page.limit
    cursor = _cursor(ids[page.limit - 1]) if more else None
    return answer(exchange, dialect, shown[: page.limit], next_cursor=cursor, has_more=more)


def _cursor(identity: str) -> str:
    return base64.urlsafe_b64encode(identity.encode()).decode().rstrip("=")


def _position(cursor: str) -> str:
    try:
        identity = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        identity = ""
    if not is_ulid(identity):
        raise faults.wrong("cursor", "is not one that this list gave as meta.next_cursor")
    return identity


def bare_id(parameter: bytes, prefix: str) -> str:
    """The id of a path, with or without its prefix. Raises Failure RESOURCE_NOT_FOUND."""
    identity = parameter.decode("ascii", "replace").removeprefix(prefix)
    if not is_ulid(identity):
        raise Failure(FailureKind.RESOURCE_NOT_FOUND)
    return identity


def fields_of(exchange: Exchange, *known: str, may_be_empty: bool = False) -> dict[str, msgspec.Raw]:
    """The members of a JSON body, by name. Raises Failure INVALID_BODY: not strict JSON, no object, a
    member that is not ``known``; PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE."""
    body = inflate(exchange.body, exchange.content_encoding, MAX_BODY_BYTES)
    exchange.body = b""
    if len(body) > MAX_BODY_BYTES:
        raise Failure(FailureKind.PAYLOAD_TOO_LARGE, details={"limit_bytes": MAX_BODY_BYTES})
    if may_be_empty and not body.strip():
        return {}
    members(body)
    fields = faults.fields(body) or {}
    for name in fields:
        if name not in known:
            shown = name[:_SHOWN_NAME_CHARS]
            raise faults.wrong(shown, f"is not known here; the fields are: {', '.join(known)}")
    return fields

"""GET /v1/ai/messages/{id}: the record of one exchange, by any of its three names."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from triptych.core.clock import MICROSECONDS_PER_S
from triptych.core.exchange import Exchange
from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.core.ids import is_ulid
from triptych.core.outcome import Ending
from triptych.core.response import Response, json_response
from triptych.core.usage import NANO_USD_PER_USD
from triptych.stages.settle import Dialect
from triptych.storage.chats import Chats, Record
from triptych.storage.errors import SpoiltContent, StorageError
from triptych.surfaces.clinical.failures import DOCS_HINT, ROWS

RECORDED = ("chat", "messages")
"""Endpoints whose exchanges have a message."""
_PREFIXES = ("msg_", "req_")
_STATUSES = {
    None: "started",
    Ending.COMPLETED: "completed",
    Ending.FAILED: "failed",
    Ending.CANCELLED: "cancelled",
    Ending.INTERRUPTED: "failed",
}
_MESSAGE_STATUSES = {"started": "in_progress", "completed": "completed"}
_ENDED_BY = {
    "completed": ("run.completed",),
    "failed": ("run.failed",),
    "cancelled": ("run.cancel_requested", "run.cancelled"),
}


class Records:
    def __init__(self, chats: Chats) -> None:
        self._chats = chats

    async def retrieve(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure RESOURCE_NOT_FOUND (another org's too), SERVICE_UNAVAILABLE."""
        ulid = _ulid(parameters[0].decode("utf-8", "replace"))
        record = None
        if ulid is not None:
            try:
                record = await asyncio.to_thread(self._chats.find, exchange.principal, ulid, RECORDED)
            except SpoiltContent:
                raise  # nothing that passes by itself
            except StorageError as error:
                raise Failure(FailureKind.SERVICE_UNAVAILABLE, "Records cannot be read right now.") from error
        if record is None:
            raise Failure(FailureKind.RESOURCE_NOT_FOUND, "No such message is recorded here.")
        body = {"success": True, "data": shown(record), "meta": {"request_id": exchange.request_id}}
        return json_response(200, msgspec.json.encode(body), dialect.answer_headers(exchange))


def shown(record: Record) -> dict[str, Any]:
    """The record as callers see it."""
    ulid, said = record.exchange_id, record.said
    status = _STATUSES[Ending(record.ending) if record.ending is not None else None]
    message = {
        "id": "msg_" + ulid,
        "role": "assistant",
        "status": _MESSAGE_STATUSES.get(status, "incomplete"),
        "content": None if said is None else said.output,
    }
    run: dict[str, Any] = {
        "id": "run_" + ulid,
        "object": "run",
        "status": status,
        "model": record.model,
        "created": record.started_us // MICROSECONDS_PER_S,
        "ended": None if record.ended_us is None else record.ended_us // MICROSECONDS_PER_S,
        "events": _events(record, status),
    }
    if status == "failed":
        run["error"] = _error(record)
    return {
        "message": message,
        "conversation_id": record.conversation_id,
        "request_id": "req_" + ulid,
        "stored": said is not None,
        "input": None if said is None else said.input,
        "run": run,
        "usage": {
            "model": record.model,
            "input_tokens": record.input_tokens,
            "output_tokens": record.output_tokens,
            "sonnet_equivalent_tokens": record.credits,
            "cost_usd": record.cost_nusd / NANO_USD_PER_USD,
        },
    }


def _events(record: Record, status: str) -> list[dict[str, Any]]:
    """What became of the run, in order."""
    started_s = record.started_us // MICROSECONDS_PER_S
    events = [{"type": "run.created", "created": started_s}, {"type": "run.started", "created": started_s}]
    if record.ended_us is not None:
        ended: Sequence[str] = _ENDED_BY[status]
        events += [{"type": type_, "created": record.ended_us // MICROSECONDS_PER_S} for type_ in ended]
    return events


def _error(record: Record) -> dict[str, Any]:
    kind = FailureKind(record.failure_kind or FailureKind.INTERRUPTED)
    row = ROWS[kind]
    return {
        "code": row.code,
        "type": row.type,
        "message": FACTS[kind].sentence,
        "retryable": FACTS[kind].retryable if row.retryable is None else row.retryable,
        "request_id": "req_" + record.exchange_id,
        "docs_hint": DOCS_HINT + kind.value,
    }


def _ulid(name: str) -> str | None:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return name if is_ulid(name) else None

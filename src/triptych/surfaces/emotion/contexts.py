"""GET and DELETE of /v2/emotions/{context_id}, GET of one of its messages."""

from typing import Any

import msgspec

from triptych.core.clock import MICROSECONDS_PER_S, rfc3339
from triptych.core.exchange import Exchange
from triptych.core.response import Response, json_response
from triptych.stages.settle import Dialect
from triptych.surfaces.emotion.analysis import Trajectory
from triptych.surfaces.emotion.body import check_context_id
from triptych.surfaces.emotion.keeping import ContextKeeping
from triptych.surfaces.lookup import LookUp
from triptych.wires.emotion_object import emotion_object

_STATE = "emotions.state"


class ContextEndpoints:
    """Everything raises Failure INVALID_CONTEXT_ID, CONTEXT_NOT_FOUND, SERVICE_UNAVAILABLE."""

    def __init__(self, keeping: ContextKeeping, trajectory: Trajectory) -> None:
        self._keeping = keeping
        self._trajectory = trajectory

    async def state(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        context_id = _context_id(parameters)
        context = await self._keeping.find(exchange.principal, context_id)
        emotions = {} if context.state is None else {"system": emotion_object(context.state)}
        answer = {
            "object": _STATE,
            "metadata": {
                "context_id": context_id.decode(),
                "created_at": rfc3339(context.created_us // MICROSECONDS_PER_S),
                "expires_at": rfc3339(context.expires_us // MICROSECONDS_PER_S),
                "message_count": context.message_count,
            },
            "emotions": emotions,
            "trajectory": self._trajectory(context.user_messages),
        }
        return _told(answer, exchange, dialect)

    async def message(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Also raises MESSAGE_NOT_FOUND."""
        context_id = _context_id(parameters)
        external_id = parameters[1]
        found = await self._keeping.message(exchange.principal, context_id, external_id)
        answer = {
            "object": _STATE,
            "metadata": {"context_id": context_id.decode(), "message_id": external_id.decode()},
            "emotions": {found.role: emotion_object(found.emotion, found.text)},
        }
        return _told(answer, exchange, dialect)

    async def delete(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        await self._keeping.delete(exchange.principal, _context_id(parameters))
        return Response(204, dialect.answer_headers(exchange), b"")


def refuse_reserved(word: bytes) -> LookUp:
    """Of a context that is called like a word of the paths themselves."""

    async def refuse(exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        check_context_id(word)
        raise AssertionError(word)

    return refuse


def _context_id(parameters: tuple[bytes, ...]) -> bytes:
    check_context_id(parameters[0])
    return parameters[0]


def _told(answer: dict[str, Any], exchange: Exchange, dialect: Dialect) -> Response:
    return json_response(200, msgspec.json.encode(answer), dialect.answer_headers(exchange))

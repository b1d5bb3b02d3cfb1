"""GET and DELETE /v1/responses/{id}: a stored response, whole or as the stream it was.

https://platform.openai.com/docs/api-reference/responses/get and .../delete
"""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import msgspec

from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.response import Response, json_response
from triptych.stages.settle import Dialect
from triptych.storage.errors import StorageError
from triptych.storage.responses import EVENTS_KEPT_US, Forbidden, StoredResponse, StoredResponses
from triptych.surfaces.inference.failures import STREAM_ERROR, chat_stream_error
from triptych.surfaces.inference.keeping import forbidden, unreadable
from triptych.surfaces.inference.openai import ChatDialect
from triptych.surfaces.inference.runs import Runs
from triptych.surfaces.query import Query
from triptych.wires.openai_responses.failed import as_failed, failed_frames
from triptych.wires.openai_responses.recording import Replay

POLL_S = 0.15
"""How often a resumed stream looks for what was written down since."""
QUIET_S = 15.0
"""After so long without an event a comment is sent: proxies cut silent connections."""
_COMMENT = b": the response is still being made\n\n"
_HIGHEST_NUMBER = 2**63 - 1
_INTERRUPTED = FACTS[FailureKind.UPSTREAM_INTERRUPTED].sentence


class StoredDialect(ChatDialect):
    """A stream that is read again may break; the response it tells of does not fail by that."""

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return chat_stream_error(failure).removesuffix(b"data: [DONE]\n\n")


def text_of(parameter: bytes) -> str:
    return parameter.decode("utf-8", "replace")


class StoredResponsesEndpoints:
    def __init__(self, stored: StoredResponses, runs: Runs) -> None:
        self._stored = stored
        self._runs = runs

    async def retrieve(
        self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect
    ) -> Response | AsyncIterator[bytes]:
        """Raises Failure RESOURCE_NOT_FOUND, RESOURCE_FORBIDDEN, INVALID_BODY (query)."""
        query = Query(exchange.query)
        streamed = query.truth("stream")
        after = query.number("starting_after", 0, _HIGHEST_NUMBER)
        if after is not None and not streamed:
            raise Failure(
                FailureKind.INVALID_BODY, "starting_after is of streams only", param="starting_after"
            )
        found = await self._find(exchange.principal, text_of(parameters[0]))
        if streamed:
            return await self._resume(exchange.principal, found, -1 if after is None else after)
        body = bytes(found.content.response)
        if found.status == "failed" and found.ended_us is None:
            body = as_failed(body, _INTERRUPTED)
        return json_response(200, body, dialect.answer_headers(exchange))

    async def delete(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Deletes it, and stops it if it is still being made. Raises Failure as ``retrieve`` does."""
        response_id = text_of(parameters[0])
        try:
            deleted = await asyncio.to_thread(self._stored.delete, exchange.principal, response_id)
        except Forbidden:
            raise forbidden("response") from None
        except StorageError as error:
            raise unreadable() from error
        if not deleted:
            raise _not_found()
        for exchange_id in deleted:
            self._runs.stop(exchange_id)
        body = msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})
        return json_response(200, body, dialect.answer_headers(exchange))

    async def _find(self, principal: Principal, response_id: str) -> StoredResponse:
        try:
            found = await asyncio.to_thread(self._stored.find, principal, response_id)
        except Forbidden:
            raise forbidden("response") from None
        except StorageError as error:
            raise unreadable() from error
        if found is None:
            raise _not_found()
        return found

    async def _resume(self, principal: Principal, found: StoredResponse, after: int) -> AsyncIterator[bytes]:
        """The stream from the event behind ``after`` on. Raises Failure RESOURCE_NOT_FOUND: there are
        no events (any more)."""
        parts, over = await self._parts(principal, found, 0)
        past = found.ended_us is not None and found.ended_us < now_us() - EVENTS_KEPT_US
        if past or (over and not parts):
            raise Failure(
                FailureKind.RESOURCE_NOT_FOUND,
                "No events of this response are kept: it was not streamed, or ended more than an hour ago. "
                "Leave stream out to get it whole.",
                param="stream",
            )
        return self._replay(principal, found, after, parts, over)

    async def _replay(
        self, principal: Principal, found: StoredResponse, after: int, parts: list[bytes], over: bool
    ) -> AsyncIterator[bytes]:
        replay = Replay(after)
        taken = 0
        spoken_s = monotonic()
        while True:
            taken += len(parts)
            events = replay.feed(b"".join(parts))
            if events:
                spoken_s = monotonic()
                yield events
            if over:
                break
            if monotonic() - spoken_s > QUIET_S:
                spoken_s = monotonic()
                yield _COMMENT
            await asyncio.sleep(POLL_S)
            parts, over = await self._parts(principal, found, taken)
        if not replay.ended:
            # Its node died, or it was deleted: a stream never ends in silence.
            telling = b'{"response":%b}' % bytes(found.content.response)
            yield failed_frames(telling, replay.last, 0, _INTERRUPTED, STREAM_ERROR)

    async def _parts(
        self, principal: Principal, found: StoredResponse, first: int
    ) -> tuple[list[bytes], bool]:
        try:
            return await asyncio.to_thread(self._stored.events, principal, found.exchange_id, first)
        except StorageError as error:
            raise unreadable() from error


def _not_found() -> Failure:
    return Failure(FailureKind.RESOURCE_NOT_FOUND, "No such response is stored here.")

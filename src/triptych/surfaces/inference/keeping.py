"""Responses that are kept: what was said before comes in, what is answered is written down.

Keeping stands on the caller's side of the exchange: what is stored is what he saw, whatever wire
the provider speaks. A kept response does not need its caller: when he leaves, it is finished
without him (``runs.py``), and its events are written down as they come.
"""

import asyncio
from typing import Protocol

import msgspec

from triptych.core.call import Headers
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.ids import new_ulid
from triptych.core.outcome import Ending, Outcome
from triptych.core.response import Response
from triptych.stages.settle import Reply
from triptych.storage import kept
from triptych.storage.errors import StorageError
from triptych.storage.kept import Keeping, Writes, storable_id
from triptych.storage.responses import Content, Forbidden, StoredResponses, Turn
from triptych.storage.sealing import OrgKeys
from triptych.surfaces.placeholders import newest_first
from triptych.wires.openai_responses.expansion import (
    answered_items,
    asked_items,
    call_ids,
    expanded,
    repeated,
)
from triptych.wires.openai_responses.recording import Recording
from triptych.wires.openai_responses.request import ResponsesRequest

FLUSH_S = 0.1
"""How long events wait to be written down together."""
_FLUSH_BYTES = 256 << 10


class ContentLedger(Protocol):
    def keep(self, exchange_id: str, kept: Writes) -> asyncio.Future[None]: ...


def unreadable() -> Failure:
    return Failure(FailureKind.SERVICE_UNAVAILABLE, "Stored responses cannot be read right now.")


def forbidden(what: str, param: str | None = None) -> Failure:
    return Failure(FailureKind.RESOURCE_FORBIDDEN, f"The {what} belongs to another user.", param=param)


class Memory:
    """What a request with state is made of, and what becomes of its answer."""

    def __init__(
        self, stored: StoredResponses, keys: OrgKeys, ledger: ContentLedger, max_body_bytes: int
    ) -> None:
        self._stored = stored
        self._keys = keys
        self._ledger = ledger
        self._max_body_bytes = max_body_bytes

    async def recall(self, exchange: Exchange, asked: ResponsesRequest) -> ResponsesRequest:
        """The request as a provider must see it; sets ``exchange.keeper`` when it asks to be kept.

        Raises Failure PREVIOUS_RESPONSE_NOT_FOUND, RESOURCE_NOT_FOUND (conversation),
        RESOURCE_FORBIDDEN, INVALID_BODY (too large with all that was said), SERVICE_UNAVAILABLE.
        """
        try:
            request, keeping = await asyncio.to_thread(self._recall, exchange, asked)
        except StorageError as error:
            raise unreadable() from error
        if keeping is not None:
            exchange.keeper = Keeper(exchange, asked, keeping, self._ledger)
        return request

    def _recall(self, exchange: Exchange, asked: ResponsesRequest) -> tuple[ResponsesRequest, Keeping | None]:
        turns, conversation_id = self._before(exchange, asked)
        exchange.placeholders = newest_first(turn.content.placeholders for turn in reversed(turns))
        items = (item for turn in turns for item in turn_items(turn))
        newest = turn_items(turns[-1]) if turns else ()
        open_calls = call_ids((*newest, *asked_items(asked)))
        request = expanded(asked, repeated(items, open_calls))
        if len(request.body) > self._max_body_bytes:
            raise Failure(
                FailureKind.INVALID_BODY,
                f"The request with all that was said before it is larger than {self._max_body_bytes} bytes.",
                param="input",
            )
        if not asked.store:
            return request, None
        principal = exchange.principal
        return request, Keeping(
            exchange_id=exchange.id,
            org_id=principal.org_id,
            user_id=principal.user_id,
            environment=principal.environment,
            key=self._keys.key(principal.org_id),
            conversation_id=conversation_id or "conv_" + new_ulid(),
            previous_id=turns[-1].exchange_id if turns else None,
            appends=asked.conversation is not None,
            created_us=exchange.started_us,
        )

    def _before(self, exchange: Exchange, asked: ResponsesRequest) -> tuple[list[Turn], str | None]:
        """The turns before this one, and the conversation it belongs to, if there is one."""
        if asked.previous_response_id is not None:
            return self._before_response(exchange, asked.previous_response_id)
        if asked.conversation is None:
            return [], None
        try:
            turns = self._stored.conversation(exchange.principal, asked.conversation)
        except Forbidden:
            raise forbidden("conversation", "conversation") from None
        if turns is None:
            raise Failure(
                FailureKind.RESOURCE_NOT_FOUND, "No such conversation is stored here.", param="conversation"
            )
        return turns, asked.conversation

    def _before_response(self, exchange: Exchange, response_id: str) -> tuple[list[Turn], str | None]:
        param = "previous_response_id"
        try:
            found = self._stored.find(exchange.principal, response_id)
        except Forbidden:
            raise forbidden("previous response", param) from None
        if found is None or not found.continuable:
            sentence = (
                "No response with the previous_response_id is stored here."
                if found is None
                else "The response with the previous_response_id has not ended, or failed."
            )
            raise Failure(FailureKind.PREVIOUS_RESPONSE_NOT_FOUND, sentence, param=param)
        turns = self._stored.chain(exchange.principal, found.exchange_id)
        # What goes on from the middle of a conversation is a branch: it gets one of its own.
        return turns, found.conversation_id if found.newest else None


def turn_items(turn: Turn) -> list[msgspec.Raw]:
    """What was asked, then what was answered."""
    return [*turn.content.input, *answered_items(turn.content.response)]


class Keeper:
    """Writes one response down while its caller is told of it. Implements ``core.exchange.Keeper``."""

    def __init__(
        self, exchange: Exchange, asked: ResponsesRequest, keeping: Keeping, ledger: ContentLedger
    ) -> None:
        self._exchange = exchange
        self._asked = asked
        self._keeping = keeping
        self._ledger = ledger
        self._recording = Recording(keeping.conversation_id, asked.previous_response_id)
        self._held = b""
        """Told to the caller as soon as ``_ready``."""
        self._ready: asyncio.Future[None] | None = None
        """Set with the first event; resolves when the response can be found."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._part = 0
        self._under_way: bytes | None = None
        """The part that is being written down: number ``_part``."""
        self._timer: asyncio.TimerHandle | None = None

    def stream(self, piece: bytes, reply: Reply) -> "asyncio.Future[None] | None":
        """Tell the caller of whole events, and note them. The first ones wait until the response can
        be found. Raises Failure UPSTREAM_INVALID_RESPONSE for a response without a usable id."""
        told = self._recording.events(piece)
        if self._ready is not None and not self._ready.done():
            self._held += told
            self._note(told)
            return self._ready
        if self._ready is not None:
            self._note(told)
            return reply.write(told)
        self._held += told
        if b"data" not in told:
            return None  # comments: they go with the first event
        response_id = self._response_id()
        self._note(self._held)
        content = self._content(self._recording.response)
        begun = self._ledger.keep(self._keeping.exchange_id, kept.begin(self._keeping, response_id, content))
        self._ready = begun.get_loop().create_future()
        begun.add_done_callback(lambda done: self._begin(done, reply))
        return self._ready

    def _begin(self, begun: "asyncio.Future[None]", reply: Reply) -> None:
        """Send what waited for the response to be found, and let the rest follow."""
        ready = self._ready
        assert ready is not None
        failed = begun.cancelled() or begun.exception() is not None
        if ready.done():
            return  # the exchange was cancelled meanwhile
        if failed:
            ready.set_exception(
                Failure(FailureKind.SERVICE_UNAVAILABLE, "The response cannot be stored right now.")
            )
            return
        held, self._held = self._held, b""
        blocked = reply.write(held)
        if blocked is None:
            ready.set_result(None)
        else:
            blocked.add_done_callback(lambda _: None if ready.done() else ready.set_result(None))

    def conclude(self, answer: Response | None, last_piece: bytes) -> tuple[Response | None, bytes]:
        """What the caller gets last, told where it is kept. Raises Failure as ``stream`` does."""
        exchange = self._exchange
        if answer is not None:
            if exchange.failure_kind is None and exchange.ending is Ending.COMPLETED:
                answer = Response(answer.status, answer.headers, self._recording.plain(answer.body))
                self._response_id()
            return answer, last_piece
        last_piece = self._held + self._recording.events(last_piece)
        if last_piece:
            self._note(last_piece)
        return answer, last_piece

    def writes(self, outcome: Outcome, ended_us: int) -> Writes:
        """What is written in the transaction of the end row."""
        if self._timer is not None:
            self._timer.cancel()
        keeping, recording = self._keeping, self._recording
        response_id = storable_id(recording.id)
        if self._exchange.stopped is not None or response_id is None or not recording.response:
            return kept.forget(keeping.exchange_id)
        writes: Writes = ()
        if self._exchange.stream:
            number = self._part
            if self._under_way is not None:
                writes += kept.part(keeping, number, self._under_way, ended_us)
                number += 1
            writes += kept.part(keeping, number, b"".join(self._waiting), ended_us)
        return writes + kept.end(
            keeping,
            response_id,
            recording.ended,
            self._content(recording.kept()),
            ended_us=ended_us,
            ending=outcome.ending.value,
        )

    def _response_id(self) -> str:
        response_id = storable_id(self._recording.id)
        if response_id is None:
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "upstream gave the response no id under which it could be stored",
            )
        return response_id

    def _content(self, response: bytes) -> bytes:
        placeholders = self._exchange.placeholders
        return msgspec.json.encode(Content(msgspec.Raw(response), asked_items(self._asked), placeholders))

    def _note(self, events: bytes) -> None:
        self._waiting.append(events)
        self._waiting_bytes += len(events)
        if self._waiting_bytes >= _FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        """Write down what waits. One part at a time: what could not be written is tried again with
        what came since, so that there is never a gap."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way is not None or not self._waiting:
            return
        self._under_way = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        writes = kept.part(self._keeping, self._part, self._under_way, now_us())
        self._ledger.keep(self._keeping.exchange_id, writes).add_done_callback(self._flushed)

    def _flushed(self, done: "asyncio.Future[None]") -> None:
        if done.cancelled() or done.exception() is not None:
            assert self._under_way is not None
            self._waiting.insert(0, self._under_way)
            self._waiting_bytes += len(self._under_way)
        else:
            self._part += 1
        self._under_way = None
        if self._waiting and self._timer is None:
            self._timer = done.get_loop().call_later(FLUSH_S, self._flush)


class KeptReply:
    """The reply of an exchange that may be kept: its caller may leave, and it goes on."""

    def __init__(self, reply: Reply, exchange: Exchange) -> None:
        self._reply = reply
        self._exchange = exchange

    @property
    def goes_on(self) -> bool:
        """Whether it is finished without its caller."""
        return self._exchange.keeper is not None and self._exchange.opened

    @property
    def caller_left(self) -> bool:
        return self._reply.disconnected

    @property
    def started(self) -> bool:
        return self._reply.started

    @property
    def bytes_out(self) -> int:
        return self._reply.bytes_out

    @property
    def disconnected(self) -> bool:
        return self._reply.disconnected and not self.goes_on

    def respond(self, response: Response) -> None:
        self._reply.respond(response)

    def start(self, status: int, headers: Headers) -> None:
        self._reply.start(status, headers)

    def write(self, piece: bytes) -> "asyncio.Future[None] | None":
        keeper = self._exchange.keeper
        return self._reply.write(piece) if keeper is None else keeper.stream(piece, self._reply)

    def finish(self, piece: bytes = b"") -> None:
        self._reply.finish(piece)

    def abort(self) -> None:
        self._reply.abort()

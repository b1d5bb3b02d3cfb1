"""POST /v1/ai/chat: native chat, plain or streamed, in conversations."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.hold import DEFAULT_OUTPUT_TOKENS
from triptych.core.ids import UlidSource
from triptych.core.principal import Principal
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.pipeline import Carriage, Pipeline
from triptych.stages.authorize import may_use
from triptych.stages.departure import AnswerReader, StreamMeter
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.storage.chats import Chats, Keeping, Said
from triptych.storage.errors import SpoiltContent, StorageError
from triptych.storage.sealing import OrgKeys
from triptych.surfaces.clinical.dialects import NativeDialect
from triptych.surfaces.clinical.failures import native_body, told
from triptych.surfaces.clinical.meta import phi_meta, usage_meta
from triptych.surfaces.clinical.run import ChatReply, Run
from triptych.surfaces.governed import SCOPE, taken
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.messages import CreateMessage
from triptych.surfaces.placeholders import newest_first
from triptych.wires import anthropic_messages as messages_wire
from triptych.wires import native
from triptych.wires.jsontext import Members, members
from triptych.wires.splice import Edit, splice

SURFACE = "clinical"
ENDPOINT = "chat"


class ChatDialect(NativeDialect):
    """Also inside a stream: a run that was created fails as a run."""

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        run = exchange.announcer
        assert isinstance(run, Run)
        assert run.events is not None
        exchange.status = 200
        error = native_body(told(failure, exchange), exchange.request_id)
        return run.events.failed(error) if exchange.recordable else run.events.error(error)


class ChatRequest(messages_wire.MessagesRequest, frozen=True):
    """A chat as a request of the Messages wire, which its provider is asked with."""


class CreateChat(CreateMessage):
    """One turn. It is governed, guarded and translated as a request of the Messages wire."""

    relays_query = False

    def __init__(
        self, max_body_bytes: int, resolve: Resolve, route: RouteCall, chats: Chats, keys: OrgKeys
    ) -> None:
        super().__init__(max_body_bytes)
        self._resolve = resolve
        self._route = route
        self._chats = chats
        self._keys = keys
        self.recall = self._recall

    def parse(self, exchange: Exchange) -> ChatRequest:
        run = exchange.announcer
        assert isinstance(run, Run)
        run.asked = asked = native.parse_request(self.body(exchange))
        return _chat_request(asked, asked.model or self._default_model(exchange.principal), ())

    def _default_model(self, principal: Principal) -> str:
        moment_us = now_us()
        for model in self._resolve.offered(principal, moment_us):
            if may_use(principal, model) and self._route.covers(principal, model, moment_us):
                return model.id
        raise Failure(FailureKind.INVALID_BODY, "model is required: none is configured.", param="model")

    async def _recall(self, exchange: Exchange, parsed: ChatRequest) -> ChatRequest:
        """Puts the conversation in front, and makes ready for what is to be kept.

        Raises Failure RESOURCE_NOT_FOUND, INVALID_BODY (too large with all that was said before),
        SERVICE_UNAVAILABLE.
        """
        run = exchange.announcer
        assert isinstance(run, Run)
        asked = run.asked
        assert asked is not None
        earlier: list[bytes] = []
        principal = exchange.principal
        key = self._keys.known(principal.org_id)
        try:
            if asked.conversation_id is not None:
                turns = await asyncio.to_thread(self._turns, principal, asked.conversation_id)
                earlier = [message for turn in turns for message in turn.messages()]
                exchange.placeholders = newest_first(turn.placeholders for turn in reversed(turns))
            if asked.store and key is None:
                key = await asyncio.to_thread(self._keys.key, principal.org_id)
        except SpoiltContent:
            raise  # nothing that passes by itself
        except StorageError as error:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE, "Stored conversations cannot be read right now."
            ) from error
        exchange.named = lambda path: native.own_name(asked, len(earlier), path)
        run.conversation_id = asked.conversation_id or ("conv_" + exchange.id if asked.store else None)
        if asked.store and key is not None and run.conversation_id is not None:
            run.keep(
                Keeping(
                    exchange_id=exchange.id,
                    org_id=principal.org_id,
                    environment=principal.environment,
                    conversation_id=run.conversation_id,
                    created_us=exchange.started_us,
                    key=key,
                )
            )
        if not earlier:
            return parsed
        request = _chat_request(asked, parsed.model, earlier)
        if len(request.body) > self._max_body_bytes:
            raise Failure(
                FailureKind.INVALID_BODY,
                f"The conversation with this request is larger than {self._max_body_bytes} bytes. "
                "Begin a new one.",
                param="conversation_id",
            )
        return request

    def _turns(self, principal: Principal, conversation_id: str) -> list[Said]:
        turns = self._chats.conversation(principal, conversation_id)
        if turns is None:
            raise Failure(
                FailureKind.RESOURCE_NOT_FOUND,
                "No such conversation is stored here.",
                param="conversation_id",
            )
        return turns

    def carry(
        self, exchange: Exchange, parsed: messages_wire.MessagesRequest, wires: frozenset[str]
    ) -> Carriage | Response:
        """The provider's answer is read on the Messages wire, and told as a run."""
        assert exchange.model is not None
        asked = parsed
        if parsed.max_tokens is None:
            # The default is the model's own, and it is known only now.
            most = exchange.model.max_output_tokens or DEFAULT_OUTPUT_TOKENS
            body = splice(parsed.body, [Edit(1, 1, b'"max_tokens":%d,' % most)])
            asked = msgspec.structs.replace(parsed, max_tokens=most, body=body, members=members(body))
        carriage = super().carry(exchange, asked, wires)
        assert isinstance(carriage, Carriage)
        run = exchange.announcer
        assert isinstance(run, Run)
        reader = carriage.reader if exchange.restore is None else exchange.restore(carriage.reader)
        return msgspec.structs.replace(carriage, reader=NativeReader(exchange, run, reader), restores=True)


class NativeReader:
    """Reads a provider's answer for a run. Implements ``AnswerReader``."""

    def __init__(self, exchange: Exchange, run: Run, reader: AnswerReader) -> None:
        """``reader``: of the provider's answers; what it gives is on the Messages wire."""
        self._exchange = exchange
        self._run = run
        self._reader = reader

    def stream_meter(self, parsed: Any, request_bytes: int) -> StreamMeter:
        run = self._run
        assert run.events is not None
        run.events.begin_answer()
        inner = self._reader.stream_meter(parsed, request_bytes)
        return native.NativeStream(inner, run.events.encode, run.complete)

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        exchange, run = self._exchange, self._run
        written, usage = self._reader.read_answer(parsed, body, request_bytes)
        meta: dict[str, Any] = {
            "request_id": exchange.request_id,
            "usage": usage_meta(exchange, usage),
        }
        phi = phi_meta(exchange)
        if phi is not None:
            meta["phi"] = phi
        answer, run.content = native.encode_answer(
            messages_wire.decode_answer(written),
            message_id="msg_" + exchange.id,
            conversation_id=run.conversation_id,
            meta=meta,
        )
        return answer, usage


def serve_chat(
    operation: CreateChat, pipeline: Pipeline, idempotency: Idempotency
) -> Callable[[Request, Reply], Awaitable[None]]:
    """The endpoint of chat."""
    dialect = ChatDialect()
    new_id = UlidSource().new

    async def endpoint(request: Request, reply: Reply) -> None:
        exchange = taken(request, SURFACE, ENDPOINT)
        chat_reply = ChatReply(reply)
        run = exchange.announcer = Run(exchange, chat_reply, new_id)

        def govern(exchange: Exchange) -> Awaitable[None]:
            return pipeline.govern(exchange, operation, dialect, chat_reply)

        try:
            if idempotency.named(request):
                await idempotency.govern(request, exchange, SCOPE, dialect, chat_reply, govern)
            else:
                await govern(exchange)
        finally:
            run.close()

    return endpoint


def _chat_request(asked: native.NativeRequest, model: str, earlier: Any) -> ChatRequest:
    body = native.messages_body(asked, model, earlier)
    found: Members = members(body)
    return ChatRequest(model, asked.stream, asked.max_tokens, None, found, body)

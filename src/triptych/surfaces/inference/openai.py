"""POST /v1/chat/completions and /v1/responses: OpenAI's wires."""

from typing import Any

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.surfaces.governed import Operation, identity, token_window
from triptych.surfaces.inference.failures import (
    STREAM_ERROR,
    chat_stream_error,
    interruption,
    openai_error,
    openai_provider_error,
)
from triptych.surfaces.inference.keeping import Memory
from triptych.wires import openai_chat as chat_wire
from triptych.wires import openai_responses as responses_wire


class ChatDialect:
    """Refusals, stream errors and headers in OpenAI's form."""

    verbatim = True

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = openai_error(failure, exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return chat_stream_error(failure)

    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        return openai_provider_error(status, message)

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        headers = identity(exchange)
        admission = exchange.admission
        if admission is not None and admission.limit is not None:
            headers += (
                (b"x-ratelimit-limit-requests", b"%d" % admission.limit),
                (b"x-ratelimit-remaining-requests", b"%d" % admission.remaining),
                (b"x-ratelimit-reset-requests", duration(admission.reset_ms)),
            )
        tokens = token_window(exchange)
        if tokens is not None:
            headers += (
                (b"x-ratelimit-limit-tokens", b"%d" % tokens.limit),
                (b"x-ratelimit-remaining-tokens", b"%d" % tokens.remaining),
                (b"x-ratelimit-reset-tokens", duration(tokens.reset_ms)),
            )
        return headers


class ResponsesDialect(ChatDialect):
    """A broken stream also ends the response it told of."""

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        meter: Any = exchange.meter
        frames: bytes = meter.failed_frames(interruption(failure), STREAM_ERROR)
        return frames


class CreateChatCompletion(Operation):
    """One completion: plain or streamed."""

    wire = "openai-chat"
    path = "/v1/chat/completions"

    def parse(self, exchange: Exchange) -> chat_wire.ChatRequest:
        return chat_wire.parse_request(self.body(exchange))

    reading = parse, chat_wire.parse_request

    def with_body(self, parsed: chat_wire.ChatRequest, body: bytes) -> chat_wire.ChatRequest:
        return chat_wire.with_body(parsed, body)

    def rewrite(self, parsed: chat_wire.ChatRequest, upstream_model: str) -> bytes:
        return chat_wire.rewrite_request(parsed, upstream_model)

    def stream_meter(self, parsed: chat_wire.ChatRequest, request_bytes: int) -> chat_wire.ChatStream:
        return chat_wire.ChatStream(include_usage=parsed.include_usage, request_bytes=request_bytes)

    def read_answer(
        self, parsed: chat_wire.ChatRequest, body: bytes, request_bytes: int
    ) -> tuple[bytes, Usage]:
        return body, chat_wire.read_answer(body, request_bytes=request_bytes)


class CreateResponse(Operation):
    """One response: plain or streamed, stored when asked for."""

    wire = "openai-responses"
    path = "/v1/responses"

    def __init__(self, max_body_bytes: int, memory: Memory) -> None:
        super().__init__(max_body_bytes)
        self._memory = memory
        self.recall = self._recall

    def parse(self, exchange: Exchange) -> responses_wire.ResponsesRequest:
        return responses_wire.parse_request(self.body(exchange))

    reading = parse, responses_wire.parse_request

    def recalls(self, parsed: responses_wire.ResponsesRequest) -> bool:
        return not parsed.stateless

    async def _recall(
        self, exchange: Exchange, parsed: responses_wire.ResponsesRequest
    ) -> responses_wire.ResponsesRequest:
        return parsed if parsed.stateless else await self._memory.recall(exchange, parsed)

    def rewrite(self, parsed: responses_wire.ResponsesRequest, upstream_model: str) -> bytes:
        return responses_wire.rewrite_request(parsed, upstream_model)

    def stream_meter(
        self, parsed: responses_wire.ResponsesRequest, request_bytes: int
    ) -> responses_wire.ResponsesStream:
        return responses_wire.ResponsesStream(request_bytes=request_bytes)

    def read_answer(
        self, parsed: responses_wire.ResponsesRequest, body: bytes, request_bytes: int
    ) -> tuple[bytes, Usage]:
        return body, responses_wire.read_answer(body, request_bytes=request_bytes)


def duration(milliseconds: int) -> bytes:
    """A time as OpenAI's limit headers spell it: ``250ms``, ``6s``, ``1m30s``, ``2h0m5s``."""
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    seconds = -(-milliseconds // 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, seconds)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds

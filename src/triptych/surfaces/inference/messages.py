"""POST /v1/messages and /v1/messages/count_tokens: the Anthropic Messages wire."""

import time
from functools import partial

import msgspec

from triptych.core.clock import rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.response import Response, json_response
from triptych.core.usage import NO_USAGE, Usage
from triptych.pipeline import Carriage
from triptych.surfaces.governed import Operation, identity, token_window
from triptych.surfaces.inference.failures import (
    messages_error,
    messages_provider_error,
    messages_stream_error,
)
from triptych.wires import anthropic_messages as messages_wire
from triptych.wires.token_estimate import estimate_input_tokens


class MessagesDialect:
    """Refusals, stream errors and headers in Anthropic's form."""

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = messages_error(failure, exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return messages_stream_error(failure)

    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        return messages_provider_error(status, message, exchange.request_id)

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        headers = identity(exchange)
        admission = exchange.admission
        if admission is not None and admission.limit is not None:
            reset = rfc3339(int(time.time() + admission.reset_ms / 1000))
            headers += (
                (b"anthropic-ratelimit-requests-limit", b"%d" % admission.limit),
                (b"anthropic-ratelimit-requests-remaining", b"%d" % admission.remaining),
                (b"anthropic-ratelimit-requests-reset", reset.encode()),
            )
        tokens = token_window(exchange)
        if tokens is not None:
            reset = rfc3339(int(time.time() + tokens.reset_ms / 1000))
            headers += (
                (b"anthropic-ratelimit-tokens-limit", b"%d" % tokens.limit),
                (b"anthropic-ratelimit-tokens-remaining", b"%d" % tokens.remaining),
                (b"anthropic-ratelimit-tokens-reset", reset.encode()),
            )
        return headers


class CreateMessage(Operation):
    """One message: plain or streamed."""

    wire = "anthropic-messages"
    path = "/v1/messages"
    counting = False

    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        return messages_wire.parse_request(self.body(exchange), counting=self.counting)

    reading = parse, partial(messages_wire.parse_request, counting=False)

    def rewrite(self, parsed: messages_wire.MessagesRequest, upstream_model: str) -> bytes:
        return messages_wire.rewrite_request(parsed, upstream_model)

    def stream_meter(
        self, parsed: messages_wire.MessagesRequest, request_bytes: int
    ) -> messages_wire.MessagesStream:
        return messages_wire.MessagesStream(request_bytes=request_bytes)

    def read_answer(
        self, parsed: messages_wire.MessagesRequest, body: bytes, request_bytes: int
    ) -> tuple[bytes, Usage]:
        return body, messages_wire.read_answer(body, request_bytes=request_bytes)


class CountTokens(CreateMessage):
    """The size of a message that is not sent: a request, but no money."""

    path = "/v1/messages/count_tokens"
    counting = True
    billed = False

    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        """A count is never streamed, whatever the body says of ``stream``."""
        parsed = super().parse(exchange)
        return msgspec.structs.replace(parsed, stream=False) if parsed.stream else parsed

    def carry(
        self, exchange: Exchange, parsed: messages_wire.MessagesRequest, wires: frozenset[str]
    ) -> Carriage | Response:
        """Providers of other wires do not count: then the answer is an estimate of ours, and says so."""
        if self.wire in wires:
            return super().carry(exchange, parsed, wires)
        tokens = estimate_input_tokens(messages_wire.decode_request(parsed.body))
        headers = (*MessagesDialect().answer_headers(exchange), (b"x-triptych-estimate", b"input_tokens"))
        return json_response(200, b'{"input_tokens":%d}' % tokens, headers)

    def read_answer(
        self, parsed: messages_wire.MessagesRequest, body: bytes, request_bytes: int
    ) -> tuple[bytes, Usage]:
        messages_wire.read_answer(body)
        return body, NO_USAGE

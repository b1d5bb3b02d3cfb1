"""POST /v1/messages and /v1/messages/count_tokens: the Anthropic Messages wire, on any surface."""

from functools import partial

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.response import Response, json_response
from triptych.core.usage import NO_USAGE, Usage
from triptych.pipeline import Carriage
from triptych.stages.settle import Dialect
from triptych.surfaces.governed import Operation
from triptych.wires import anthropic_messages as messages_wire
from triptych.wires.anthropic_messages.threads import thread_refusal, threaded
from triptych.wires.token_estimate import estimate_input_tokens


class CreateMessage(Operation):
    """One message: plain or streamed."""

    wire = "anthropic-messages"
    path = "/v1/messages"
    counting = False

    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        return messages_wire.parse_request(self.body(exchange), counting=self.counting)

    reading = parse, partial(messages_wire.parse_request, counting=False)

    def carry(
        self, exchange: Exchange, parsed: messages_wire.MessagesRequest, wires: frozenset[str]
    ) -> Carriage | Response:
        """Raises Failure UNSUPPORTED_PARAMETER for a thread of texts that are read on their way: placeholders
        belong to one request, and the vendor would keep those of several."""
        model = exchange.model
        guarded = exchange.principal.policy.guarded or (model is not None and model.phi_mode is not None)
        if guarded and threaded(parsed):
            raise thread_refusal("redaction", "texts are read for protected information on their way")
        return super().carry(exchange, parsed, wires)

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

    def __init__(self, max_body_bytes: int, dialect: Dialect) -> None:
        super().__init__(max_body_bytes)
        self._dialect = dialect

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
        headers = (*self._dialect.answer_headers(exchange), (b"x-triptych-estimate", b"input_tokens"))
        return json_response(200, b'{"input_tokens":%d}' % tokens, headers)

    def read_answer(
        self, parsed: messages_wire.MessagesRequest, body: bytes, request_bytes: int
    ) -> tuple[bytes, Usage]:
        messages_wire.read_answer(body)
        return body, NO_USAGE

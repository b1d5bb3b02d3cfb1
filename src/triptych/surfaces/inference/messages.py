"""POST /v1/messages and /v1/messages/count_tokens: the Anthropic Messages wire."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from triptych.core.call import Headers
from triptych.core.clock import now_us, rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.principal import Principal
from triptych.core.response import Response
from triptych.core.usage import NO_USAGE, Usage
from triptych.edge.app import Guard, body_too_large
from triptych.edge.decoding import inflate
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.pipeline import Pipeline
from triptych.surfaces.inference.failures import messages_error, messages_stream_error
from triptych.wires import anthropic_messages as messages_wire

SURFACE = "inference"

# Everything else of the client's headers stays here: credentials and cookies above all.
FORWARDED_HEADERS = frozenset(
    {
        b"anthropic-version",
        b"anthropic-beta",
        b"x-claude-code-session-id",
        b"openai-beta",
        b"traceparent",
        b"tracestate",
    }
)

Authenticator = Callable[[Headers, int], Principal]


class MessagesDialect:
    """Refusals, stream errors and headers in Anthropic's form."""

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = messages_error(failure, exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return messages_stream_error(failure)

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        request_id = exchange.request_id.encode()
        headers = [(b"request-id", request_id), (b"x-request-id", request_id)]
        if exchange.principal.environment == "test":
            headers.append((b"x-triptych-environment", b"test"))
        admission = exchange.admission
        if admission is not None and admission.limit is not None:
            reset = rfc3339(int(time.time() + admission.reset_ms / 1000))
            headers += (
                (b"anthropic-ratelimit-requests-limit", b"%d" % admission.limit),
                (b"anthropic-ratelimit-requests-remaining", b"%d" % admission.remaining),
                (b"anthropic-ratelimit-requests-reset", reset.encode()),
            )
        return headers


class CreateMessage:
    """One message: plain or streamed."""

    wire = "anthropic-messages"
    path = "/v1/messages"
    counting = False

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes

    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        body = exchange.body
        # Several fields are one list (RFC 9110, 5.3), and nested encodings are not accepted.
        encodings = [value for name, value in exchange.headers if name == b"content-encoding"]
        if encodings:
            try:
                body = inflate(body, b",".join(encodings), self._max_body_bytes)
            except Failure as failure:
                if failure.kind is failure.kind.PAYLOAD_TOO_LARGE:
                    raise body_too_large(self._max_body_bytes) from None
                raise
        return messages_wire.parse_request(body, counting=self.counting)

    def rewrite(self, parsed: messages_wire.MessagesRequest, upstream_model: str) -> bytes:
        return messages_wire.rewrite_request(parsed, upstream_model)

    def forwarded(self, headers: Headers) -> Headers:
        return [pair for pair in headers if pair[0] in FORWARDED_HEADERS]

    def stream_meter(self, request_bytes: int) -> messages_wire.MessagesStream:
        return messages_wire.MessagesStream(request_bytes=request_bytes)

    def read_answer(self, body: bytes, request_bytes: int) -> Usage:
        return messages_wire.read_answer(body, request_bytes=request_bytes)


class CountTokens(CreateMessage):
    """The size of a message that is not sent: a request, but no money."""

    path = "/v1/messages/count_tokens"
    counting = True

    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        """A count is never streamed, whatever the body says of ``stream``."""
        parsed = super().parse(exchange)
        return msgspec.structs.replace(parsed, stream=False) if parsed.stream else parsed

    def read_answer(self, body: bytes, request_bytes: int) -> Usage:
        messages_wire.read_answer(body)
        return NO_USAGE


def guard(authenticate: Authenticator) -> Guard:
    """The key check, made when the head is complete."""

    def check(request: Request) -> None:
        request.principal = authenticate(request.headers, now_us())

    return check


def serve(
    operation: CreateMessage, name: str, pipeline: Pipeline
) -> Callable[[Request, Reply], Awaitable[None]]:
    """The endpoint of one operation."""
    dialect = MessagesDialect()

    def endpoint(request: Request, reply: Reply) -> Awaitable[None]:
        assert request.principal is not None
        exchange = Exchange(
            id=request.id,
            surface=SURFACE,
            endpoint=name,
            principal=request.principal,
            headers=request.headers,
            query=request.query,
            body=request.body,
            started_us=now_us(),
            received_s=request.received_s,
        )
        request.body = b""
        return pipeline.govern(exchange, operation, dialect, reply)

    return endpoint

"""How this surface speaks on the Anthropic Messages wire; the operations are in ``surfaces/messages.py``."""

import time

from triptych.core.clock import rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.surfaces.governed import identity, token_window
from triptych.surfaces.inference.failures import (
    messages_error,
    messages_provider_error,
    messages_stream_error,
)


class MessagesDialect:
    """Refusals, stream errors and headers in Anthropic's form."""

    verbatim = True

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

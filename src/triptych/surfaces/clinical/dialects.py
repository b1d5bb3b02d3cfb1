"""The two ways this surface speaks: its own, and Anthropic's with its own beside it."""

import time

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.surfaces.clinical.failures import (
    messages_error,
    messages_stream_error,
    native_error,
    told,
)
from triptych.surfaces.governed import identity, token_window


class NativeDialect:
    """Refusals and headers of everything but ``/v1/messages``."""

    verbatim = False

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = native_error(told(failure, exchange), exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        raise NotImplementedError  # only chat streams, and it has a dialect of its own

    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        raise NotImplementedError  # not a verbatim one

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        return answer_headers(exchange)


class MessagesDialect:
    """``/v1/messages``: Anthropic's envelope, with the native members in it."""

    verbatim = False

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = messages_error(told(failure, exchange), exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return messages_stream_error(told(failure, exchange), exchange.request_id)

    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        raise NotImplementedError  # not a verbatim one

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        return answer_headers(exchange)


def answer_headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Identity, limits (``X-RateLimit-*``, reset in Unix seconds)."""
    headers = identity(exchange)
    admission = exchange.admission
    if admission is not None and admission.limit is not None:
        headers += (
            (b"x-ratelimit-limit-requests", b"%d" % admission.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % admission.remaining),
            (b"x-ratelimit-reset-requests", _reset(admission.reset_ms)),
        )
    tokens = token_window(exchange)
    if tokens is not None:
        headers += (
            (b"x-ratelimit-limit-tokens", b"%d" % tokens.limit),
            (b"x-ratelimit-remaining-tokens", b"%d" % tokens.remaining),
            (b"x-ratelimit-reset-tokens", _reset(tokens.reset_ms)),
        )
    return headers


def _reset(reset_ms: int) -> bytes:
    return b"%d" % int(time.time() + -(-reset_ms // 1000))

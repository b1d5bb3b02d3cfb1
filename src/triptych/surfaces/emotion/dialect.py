"""The one way this surface speaks; who may ask it, and how much."""

import time

import msgspec

from triptych.core.admission import RequestLimits
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.response import Response
from triptych.edge.app import Guard
from triptych.edge.message import Request
from triptych.surfaces.emotion.failures import emotion_error, emotion_stream_error, request_id
from triptych.surfaces.governed import Authenticator, about

REQUESTS_PER_MINUTE = 1_000
CONCURRENT_REQUESTS = 10


class EmotionDialect:
    """Refusals, stream errors and headers. A provider's own error is told in this surface's words."""

    verbatim = False

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = emotion_error(failure, exchange.id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response

    def stream_error(self, exchange: Exchange, failure: Failure) -> bytes:
        return emotion_stream_error(failure, exchange.id)

    def provider_error(self, exchange: Exchange, status: int, message: str) -> bytes:
        return emotion_error(Failure(FailureKind.UPSTREAM_ERROR, message), exchange.id).body

    def answer_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_id(exchange.id).encode()), *about(exchange)]
        admission = exchange.admission
        if admission is not None and admission.limit is not None:
            reset_s = int(time.time()) - (-admission.reset_ms // 1000)
            headers += (
                (b"x-ratelimit-limit", b"%d" % admission.limit),
                (b"x-ratelimit-remaining", b"%d" % admission.remaining),
                (b"x-ratelimit-reset", b"%d" % reset_s),
            )
        return headers


class Limited:
    """A key's own limits and this surface's, whichever is lower. Made once for each key's snapshot."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Principal, Principal]] = {}

    def __call__(self, principal: Principal) -> Principal:
        known = self._known.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        own = principal.key_limits
        limits = RequestLimits(
            rpm=_lower(own.rpm, REQUESTS_PER_MINUTE),
            rpd=own.rpd,
            tpm=own.tpm,
            concurrency=_lower(own.concurrency, CONCURRENT_REQUESTS),
        )
        limited = msgspec.structs.replace(principal, key_limits=limits)
        self._known[principal.key_id] = principal, limited
        return limited


def guard(authenticate: Authenticator, environments: frozenset[str]) -> Guard:
    """The key check. ``environments``: those whose keys are accepted; others are unknown here."""
    limited = Limited()

    def check(request: Request) -> None:
        principal = authenticate(request.headers, now_us())
        if principal.environment not in environments:
            raise Failure(FailureKind.INVALID_API_KEY)
        request.principal = limited(principal)

    return check


def _lower(own: int | None, limit: int) -> int:
    return limit if own is None else min(own, limit)

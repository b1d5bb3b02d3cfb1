"""What can go wrong, by what a caller would do about it."""

from collections.abc import Mapping
from typing import Any

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError)
"""What reading an answer of another shape than the gateway's raises."""


class TriptychError(Exception):
    """Everything this client raises."""


class ConnectionFailed(TriptychError):
    """No answer, or half of one: the network, the gateway or its process. The cause is ``__cause__``."""


class ApiError(TriptychError):
    """The gateway said no. Branch on the class, ``status`` and ``code``; ``message`` is for people."""

    def __init__(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.code: str | None = error.get("code")
        self.type: str | None = error.get("type")
        self.message: str = error.get("message") or f"The gateway answered with status {status}."
        self.param: str | None = error.get("param")
        self.details: Mapping[str, Any] = error.get("details") or {}
        self.request_id: str | None = error.get("request_id") or headers.get("x-request-id")
        """Quote it, and the time, when you ask for support."""
        self.retryable: bool | None = error.get("retryable")
        """As the clinical surface says it; None where the surface does not."""
        self.retry_after_s = _seconds(headers.get("retry-after"))
        self.should_retry: str | None = headers.get("x-should-retry")
        super().__init__(f"{status} {self.code}: {self.message} ({self.request_id})")


class InvalidRequestError(ApiError):
    """400, 405, 406, 413, 415, 422: the request has to change; ``param`` says where."""


class AuthenticationError(ApiError):
    """401."""


class PaymentRequiredError(ApiError):
    """402: credits, or an agreement that has to be signed."""


class PermissionDeniedError(ApiError):
    """403."""


class NotFoundError(ApiError):
    """404, and 410: it is gone."""


class ConflictError(ApiError):
    """409: an id, or an idempotency key, that is used already."""


class RateLimitError(ApiError):
    """429: a limit, a quota or a budget."""


class ServerError(ApiError):
    """5xx."""


class StreamFailed(ApiError):
    """The stream broke off with an error; what came before it is what there is."""


_CLASSES: Mapping[int, type[ApiError]] = {
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: RateLimitError,
}


def api_error(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error of an answer, whatever its shape."""
    error: Mapping[str, Any] = {}
    try:
        told = msgspec.json.decode(body)
    except UNREADABLE:
        told = None
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        error = told["error"]
    elif isinstance(told, dict) and isinstance(told.get("message"), str):
        error = told
    default = ServerError if status >= 500 else InvalidRequestError if status >= 400 else ApiError
    return _CLASSES.get(status, default)(status, error, headers)


def _seconds(value: str | None) -> float | None:
    """``Retry-After`` in seconds, as the gateway writes it; a date is for others."""
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None

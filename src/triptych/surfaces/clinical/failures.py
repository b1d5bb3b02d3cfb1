"""How the clinical surface renders a failure: one row per kind, two envelopes.

The native envelope everywhere; on ``/v1/messages`` one body that clients of both kinds can read:
Anthropic's (https://docs.anthropic.com/en/api/errors) with the native members beside it. See
``docs/contracts/clinical.md``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.failure import FACTS, Blame, Failure, FailureKind
from triptych.core.response import Response, json_response, wait_headers

K = FailureKind


class Row(msgspec.Struct, frozen=True):
    status: int
    type: str
    code: str
    wire_code: str | None = None
    """Where ``/v1/messages`` says another code."""
    retryable: bool | None = None
    """Where this surface answers otherwise than the kind's own facts."""
    polled: bool = True
    """False: retryable, but clients are told not to try by themselves."""
    remedy: str | None = None
    """Said behind the failure's own sentence: what to do, and where."""
    details: Mapping[str, object] = {}
    """Facts of the row that a failure may leave out."""


_VALIDATION = Row(400, "invalid_request", "VALIDATION_FAILED")
_UNAUTHORIZED = Row(401, "unauthorized", "INVALID_API_KEY")
_NOT_FOUND = Row(404, "not_found", "RESOURCE_NOT_FOUND")
_PHI = Row(403, "forbidden", "PHI_BLOCKED")
_CREDITS = Row(402, "payment_required", "AI_CREDITS_EXHAUSTED")
_RATE = Row(429, "rate_limited", "RATE_LIMITED")
_UPSTREAM = Row(502, "provider_error", "INFERENCE_UPSTREAM_FAILURE")
_UNAVAILABLE = Row(503, "service_unavailable", "INFERENCE_UNAVAILABLE", retryable=True)
_NO_PREMIUM = "Enable it at Settings > Billing > Model Access."
DOCS_HINT = "docs/errors.md#"
"""Where a kind is described; its value is the anchor."""
_RETIRED = Row(410, "gone", "MODEL_RETIRED", details={"docs_url": DOCS_HINT + K.MODEL_RETIRED.value})

ROWS: Mapping[FailureKind, Row] = {
    K.INVALID_JSON: _VALIDATION,
    K.INVALID_BODY: _VALIDATION,
    K.MISSING_FIELD: _VALIDATION,
    K.INVALID_VALUE: _VALIDATION,
    K.INVALID_ROLE: _VALIDATION,
    K.INVALID_CONTEXT_ID: _VALIDATION,
    K.TEXT_TOO_LONG: _VALIDATION,
    K.UNSUPPORTED_PARAMETER: Row(400, "invalid_request", "VALIDATION_FAILED", "UNSUPPORTED_PARAMETER"),
    K.UNSUPPORTED_TOOL_TYPE: Row(400, "invalid_request", "VALIDATION_FAILED", "UNSUPPORTED_PARAMETER"),
    K.MUTUALLY_EXCLUSIVE_PARAMETERS: _VALIDATION,
    K.AGENT_VERSION_PINNING_UNSUPPORTED: _VALIDATION,
    K.AGENT_INPUTS_UNMAPPABLE: _VALIDATION,
    K.AGENT_INPUT_MISSING: _VALIDATION,
    K.UNSUPPORTED_DOCUMENT_TYPE: Row(422, "unprocessable_entity", "UNSUPPORTED_DOCUMENT_TYPE"),
    K.PAYLOAD_TOO_LARGE: Row(413, "invalid_request", "PAYLOAD_TOO_LARGE"),
    K.HEADERS_TOO_LARGE: Row(431, "invalid_request", "VALIDATION_FAILED"),
    K.UNSUPPORTED_MEDIA_TYPE: Row(415, "invalid_request", "UNSUPPORTED_MEDIA_TYPE"),
    K.NOT_ACCEPTABLE: Row(406, "invalid_request", "VALIDATION_FAILED"),
    K.BODY_TIMEOUT: Row(408, "invalid_request", "VALIDATION_FAILED"),
    K.DUPLICATE_CREDENTIALS: _VALIDATION,
    K.INVALID_API_KEY: _UNAUTHORIZED,
    K.KEY_REVOKED: _UNAUTHORIZED,
    K.INSUFFICIENT_SCOPE: Row(403, "forbidden", "MISSING_SCOPE"),
    K.API_KEY_ACCESS_DENIED: Row(
        403, "forbidden", "MISSING_SCOPE", details={"required_scope": "api_key_access"}
    ),
    K.ROUTE_NOT_FOUND: _NOT_FOUND,
    K.METHOD_NOT_ALLOWED: Row(405, "invalid_request", "METHOD_NOT_ALLOWED"),
    K.RESOURCE_NOT_FOUND: _NOT_FOUND,
    # Never 403: whose it is must not be told.
    K.RESOURCE_FORBIDDEN: _NOT_FOUND,
    K.CONTEXT_NOT_FOUND: _NOT_FOUND,
    K.MESSAGE_NOT_FOUND: _NOT_FOUND,
    K.PREVIOUS_RESPONSE_NOT_FOUND: _NOT_FOUND,
    K.MODEL_NOT_FOUND: _VALIDATION,
    K.MODEL_RETIRED: _RETIRED,
    K.DUPLICATE_ID: Row(409, "conflict", "VALIDATION_FAILED"),
    K.IDEMPOTENCY_KEY_REUSED: Row(409, "conflict", "IDEMPOTENCY_KEY_REUSED"),
    K.IDEMPOTENCY_IN_PROGRESS: Row(409, "conflict", "IDEMPOTENCY_IN_PROGRESS"),
    K.MODEL_ACCESS_DENIED: _VALIDATION,
    K.PREMIUM_NOT_ENABLED: Row(403, "forbidden", "OPUS_NOT_ENABLED", remedy=_NO_PREMIUM),
    K.FEATURE_NOT_ALLOWED: Row(403, "forbidden", "FEATURE_NOT_HIPAA_ELIGIBLE"),
    K.BAA_REQUIRED: Row(402, "payment_required", "BAA_REQUIRED"),
    K.DLP_BLOCKED: _PHI,
    K.PHI_BLOCKED: _PHI,
    K.PHI_IN_TOOL_SCHEMA: Row(400, "invalid_request", "PHI_IN_TOOL_SCHEMA"),
    K.UNINSPECTABLE_CONTENT: Row(
        403, "forbidden", "FEATURE_NOT_HIPAA_ELIGIBLE", details={"feature": "uninspectable_content"}
    ),
    K.CREDITS_EXHAUSTED: _CREDITS,
    K.BUDGET_EXCEEDED: Row(429, "budget_exceeded", "BUDGET_EXCEEDED"),
    K.RATE_LIMITED: _RATE,
    K.CONCURRENCY_EXCEEDED: _RATE,
    K.QUOTA_EXCEEDED: _CREDITS,
    K.INTERNAL_ERROR: Row(500, "internal_error", "INTERNAL_ERROR"),
    K.SERVICE_UNAVAILABLE: _UNAVAILABLE,
    K.DOCUMENT_STILL_PROCESSING: Row(503, "service_unavailable", "DOCUMENT_STILL_PROCESSING", polled=False),
    K.UPSTREAM_ERROR: _UPSTREAM,
    K.UPSTREAM_REJECTED: _VALIDATION,
    K.UPSTREAM_EMPTY_BODY: _UPSTREAM,
    K.UPSTREAM_UNREACHABLE: _UPSTREAM,
    K.UPSTREAM_INVALID_RESPONSE: _UPSTREAM,
    K.UPSTREAM_TIMEOUT: _UPSTREAM,
    K.UPSTREAM_INTERRUPTED: _UPSTREAM,
    K.UPSTREAM_STREAM_ERROR: _UPSTREAM,
    K.CLIENT_DISCONNECTED: _UNAVAILABLE,
    K.INTERRUPTED: _UNAVAILABLE,
}

WIRE_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    410: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
}
"""Anthropic's type by status; all others are ``invalid_request_error``."""
INVALID = "invalid_request_error"

_UNKNOWN_KEY = (
    "The API key is missing, malformed, unknown or revoked. Send it as Authorization: Bearer or x-api-key."
)
_encode = msgspec.json.encode


def retryable(failure: Failure) -> bool:
    """Whether the same request may succeed later, as this surface says it."""
    row = ROWS[failure.kind]
    return failure.retryable if row.retryable is None else row.retryable


def sentence(failure: Failure) -> str:
    """What is shown of it: what was wrong, and what to do."""
    row = ROWS[failure.kind]
    if row is _UNAUTHORIZED:
        return _UNKNOWN_KEY
    if row is _RETIRED:
        replacement = failure.details.get("recommended_replacement")
        use = f"Use '{replacement}'." if replacement else "Choose another one from /v1/ai/models."
        return f"The model has been retired. {use}"
    if row is _NOT_FOUND and failure.kind is not K.ROUTE_NOT_FOUND and failure.param is None:
        return FACTS[K.RESOURCE_NOT_FOUND].sentence
    return failure.message if row.remedy is None else f"{failure.message} {row.remedy}"


def native_body(failure: Failure, request_id: str) -> dict[str, Any]:
    """The ``error`` member of the native envelope, and of the events that tell of a failure."""
    row = ROWS[failure.kind]
    error: dict[str, Any] = {"code": row.code, "type": row.type, "message": sentence(failure)}
    if failure.param is not None:
        error["param"] = failure.param
    details = _details(failure)
    if details:
        error["details"] = details
    error["retryable"] = retryable(failure)
    error["request_id"] = request_id
    error["docs_hint"] = DOCS_HINT + failure.kind.value
    return error


def native_error(failure: Failure, request_id: str) -> Response:
    body = {
        "success": False,
        "error": native_body(failure, request_id),
        "meta": {"request_id": request_id},
    }
    return json_response(ROWS[failure.kind].status, _encode(body), _headers(failure))


def wire_body(failure: Failure, request_id: str) -> dict[str, Any]:
    """Anthropic's envelope with the native members: both kinds of client find what they branch on."""
    row = ROWS[failure.kind]
    code = row.wire_code or row.code
    error: dict[str, Any] = {
        "type": WIRE_TYPES.get(row.status, INVALID),
        "message": sentence(failure),
        "code": code,
    }
    if failure.param is not None:
        error["param"] = failure.param
    details = _details(failure)
    if details:
        error["details"] = details
    error["retryable"] = retryable(failure)
    error["request_id"] = request_id
    error["hasp_code"] = code
    if details:
        error["hasp_details"] = details
    return {
        "type": "error",
        "error": error,
        "success": False,
        "request_id": request_id,
        "meta": {"request_id": request_id},
    }


def messages_error(failure: Failure, request_id: str) -> Response:
    return json_response(
        ROWS[failure.kind].status, _encode(wire_body(failure, request_id)), _headers(failure)
    )


def messages_stream_error(failure: Failure, request_id: str) -> bytes:
    """The frame that ends a messages stream; no ``message_stop`` follows."""
    return b"event: error\ndata: " + _encode(wire_body(failure, request_id)) + b"\n\n"


def told(failure: Failure, exchange: Exchange) -> Failure:
    """The failure as this caller is told of it: fields by the names he gave them, and of a provider's
    failure the facts its row promises."""
    param, details, message = failure.param, failure.details, failure.message
    if param is not None and exchange.named is not None:
        param = exchange.named(param)
        message = message.replace(failure.param or param, param)
    if failure.blame is Blame.PROVIDER and failure.kind is not K.UPSTREAM_REJECTED:
        target = exchange.target
        provider = target.provider if target is not None else None
        details = {"upstream_status": exchange.upstream_status, "provider": provider}
    if param == failure.param and details is failure.details:
        return failure
    return Failure(
        failure.kind,
        message,
        param=param,
        details=details,
        retry_after_s=failure.retry_after_s,
        headers=failure.headers,
    )


def _details(failure: Failure) -> Mapping[str, object]:
    row = ROWS[failure.kind]
    if not row.details:
        return failure.details
    return {
        **failure.details,
        **{name: fact for name, fact in row.details.items() if not failure.details.get(name)},
    }


def _headers(failure: Failure) -> list[tuple[bytes, bytes]]:
    headers = [*failure.headers, *wait_headers(failure.retry_after_s, ROWS[failure.kind].status)]
    # The stock SDKs obey it, whatever the status.
    again = retryable(failure) and ROWS[failure.kind].polled
    headers.append((b"x-should-retry", b"true" if again else b"false"))
    return headers

"""How the emotion surface renders a failure: one row per kind, one envelope.

``{"error":{"type","code","message","param","request_id"}}``; ``param`` only where one parameter is at
fault. See ``docs/contracts/emotion.md``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from triptych.core.failure import Blame, Failure, FailureKind
from triptych.core.response import Response, json_response, wait_headers

K = FailureKind
STATUS_PATH = "/v2/status"


class Row(msgspec.Struct, frozen=True):
    status: int
    type: str
    code: str
    sentence: str | None = None
    """In place of the failure's own."""
    param: bool = False
    """Whether one parameter is at fault, and named where it is known."""


_INVALID = "invalid_request_error"
_JSON = Row(400, _INVALID, "invalid_json")
_VALUE = Row(422, _INVALID, "invalid_value", param=True)
_KEY = Row(
    401, "authentication_error", "invalid_api_key", "Missing or invalid API key. Check the x-api-key header."
)
_NOT_ENABLED = Row(403, "forbidden_error", "model_not_enabled", param=True)
_SCOPE = Row(403, "forbidden_error", "insufficient_scope")
_POLICY = Row(403, "forbidden_error", "policy_blocked", param=True)
_MODEL = Row(404, "not_found_error", "model_not_found", param=True)
_ROUTE = Row(404, "not_found_error", "route_not_found")
_CONFLICT = "conflict_error"
_MISMATCH = Row(409, _CONFLICT, "idempotency_mismatch")
_RATE = "rate_limit_error"
_QUOTA = Row(429, _RATE, "quota_exceeded")
_SERVER = "server_error"
_UNAVAILABLE = Row(503, _SERVER, "service_unavailable")
_INTERNAL = Row(
    500,
    _SERVER,
    "internal",
    "Unexpected error. Retry; if it persists, contact support with the request_id and the time.",
)

ROWS: Mapping[FailureKind, Row] = {
    K.INVALID_JSON: _JSON,
    K.INVALID_BODY: _JSON,
    K.MISSING_FIELD: Row(400, _INVALID, "missing_field", param=True),
    K.INVALID_VALUE: _VALUE,
    K.INVALID_ROLE: Row(422, _INVALID, "invalid_role", param=True),
    K.INVALID_CONTEXT_ID: Row(422, _INVALID, "invalid_context_id", param=True),
    K.TEXT_TOO_LONG: Row(422, _INVALID, "text_too_long", param=True),
    K.UNSUPPORTED_PARAMETER: _VALUE,
    K.UNSUPPORTED_TOOL_TYPE: _VALUE,
    K.MUTUALLY_EXCLUSIVE_PARAMETERS: _VALUE,
    K.AGENT_VERSION_PINNING_UNSUPPORTED: _VALUE,
    K.AGENT_INPUTS_UNMAPPABLE: _VALUE,
    K.AGENT_INPUT_MISSING: _VALUE,
    K.UNSUPPORTED_DOCUMENT_TYPE: _VALUE,
    K.PAYLOAD_TOO_LARGE: Row(413, _INVALID, "payload_too_large", param=True),
    K.HEADERS_TOO_LARGE: Row(431, _INVALID, "payload_too_large"),
    K.UNSUPPORTED_MEDIA_TYPE: Row(415, _INVALID, "unsupported_media_type"),
    K.NOT_ACCEPTABLE: Row(406, _INVALID, "unsupported_media_type"),
    K.BODY_TIMEOUT: Row(408, _INVALID, "invalid_json"),
    K.DUPLICATE_CREDENTIALS: _KEY,
    K.INVALID_API_KEY: _KEY,
    K.KEY_REVOKED: Row(
        403, "forbidden_error", "key_revoked", "The API key was revoked. Generate a new key in the console."
    ),
    K.INSUFFICIENT_SCOPE: _SCOPE,
    K.API_KEY_ACCESS_DENIED: _SCOPE,
    K.ROUTE_NOT_FOUND: _ROUTE,
    K.METHOD_NOT_ALLOWED: Row(405, _INVALID, "method_not_allowed"),
    K.RESOURCE_NOT_FOUND: _ROUTE,
    K.RESOURCE_FORBIDDEN: _ROUTE,
    K.CONTEXT_NOT_FOUND: Row(404, "not_found_error", "context_not_found", param=True),
    K.MESSAGE_NOT_FOUND: Row(404, "not_found_error", "message_not_found", param=True),
    K.PREVIOUS_RESPONSE_NOT_FOUND: _ROUTE,
    K.MODEL_NOT_FOUND: _MODEL,
    K.MODEL_RETIRED: _MODEL,
    K.DUPLICATE_ID: Row(409, _CONFLICT, "duplicate_id", param=True),
    K.IDEMPOTENCY_KEY_REUSED: _MISMATCH,
    K.IDEMPOTENCY_IN_PROGRESS: _MISMATCH,
    K.MODEL_ACCESS_DENIED: _NOT_ENABLED,
    K.PREMIUM_NOT_ENABLED: _NOT_ENABLED,
    K.FEATURE_NOT_ALLOWED: _POLICY,
    K.BAA_REQUIRED: Row(403, "forbidden_error", "baa_required"),
    K.DLP_BLOCKED: _POLICY,
    K.PHI_BLOCKED: _POLICY,
    K.PHI_IN_TOOL_SCHEMA: _POLICY,
    K.UNINSPECTABLE_CONTENT: _POLICY,
    K.CREDITS_EXHAUSTED: _QUOTA,
    K.BUDGET_EXCEEDED: _QUOTA,
    K.RATE_LIMITED: Row(429, _RATE, "too_many_requests"),
    K.CONCURRENCY_EXCEEDED: Row(429, _RATE, "concurrency_exceeded"),
    K.QUOTA_EXCEEDED: _QUOTA,
    K.INTERNAL_ERROR: _INTERNAL,
    K.SERVICE_UNAVAILABLE: _UNAVAILABLE,
    K.DOCUMENT_STILL_PROCESSING: _UNAVAILABLE,
    K.UPSTREAM_ERROR: _UNAVAILABLE,
    K.UPSTREAM_REJECTED: Row(422, _INVALID, "invalid_value"),
    K.UPSTREAM_EMPTY_BODY: _UNAVAILABLE,
    K.UPSTREAM_UNREACHABLE: _UNAVAILABLE,
    K.UPSTREAM_INVALID_RESPONSE: _UNAVAILABLE,
    K.UPSTREAM_TIMEOUT: _UNAVAILABLE,
    K.UPSTREAM_INTERRUPTED: _UNAVAILABLE,
    K.UPSTREAM_STREAM_ERROR: _UNAVAILABLE,
    K.CLIENT_DISCONNECTED: _UNAVAILABLE,
    K.INTERRUPTED: _UNAVAILABLE,
}

_DIGITS = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_REQUEST_ID_DIGITS = 8
_encode = msgspec.json.encode


def request_id(exchange_id: str) -> str:
    """``req-`` and ten hex digits: the last 40 random bits of the exchange's ULID. With the time, they
    find its row: its last eight characters are the same number in Crockford's base 32."""
    number = 0
    for digit in exchange_id[-_REQUEST_ID_DIGITS:]:
        number = number << 5 | _DIGITS[digit]
    return f"req-{number:010x}"


def error_member(failure: Failure, shown_id: str) -> dict[str, Any]:
    """The ``error`` of an answer, of a stream or of one item of a batch."""
    row = ROWS[failure.kind]
    error: dict[str, Any] = {"type": row.type, "code": row.code, "message": _sentence(failure, row)}
    if row.param and failure.param is not None:
        error["param"] = failure.param
    error["request_id"] = shown_id
    return error


def emotion_error(failure: Failure, exchange_id: str) -> Response:
    row = ROWS[failure.kind]
    wait_s = failure.retry_after_s
    if wait_s is None and row.status == 429:
        wait_s = 1
    headers = [*failure.headers, *wait_headers(wait_s, row.status)]
    body = _encode({"error": error_member(failure, request_id(exchange_id))})
    return json_response(row.status, body, headers)


def emotion_stream_error(failure: Failure, exchange_id: str) -> bytes:
    """The frame that ends a stream; nothing follows it."""
    return b"data: " + _encode({"error": error_member(failure, request_id(exchange_id))}) + b"\n\n"


def _sentence(failure: Failure, row: Row) -> str:
    if row.sentence is not None:
        return row.sentence
    if row is not _UNAVAILABLE:
        return failure.message
    if failure.blame is Blame.PROVIDER:
        return (
            f"The model's provider gave no answer. Retry later; {STATUS_PATH} tells the state of the parts."
        )
    return f"{failure.message} See {STATUS_PATH}."

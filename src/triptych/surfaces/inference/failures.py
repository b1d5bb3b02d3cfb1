"""How the inference surface renders a failure: one row per kind, three envelopes.

Anthropic's envelope (https://docs.anthropic.com/en/api/errors) on the messages wire and OpenAI's
(https://platform.openai.com/docs/guides/error-codes) everywhere else; the
paths of agents and runs, which are not served yet, have a flat one.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from triptych.core.failure import FACTS, Blame, Failure, FailureKind
from triptych.core.response import Response, json_response, wait_headers

K = FailureKind
STREAM_ERROR = "stream_error"
"""The code of every error frame of ours on the OpenAI wires."""


class Row(msgspec.Struct, frozen=True):
    status: int
    messages_type: str
    openai_type: str
    openai_code: str | None
    openai_status: int | None = None
    """Where the OpenAI wires use another status."""


_INVALID = "invalid_request_error"
_BODY = Row(400, _INVALID, _INVALID, "invalid_body")
_UPSTREAM_INVALID = Row(502, "api_error", "server_error", "upstream_invalid_response")
_UNAVAILABLE = Row(503, "overloaded_error", "server_error", "service_unavailable")
_FORBIDDEN_MODEL = Row(403, "permission_error", "permission_error", "model_access_denied")
_UNAUTHORIZED = Row(401, "authentication_error", "authentication_error", None)
_DLP = Row(400, _INVALID, _INVALID, "dlp_blocked")
_QUOTA = Row(402, "billing_error", "insufficient_quota", "insufficient_quota", 429)
_RATE = Row(429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded")
_NOT_FOUND = Row(404, "not_found_error", "not_found", None)
_UNKNOWN_URL = Row(404, "not_found_error", _INVALID, "unknown_url")


def _parameter(code: str) -> Row:
    return Row(400, _INVALID, _INVALID, code)


ROWS: Mapping[FailureKind, Row] = {
    K.INVALID_JSON: _BODY,
    K.INVALID_BODY: _BODY,
    K.MISSING_FIELD: _BODY,
    K.INVALID_VALUE: _BODY,
    K.INVALID_ROLE: _BODY,
    K.INVALID_CONTEXT_ID: _BODY,
    K.TEXT_TOO_LONG: _BODY,
    K.UNSUPPORTED_PARAMETER: _parameter("unsupported_parameter"),
    K.UNSUPPORTED_TOOL_TYPE: _parameter("unsupported_tool_type"),
    K.MUTUALLY_EXCLUSIVE_PARAMETERS: _parameter("mutually_exclusive_parameters"),
    K.AGENT_VERSION_PINNING_UNSUPPORTED: _parameter("agent_version_pinning_unsupported"),
    K.AGENT_INPUTS_UNMAPPABLE: _parameter("agent_inputs_unmappable"),
    K.AGENT_INPUT_MISSING: _BODY,
    K.UNSUPPORTED_DOCUMENT_TYPE: _BODY,
    K.PAYLOAD_TOO_LARGE: Row(413, "request_too_large", _INVALID, "payload_too_large"),
    K.HEADERS_TOO_LARGE: Row(431, _INVALID, _INVALID, "invalid_body"),
    K.UNSUPPORTED_MEDIA_TYPE: Row(415, _INVALID, _INVALID, "invalid_body"),
    K.NOT_ACCEPTABLE: Row(406, _INVALID, _INVALID, "invalid_body"),
    K.BODY_TIMEOUT: Row(408, _INVALID, _INVALID, "invalid_body"),
    K.DUPLICATE_CREDENTIALS: _BODY,
    K.INVALID_API_KEY: _UNAUTHORIZED,
    K.KEY_REVOKED: _UNAUTHORIZED,
    K.INSUFFICIENT_SCOPE: Row(403, "permission_error", "permission_error", "insufficient_scope"),
    K.API_KEY_ACCESS_DENIED: _FORBIDDEN_MODEL,
    K.ROUTE_NOT_FOUND: _UNKNOWN_URL,
    K.METHOD_NOT_ALLOWED: Row(405, "not_found_error", _INVALID, "unknown_url"),
    K.RESOURCE_NOT_FOUND: _NOT_FOUND,
    K.RESOURCE_FORBIDDEN: Row(403, "permission_error", "permission_error", "model_access_denied"),
    K.CONTEXT_NOT_FOUND: _NOT_FOUND,
    K.MESSAGE_NOT_FOUND: _NOT_FOUND,
    K.PREVIOUS_RESPONSE_NOT_FOUND: Row(404, "not_found_error", _INVALID, "previous_response_not_found"),
    K.MODEL_NOT_FOUND: Row(400, _INVALID, _INVALID, "model_not_found"),
    K.MODEL_RETIRED: Row(400, _INVALID, _INVALID, "model_not_found"),
    K.DUPLICATE_ID: Row(409, _INVALID, _INVALID, "duplicate_id"),
    K.IDEMPOTENCY_KEY_REUSED: Row(409, _INVALID, _INVALID, "idempotency_key_reused"),
    K.IDEMPOTENCY_IN_PROGRESS: Row(409, _INVALID, _INVALID, "idempotency_in_progress"),
    K.MODEL_ACCESS_DENIED: _FORBIDDEN_MODEL,
    K.PREMIUM_NOT_ENABLED: _FORBIDDEN_MODEL,
    K.FEATURE_NOT_ALLOWED: Row(403, "permission_error", "permission_error", "feature_not_allowed"),
    K.BAA_REQUIRED: Row(403, "permission_error", "permission_error", "baa_required"),
    K.DLP_BLOCKED: _DLP,
    K.PHI_BLOCKED: _DLP,
    K.PHI_IN_TOOL_SCHEMA: _DLP,
    K.UNINSPECTABLE_CONTENT: _DLP,
    K.CREDITS_EXHAUSTED: _QUOTA,
    K.BUDGET_EXCEEDED: _QUOTA,
    K.RATE_LIMITED: _RATE,
    K.CONCURRENCY_EXCEEDED: Row(429, "rate_limit_error", "rate_limit_error", "concurrency_exceeded"),
    K.QUOTA_EXCEEDED: _QUOTA,
    K.INTERNAL_ERROR: Row(500, "api_error", "server_error", "internal_error"),
    K.SERVICE_UNAVAILABLE: _UNAVAILABLE,
    K.DOCUMENT_STILL_PROCESSING: _UNAVAILABLE,
    K.UPSTREAM_ERROR: Row(502, "api_error", "server_error", "upstream_error"),
    K.UPSTREAM_REJECTED: _BODY,
    K.UPSTREAM_EMPTY_BODY: Row(502, "upstream_empty_body", "server_error", "upstream_empty_body"),
    K.UPSTREAM_UNREACHABLE: Row(502, "api_error", "server_error", "upstream_unreachable"),
    K.UPSTREAM_INVALID_RESPONSE: _UPSTREAM_INVALID,
    K.UPSTREAM_TIMEOUT: Row(504, "timeout_error", "server_error", "upstream_timeout"),
    K.UPSTREAM_INTERRUPTED: _UPSTREAM_INVALID,
    K.UPSTREAM_STREAM_ERROR: _UPSTREAM_INVALID,
    K.CLIENT_DISCONNECTED: _UNAVAILABLE,
    K.INTERRUPTED: _UNAVAILABLE,
}

_encode = msgspec.json.encode
_QUOTA_KINDS = (K.CREDITS_EXHAUSTED, K.BUDGET_EXCEEDED, K.QUOTA_EXCEEDED)


def _common_headers(failure: Failure, status: int) -> list[tuple[bytes, bytes]]:
    headers = [*failure.headers, *wait_headers(failure.retry_after_s, status)]
    if failure.kind in _QUOTA_KINDS:
        # Stock SDKs retry a 429 by themselves; waiting does not bring credits back.
        headers.append((b"x-should-retry", b"false"))
    return headers


def _too_large(failure: Failure) -> Response:
    return json_response(413, _encode({"message": failure.message}), _common_headers(failure, 413))


def messages_error(failure: Failure, request_id: str) -> Response:
    """Anthropic's envelope; it has no ``code``."""
    if failure.kind is K.PAYLOAD_TOO_LARGE:
        return _too_large(failure)
    row = ROWS[failure.kind]
    error: dict[str, Any] = {"type": row.messages_type, "message": failure.message}
    if row is _UNAUTHORIZED:
        error["message"] = "Unauthorized"
    if "error_code" in failure.details:
        # The vendor's own words, which its SDK acts on.
        error["details"] = failure.details
    body = _encode({"type": "error", "error": error, "request_id": request_id})
    return json_response(row.status, body, _common_headers(failure, row.status))


def openai_error(failure: Failure, request_id: str) -> Response:
    """OpenAI's envelope; 401 is the flat form of the contract."""
    if failure.kind is K.PAYLOAD_TOO_LARGE:
        return _too_large(failure)
    row = ROWS[failure.kind]
    if row is _UNAUTHORIZED:
        return json_response(401, b'{"error":"Unauthorized"}', _common_headers(failure, 401))
    error = {
        "message": failure.message,
        "type": row.openai_type,
        "code": row.openai_code,
        "param": failure.param,
    }
    status = row.openai_status or row.status
    return json_response(status, _encode({"error": error}), _common_headers(failure, status))


def conversations_error(failure: Failure, request_id: str) -> Response:
    """OpenAI's envelope, as its conversations say 401 and 404."""
    if failure.kind is K.RESOURCE_NOT_FOUND:
        error = {"message": failure.message, "type": "not_found_error", "code": "not_found", "param": None}
        return json_response(404, _encode({"error": error}), _common_headers(failure, 404))
    if ROWS[failure.kind] is _UNAUTHORIZED:
        body = {"error": "Unauthorized", "message": "The API key is missing or not valid."}
        return json_response(401, _encode(body), _common_headers(failure, 401))
    return openai_error(failure, request_id)


def agents_error(failure: Failure, request_id: str) -> Response:
    """The flat form that agents and their runs have: words for people, no code."""
    if failure.kind is K.PAYLOAD_TOO_LARGE:
        return _too_large(failure)
    row = ROWS[failure.kind]
    status = row.openai_status or row.status
    word = "Not found" if status == 404 else HTTPStatus(status).phrase
    return json_response(
        status, _encode({"error": word, "message": failure.message}), _common_headers(failure, status)
    )


# The word each vendor uses for a status (Anthropic: docs.anthropic.com/en/api/errors; OpenAI:
# platform.openai.com/docs/guides/error-codes); other 4xx are invalid requests, other 5xx theirs.
_MESSAGES_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def messages_provider_error(status: int, message: str, request_id: str) -> bytes:
    """A provider's error of another wire, told in Anthropic's envelope."""
    type_ = _MESSAGES_TYPES.get(status, _INVALID if status < 500 else "api_error")
    return _encode({"type": "error", "error": {"type": type_, "message": message}, "request_id": request_id})


def openai_provider_error(status: int, message: str) -> bytes:
    """A provider's error of another wire, told in OpenAI's envelope."""
    type_ = _OPENAI_TYPES.get(status, _INVALID if status < 500 else "server_error")
    return _encode({"error": {"message": message, "type": type_, "code": None, "param": None}})


def interruption(failure: Failure) -> str:
    """The sentence of a broken OpenAI stream: one for every way a provider can break it."""
    return FACTS[K.UPSTREAM_INTERRUPTED].sentence if failure.blame is Blame.PROVIDER else failure.message


def chat_stream_error(failure: Failure) -> bytes:
    """The frames that end a chat stream: the error, then the terminator clients wait for."""
    error = {
        "message": interruption(failure),
        "type": ROWS[failure.kind].openai_type,
        "code": STREAM_ERROR,
    }
    return b"event: error\ndata: " + _encode({"error": error}) + b"\n\ndata: [DONE]\n\n"


def messages_stream_error(failure: Failure) -> bytes:
    """The frame that ends a messages stream; no ``message_stop`` follows."""
    row = ROWS[failure.kind]
    error = {"type": "error", "error": {"type": row.messages_type, "message": failure.message}}
    return b"event: error\ndata: " + _encode(error) + b"\n\n"

"""The error table of the inference contract, written down by hand from its page and not from the
code: kind of failure to what a client must see on each wire."""

from collections.abc import Mapping
from typing import NamedTuple

from triptych.core.failure import FailureKind as K


class Promise(NamedTuple):
    messages: tuple[int, str]
    """Status and ``error.type`` on the messages wire."""
    openai: tuple[int, str, str | None]
    """Status, ``error.type`` and ``error.code`` on the OpenAI wires."""


INVALID = "invalid_request_error"
PERMISSION = "permission_error"
BODY = Promise((400, INVALID), (400, INVALID, "invalid_body"))
MODEL_NOT_FOUND = Promise((400, INVALID), (400, INVALID, "model_not_found"))
DLP = Promise((400, INVALID), (400, INVALID, "dlp_blocked"))
BILLING = Promise((402, "billing_error"), (429, "insufficient_quota", "insufficient_quota"))
MODEL_DENIED = Promise((403, PERMISSION), (403, PERMISSION, "model_access_denied"))


def _parameter(code: str) -> Promise:
    return Promise((400, INVALID), (400, INVALID, code))


def _forbidden(code: str) -> Promise:
    return Promise((403, PERMISSION), (403, PERMISSION, code))


def _limited(code: str) -> Promise:
    return Promise((429, "rate_limit_error"), (429, "rate_limit_error", code))


def _upstream(type_: str, code: str) -> Promise:
    return Promise((502, type_), (502, "server_error", code))


CONTRACT: Mapping[K, Promise] = {
    K.INVALID_JSON: BODY,
    K.INVALID_BODY: BODY,
    K.MISSING_FIELD: BODY,
    K.INVALID_VALUE: BODY,
    K.INVALID_ROLE: BODY,
    K.DUPLICATE_CREDENTIALS: BODY,
    K.MODEL_NOT_FOUND: MODEL_NOT_FOUND,
    K.MODEL_RETIRED: MODEL_NOT_FOUND,
    K.UNSUPPORTED_PARAMETER: _parameter("unsupported_parameter"),
    K.UNSUPPORTED_TOOL_TYPE: _parameter("unsupported_tool_type"),
    K.MUTUALLY_EXCLUSIVE_PARAMETERS: _parameter("mutually_exclusive_parameters"),
    K.AGENT_VERSION_PINNING_UNSUPPORTED: _parameter("agent_version_pinning_unsupported"),
    K.AGENT_INPUTS_UNMAPPABLE: _parameter("agent_inputs_unmappable"),
    K.DLP_BLOCKED: DLP,
    K.PHI_BLOCKED: DLP,
    K.PHI_IN_TOOL_SCHEMA: DLP,
    K.UNINSPECTABLE_CONTENT: DLP,
    K.CREDITS_EXHAUSTED: BILLING,
    K.BUDGET_EXCEEDED: BILLING,
    K.MODEL_ACCESS_DENIED: MODEL_DENIED,
    K.PREMIUM_NOT_ENABLED: MODEL_DENIED,
    K.API_KEY_ACCESS_DENIED: MODEL_DENIED,
    K.INSUFFICIENT_SCOPE: _forbidden("insufficient_scope"),
    K.FEATURE_NOT_ALLOWED: _forbidden("feature_not_allowed"),
    K.BAA_REQUIRED: _forbidden("baa_required"),
    K.RESOURCE_NOT_FOUND: Promise((404, "not_found_error"), (404, "not_found", None)),
    K.PREVIOUS_RESPONSE_NOT_FOUND: Promise(
        (404, "not_found_error"), (404, INVALID, "previous_response_not_found")
    ),
    K.ROUTE_NOT_FOUND: Promise((404, "not_found_error"), (404, INVALID, "unknown_url")),
    K.METHOD_NOT_ALLOWED: Promise((405, "not_found_error"), (405, INVALID, "unknown_url")),
    K.UNSUPPORTED_MEDIA_TYPE: Promise((415, INVALID), (415, INVALID, "invalid_body")),
    K.HEADERS_TOO_LARGE: Promise((431, INVALID), (431, INVALID, "invalid_body")),
    K.RATE_LIMITED: _limited("rate_limit_exceeded"),
    K.CONCURRENCY_EXCEEDED: _limited("concurrency_exceeded"),
    K.INTERNAL_ERROR: Promise((500, "api_error"), (500, "server_error", "internal_error")),
    K.UPSTREAM_EMPTY_BODY: _upstream("upstream_empty_body", "upstream_empty_body"),
    K.UPSTREAM_UNREACHABLE: _upstream("api_error", "upstream_unreachable"),
    K.UPSTREAM_INVALID_RESPONSE: _upstream("api_error", "upstream_invalid_response"),
    K.SERVICE_UNAVAILABLE: Promise((503, "overloaded_error"), (503, "server_error", "service_unavailable")),
    K.UPSTREAM_TIMEOUT: Promise((504, "timeout_error"), (504, "server_error", "upstream_timeout")),
}
"""Kinds that the page gives a row. 401 and 413 have forms of their own and are tested apart; the
kinds of the other surfaces have no row here, but a golden file all the same."""

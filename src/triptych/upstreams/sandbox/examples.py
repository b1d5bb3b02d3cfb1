"""The facts that the sandbox's failures tell of: those of the real ones, so that a client's code for them
can be tried. They are made up, but for the wait: waiting that long is enough."""

from collections.abc import Mapping
from typing import Any

from triptych.core.clock import MICROSECONDS_PER_S, now_us, rfc3339
from triptych.core.failure import Failure, FailureKind

K = FailureKind
_WAIT_S = 1
_ENTITIES = {"entity_types": ["PERSON"]}
_TOOL = "tools[0].description"
_RATE = {"retry_after_seconds": _WAIT_S, "limit": 1, "scope": "key"}
_CREDITS = {"credits_used": 1000, "credits_allotment": 1000, "scope": "org"}
_DETAILS: Mapping[FailureKind, Mapping[str, object]] = {
    K.INSUFFICIENT_SCOPE: {"required_scope": "ai:chat"},
    K.BAA_REQUIRED: {"baa_url": "/clinical/v1/compliance/baa", "baa_status": "none"},
    K.CREDITS_EXHAUSTED: _CREDITS,
    K.QUOTA_EXCEEDED: _CREDITS,
    K.BUDGET_EXCEEDED: {"current_spend_usd": 10.0, "cap_usd": 10.0, "scope": "org"},
    K.RATE_LIMITED: _RATE,
    K.CONCURRENCY_EXCEEDED: _RATE,
    K.DLP_BLOCKED: _ENTITIES,
    K.PHI_BLOCKED: _ENTITIES,
    K.PHI_IN_TOOL_SCHEMA: {**_ENTITIES, "tool": "lookup", "path": _TOOL},
    K.FEATURE_NOT_ALLOWED: {"feature": "web_search"},
    K.UNINSPECTABLE_CONTENT: {"feature": "uninspectable_content"},
    K.MODEL_RETIRED: {"retired_at": "2026-01-01T00:00:00Z", "recommended_replacement": "sandbox-echo"},
    K.PAYLOAD_TOO_LARGE: {"limit_bytes": 52_428_800},
    K.UNSUPPORTED_DOCUMENT_TYPE: {"content_type": "application/zip", "supported": ["text/plain"]},
    K.DOCUMENT_STILL_PROCESSING: {"document_id": "doc_01ARZ3NDEKTSV4RRFFQ69G5FAV", "status": "processing"},
}
_WAITS = frozenset(
    {K.RATE_LIMITED, K.CONCURRENCY_EXCEEDED, K.CREDITS_EXHAUSTED, K.QUOTA_EXCEEDED, K.BUDGET_EXCEEDED}
)
_CYCLES = _WAITS - {K.RATE_LIMITED, K.CONCURRENCY_EXCEEDED}
_UNKNOWN_MODEL = frozenset({K.MODEL_NOT_FOUND, K.MODEL_RETIRED})
_CONTENT = frozenset({K.DLP_BLOCKED, K.PHI_BLOCKED, K.UNINSPECTABLE_CONTENT})
_PARAMS: Mapping[FailureKind, str] = {
    **dict.fromkeys((*_UNKNOWN_MODEL, K.MODEL_ACCESS_DENIED, K.PREMIUM_NOT_ENABLED), "model"),
    **dict.fromkeys((K.PREVIOUS_RESPONSE_NOT_FOUND, K.MUTUALLY_EXCLUSIVE_PARAMETERS), "previous_response_id"),
    **dict.fromkeys((K.CONTEXT_NOT_FOUND, K.INVALID_CONTEXT_ID), "context_id"),
    K.MESSAGE_NOT_FOUND: "external_id",
    K.DUPLICATE_ID: "messages[0].externalId",
    K.INVALID_ROLE: "messages[0].role",
    K.TEXT_TOO_LONG: "messages[0].content",
    K.PHI_IN_TOOL_SCHEMA: _TOOL,
    K.FEATURE_NOT_ALLOWED: "tools[0]",
    K.UNSUPPORTED_TOOL_TYPE: "tools[0].type",
}


def example(kind: FailureKind, model: str, wire: str) -> Failure:
    """A failure of the kind, as a call of the model on the wire could meet it."""
    details: dict[str, Any] = dict(_DETAILS.get(kind, {}))
    if kind in _CYCLES:
        details["cycle_reset_at"] = rfc3339(now_us() // MICROSECONDS_PER_S + _WAIT_S)
    if kind is K.PREMIUM_NOT_ENABLED:
        details["model"] = model
    param = _PARAMS.get(kind)
    if kind in _CONTENT:
        param = "input" if wire == "openai-responses" else "messages[0].content"
    return Failure(
        kind,
        f"Model '{model}' not found." if kind in _UNKNOWN_MODEL else None,
        param=param,
        details=details,
        retry_after_s=_WAIT_S if kind in _WAITS else None,
        headers=((b"allow", b"POST"),) if kind is K.METHOD_NOT_ALLOWED else (),
    )

"""The one failure vocabulary: every way an exchange can fail, classified once.

A stage raises :class:`Failure`; a surface renders it, before the first byte or inside the
stream. The kinds are the union of the error tables of the three public contracts, so that a
renderer can be checked for completeness against this enum. A failure carries a *safe* sentence
for the client; the private cause travels as ``__cause__`` and never leaves the process.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Blame(StrEnum):
    """Whose fault it is: decides severity of the log line and whether a breaker may count it."""

    CLIENT = "client"
    POLICY = "policy"
    GATEWAY = "gateway"
    PROVIDER = "provider"


class FailureKind(StrEnum):
    """Every kind of failure of every contract. The value is what rows, metrics and docs show."""

    # The request itself
    INVALID_JSON = "invalid_json"
    INVALID_BODY = "invalid_body"
    MISSING_FIELD = "missing_field"
    INVALID_VALUE = "invalid_value"
    INVALID_ROLE = "invalid_role"
    INVALID_CONTEXT_ID = "invalid_context_id"
    TEXT_TOO_LONG = "text_too_long"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    UNSUPPORTED_TOOL_TYPE = "unsupported_tool_type"
    MUTUALLY_EXCLUSIVE_PARAMETERS = "mutually_exclusive_parameters"
    AGENT_VERSION_PINNING_UNSUPPORTED = "agent_version_pinning_unsupported"
    AGENT_INPUTS_UNMAPPABLE = "agent_inputs_unmappable"
    AGENT_INPUT_MISSING = "agent_input_missing"
    UNSUPPORTED_DOCUMENT_TYPE = "unsupported_document_type"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    BODY_TIMEOUT = "body_timeout"

    # Who asks
    DUPLICATE_CREDENTIALS = "duplicate_credentials"
    INVALID_API_KEY = "invalid_api_key"
    KEY_REVOKED = "key_revoked"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    API_KEY_ACCESS_DENIED = "api_key_access_denied"

    # What is asked for
    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RESOURCE_NOT_FOUND = "resource_not_found"
    RESOURCE_FORBIDDEN = "resource_forbidden"
    CONTEXT_NOT_FOUND = "context_not_found"
    MESSAGE_NOT_FOUND = "message_not_found"
    PREVIOUS_RESPONSE_NOT_FOUND = "previous_response_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_RETIRED = "model_retired"
    DUPLICATE_ID = "duplicate_id"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"

    # What policy says
    MODEL_ACCESS_DENIED = "model_access_denied"
    PREMIUM_NOT_ENABLED = "premium_not_enabled"
    FEATURE_NOT_ALLOWED = "feature_not_allowed"
    BAA_REQUIRED = "baa_required"
    DLP_BLOCKED = "dlp_blocked"
    PHI_BLOCKED = "phi_blocked"
    PHI_IN_TOOL_SCHEMA = "phi_in_tool_schema"
    UNINSPECTABLE_CONTENT = "uninspectable_content"
    CREDITS_EXHAUSTED = "credits_exhausted"
    BUDGET_EXCEEDED = "budget_exceeded"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_EXCEEDED = "concurrency_exceeded"
    QUOTA_EXCEEDED = "quota_exceeded"

    # The gateway
    INTERNAL_ERROR = "internal_error"
    SERVICE_UNAVAILABLE = "service_unavailable"
    DOCUMENT_STILL_PROCESSING = "document_still_processing"

    # The provider
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_EMPTY_BODY = "upstream_empty_body"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_INVALID_RESPONSE = "upstream_invalid_response"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_INTERRUPTED = "upstream_interrupted"
    UPSTREAM_STREAM_ERROR = "upstream_stream_error"

    # Endings nobody is left to be told about: rows only, never rendered
    CLIENT_DISCONNECTED = "client_disconnected"
    INTERRUPTED = "interrupted"


class FailureFacts(msgspec.Struct, frozen=True):
    """What is always true of a kind: blame, whether the same request may succeed later, and the
    sentence shown when a failure brings none of its own."""

    blame: Blame
    retryable: bool
    sentence: str


_C, _P, _G, _U = Blame.CLIENT, Blame.POLICY, Blame.GATEWAY, Blame.PROVIDER
_K = FailureKind

FACTS: Mapping[FailureKind, FailureFacts] = {
    kind: FailureFacts(blame, retryable, sentence)
    for kind, blame, retryable, sentence in (
        (_K.INVALID_JSON, _C, False, "The request body is not valid JSON."),
        (_K.INVALID_BODY, _C, False, "The request body is invalid."),
        (_K.MISSING_FIELD, _C, False, "A required field is missing."),
        (_K.INVALID_VALUE, _C, False, "A field has an invalid value."),
        (_K.INVALID_ROLE, _C, False, "A message has an invalid role."),
        (_K.INVALID_CONTEXT_ID, _C, False, "The context id is invalid."),
        (_K.TEXT_TOO_LONG, _C, False, "A text is too long."),
        (_K.UNSUPPORTED_PARAMETER, _C, False, "A parameter is not supported."),
        (_K.UNSUPPORTED_TOOL_TYPE, _C, False, "A tool type is not supported."),
        (_K.MUTUALLY_EXCLUSIVE_PARAMETERS, _C, False, "Two parameters exclude each other."),
        (_K.AGENT_VERSION_PINNING_UNSUPPORTED, _C, False, "An agent's version cannot be pinned."),
        (_K.AGENT_INPUTS_UNMAPPABLE, _C, False, "The agent has two or more named inputs."),
        (_K.AGENT_INPUT_MISSING, _C, False, "A required input of the agent is missing."),
        (_K.UNSUPPORTED_DOCUMENT_TYPE, _C, False, "The document's type is not supported."),
        # Byte for byte what the inference contract promises where max_body_bytes has its default.
        (_K.PAYLOAD_TOO_LARGE, _C, False, "Request body too large. Maximum size is 50 MB."),
        (_K.HEADERS_TOO_LARGE, _C, False, "The request's headers are too large."),
        (_K.UNSUPPORTED_MEDIA_TYPE, _C, False, "The body's encoding or type is not supported."),
        (_K.NOT_ACCEPTABLE, _C, False, "No acceptable representation: see the Accept header."),
        (_K.BODY_TIMEOUT, _C, True, "The request body did not arrive in time."),
        (_K.DUPLICATE_CREDENTIALS, _C, False, "A credential header was sent more than once."),
        (_K.INVALID_API_KEY, _C, False, "Unauthorized"),
        (_K.KEY_REVOKED, _C, False, "The API key was revoked."),
        (_K.INSUFFICIENT_SCOPE, _P, False, "The API key lacks the required scope."),
        (
            _K.API_KEY_ACCESS_DENIED,
            _P,
            False,
            "None of the key owner's groups grants API key access. Ask an administrator.",
        ),
        (_K.ROUTE_NOT_FOUND, _C, False, "Unknown request URL."),
        (_K.METHOD_NOT_ALLOWED, _C, False, "Method not allowed on this URL."),
        (_K.RESOURCE_NOT_FOUND, _C, False, "Not found."),
        (_K.RESOURCE_FORBIDDEN, _P, False, "You may not read this resource."),
        (_K.CONTEXT_NOT_FOUND, _C, False, "The context does not exist or has expired."),
        (_K.MESSAGE_NOT_FOUND, _C, False, "The message does not exist in this context."),
        (_K.PREVIOUS_RESPONSE_NOT_FOUND, _C, False, "The previous response was not found."),
        (_K.MODEL_NOT_FOUND, _C, False, "Model not found."),
        (_K.MODEL_RETIRED, _C, False, "The model has been retired."),
        (_K.DUPLICATE_ID, _C, False, "The id is already used."),
        (_K.IDEMPOTENCY_KEY_REUSED, _C, False, "The idempotency key belongs to another request."),
        (_K.IDEMPOTENCY_IN_PROGRESS, _C, True, "The first request with this key still runs."),
        (_K.MODEL_ACCESS_DENIED, _P, False, "Your groups do not grant access to this model."),
        (_K.PREMIUM_NOT_ENABLED, _P, False, "Premium models are not enabled for this org."),
        (_K.FEATURE_NOT_ALLOWED, _P, False, "The feature is not enabled for this org."),
        (_K.BAA_REQUIRED, _P, False, "No active Business Associate Agreement."),
        (_K.DLP_BLOCKED, _P, False, "The request was blocked by a data protection policy."),
        (_K.PHI_BLOCKED, _P, False, "The request contains protected health information."),
        (_K.PHI_IN_TOOL_SCHEMA, _P, False, "A tool definition contains protected information."),
        (_K.UNINSPECTABLE_CONTENT, _P, False, "The request contains content that cannot be inspected."),
        (_K.CREDITS_EXHAUSTED, _P, False, "The credits of this cycle are used up."),
        (_K.BUDGET_EXCEEDED, _P, False, "The spend cap is reached."),
        (_K.RATE_LIMITED, _P, True, "Rate limit exceeded."),
        (_K.CONCURRENCY_EXCEEDED, _P, True, "Too many concurrent requests."),
        (_K.QUOTA_EXCEEDED, _P, False, "The monthly quota is used up."),
        (_K.INTERNAL_ERROR, _G, True, "Internal error."),
        (_K.SERVICE_UNAVAILABLE, _G, True, "The gateway is temporarily unavailable."),
        (_K.DOCUMENT_STILL_PROCESSING, _G, True, "The document is still being processed."),
        (_K.UPSTREAM_ERROR, _U, True, "The provider returned an error."),
        (_K.UPSTREAM_REJECTED, _U, False, "The provider rejected the request."),
        (_K.UPSTREAM_EMPTY_BODY, _U, True, "upstream returned an empty body"),
        (_K.UPSTREAM_UNREACHABLE, _U, True, "upstream could not be reached"),
        (_K.UPSTREAM_INVALID_RESPONSE, _U, True, "upstream returned an invalid response"),
        (_K.UPSTREAM_TIMEOUT, _U, True, "upstream did not answer in time"),
        (_K.UPSTREAM_INTERRUPTED, _U, True, "upstream stream interrupted"),
        (_K.UPSTREAM_STREAM_ERROR, _U, True, "upstream reported an error inside the stream"),
        (_K.CLIENT_DISCONNECTED, _C, False, "The client left."),
        (_K.INTERRUPTED, _G, True, "The gateway stopped during the exchange."),
    )
}


class Failure(Exception):
    """One classified failure.

    ``message`` is safe to show: it never holds prompt text, key material or internals.
    ``param`` names the field at fault; ``details`` are facts for machines (contract tables);
    ``retry_after_s`` is a whole number of seconds >= 1 when waiting that long helps;
    ``headers`` are further response headers the failure calls for (such as ``allow``).
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str | None = None,
        *,
        param: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after_s: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.kind = kind
        self.message = FACTS[kind].sentence if message is None else message
        self.param = param
        self.details = details or {}
        self.retry_after_s = retry_after_s
        self.headers = headers
        super().__init__(self.message)

    @property
    def blame(self) -> Blame:
        return FACTS[self.kind].blame

    @property
    def retryable(self) -> bool:
        return FACTS[self.kind].retryable

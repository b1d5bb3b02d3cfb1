"""What a person should know of each kind of failure: why it happens, and what to do. The errors page is
made of it (``docs/errors.md``)."""

from collections.abc import Mapping
from typing import NamedTuple

from triptych.core.failure import FailureKind


class Advice(NamedTuple):
    cause: str
    remedy: str


_K = FailureKind
_REPORT = "Retry with backoff. If it persists, tell support the request id."
_PROVIDER = "Retry with backoff; a fallback model or a second provider keeps it from callers."

GUIDE: Mapping[FailureKind, Advice] = {
    _K.INVALID_JSON: Advice("The body is not JSON.", "Send one JSON object in UTF-8."),
    _K.INVALID_BODY: Advice(
        "The body, a field of it or of the query string is missing, of the wrong type or out of range; or "
        "the request's framing is.",
        "Correct the field that is named.",
    ),
    _K.MISSING_FIELD: Advice("A field that is required is absent.", "Add the field that is named."),
    _K.INVALID_VALUE: Advice("A field has a value it may not have.", "Correct the field that is named."),
    _K.INVALID_ROLE: Advice("A message has a role that there is not.", "Use one of the roles of the page."),
    _K.INVALID_CONTEXT_ID: Advice(
        "The id of a context has characters, or a length, that ids cannot have.", "Correct the id."
    ),
    _K.TEXT_TOO_LONG: Advice("A text is longer than may be analysed at once.", "Cut the text."),
    _K.UNSUPPORTED_PARAMETER: Advice(
        "A field that this wire does not have, or that the wire of the model's provider cannot express.",
        "Leave the field out, or name a model that is served on the caller's own wire (docs/translation.md).",
    ),
    _K.UNSUPPORTED_TOOL_TYPE: Advice("A tool of a type nobody here runs.", "Leave the tool out."),
    _K.MUTUALLY_EXCLUSIVE_PARAMETERS: Advice("Two fields exclude each other.", "Leave one of them out."),
    _K.AGENT_VERSION_PINNING_UNSUPPORTED: Advice(
        "An agent is named with a version.", "Name the agent alone."
    ),
    _K.AGENT_INPUTS_UNMAPPABLE: Advice(
        "An agent has two or more named inputs, and a chat has one text.", "Call an agent with one input."
    ),
    _K.AGENT_INPUT_MISSING: Advice("An input that the agent needs is absent.", "Add the input."),
    _K.UNSUPPORTED_DOCUMENT_TYPE: Advice(
        "The content of a document is of no type that can be read.", "Convert the document."
    ),
    _K.PAYLOAD_TOO_LARGE: Advice(
        "The body is over the limit (server.max_body_bytes, or a smaller one of the surface).",
        "Send less; or raise the limit.",
    ),
    _K.HEADERS_TOO_LARGE: Advice("The headers are over the limit (server.max_header_bytes).", "Send fewer."),
    _K.UNSUPPORTED_MEDIA_TYPE: Advice(
        "Content-Encoding is neither gzip nor zstd, or Content-Type is not the one the path takes.",
        "Send plain JSON.",
    ),
    _K.NOT_ACCEPTABLE: Advice("Accept rules out every form of the answer.", "Accept application/json."),
    _K.BODY_TIMEOUT: Advice("The body did not arrive within server.body_timeout_s.", "Send it faster."),
    _K.DUPLICATE_CREDENTIALS: Advice("Authorization, or x-api-key, was sent twice.", "Send it once."),
    _K.INVALID_API_KEY: Advice(
        "The key is missing, malformed, unknown or expired.",
        "Send a key as Authorization: Bearer or as x-api-key; `triptych keys create` makes one.",
    ),
    _K.KEY_REVOKED: Advice("The key was revoked.", "Use another key."),
    _K.INSUFFICIENT_SCOPE: Advice(
        "The key lacks the scope that the call needs.", "Use a key with the scope that is named."
    ),
    _K.API_KEY_ACCESS_DENIED: Advice(
        "None of the groups of the key's owner has api_key_access.", "Ask an administrator of the org."
    ),
    _K.ROUTE_NOT_FOUND: Advice("Nothing is served at the path.", "Compare the path with /openapi.json."),
    _K.METHOD_NOT_ALLOWED: Advice("The path has other methods.", "Use one of those in the Allow header."),
    _K.RESOURCE_NOT_FOUND: Advice(
        "What the id names does not exist, is past its retention, or belongs to another org.",
        "Check the id, and that the key is of the org (and environment) that made it.",
    ),
    _K.RESOURCE_FORBIDDEN: Advice(
        "What the id names belongs to another user of the org.", "Use a key of its owner."
    ),
    _K.CONTEXT_NOT_FOUND: Advice("There is no such context, or it has expired.", "Begin a new one."),
    _K.MESSAGE_NOT_FOUND: Advice("The context has no such message.", "Check the id."),
    _K.PREVIOUS_RESPONSE_NOT_FOUND: Advice(
        "The response to go on from is not stored here, has not ended, or failed.",
        "Send the conversation itself.",
    ),
    _K.MODEL_NOT_FOUND: Advice(
        "No model of that id is configured.", "Choose one of those that the list of models shows."
    ),
    _K.MODEL_RETIRED: Advice(
        "The date of the model's retirement has passed.", "Use the replacement that is named."
    ),
    _K.DUPLICATE_ID: Advice("Something of that id exists.", "Choose another id."),
    _K.IDEMPOTENCY_KEY_REUSED: Advice(
        "The Idempotency-Key came with another body before.", "Give each request a key of its own."
    ),
    _K.IDEMPOTENCY_IN_PROGRESS: Advice(
        "The first request with the Idempotency-Key is still being answered.", "Retry shortly."
    ),
    _K.MODEL_ACCESS_DENIED: Advice(
        "No group of the caller names the model, or the model names none of the groups; or it has no price "
        "and limits.unpriced is refuse.",
        "Ask an administrator of the org.",
    ),
    _K.PREMIUM_NOT_ENABLED: Advice(
        "The model is of the tier premium, and the org has not opted in (opus_enabled).",
        "Enable it at Settings > Billing > Model Access, or with PUT /v1/usage/budget.",
    ),
    _K.FEATURE_NOT_ALLOWED: Advice(
        "A health-care org uses a feature that is not on its allowlist.", "Ask an administrator to add it."
    ),
    _K.BAA_REQUIRED: Advice(
        "The org is a health-care org without an active Business Associate Agreement; or no provider of the "
        "model is covered by one.",
        "Sign at Settings > Compliance, or with `triptych baa sign`; state the provider's `baa`.",
    ),
    _K.DLP_BLOCKED: Advice("A filter of the org found a term that may not leave.", "Remove the term."),
    _K.PHI_BLOCKED: Advice(
        "Protected health information was found, and the mode is block.",
        "Remove it from the field that is named; or let it be redacted (phi_mode).",
    ),
    _K.PHI_IN_TOOL_SCHEMA: Advice(
        "The definition of a tool holds protected information, whatever the mode: providers store it.",
        "Remove it from the definition.",
    ),
    _K.UNINSPECTABLE_CONTENT: Advice(
        "An image or another binary block cannot be inspected for protected information.",
        "Send text; or ask an administrator to enable uninspectable_content.",
    ),
    _K.CREDITS_EXHAUSTED: Advice(
        "The credits of the cycle are used up, or held by running requests.",
        "Wait for the next cycle, or ask for more.",
    ),
    _K.BUDGET_EXCEEDED: Advice(
        "The spend cap of the key, user, group or org is reached.",
        "Raise the cap, or wait for the next cycle.",
    ),
    _K.RATE_LIMITED: Advice(
        "Too many requests or tokens in a minute or a day.", "Wait as long as Retry-After says."
    ),
    _K.CONCURRENCY_EXCEEDED: Advice(
        "Too many requests at the same time.", "Retry when one of them has ended."
    ),
    _K.QUOTA_EXCEEDED: Advice("The monthly quota is used up.", "Wait for the next month, or ask for more."),
    _K.INTERNAL_ERROR: Advice("A bug, or stored content that was tampered with.", _REPORT),
    _K.SERVICE_UNAVAILABLE: Advice(
        "The gateway is stopping, or stood still for too long; every provider of the model is failing; or "
        "the database, the limits or the guard cannot be asked. Nothing was sent.",
        "Retry with backoff; /readyz tells which part it is.",
    ),
    _K.DOCUMENT_STILL_PROCESSING: Advice("The document is not ready yet.", "Wait for its webhook."),
    _K.UPSTREAM_ERROR: Advice("The provider answered with an error status.", _PROVIDER),
    _K.UPSTREAM_REJECTED: Advice(
        "The provider says that the body is at fault (400 or 422).", "Correct it as the message says."
    ),
    _K.UPSTREAM_EMPTY_BODY: Advice("The provider answered without a body.", _PROVIDER),
    _K.UPSTREAM_UNREACHABLE: Advice("The provider could not be connected to.", _PROVIDER),
    _K.UPSTREAM_INVALID_RESPONSE: Advice("The provider's answer cannot be understood.", _PROVIDER),
    _K.UPSTREAM_TIMEOUT: Advice(
        "The provider did not answer, or fell silent, in time (first_byte_timeout_s, idle_stream_timeout_s, "
        "request_timeout_s).",
        _PROVIDER,
    ),
    _K.UPSTREAM_INTERRUPTED: Advice("The provider's answer broke off.", _PROVIDER),
    _K.UPSTREAM_STREAM_ERROR: Advice("The provider told of an error inside the stream.", _PROVIDER),
    _K.CLIENT_DISCONNECTED: Advice(
        "The client left. It stands in rows only: nobody is left to be told.", "None is needed."
    ),
    _K.INTERRUPTED: Advice(
        "The gateway stopped while the exchange ran. It stands in rows; a stream that is cut at the drain "
        "limit ends with it.",
        "Retry.",
    ),
}

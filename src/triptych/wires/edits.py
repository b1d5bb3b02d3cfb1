"""Every edit the gateway may make to relayed bytes. What is not listed here passes untouched; the
page ``docs/edits.md`` is generated from this table."""

import msgspec


class PermittedEdit(msgspec.Struct, frozen=True):
    wire: str
    direction: str
    """``request`` or ``answer``."""
    what: str
    when: str
    why: str


BEDROCK = "anthropic-messages (bedrock)"
"""To a provider of kind ``bedrock``, after the edits of the wire itself."""

CLINICAL = "anthropic-messages (clinical)"
"""On the clinical surface, besides those of the wire itself."""

PERMITTED_EDITS = (
    PermittedEdit(
        "anthropic-messages",
        "request",
        "the value of `model`",
        "the provider knows the model under another id",
        "the catalogue maps ids; the answer's `model` stays as the provider wrote it",
    ),
    PermittedEdit(
        "anthropic-messages",
        "request",
        "`metadata`, `litellm_metadata`, `proxy_server_request` (top level) are removed",
        "they are present",
        "callers may not spoof governance data; of `metadata.user_id` a keyed hash is kept in the row",
    ),
    PermittedEdit(
        "anthropic-messages",
        "answer",
        "an `event: error` frame is appended",
        "the provider's stream broke, stalled, or ended without its terminal event",
        "a stream never ends in silence",
    ),
    PermittedEdit(
        CLINICAL,
        "answer",
        "the value of `id`: of a whole message, and of the `message` in `message_start`",
        "always",
        "message, request and run of one exchange share their ULID, and the record is found by it",
    ),
    PermittedEdit(
        CLINICAL,
        "answer",
        "`meta` is inserted at the end of the top level of a whole answer",
        "always",
        "it tells the request id, and what the guard found",
    ),
    PermittedEdit(
        CLINICAL,
        "answer",
        "the provider's `event: error` is replaced by one of the surface's own",
        "the provider fails inside the stream",
        "clients branch on `error.code`",
    ),
    PermittedEdit(
        BEDROCK,
        "request",
        "`model` and `stream` (top level) are removed",
        "they are present",
        "both travel in the URL, and Bedrock refuses them in a body",
    ),
    PermittedEdit(
        BEDROCK,
        "request",
        "`anthropic_version` is inserted in front",
        "the body has none",
        "Bedrock demands it; the header `anthropic-version` is not sent",
    ),
    PermittedEdit(
        BEDROCK,
        "request",
        "`anthropic_beta` is inserted in front",
        "the header `anthropic-beta` asks for betas and the body has none",
        "Bedrock reads betas from the body only; the header is not sent",
    ),
    PermittedEdit(
        BEDROCK,
        "request",
        "the body, edited as above, is wrapped as the CountTokens API wants it (Base64 in a JSON object), "
        "with `max_tokens` when it has none; `token-counting-2024-11-01` is not among its betas",
        "tokens are counted",
        "what is counted is what would be invoked; the value of `max_tokens` (the least allowed) is not "
        "counted, and Bedrock takes that beta for an unknown one",
    ),
    PermittedEdit(
        BEDROCK,
        "answer",
        "messages of the binary event stream are written as server-sent events; an exception becomes an "
        "`event: error` frame, and nothing follows it",
        "the answer is streamed",
        "the client reads server-sent events; the data of each are the bytes inside its message",
    ),
    PermittedEdit(
        BEDROCK,
        "answer",
        "the count is written anew: its `inputTokens` is `input_tokens`",
        "tokens are counted",
        "the Messages API calls it so",
    ),
    PermittedEdit(
        "openai-chat",
        "request",
        "the value of `model`; `metadata`, `litellm_metadata`, `proxy_server_request` removed",
        "as for anthropic-messages",
        "as for anthropic-messages",
    ),
    PermittedEdit(
        "openai-chat",
        "request",
        "`stream_options.include_usage` is set to true",
        "the request is streamed and does not ask for its usage",
        "the exchange is metered by the provider's own count",
    ),
    PermittedEdit(
        "openai-chat",
        "answer",
        "the usage chunk (`choices` empty) is removed",
        "the client did not ask for it",
        "the client sees the stream it asked for",
    ),
    PermittedEdit(
        "openai-chat",
        "answer",
        "an `event: error` frame and `data: [DONE]` are appended",
        "the provider's stream broke, stalled, or ended without `[DONE]`",
        "a stream never ends in silence",
    ),
    PermittedEdit(
        "openai-responses",
        "request",
        "the value of `model`; `metadata`, `litellm_metadata`, `proxy_server_request` removed",
        "as for anthropic-messages",
        "as for anthropic-messages",
    ),
    PermittedEdit(
        "openai-responses",
        "request",
        "`store: false` is inserted, or replaces another value",
        "`store` is not false already",
        "the provider's default is to keep what it answers",
    ),
    PermittedEdit(
        "openai-responses",
        "request",
        "`previous_response_id` and `conversation` are removed, and what was said before goes into `input` "
        "before the caller's own items",
        "they are present",
        "what they name is stored here, and the provider knows nothing of it",
    ),
    PermittedEdit(
        "openai-responses",
        "request",
        "items of reasoning whose `encrypted_content` is another vendor's (`anthropic:`, "
        "`anthropic-redacted:`) are removed from `input`",
        "a stored response or conversation is continued, and they are present",
        "no provider of this wire can read them, and OpenAI refuses all of a request that has one",
    ),
    PermittedEdit(
        "openai-responses",
        "answer",
        "`store`, `conversation` and `previous_response_id` of the response object say where it is kept; a "
        "whole answer gets `output_text` where it has none",
        "the caller asked for `store: true`",
        "the provider was told to keep nothing, and the caller needs to know the conversation",
    ),
    PermittedEdit(
        "openai-responses",
        "answer",
        "an `event: error` and an `event: response.failed` frame are appended",
        "the provider's stream broke, stalled, or ended without its terminal event",
        "a stream never ends in silence",
    ),
    *(
        edit
        for wire in ("anthropic-messages", "openai-chat", "openai-responses")
        for edit in (
            PermittedEdit(
                wire,
                "request",
                "the bytes of values that the PHI/DLP guard found become placeholders, such as "
                "`[PERSON_1]`; a text document in Base64 in which one was found is encoded anew",
                "the policy of the caller, or of the model, says `redact`",
                "what identifies a person or opens a door does not leave the process",
            ),
            PermittedEdit(
                wire,
                "answer",
                "placeholders of the request become the values; offsets of citations are counted anew; the "
                "text of an event may be told in the next one of its part, or in one of its own",
                "values of the request were replaced",
                "the caller reads his own values",
            ),
        )
    ),
)

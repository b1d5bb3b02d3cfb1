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
        "answer",
        "an `event: error` and an `event: response.failed` frame are appended",
        "the provider's stream broke, stalled, or ended without its terminal event",
        "a stream never ends in silence",
    ),
)

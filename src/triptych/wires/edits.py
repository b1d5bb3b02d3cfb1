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
)

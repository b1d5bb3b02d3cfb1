"""Words of this wire's answers, and what they mean."""

from collections.abc import Mapping

import msgspec

from triptych.core.conversation import Stop
from triptych.core.usage import Usage, UsageSource
from triptych.wires.anthropic_messages.usage import Counts, thinking_tokens
from triptych.wires.estimate import believable, plausible

STOPS = {
    "end_turn": Stop.END,
    "max_tokens": Stop.MAX_TOKENS,
    "stop_sequence": Stop.SEQUENCE,
    "tool_use": Stop.TOOL_CALLS,
    "pause_turn": Stop.END,
    "refusal": Stop.REFUSED,
    "model_context_window_exceeded": Stop.CONTEXT_WINDOW,
}
"""A word that is not here is one that came later, and is read as the regular end."""

STOP_REASONS = {stop: word for word, stop in STOPS.items() if word != "pause_turn"}

TIERS = {"standard": "default", "priority": "priority"}
TIER_WORDS = {meaning: word for word, meaning in TIERS.items()}

_NOTHING_CACHED = {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}

ERROR_TYPES = frozenset(
    (
        "api_error",
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    )
)
"""https://platform.claude.com/docs/en/api/errors"""

_ERRORS = {
    "insufficient_quota": "billing_error",
    "rate_limit_exceeded": "rate_limit_error",
    "requests": "rate_limit_error",
    "tokens": "rate_limit_error",
    "too_many_requests": "rate_limit_error",
    "429": "rate_limit_error",
    "400": "invalid_request_error",
    "402": "billing_error",
    "503": "overloaded_error",
    "529": "overloaded_error",
    "server_is_overloaded": "overloaded_error",
    "slow_down": "overloaded_error",
    "overloaded": "overloaded_error",
    "context_length_exceeded": "invalid_request_error",
    "content_filter": "invalid_request_error",
    "invalid_prompt": "invalid_request_error",
    "invalid_api_key": "authentication_error",
    "model_not_found": "not_found_error",
    "timeout": "timeout_error",
}


def error_type(type_: str, code: str | None) -> str:
    """The word of this wire for another vendor's error; the code says more than the type. Where it is a
    number (OpenRouter, Azure), it is an HTTP status."""
    for word in (code or "", type_):
        if word in ERROR_TYPES:
            return word
        if word in _ERRORS:
            return _ERRORS[word]
    return "api_error"


def usage(counts: Counts | None) -> Usage | None:
    """None unless what was read and what was written were both counted, believably."""
    if counts is None:
        return None
    input_tokens, output_tokens = plausible(counts.input_tokens), plausible(counts.output_tokens)
    cache_read, cache_write = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    if input_tokens is None or output_tokens is None:
        return None
    if not (believable(cache_read) and believable(cache_write)):
        return None
    return Usage(
        input_tokens,
        output_tokens,
        plausible(cache_read) or 0,
        plausible(cache_write) or 0,
        min(thinking_tokens(counts.output_tokens_details), output_tokens),
        UsageSource.PROVIDER,
    )


def written_usage(used: Usage | None, service_tier: str | None = None) -> dict[str, object]:
    """The ``usage`` object of a message, which always has one, whole: zeros when nothing was counted,
    null for what another wire does not tell (``anthropic.types.Usage``)."""
    return {
        **_counts(used or Usage()),
        "cache_creation": _cache_creation(used),
        "inference_geo": None,
        "service_tier": TIER_WORDS.get(service_tier or ""),
    }


def ending_usage(used: Usage | None, service_tier: str | None) -> dict[str, object]:
    """The ``usage`` of a ``message_delta`` (``anthropic.types.MessageDeltaUsage``). What the vendor tells at
    the start and others tell last, is here when it is known."""
    written = _counts(used or Usage())
    if (cached := _cache_creation(used)) is not None:
        written["cache_creation"] = cached
    if service_tier in TIER_WORDS:
        written["service_tier"] = TIER_WORDS[service_tier]
    return written


def _cache_creation(used: Usage | None) -> Mapping[str, int] | None:
    """For how long something was written to a cache no other wire says."""
    return _NOTHING_CACHED if used is not None and not used.cache_write_tokens else None


def _counts(used: Usage) -> dict[str, object]:
    return {
        "input_tokens": used.input_tokens,
        "cache_creation_input_tokens": used.cache_write_tokens,
        "cache_read_input_tokens": used.cache_read_tokens,
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"thinking_tokens": used.reasoning_tokens},
        "server_tool_use": None,
    }


class Tiered(msgspec.Struct):
    """What else stands in a usage object."""

    service_tier: object = None


def read_tier(tiered: Tiered | None) -> str | None:
    return TIERS.get(tiered.service_tier) if tiered and isinstance(tiered.service_tier, str) else None

"""Token counts as Anthropic reports them, made into :class:`Usage`.

``input_tokens`` excludes what was read from and written to the cache, so the three add up without
overlap. Providers and what imitates them also report nothing, negative, fractional or absurd
numbers: such a count is replaced by an estimate of four characters per token, and the usage is
labelled so. Four is the rule of thumb Anthropic itself gives for English text.
"""

import re

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS, Usage, UsageSource

CHARS_PER_TOKEN = 4

# An escape of half a surrogate pair (group 1), told from whole pairs and from other escapes.
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


class Counts(msgspec.Struct):
    """What a usage object says, believable or not."""

    input_tokens: object = None
    output_tokens: object = None
    cache_read_input_tokens: object = None
    cache_creation_input_tokens: object = None
    output_tokens_details: object = None


class _Answer(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _TextBlock(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_COUNTS = msgspec.json.Decoder(Counts)
_ANSWER = msgspec.json.Decoder(_Answer)
_CONTENT = msgspec.json.Decoder(list[_TextBlock])

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes of a provider may raise."""


def plausible(count: object) -> int | None:
    """The count when it is one: an integer, not negative, not absurd."""
    if type(count) is int and 0 <= count <= MAX_PLAUSIBLE_TOKENS:
        return count
    return None


def thinking_tokens(details: object) -> int:
    """``output_tokens_details.thinking_tokens``: part of the output tokens, 0 when not reported."""
    return (plausible(details.get("thinking_tokens")) or 0) if isinstance(details, dict) else 0


def read_counts(raw: msgspec.Raw | msgspec.UnsetType) -> Counts | None:
    """The counts of a usage object; None when there is none or it is not readable."""
    if raw is msgspec.UNSET:
        return None
    try:
        return _COUNTS.decode(raw)
    except UNREADABLE:
        return None


def read_answer(body: bytes, *, request_bytes: int = 0) -> Usage:
    """Usage of a whole (not streamed) answer. ``request_bytes`` is the length of the request's
    body, for an estimate of the input when the provider's count is of no use.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the body is not a JSON object.
    """
    try:
        answer = _ANSWER.decode(body)
    except UNREADABLE:
        try:
            answer = _ANSWER.decode(_HALF_PAIR.sub(_paired, body))
        except UNREADABLE as error:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error
    counts = read_counts(answer.usage) or Counts()
    cache_read, cache_write = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    input_tokens = plausible(counts.input_tokens)
    output_tokens = plausible(counts.output_tokens)
    believed = believable(cache_read) and believable(cache_write)
    source = UsageSource.PROVIDER if believed else UsageSource.ESTIMATE
    if input_tokens is None:
        input_tokens, source = request_bytes // CHARS_PER_TOKEN, UsageSource.ESTIMATE
    if output_tokens is None:
        output_tokens, source = _text_chars(answer.content) // CHARS_PER_TOKEN, UsageSource.ESTIMATE
    return Usage(
        input_tokens,
        output_tokens,
        plausible(cache_read) or 0,
        plausible(cache_write) or 0,
        min(thinking_tokens(counts.output_tokens_details), output_tokens),
        source,
    )


def _paired(escape: re.Match[bytes]) -> bytes:
    """Half a surrogate pair is JSON by its grammar (RFC 8259, 8.2), but msgspec takes none: a text
    cut inside an emoji is still an answer, and is read with U+FFFD in that place."""
    return b"\\ufffd" if escape[1] else escape[0]


def believable(count: object) -> bool:
    """Whether an optional count is absent, null, or plausible: anything else is a lie."""
    return count is None or plausible(count) is not None


def _text_chars(content: msgspec.Raw | msgspec.UnsetType) -> int:
    if content is msgspec.UNSET:
        return 0
    try:
        blocks = _CONTENT.decode(content)
    except UNREADABLE:
        return memoryview(content).nbytes
    return sum(
        len(block.text)
        + len(block.thinking)
        + (0 if block.input is msgspec.UNSET else memoryview(block.input).nbytes)
        for block in blocks
    )

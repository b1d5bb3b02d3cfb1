"""Token counts as Anthropic reports them, made into :class:`Usage`.

``input_tokens`` excludes what was read from and written to the cache, so the three add up without
overlap.
"""

import msgspec

from triptych.core.usage import Usage, UsageSource
from triptych.wires.estimate import (
    CHARS_PER_TOKEN,
    UNREADABLE,
    PlausibleCount,
    believable,
    decode_answer,
    detail,
    plausible,
    read_optional,
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


class _Thought(msgspec.Struct):
    thinking_tokens: PlausibleCount = 0


class _BelievedCounts(msgspec.Struct):
    """As ``Counts``, where all of them are plausible."""

    input_tokens: PlausibleCount
    output_tokens: PlausibleCount
    cache_read_input_tokens: PlausibleCount | None = None
    cache_creation_input_tokens: PlausibleCount | None = None
    output_tokens_details: _Thought | None = None


class _UsualAnswer(msgspec.Struct):
    usage: _BelievedCounts


class _TextBlock(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_COUNTS = msgspec.json.Decoder(Counts)
_ANSWER = msgspec.json.Decoder(_Answer)
_USUAL_ANSWER = msgspec.json.Decoder(_UsualAnswer)
_CONTENT = msgspec.json.Decoder(list[_TextBlock])


def thinking_tokens(details: object) -> int:
    """``output_tokens_details.thinking_tokens``: part of the output tokens, 0 when not reported."""
    return plausible(detail(details, "thinking_tokens")) or 0


def read_counts(raw: msgspec.Raw | msgspec.UnsetType) -> Counts | None:
    """The counts of a usage object; None when there is none or it is not readable."""
    return read_optional(_COUNTS, raw)


def read_answer(body: bytes, *, request_bytes: int = 0) -> Usage:
    """Usage of a whole (not streamed) answer. ``request_bytes`` is the length of the request's
    body, for an estimate of the input when the provider's count is of no use.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the body is not a JSON object.
    """
    try:
        usual = _USUAL_ANSWER.decode(body).usage
    except UNREADABLE:
        return _doubtful(body, request_bytes)
    details = usual.output_tokens_details
    return Usage(
        usual.input_tokens,
        usual.output_tokens,
        usual.cache_read_input_tokens or 0,
        usual.cache_creation_input_tokens or 0,
        0 if details is None else min(details.thinking_tokens, usual.output_tokens),
        UsageSource.PROVIDER,
    )


def _doubtful(body: bytes, request_bytes: int) -> Usage:
    """Of an answer whose counts are not all to be believed."""
    answer = decode_answer(_ANSWER, body)
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

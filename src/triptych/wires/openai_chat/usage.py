"""Token counts as OpenAI reports them, made into :class:`Usage`.

``prompt_tokens`` includes what was read from the cache (``prompt_tokens_details.cached_tokens``)
and what was written to it (``cache_write_tokens``): both are taken out, so that the three add up
without overlap. ``completion_tokens`` includes the reasoning tokens; where it does not, as xAI's
(https://docs.x.ai/docs/key-information/consumption-and-rate-limits), ``total_tokens`` says so: they
are paid for like the rest.
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

    prompt_tokens: object = None
    completion_tokens: object = None
    prompt_tokens_details: object = None
    completion_tokens_details: object = None
    total_tokens: object = None


class _Answer(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class InputDetails(msgspec.Struct):
    """Where all of them are plausible."""

    cached_tokens: PlausibleCount = 0
    cache_write_tokens: PlausibleCount = 0


class OutputDetails(msgspec.Struct):
    """Where all of them are plausible."""

    reasoning_tokens: PlausibleCount = 0


class _PlausibleCounts(msgspec.Struct):
    """As ``Counts``, where all of them are plausible."""

    prompt_tokens: PlausibleCount
    completion_tokens: PlausibleCount
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    total_tokens: PlausibleCount | None = None


class _UsualAnswer(msgspec.Struct):
    usage: _PlausibleCounts


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Choice(msgspec.Struct):
    message: _Message


_COUNTS = msgspec.json.Decoder(Counts)
_ANSWER = msgspec.json.Decoder(_Answer)
_USUAL_ANSWER = msgspec.json.Decoder(_UsualAnswer)
_CHOICES = msgspec.json.Decoder(list[_Choice])


def read_counts(raw: msgspec.Raw | msgspec.UnsetType) -> Counts | None:
    """The counts of a usage object; None when there is none or it is not readable."""
    return read_optional(_COUNTS, raw)


def usage_of_plausible(
    input_tokens: int,
    output_tokens: int,
    of_input: InputDetails | None,
    of_output: OutputDetails | None,
    total_tokens: int | None,
) -> Usage | None:
    """``usage_of`` for counts that are plausible one by one, of a whole answer; None: not together."""
    cached, written, reasoning = 0, 0, 0
    if of_input is not None:
        cached, written = of_input.cached_tokens, of_input.cache_write_tokens
        if cached + written > input_tokens:
            return None
    if of_output is not None:
        reasoning = of_output.reasoning_tokens
        if reasoning and total_tokens is not None:
            output_tokens += max(0, min(reasoning, total_tokens - input_tokens - output_tokens))
        reasoning = min(reasoning, output_tokens)
    return Usage(
        input_tokens - cached - written, output_tokens, cached, written, reasoning, UsageSource.PROVIDER
    )


def usage_of(counts: Counts, *, request_bytes: int, text_bytes: int, whole: bool) -> Usage:
    """``text_bytes`` is what was seen of the answer; ``whole``: it came to its regular end."""
    cached = detail(counts.prompt_tokens_details, "cached_tokens")
    written = detail(counts.prompt_tokens_details, "cache_write_tokens")
    prompt_tokens = plausible(counts.prompt_tokens)
    output_tokens = plausible(counts.completion_tokens)
    believed = (
        whole
        and believable(cached)
        and believable(written)
        and prompt_tokens is not None
        and output_tokens is not None
    )
    reasoning = plausible(detail(counts.completion_tokens_details, "reasoning_tokens")) or 0
    total_tokens = plausible(counts.total_tokens)
    if reasoning and total_tokens is not None and prompt_tokens is not None and output_tokens is not None:
        output_tokens += max(0, min(reasoning, total_tokens - prompt_tokens - output_tokens))
    if prompt_tokens is None:
        prompt_tokens = request_bytes // CHARS_PER_TOKEN
    if output_tokens is None or not whole:
        output_tokens = max(output_tokens or 0, text_bytes // CHARS_PER_TOKEN)
    cache_read = min(plausible(cached) or 0, prompt_tokens)
    cache_write = min(plausible(written) or 0, prompt_tokens - cache_read)
    # Parts that are more than the whole are a lie too.
    believed = believed and cache_read + cache_write == (cached or 0) + (written or 0)  # type: ignore[operator]
    return Usage(
        prompt_tokens - cache_read - cache_write,
        output_tokens,
        cache_read,
        cache_write,
        min(reasoning, output_tokens),
        UsageSource.PROVIDER if believed else UsageSource.ESTIMATE,
    )


def read_answer(body: bytes, *, request_bytes: int = 0) -> Usage:
    """Usage of a whole (not streamed) answer. ``request_bytes`` is the length of the request's
    body, for an estimate of the input when the provider's count is of no use.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the body is not a JSON object.
    """
    try:
        counted = _USUAL_ANSWER.decode(body).usage
    except UNREADABLE:
        return _doubtful(body, request_bytes)
    usage = usage_of_plausible(
        counted.prompt_tokens,
        counted.completion_tokens,
        counted.prompt_tokens_details,
        counted.completion_tokens_details,
        counted.total_tokens,
    )
    return _doubtful(body, request_bytes) if usage is None else usage


def _doubtful(body: bytes, request_bytes: int) -> Usage:
    """Of an answer whose counts are not all to be believed."""
    answer = decode_answer(_ANSWER, body)
    counts = read_counts(answer.usage) or Counts()
    text_bytes = 0 if plausible(counts.completion_tokens) is not None else _text_bytes(answer.choices)
    return usage_of(counts, request_bytes=request_bytes, text_bytes=text_bytes, whole=True)


def _text_bytes(choices: msgspec.Raw | msgspec.UnsetType) -> int:
    if choices is msgspec.UNSET:
        return 0
    try:
        messages = [choice.message for choice in _CHOICES.decode(choices)]
    except UNREADABLE:
        return memoryview(choices).nbytes
    return sum(
        sum(len(text) for text in (m.content, m.refusal, m.reasoning_content) if text)
        + (0 if m.tool_calls is msgspec.UNSET else memoryview(m.tool_calls).nbytes)
        for m in messages
    )

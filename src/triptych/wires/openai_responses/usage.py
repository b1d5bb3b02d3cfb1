"""Token counts as OpenAI reports them on this wire, made into :class:`Usage`.

The vendor counts as on its Chat Completions wire, under other names: ``input_tokens`` includes what
was read from the cache (``input_tokens_details.cached_tokens``) and what was written to it
(``cache_write_tokens``), ``output_tokens`` includes the reasoning tokens.
"""

import msgspec

from triptych.core.usage import NO_USAGE, Usage
from triptych.wires.estimate import UNREADABLE, PlausibleCount, decode_answer, plausible, read_optional
from triptych.wires.openai_chat.usage import Counts as ChatCounts
from triptych.wires.openai_chat.usage import InputDetails, OutputDetails, usage_of, usage_of_plausible

FAILED = "failed"


class Counts(msgspec.Struct):
    """What a usage object says, believable or not."""

    input_tokens: object = None
    output_tokens: object = None
    input_tokens_details: object = None
    output_tokens_details: object = None


class _Answer(msgspec.Struct):
    status: object = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _PlausibleCounts(msgspec.Struct):
    """As ``Counts``, where all of them are plausible."""

    input_tokens: PlausibleCount
    output_tokens: PlausibleCount
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class _UsualAnswer(msgspec.Struct):
    usage: _PlausibleCounts


class _Text(msgspec.Struct):
    text: str = ""
    refusal: str = ""


class _Item(msgspec.Struct):
    content: list[_Text] | None = None
    summary: list[_Text] | None = None
    arguments: str | None = None
    input: str | None = None


_COUNTS = msgspec.json.Decoder(Counts)
_ANSWER = msgspec.json.Decoder(_Answer)
_USUAL_ANSWER = msgspec.json.Decoder(_UsualAnswer)
_OUTPUT = msgspec.json.Decoder(list[_Item])


def read_counts(raw: msgspec.Raw | msgspec.UnsetType) -> Counts | None:
    """The counts of a usage object; None when there is none (null too) or it is not readable."""
    return read_optional(_COUNTS, raw)


def counted(counts: Counts, *, request_bytes: int, text_bytes: int, whole: bool) -> Usage:
    """Without overlap. ``text_bytes`` is what was seen of the answer; ``whole``: the counts are
    the provider's last word."""
    same = ChatCounts(
        counts.input_tokens,
        counts.output_tokens,
        counts.input_tokens_details,
        counts.output_tokens_details,
    )
    return usage_of(same, request_bytes=request_bytes, text_bytes=text_bytes, whole=whole)


def read_answer(body: bytes, *, request_bytes: int = 0) -> Usage:
    """Usage of a whole (not streamed) answer. ``request_bytes`` is the length of the request's
    body, for an estimate of the input when the provider's count is of no use. NO_USAGE for a
    response that failed and counts nothing: the provider bills none of it.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the body is not a JSON object.
    """
    try:
        counts = _USUAL_ANSWER.decode(body).usage
    except UNREADABLE:
        return _doubtful(body, request_bytes)
    usage = usage_of_plausible(
        counts.input_tokens,
        counts.output_tokens,
        counts.input_tokens_details,
        counts.output_tokens_details,
        None,
    )
    return _doubtful(body, request_bytes) if usage is None else usage


def _doubtful(body: bytes, request_bytes: int) -> Usage:
    """Of an answer whose counts are not all to be believed, or are not there."""
    answer = decode_answer(_ANSWER, body)
    counts = read_counts(answer.usage)
    if counts is None and answer.status == FAILED:
        return NO_USAGE
    counts = counts or Counts()
    text_bytes = 0 if plausible(counts.output_tokens) is not None else _text_bytes(answer.output)
    return counted(counts, request_bytes=request_bytes, text_bytes=text_bytes, whole=True)


def _text_bytes(output: msgspec.Raw | msgspec.UnsetType) -> int:
    if output is msgspec.UNSET:
        return 0
    try:
        items = _OUTPUT.decode(output)
    except UNREADABLE:
        return memoryview(output).nbytes
    return sum(
        len(item.arguments or "")
        + len(item.input or "")
        + sum(len(part.text) + len(part.refusal) for part in (*(item.content or ()), *(item.summary or ())))
        for item in items
    )

"""What whole answers and chunks of a streamed one have in common, as providers write it.

Source: ``openai.types.chat``; beside OpenAI, what compatible servers add or leave out. Unknown
fields are no concern; what is known must have its type.
"""

from collections.abc import Iterable

import msgspec

from triptych.core.conversation import Citation, Stop
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage
from triptych.wires.openai_chat.thinking_blocks import Block
from triptych.wires.openai_chat.usage import Counts, read_counts, usage_of

NO_ARGUMENTS = "{}"
"""A call without arguments: some providers write nothing at all, and no client can read that."""

_ID_PREFIX = "chatcmpl-"
_MAX_TIME_S = 2**53
_OBJECT = ord("{")
_STOPS = {
    "stop": Stop.END,
    "length": Stop.MAX_TOKENS,
    "model_length": Stop.CONTEXT_WINDOW,
    "content_filter": Stop.REFUSED,
    "tool_calls": Stop.TOOL_CALLS,
    "function_call": Stop.TOOL_CALLS,
}
# The provider's own words for an answer that it could not finish (vLLM, Mistral, DeepSeek).
_UNFINISHED = ("abort", "error", "insufficient_system_resource")
_FINISH_REASONS = {
    Stop.END: "stop",
    Stop.SEQUENCE: "stop",
    Stop.MAX_TOKENS: "length",
    Stop.CONTEXT_WINDOW: "length",
    Stop.TOOL_CALLS: "tool_calls",
    Stop.REFUSED: "content_filter",
}


class ContentPart(msgspec.Struct, gc=False):
    """Mistral writes content as an array when the model reasons."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    thinking: "str | list[ContentPart] | None" = None


class UrlCitation(msgspec.Struct, gc=False):
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Annotation(msgspec.Struct, gc=False):
    url_citation: UrlCitation | None = None


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, object] | None = None
    """An object in place of its text is what some servers make of it."""


class Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Said(msgspec.Struct, gc=False):
    """The message of a whole answer, or the delta of a chunk."""

    content: str | list[ContentPart] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: object = None
    thinking_blocks: list[Block] | None = None
    annotations: list[Annotation] | None = None
    images: object = None
    audio: object = None
    function_call: object = None


def check_said(said: Said) -> None:
    """Raises Failure for a part of the answer that no other wire has (images, as OpenRouter's models make
    them, audio, a call of the time before tools): to leave it out would change what was answered."""
    if said.images:
        raise invalid("it has images, which cannot be translated")
    if said.audio:
        raise invalid("it has audio, which cannot be translated")
    if isinstance(said.function_call, dict) and any(said.function_call.values()):
        raise invalid("it has a function_call, which was not asked for")


def invalid(what: str) -> Failure:
    """``what`` completes the sentence, and quotes nothing of the answer."""
    return Failure(FailureKind.UPSTREAM_INVALID_RESPONSE, f"upstream returned an invalid response: {what}")


def contents(content: str | list[ContentPart] | None) -> Iterable[tuple[str, str]]:
    """Pairs of ``text`` | ``refusal`` | ``reasoning`` and its text, none of them empty.

    Raises Failure for a part that cannot be understood: it may be half of the answer.
    """
    if isinstance(content, str):
        if content:
            yield "text", content
        return
    for part in content or ():
        match part.type:
            case "text":
                kind, text = "text", part.text
            case "refusal":
                kind, text = "refusal", part.refusal
            case "thinking":
                kind, text = "reasoning", _thought(part.thinking)
            case _:
                raise invalid("content of an unknown type")
        if text:
            yield kind, text


def _thought(thinking: str | list[ContentPart] | None) -> str:
    if isinstance(thinking, list):
        return "".join(part.text or "" for part in thinking)
    return thinking or ""


def reasoning_text(said: Said) -> str:
    """By either of the names that servers have for it."""
    if said.reasoning_content:
        return said.reasoning_content
    return said.reasoning if isinstance(said.reasoning, str) else ""


def arguments_text(arguments: str | dict[str, object] | None) -> str:
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or ""


def stop_of(finish_reason: str | None, stop_reason: object, *, called: bool) -> tuple[Stop, str | None]:
    """Why the answer ended, and the stop sequence when the server tells it (vLLM, as the choice's
    ``stop_reason``). ``called``: there is a tool call; a forced one ends with ``stop`` at OpenAI.

    Raises Failure when the provider says that it did not finish.
    """
    if finish_reason in _UNFINISHED:
        raise invalid("the answer was not finished")
    stop = _STOPS.get(finish_reason or "", Stop.END)
    if stop is Stop.END and isinstance(stop_reason, str) and stop_reason and not called:
        return Stop.SEQUENCE, stop_reason
    if stop in (Stop.END, Stop.TOOL_CALLS):
        stop = Stop.TOOL_CALLS if called else Stop.END
    return stop, None


def finish_reason_of(stop: Stop) -> str:
    return _FINISH_REASONS[stop]


def citations_of(annotations: Iterable[Annotation] | None, before: int = 0) -> Iterable[Citation]:
    """``before``: characters of the answer's text that stand before the part."""
    for annotation in annotations or ():
        cited = annotation.url_citation
        if cited is None:
            continue
        start, end = cited.start_index, cited.end_index
        if start is None or end is None or not before <= start <= end:
            start = end = None
        else:
            start, end = start - before, end - before
        yield Citation(cited.url, cited.title or None, None, start, end)


def annotation_of(citation: Citation, before: int, length: int) -> dict[str, object]:
    """``length`` is that of the part's text, all of which is cited when the citation does not say."""
    start = 0 if citation.start is None else citation.start
    end = length if citation.end is None else citation.end
    return {
        "type": "url_citation",
        "url_citation": {
            "url": citation.url,
            "title": citation.title or "",
            "start_index": before + start,
            "end_index": before + end,
        },
    }


def completion_id(answer_id: str) -> str:
    """Of an answer for a caller: a provider of another wire has ids of another look, and there are
    clients that tell by it which kind of object it is."""
    return answer_id if not answer_id or answer_id.startswith(_ID_PREFIX) else _ID_PREFIX + answer_id


def tier_of(word: object) -> str | None:
    if word == "fast":
        return "priority"
    return word if isinstance(word, str) and word else None


def created_of(created: object) -> int | None:
    """Unix time; None when it is none. Some servers write it with a fraction."""
    seconds = int(created) if isinstance(created, float) else created
    return seconds if type(seconds) is int and 0 <= seconds <= _MAX_TIME_S else None


def usage_told(raw: msgspec.Raw | msgspec.UnsetType) -> Usage | None:
    """None when the provider did not count."""
    # Chunks of a stream have null: that must cost nothing.
    if raw is msgspec.UNSET or memoryview(raw)[0] != _OBJECT:
        return None
    counts = read_counts(raw)
    if counts is None or counts == Counts(total_tokens=counts.total_tokens):
        return None
    return usage_of(counts, request_bytes=0, text_bytes=0, whole=True)


def usage_written(usage: Usage) -> dict[str, object]:
    prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }

"""A whole (not streamed) answer of this wire, read and written.

Unknown fields of a provider's answer are no fault: vendors add them at any time. An unknown block of
content is: leaving it out would change what was answered.
"""

from collections.abc import Mapping, Sequence

import msgspec

from triptych.core.conversation import Answer, Citation, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages.reasoning import VENDOR, redacted_thinking, signature, thinking
from triptych.wires.anthropic_messages.request import MessagesRequest
from triptych.wires.anthropic_messages.tool_input import arguments, tool_input
from triptych.wires.anthropic_messages.usage import read_counts
from triptych.wires.anthropic_messages.vocabulary import (
    STOP_REASONS,
    STOPS,
    Tiered,
    read_tier,
    usage,
    written_usage,
)
from triptych.wires.estimate import decode_answer as decode_json
from triptych.wires.estimate import read_optional

AnswerPart = Text | Refusal | Reasoning | ToolCall

UNSAID: Mapping[str, object] = {"stop_details": None, "container": None}
"""What only this vendor's own features tell; its answers have them always."""

_EMPTY_INPUT = msgspec.Raw(b"{}")


class AnsweredCitation(msgspec.Struct, gc=False):
    type: str = ""
    url: str = ""
    title: str | None = None
    cited_text: str | None = None


class AnsweredBlock(msgspec.Struct):
    """A block of any type; which fields it has depends on it."""

    type: str
    text: str = ""
    citations: list[AnsweredCitation] | None = None
    thinking: str = ""
    signature: str | None = None
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = _EMPTY_INPUT


class _Answered(msgspec.Struct):
    id: str
    model: str
    content: list[AnsweredBlock]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_ANSWERED = msgspec.json.Decoder(_Answered)
_TIERED = msgspec.json.Decoder(Tiered)


def decode_answer(body: bytes) -> Answer:
    """Raises Failure UPSTREAM_INVALID_RESPONSE: not a message of this wire, or one with a block that
    cannot be understood."""
    answered = decode_json(_ANSWERED, body)
    parts = tuple(part for block in answered.content if (part := _part(block)) is not None)
    return Answer(
        id=answered.id,
        model=answered.model,
        parts=parts,
        stop=read_stop(answered.stop_reason, ends_in_call=bool(parts) and isinstance(parts[-1], ToolCall)),
        stop_sequence=answered.stop_sequence,
        usage=usage(read_counts(answered.usage)),
        service_tier=read_tier(read_optional(_TIERED, answered.usage)),
    )


def read_stop(word: str | None, *, ends_in_call: bool) -> Stop:
    """Why the answer ended. Some of the providers that speak this wire leave the word out."""
    if word is None:
        return Stop.TOOL_CALLS if ends_in_call else Stop.END
    return STOPS.get(word, Stop.END)


def read_citation(citation: AnsweredCitation) -> Citation | None:
    """None for what is not a web page: it points into a document that only this vendor numbers."""
    if citation.type != "web_search_result_location" or not citation.url:
        return None
    return Citation(citation.url, citation.title, citation.cited_text or None)


def _part(block: AnsweredBlock) -> AnswerPart | None:
    """None when nothing is said."""
    match block.type:
        case "text":
            cited = (read_citation(citation) for citation in block.citations or ())
            return Text(block.text, tuple(one for one in cited if one is not None)) if block.text else None
        case "tool_use":
            if not block.id or not block.name:
                raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
            return ToolCall(block.id, block.name, read_arguments(block.input))
        case "thinking":
            reasoning = thinking(block.thinking, block.signature or "")
            return reasoning if reasoning.text or reasoning.opaque else None
        case "redacted_thinking":
            return redacted_thinking(block.data)
        case _:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)


def read_arguments(raw: msgspec.Raw) -> str:
    """Raises Failure UPSTREAM_INVALID_RESPONSE when ``input`` is no object."""
    try:
        text = arguments(raw)
    except UnicodeDecodeError as error:
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error
    if memoryview(raw)[0] != ord("{"):
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
    return text


def encode_answer(answer: Answer, parsed: MessagesRequest, *, now_s: int = 0) -> bytes:
    """``parsed`` is the caller's request and ``now_s`` the time; a message tells of neither."""
    del parsed, now_s
    refused = any(isinstance(part, Refusal) for part in answer.parts)
    return msgspec.json.encode(
        {
            "id": answer.id,
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": [_written(part) for part in answer.parts],
            "stop_reason": stop_reason(answer.stop, refused=refused),
            "stop_sequence": answer.stop_sequence,
            **UNSAID,
            "usage": written_usage(answer.usage, answer.service_tier),
        }
    )


def stop_reason(stop: Stop, *, refused: bool) -> str:
    """``refused``: the model refused in words of its own, which on this wire are text."""
    return "refusal" if refused and stop is Stop.END else STOP_REASONS[stop]


def written_citation(citation: Citation) -> dict[str, object]:
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": citation.cited_text or "",
        "encrypted_index": "",
    }


def _written(part: AnswerPart) -> dict[str, object]:
    match part:
        case Text():
            return text_block(part.text, part.citations)
        case Refusal():
            return text_block(part.text)
        case ToolCall():
            return tool_use_block(part.id, part.name, tool_input(part.arguments))
        case Reasoning():
            return written_reasoning(part)


def text_block(text: str, citations: Sequence[Citation] = ()) -> dict[str, object]:
    """``citations`` is never null, which the vendor's schema allows and clients refuse."""
    return {"type": "text", "text": text, "citations": [written_citation(citation) for citation in citations]}


def tool_use_block(id_: str, name: str, written_input: object) -> dict[str, object]:
    """``caller``: the model itself, not code that it runs at the vendor's."""
    return {"type": "tool_use", "id": id_, "name": name, "input": written_input, "caller": {"type": "direct"}}


def written_reasoning(part: Reasoning) -> dict[str, object]:
    opaque = part.opaque
    if opaque is not None and opaque.redacted and opaque.vendor == VENDOR:
        return {"type": "redacted_thinking", "data": opaque.data}
    return {"type": "thinking", "thinking": part.text, "signature": signature(opaque)}

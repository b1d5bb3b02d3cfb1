"""Whole answers of this wire, read and written."""

from collections.abc import Sequence

import msgspec

from triptych.core.conversation import Answer, Reasoning, Refusal, Text, ToolCall
from triptych.wires.estimate import decode_answer as decoded
from triptych.wires.openai_chat.answer_shape import (
    NO_ARGUMENTS,
    Call,
    Said,
    annotation_of,
    arguments_text,
    check_said,
    citations_of,
    completion_id,
    contents,
    created_of,
    finish_reason_of,
    invalid,
    reasoning_text,
    stop_of,
    tier_of,
    usage_told,
    usage_written,
)
from triptych.wires.openai_chat.request import ChatRequest
from triptych.wires.openai_chat.thinking_blocks import blocks_of, reasonings_of

_Part = Text | Refusal | Reasoning | ToolCall


class _Choice(msgspec.Struct):
    message: Said
    finish_reason: str | None = None
    stop_reason: object = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    model: str | None = None
    created: object = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    service_tier: object = None


_ANSWER = msgspec.json.Decoder(_Answer)
_ENCODER = msgspec.json.Encoder()


def decode_answer(body: bytes) -> Answer:
    """A provider's answer, of which there is one choice: more were never asked for.

    Raises Failure UPSTREAM_INVALID_RESPONSE for what cannot be understood.
    """
    told = decoded(_ANSWER, body)
    if not told.choices:
        raise invalid("it has no choices")
    choice = told.choices[0]
    id_ = told.id or ""
    parts = _parts(choice.message, id_)
    called = any(isinstance(part, ToolCall) for part in parts)
    stop, sequence = stop_of(choice.finish_reason, choice.stop_reason, called=called)
    return Answer(
        id=id_,
        model=told.model or "",
        created_s=created_of(told.created),
        parts=parts,
        stop=stop,
        stop_sequence=sequence,
        usage=usage_told(told.usage),
        service_tier=tier_of(told.service_tier),
    )


def _parts(message: Said, id_: str) -> tuple[_Part, ...]:
    check_said(message)
    reasonings = reasonings_of(message.thinking_blocks or ())
    if not reasonings and (thought := reasoning_text(message)):
        reasonings = [Reasoning(thought)]
    spoken: list[Text | Refusal] = []
    citations = tuple(citations_of(message.annotations))
    for kind, text in contents(message.content):
        if kind == "text":
            spoken.append(Text(text, citations))
            citations = ()
        elif kind == "refusal":
            spoken.append(Refusal(text))
        else:
            reasonings.append(Reasoning(text))
    if message.refusal:
        spoken.append(Refusal(message.refusal))
    calls = [_call(index, call, id_) for index, call in enumerate(message.tool_calls or ())]
    return (*reasonings, *spoken, *calls)


def _call(index: int, call: Call, answer_id: str) -> ToolCall:
    function = call.function
    if function is None or not function.name:
        raise invalid("a tool call has no function")
    arguments = arguments_text(function.arguments) or NO_ARGUMENTS
    return ToolCall(call.id or derived_call_id(answer_id, index), function.name, arguments)


def derived_call_id(answer_id: str, index: int) -> str:
    """For servers that give their calls none: the result has to name its call."""
    return f"call_{answer_id}_{index}"


def encode_answer(answer: Answer, parsed: ChatRequest, *, now_s: int = 0) -> bytes:
    """``now_s`` (Unix time) is ``created`` where the provider's wire has no such thing. Nothing of
    the request is echoed on this wire."""
    written: dict[str, object] = {
        "id": completion_id(answer.id),
        "object": "chat.completion",
        "created": now_s if answer.created_s is None else answer.created_s,
        "model": answer.model,
        "choices": [
            {
                "index": 0,
                "message": _message(answer.parts),
                "logprobs": None,
                "finish_reason": finish_reason_of(answer.stop),
            }
        ],
    }
    if answer.usage is not None:
        written["usage"] = usage_written(answer.usage)
    if answer.service_tier is not None:
        written["service_tier"] = answer.service_tier
    return _ENCODER.encode(written)


def _message(parts: Sequence[_Part]) -> dict[str, object]:
    text = ""
    annotations: list[dict[str, object]] = []
    refusals: list[str] = []
    reasonings: list[Reasoning] = []
    calls: list[dict[str, object]] = []
    for part in parts:
        match part:
            case Text():
                length = len(part.text)
                annotations += [annotation_of(citation, len(text), length) for citation in part.citations]
                text += part.text
            case Refusal():
                refusals.append(part.text)
            case Reasoning():
                reasonings.append(part)
            case ToolCall():
                function = {"name": part.name, "arguments": part.arguments or NO_ARGUMENTS}
                calls.append({"id": part.id, "type": "function", "function": function})
    message: dict[str, object] = {
        "role": "assistant",
        "content": text or None,
        "refusal": "".join(refusals) or None,
        "annotations": annotations,
    }
    if thought := "".join(reasoning.text for reasoning in reasonings):
        message["reasoning_content"] = thought
    if blocks := blocks_of(reasonings):
        message["thinking_blocks"] = blocks
    if calls:
        message["tool_calls"] = calls
    return message
